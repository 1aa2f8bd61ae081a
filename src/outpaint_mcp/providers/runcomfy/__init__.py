"""RunComfy's hosted ACE-Step model: what tells it from other remote models (`model`), and its calls (`api`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.providers.base import ProviderDescription

if TYPE_CHECKING:
    from outpaint_mcp.providers.base import Provider, ProviderContext

DESCRIPTION = ProviderDescription(
    name="runcomfy",
    title="RunComfy",
    is_generative=True,
    is_paid=True,
    instructions="""\
Provider: runcomfy, a paid generative model. Describe the existing track in tags (include those from analyze_audio), or
the extension drifts to another style; use lyrics="[inst]" for no vocals. Tell the user the estimated cost, and later
the actual cost.""",
    tool_text="Provider runcomfy: a generative model that tags and lyrics steer; costs money, as the answer estimates.",
    guide="""\
- Describe the recording as it is, or the new music drifts to another style. Begin with the tags that analyze_audio
  measured (tempo, key, mood), and add what the user knows: genre, instruments, voice.
  `dream pop, 92 bpm, a minor, dark, female vocals, reverb guitar, soft drums`
- Five to ten short tags; no sentences. They hold for all of the new music.
- A change that the user wants is a tag, too: `calm outro, slowing down`.

Lyrics guide the vocals in the new music:

- Empty: the model writes its own.
- `[inst]` or `[instrumental]`: no vocals. Pass it for an instrumental recording.
- Words to be sung: one sung line a line, with sections in brackets. Give only the new words, roughly a line for each
  four to five seconds.

```
[verse]
Headlights on the water
Carry me along

[chorus]
Stay awake, stay awake
```""",
    token_header="X-RunComfy-Token",  # noqa: S106 - a name
    # Agents' frameworks give up on a call after five seconds at the earliest.
    accepts_within_seconds=3.5,
)


def open_provider(context: ProviderContext) -> Provider:
    """Open it; see `registry`."""
    from outpaint_mcp.providers.remote.provider import RemoteProvider  # noqa: PLC0415 - loads jobs and workers
    from outpaint_mcp.providers.runcomfy.model import runcomfy_model  # noqa: PLC0415 - likewise

    return RemoteProvider(context, runcomfy_model(context))

"""The built-in provider: extends a recording with its own material; no key, no network, no GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.providers.base import ProviderDescription

if TYPE_CHECKING:
    from outpaint_mcp.providers.base import Provider, ProviderContext

DESCRIPTION = ProviderDescription(
    name="local",
    title="the local provider",
    is_generative=False,
    is_paid=False,
    instructions="""\
Provider: local. Free. It plays on with the track's own music; no generative model. Of the tags, only energy (calm,
quiet; loud, driving; build) and sections ("like the chorus") steer. It cannot do new styles, lyrics or instruments.""",
    tool_text="Provider local: free; plays on with the track's own music; of the tags only energy (calm, quiet; loud,"
    " driving; build) and sections (like the chorus) steer.",
    guide="""\
It plays on with the recording's own music. Only these tags steer it, and the answer names those that did:

- calmer: `calm`, `quiet`, `gentle`, `mellow`, `soft`, `less energy`
- louder: `loud`, `driving`, `energetic`, `intense`, `full`, `more energy`
- growing: `build`, `crescendo`, `rising`, `growing`
- a section of the recording: `like the chorus`, `verse`, `bridge`, `intro`, `outro`, or one by the letter that
  analyze_audio gives it: `like section b`

`calm, like the verse` combines two of them. Other tags, and lyrics, have no effect; `tags` may be empty.""",
)


def open_provider(context: ProviderContext) -> Provider:
    """Open it; see `registry`."""
    from outpaint_mcp.providers.local.provider import LocalProvider  # noqa: PLC0415 - loads jobs and workers

    return LocalProvider(context)

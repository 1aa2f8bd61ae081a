"""The guide to tags and lyrics, for the agent that writes them."""

from __future__ import annotations

from outpaint_mcp.providers.registry import PROVIDERS

_OPENING = """\
# Tags and lyrics for submit_outpaint

`tags` is required: comma-separated genre, mood and instrument tags that steer the style of the added music. `lyrics` is
optional. What they do depends on the provider, which every answer names.
"""
_CLOSING = """\
## With every provider

- `seed` makes another take of the same request; `takes=3` makes three to choose from.
- Tags do not set how it begins, how it ends and how long it is: `beginning`, `ending`, and `total_seconds` (or
  `extend_before_duration` and `extend_after_duration`) do.
"""


def write_guide() -> str:
    """Return the guide in Markdown."""
    about = (
        f"## {name} ({'a generative model' if each.is_generative else 'not a generative model'},"
        f" {'paid' if each.is_paid else 'free'})\n\n{each.guide}\n"
        for name, (each, _) in PROVIDERS.items()
    )
    return "\n".join((_OPENING, *about, _CLOSING))

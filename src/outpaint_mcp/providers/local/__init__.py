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
Provider: local. Free. It continues the track's own beats; it is not a generative model, and tags and lyrics have no
effect. Say so if the user asks for a new style, new lyrics or new instruments.""",
    tool_text="Provider local: free; continues the track's own material; tags and lyrics have no effect.",
)


def open_provider(context: ProviderContext) -> Provider:
    """Open it; see `registry`."""
    from outpaint_mcp.providers.local.provider import LocalProvider  # noqa: PLC0415 - loads jobs and workers

    return LocalProvider(context)

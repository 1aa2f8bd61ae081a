"""Make a recording longer: an MCP server with a hosted and a built-in provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outpaint_mcp.models import OutpaintRequest
    from outpaint_mcp.providers.runcomfy.api.client import RunComfyClient

from outpaint_mcp._version import __version__

__all__ = ["OutpaintRequest", "RunComfyClient", "__version__"]


def __getattr__(name: str) -> object:
    # Loaded when asked for: the command line answers before any of it is.
    match name:
        case "OutpaintRequest":
            from outpaint_mcp.models import OutpaintRequest  # noqa: PLC0415

            return OutpaintRequest
        case "RunComfyClient":
            from outpaint_mcp.providers.runcomfy.api.client import RunComfyClient  # noqa: PLC0415

            return RunComfyClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

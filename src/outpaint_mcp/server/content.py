"""What goes back to the host: answers, images and progress."""

from __future__ import annotations

import base64
import json
import logging
import time
from typing import TYPE_CHECKING, Any

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent

from outpaint_mcp.errors import StorageFailed
from outpaint_mcp.principals import PERSON, Principal
from outpaint_mcp.reports.models import ResultReport
from outpaint_mcp.reports.progress import in_words
from outpaint_mcp.reports.wording import explain
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.on_demand import ServiceOnDemand

if TYPE_CHECKING:
    from mcp.server.mcpserver import Context
    from pydantic import BaseModel

    from outpaint_mcp.errors import OutpaintError
    from outpaint_mcp.service.poller import OnUpdate
    from outpaint_mcp.storage.records import RequestProgress

_log = logging.getLogger(__name__)

# Some hosts give up on a silent call.
_SIGN_OF_LIFE_SECONDS = 5.0

DELETE_URL = "outpaint-mcp/deleteUrl"
"""Under which a page finds where a result can be deleted; an agent is not shown it."""

Lifespan = ServiceOnDemand
"""What the server's tools work with."""


def answer(report: BaseModel, *images: ContentBlock) -> CallToolResult:
    """Answer twice, since hosts read one or the other: as text and as structure, absent values left out.

    A file is named by its path and URL only: several clients lose or refuse an answer that has a `resource_link` in it.
    """
    delete_url = report.delete_url if isinstance(report, ResultReport) else None
    structure = report.model_dump(mode="json", exclude_none=True)
    text = json.dumps(structure, ensure_ascii=False, separators=(",", ":"))
    return CallToolResult(
        content=[TextContent(type="text", text=text), *images],
        structured_content=structure,
        _meta={DELETE_URL: delete_url} if delete_url else None,
    )


def principal() -> Principal:
    """Return who calls: over HTTP as the door has found out, over stdio the person."""
    token = get_access_token()
    if token is None:
        return PERSON
    claims = token.claims or {}
    return Principal(
        client=token.client_id,
        issuer=claims.get("iss", ""),
        subject=token.subject or "",
        tokens=claims.get("tokens", ()),
    )


def explained(error: OutpaintError, *, is_remote: bool) -> str:
    """Write an error for whoever calls; where on this machine something is wrong is its operator's to know.

    Args:
        error: what happened.
        is_remote: whether paths of this machine mean nothing to them.
    """
    if is_remote and isinstance(error, StorageFailed) and error.path:
        _log.error("%s", error)
        return "The server cannot use its storage at the moment. Try again later, or tell whoever runs it."
    return explain(error, TOOLS)


def image(drawn: bytes | None) -> list[ContentBlock]:
    """Show a PNG, where there is one."""
    if drawn is None:
        return []
    return [ImageContent(type="image", data=base64.b64encode(drawn).decode(), mime_type="image/png")]


def reporter(ctx: Context[Lifespan, Any]) -> OnUpdate:
    """Report progress while a call waits; with a number that only ever grows, as the protocol demands."""
    last: RequestProgress | None = None
    last_at = share = 0.0

    async def report(seen: RequestProgress) -> None:
        nonlocal last, last_at, share
        now = time.monotonic()
        if seen == last and now - last_at < _SIGN_OF_LIFE_SECONDS:
            return
        last, last_at, share = seen, now, max(share + 1e-6, seen.progress or 0.0)
        await ctx.report_progress(share, 1.0, in_words(seen))

    return report

"""Completion of request ids: the caller's own, by what they begin with or by words of their titles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp.types import Completion

from outpaint_mcp.server.content import principal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp.server import MCPServer
    from mcp.types import CompletionArgument, CompletionContext, PromptReference, ResourceTemplateReference

    from outpaint_mcp.reports.models import RequestSummary
    from outpaint_mcp.server.content import Lifespan
    from outpaint_mcp.service.service import OutpaintService

# The protocol's limit.
_MAX_VALUES = 100
# Of the newest ones.
_SEARCHED = 500
_IDS = frozenset({"request_id", "audio"})


def add_completion(
    server: MCPServer[Lifespan], open_service: Callable[[], Awaitable[OutpaintService]]
) -> None:
    """Complete the ids of requests in resources and prompts.

    Args:
        server: the server.
        open_service: returns the service while the server runs.
    """

    @server.completion()  # type: ignore[no-untyped-call, untyped-decorator]  # the SDK's
    async def complete(
        ref: PromptReference | ResourceTemplateReference,  # noqa: ARG001 - an argument is called the same everywhere
        argument: CompletionArgument,
        context: CompletionContext | None,  # noqa: ARG001 - no argument depends on another
    ) -> Completion | None:
        if argument.name not in _IDS:
            return None
        service = await open_service()
        listed = (await service.list(principal(), limit=_SEARCHED)).requests
        found = [id_ for each in listed for id_ in _fitting(each, argument.value.strip().casefold())]
        return Completion(values=found[:_MAX_VALUES], total=len(found), has_more=len(found) > _MAX_VALUES)


def _fitting(summary: RequestSummary, text: str) -> list[str]:
    """Return the ids of a request and of its takes that a text may mean."""
    ids = [*dict.fromkeys((summary.request_id, *(take.request_id for take in summary.takes or ())))]
    title = summary.title.casefold()
    if all(word in title for word in text.split()):
        return ids
    return [each for each in ids if each.startswith(text)]

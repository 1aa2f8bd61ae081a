"""The MCP server: its instructions, its tools, and the service for as long as it runs."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from mcp.server import MCPServer

from outpaint_mcp._version import __version__
from outpaint_mcp.errors import ServerStopping, StorageFailed
from outpaint_mcp.providers.registry import describe
from outpaint_mcp.server.completion import add_completion
from outpaint_mcp.server.player import player
from outpaint_mcp.server.prompts import add_prompts
from outpaint_mcp.server.request_tasks import RequestTasks
from outpaint_mcp.server.resources import add_resources
from outpaint_mcp.server.subscriptions import Subscriptions
from outpaint_mcp.server.tasks import Tasks
from outpaint_mcp.server.tools import all_tools
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.on_demand import ServiceOnDemand

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.server.content import Lifespan
    from outpaint_mcp.service.lifespan import Surroundings

_log = logging.getLogger(__name__)

# Hosts show all instructions of all servers to the agent: 1,500 bytes are ours in all.
_MAX_FOLDERS_BYTES = 300

_OPEN_AFTER_SECONDS = 0.25

_ELSEWHERE = " on the user's machine: the answer says how to send it"

_INSTRUCTIONS = """\
Makes recordings longer, and analyzes them. A source is a file's name (list_audio lists them) or path{folders}; an
https link to the file itself; a data: URI; or an earlier request_id. Files attached to the chat are not visible here.
1. submit_outpaint -> request_id. Longer: extend_after_duration (30 unless given; 0 for none). Intro:
   extend_before_duration. Exactly N: total_seconds. Keep its ending: placement=inside. How it ends: ending. A choice:
   takes=3. The first of them, but longer: its own request_id as audio. Not sure: dry_run=true.
2. get_outpaint_result(request_id, wait_seconds=45; 3 if your calls are cut off): repeat until status is completed,
   failed, cancelled or unknown, then tell the user path or url and verdict. Never resubmit because a wait ended.
Originals and earlier results are never changed: to undo, go on from the earlier one.
{provider}"""


def build_server(  # noqa: PLR0913 - where it runs
    settings: Settings,
    *,
    on_closed: Callable[[], None] = lambda: None,
    may_outlive: Callable[[], bool] = lambda: False,
    surroundings: Surroundings | None = None,
    service: ServiceOnDemand | None = None,
    has_callers: bool = False,
) -> MCPServer[Lifespan]:
    """Build the server; nothing is opened until it runs.

    Args:
        settings: where things are, and who carries out new requests.
        on_closed: called when everything is closed again, however that went.
        may_outlive: asked at the end whether local jobs under way may be finished after it.
        surroundings: as `open_service` takes them.
        service: what the tools work with, where others do so, too; closed when the server ends.
        has_callers: whether those who call are elsewhere, so that folders of this machine mean nothing to them.
    """
    service = service or ServiceOnDemand(settings, TOOLS, surroundings)

    @asynccontextmanager
    async def lifespan(_server: MCPServer[Lifespan]) -> AsyncIterator[Lifespan]:
        opening = asyncio.create_task(_open_soon(service))
        try:
            yield service
        finally:
            try:
                await _closed(service, outlive=may_outlive())
            finally:
                opening.cancel()
                on_closed()

    subscriptions = Subscriptions()
    server = MCPServer(
        "outpaint-mcp",
        title="Outpaint",
        version=__version__,
        instructions=_INSTRUCTIONS.format(
            folders=_ELSEWHERE if has_callers else f" in {_listed(settings.input_dirs)}",
            provider=describe(settings.provider).instructions,
        ),
        tools=all_tools(settings.provider),
        extensions=[Tasks(RequestTasks(settings.retention_days)), player()],
        log_level=settings.log_level,
        lifespan=lifespan,
        subscriptions=subscriptions,
        middleware=[subscriptions],
    )
    add_resources(server, service)
    add_completion(server, service)
    add_prompts(server)
    return server


async def _open_soon(service: ServiceOnDemand) -> None:
    """Have unfinished requests go on, once the host's first questions are answered."""
    await asyncio.sleep(_OPEN_AFTER_SECONDS)
    # What prevents it is reported when a tool is called: a server without tools could not even say what to fix.
    with suppress(StorageFailed, ServerStopping):
        await service()


async def _closed(service: ServiceOnDemand, *, outlive: bool) -> None:
    """Close the service, to the end: a host that terminates us meanwhile only wants it sooner."""
    closing = asyncio.create_task(service.close(outlive=outlive))
    while not closing.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({closing})
    if (failure := closing.exception()) is not None:
        _log.error("The server could not be closed in good order", exc_info=failure)
        raise failure


def _listed(folders: Sequence[Path]) -> str:
    """List the folders, as long as that does not crowd out the rest of the instructions."""
    listed = ", ".join(map(str, folders))
    return listed if len(listed.encode()) <= _MAX_FOLDERS_BYTES else "the folders of OUTPAINT_INPUT_DIRS"

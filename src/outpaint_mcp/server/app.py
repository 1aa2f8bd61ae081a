"""The MCP server: its words, its tools, and the desk for as long as it runs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from mcp.server import MCPServer

from outpaint_mcp._version import __version__
from outpaint_mcp.errors import StorageFailed
from outpaint_mcp.server.tools import all_tools
from outpaint_mcp.service.lifespan import ServiceOnDemand

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.server.content import Lifespan

# Hosts show all instructions of all servers to the agent: 1,500 bytes are ours in all.
_MAX_FOLDERS_BYTES = 300

_INSTRUCTIONS = """\
Makes recordings longer: music before, after, or both; and hears them.
1. submit_outpaint(audio, tags, extend_before_duration, extend_after_duration) -> request_id. An intro is
   extend_before_duration; "let it run out" is extend_after_duration (default 30, set 0 for none). At most 240 s each;
   for more, or to build in steps, pass the last request_id as audio. "Carry on from 1:23" is source_end_seconds=83.
2. get_outpaint_result(request_id, wait_seconds=45), again until status is completed, failed, cancelled or unknown. Then
   tell the person the path and what the verdict says. Never submit again because a wait ended.
analyze_audio measures tempo, key, loudness, sections, and tags to give.
Sources: a path in {folders}; an https link to the file itself; a data: URI; an earlier request_id. Files attached
to the chat are not visible here: ask for a path or a link. To choose from several, takes=2..4.
{provider}"""

_PROVIDERS = {
    "local": """\
Provider: local. Free. It carries the track's own beats on; it is not a generative model, and tags and lyrics do not
steer it. Say so when the person asks for a new style, new words or new instruments.""",
    "runcomfy": """\
Provider: runcomfy, a paid generative model. Give tags that describe the track as it is, those of analyze_audio among
them, or it turns into another; lyrics "[inst]" for no voice. Tell the person the estimated cost, and the cost.""",
}


def build_server(settings: Settings, *, on_closed: Callable[[], None] = lambda: None) -> MCPServer[Lifespan]:
    """Build the server; nothing is opened until it runs, and `on_closed` is called when all is closed again."""

    @asynccontextmanager
    async def lifespan(_server: MCPServer[Lifespan]) -> AsyncIterator[Lifespan]:
        service = ServiceOnDemand(settings)
        # Requests left over go on at once; what is in the way of that is told when a tool is called,
        # since a server without tools could not even tell the person what to mend.
        with suppress(StorageFailed):
            await service()
        try:
            yield service
        finally:
            # To its end: a host that terminates us meanwhile only wants it sooner.
            closing = asyncio.create_task(service.close())
            while not closing.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.shield(closing)
            on_closed()

    # A link to pydantic's site in every argument error is nothing an agent can act on.
    os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")
    return MCPServer(
        "outpaint-mcp",
        title="Outpaint",
        version=__version__,
        instructions=_INSTRUCTIONS.format(
            folders=_named(settings.input_dirs), provider=_PROVIDERS[settings.provider]
        ),
        tools=all_tools(),
        log_level=settings.log_level,
        lifespan=lifespan,
    )


def _named(folders: Sequence[Path]) -> str:
    """Name the folders, as long as that does not crowd out the rest of the instructions."""
    named = ", ".join(map(str, folders))
    return named if len(named.encode()) <= _MAX_FOLDERS_BYTES else "the folders of OUTPAINT_INPUT_DIRS"


def run_stdio(settings: Settings) -> NoReturn:
    """Serve on stdin and stdout until stdin ends, or a signal does; then leave in good order, at once."""
    stopped_by = 0

    def leave() -> None:
        # A thread may still wait for stdin, a host's address or a slow disk; nothing it could bring is of use.
        sys.stderr.flush()
        os._exit(128 + stopped_by if stopped_by else 0)

    async def serve() -> None:
        serving = asyncio.create_task(server.run_stdio_async())

        def stop(number: int) -> None:
            nonlocal stopped_by
            stopped_by = number
            serving.cancel()

        with suppress(NotImplementedError, AttributeError):  # not on Windows
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, stop, number)
        await serving
        leave()

    # After a signal the SDK waits for a line on stdin that may never come.
    server = build_server(settings, on_closed=lambda: leave() if stopped_by else None)
    asyncio.run(serve())
    raise AssertionError("leave() does not return")

"""The MCP server: its words, its tools, and the desk for as long as it runs."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from mcp.server import MCPServer

from outpaint_mcp import __version__
from outpaint_mcp.desk import open_desk
from outpaint_mcp.errors import StorageFailed
from outpaint_mcp.tools import Lifespan, all_tools

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from outpaint_mcp.config import Settings

# Hosts show all instructions of all servers to the agent: 1,500 bytes are ours in all.
_MAX_FOLDERS_BYTES = 300

_INSTRUCTIONS = """\
Makes recordings longer: music before, after, or both, with the original untouched inside.
1. submit_outpaint(audio, tags, extend_before_duration, extend_after_duration) -> request_id, at once. An intro is
   extend_before_duration; "let it run out" is extend_after_duration (default 30, set 0 for none). At most 240 s each;
   for more, or to build in steps, pass the request_id of the last outpaint as audio.
2. get_outpaint_result(request_id, wait_seconds=45), again until status is completed, failed or cancelled. Then tell the
   person the path. Never submit again because a wait ended: the request goes on by itself.
Sources: a path in {folders}; an https link to the file itself; a data: URI; an earlier request_id. Files attached
to the chat are not visible here: ask for a path or a link. For another take, submit again; the same
seed gives the same take.
Provider: local. It carries the track's own beats on; it is not a generative model, and tags and lyrics do not steer it.
Say so when the person asks for a new style, new words or new instruments."""


def build_server(settings: Settings) -> MCPServer[Lifespan]:
    """Build the server; nothing is opened until it runs."""

    @asynccontextmanager
    async def lifespan(_server: MCPServer[Lifespan]) -> AsyncIterator[Lifespan]:
        async with AsyncExitStack() as stack:
            desk: Lifespan
            try:
                desk = await stack.enter_async_context(open_desk(settings))
            except StorageFailed as exc:
                desk = exc  # a server without tools could not even tell the person what to mend
            yield desk

    # A link to pydantic's site in every argument error is nothing an agent can act on.
    os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")
    return MCPServer(
        "outpaint-mcp",
        title="Outpaint",
        version=__version__,
        instructions=_INSTRUCTIONS.format(folders=_named(settings.input_dirs)),
        tools=all_tools(),
        log_level=settings.log_level,
        lifespan=lifespan,
    )


def _named(folders: Sequence[Path]) -> str:
    """Name the folders, as long as that does not crowd out the rest of the instructions."""
    named = ", ".join(map(str, folders))
    return named if len(named.encode()) <= _MAX_FOLDERS_BYTES else "the folders of OUTPAINT_INPUT_DIRS"

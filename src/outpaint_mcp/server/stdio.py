"""The server on stdin and stdout: how it ends, and what may go on after it."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import anyio
from anyio.to_thread import run_sync
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage

from outpaint_mcp.server.app import build_server
from outpaint_mcp.server.messages import Refusal, read_messages

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectSendStream
    from mcp.server import MCPServer
    from mcp.shared._stream_protocols import WriteStream

    from outpaint_mcp.config import Settings
    from outpaint_mcp.server.content import Lifespan

_log = logging.getLogger(__name__)

_PARENT_SECONDS = 1.0
_INIT = 1


def run_stdio(settings: Settings, *, parent_id: int) -> NoReturn:
    """Serve until stdin ends, the parent is gone, or a signal comes; then leave in good order, at once.

    Local jobs under way may be finished afterwards, unless a signal ends the server.

    Args:
        settings: where things are.
        parent_id: the id of the process that started this one, as it was at the start.
    """
    is_stopped, stopped_by = False, 0

    def leave(code: int = 0) -> None:
        # A thread may still wait for stdin, a host's address or a slow disk; nothing it could bring is of use.
        try:
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):  # nobody reads it any more, or there is none
            pass
        finally:
            os._exit(128 + stopped_by if stopped_by else code)

    async def serve() -> None:
        serving = asyncio.create_task(_serve_messages(server))

        def stop(number: int) -> None:
            nonlocal is_stopped, stopped_by
            if not is_stopped:
                is_stopped, stopped_by = True, number
            serving.cancel()

        with suppress(NotImplementedError, AttributeError):  # not on Windows
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, stop, number)
        watching = asyncio.create_task(_parent_gone(parent_id))
        watching.add_done_callback(lambda _: stop(0))
        while not serving.done():
            try:
                await asyncio.wait({serving})
            except asyncio.CancelledError:  # how Ctrl-C comes on Windows
                stop(signal.SIGINT)
        failure = None if serving.cancelled() else serving.exception()
        if failure is not None:
            _log.error("The server ended with an error", exc_info=failure)
        leave(0 if failure is None else 1)

    # When it is stopped the SDK waits for a line on stdin that may never come.
    server = build_server(
        settings, on_closed=lambda: leave() if is_stopped else None, may_outlive=lambda: not stopped_by
    )
    asyncio.run(serve())
    raise AssertionError("leave() does not return")


async def _serve_messages(server: MCPServer[Lifespan]) -> None:
    """Serve stdin until it ends; the SDK's own loop answers nothing to what is no message, and has no bound."""
    lowlevel = server._lowlevel_server  # noqa: SLF001 - the SDK has no other way to bring one's own streams
    write_messages, messages = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    # Of its transport, the half that keeps all but the protocol from stdout.
    async with stdio_server(stdin=anyio.wrap_file(io.StringIO())) as (empty, answers):
        await empty.aclose()
        async with anyio.create_task_group() as group:
            group.start_soon(_read_stdin, write_messages, answers)
            await lowlevel.run(messages, answers, lowlevel.create_initialization_options())
            group.cancel_scope.cancel()


async def _read_stdin(
    messages: MemoryObjectSendStream[SessionMessage | Exception], answers: WriteStream[SessionMessage]
) -> None:
    """Pass on what comes in on stdin, and refuse what is no message."""
    incoming = read_messages(sys.stdin.buffer)
    async with messages:
        while (message := await run_sync(next, incoming, None, abandon_on_cancel=True)) is not None:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # the server is about to end
                if isinstance(message, Refusal):
                    _log.warning("A message was refused: %s", message.error.message)
                    await answers.send(SessionMessage(message))
                else:
                    await messages.send(SessionMessage(message))


async def _parent_gone(parent_id: int) -> None:
    """Return once the process that started this one has died.

    The end of stdin says so too, unless another process holds it open: a sibling that inherited it, for example.
    A server started by init, or whose parent was gone before it could look, has only stdin. So has one on Windows,
    where the parent's id never changes; a handle is not inherited there unless the client asks for that.
    """
    while parent_id == _INIT or os.getppid() == parent_id:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(_PARENT_SECONDS)

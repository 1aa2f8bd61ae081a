"""The server on stdin and stdout: how it ends, and what may go on after it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from outpaint_mcp.server.app import build_server

if TYPE_CHECKING:
    from outpaint_mcp.config import Settings

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
        serving = asyncio.create_task(server.run_stdio_async())

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


async def _parent_gone(parent_id: int) -> None:
    """Return once the process that started this one has died.

    The end of stdin says so too, unless another process holds it open: a sibling that inherited it, for example.
    A server started by init, or whose parent was gone before it could look, has only stdin. So has one on Windows,
    where the parent's id never changes; a handle is not inherited there unless the client asks for that.
    """
    while parent_id == _INIT or os.getppid() == parent_id:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(_PARENT_SECONDS)

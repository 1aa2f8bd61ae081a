"""The worker process: carries out one order, and replies in lines of JSON.

Run as `python -m outpaint_mcp.workers.worker`, or forked by `nursery`. The first line of stdin is the order. stdin
then stays open as a lifeline: the worker ends with it, whatever it is doing. Only one that may outlive its server goes
on for a while; a byte on stdin ends that one as well. stdout has one `wire.Reply` a line; the last is the answer or
the error.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import nullcontext, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from outpaint_mcp.errors import GenerationFailed, InternalError, OutpaintError
from outpaint_mcp.workers import orders, outliving, wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

# An hour of audio needs about a tenth of this; a job gone astray must not take the machine along.
MAX_MEMORY_BYTES = 4 << 30
_NICENESS = 10
_ABANDONED = 1

TASKS: dict[type[orders.Order[Any]], tuple[str, str]] = {
    orders.Probe: ("looking", "probe"),
    orders.Measure: ("looking", "measure"),
    orders.Analyze: ("looking", "analyze"),
    orders.Crop: ("making", "crop"),
    orders.WriteContext: ("making", "write_context"),
    orders.Extend: ("making", "extend"),
    orders.Finish: ("finishing", "finish"),
    orders.Convert: ("making", "convert"),
}
"""The module and the function of each task; only that module, and what it needs, is loaded."""


def main() -> None:
    """Carry out the one order on stdin, and exit."""
    # A server that was started in the background may ignore these, and would hand that down.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    sys.exit(serve())


def serve() -> int:
    """Carry out the one order on stdin; returns the exit code."""
    # Decoders print warnings: what is not a reply must not look like one.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    faulthandler.enable(2)
    line = _read_order()
    if line is None:
        return _ABANDONED
    lifeline = _Lifeline()
    threading.Thread(target=lifeline.watch, daemon=True).start()

    def send(reply: wire.Reply[Any]) -> None:
        with suppress(OSError):  # nobody listens any more
            replies.write(f"{wire.encode(reply)}\n")
            replies.flush()

    _carry_out(line, lifeline, send)
    return 0


def load(order_type: type[orders.Order[Any]]) -> ModuleType:
    """Load the module that carries out such orders."""
    return import_module(f"outpaint_mcp.workers.{TASKS[order_type][0]}")


def _carry_out(line: bytes, lifeline: _Lifeline, send: Callable[[wire.Reply[Any]], None]) -> None:
    """Carry an order out, and send the replies."""
    try:
        order = wire.decode_order(line)
        _be_modest()  # not before: pydantic aborts where there is no memory
        folder = outliving.JobFolder(order.folder) if isinstance(order, orders.Extend) else None
        lifeline.folder = folder

        def report(share: float, step: str) -> None:
            progress = wire.Progress(share=share, step=step)
            send(wire.Reply(progress=progress))
            if folder is not None:
                folder.write_progress(progress)

        with nullcontext() if folder is None else folder.locked():
            reply = _answer(order, report)
            if folder is not None:
                folder.write_reply(reply)
            send(reply)
    except Exception as exc:  # noqa: BLE001 - whatever it was, the server is to know
        send(_failure(exc))


def _answer(order: orders.Order[Any], report: Callable[[float, str], None]) -> wire.Reply[Any]:
    """Carry an order out; returns the last reply to it."""
    try:
        task = getattr(load(type(order)), TASKS[type(order)][1])
        return wire.Reply(answer=task(order, report))
    except Exception as exc:  # noqa: BLE001 - as above
        return _failure(exc, is_extending=isinstance(order, orders.Extend | orders.Finish))


def _failure(exc: Exception, *, is_extending: bool = False) -> wire.Reply[Any]:
    """Return the reply for what went wrong; the traceback of a bug goes to the server's log, by stderr."""
    if isinstance(exc, OutpaintError):
        error = exc
    elif isinstance(exc, MemoryError):
        error = GenerationFailed(
            "The worker ran out of memory. Nothing else is affected."
            + (" Try a shorter source or extension." if is_extending else "")
        )
    elif isinstance(exc, OSError):
        error = GenerationFailed(f"The worker could not use a file: {exc.strerror or exc}.")
    else:
        traceback.print_exception(exc)
        error = InternalError(
            "Internal error: the work failed for a reason that nobody foresaw. The log has the details."
        )
    return wire.Reply(error=wire.encode_error(error))


def _read_order() -> bytes | None:
    """Return the first line of stdin; None where the server is gone, or does not want it any more."""
    # Not through `sys.stdin`, which would take bytes that belong to the lifeline.
    line = b""
    while not line.endswith(b"\n"):
        received = os.read(0, 1 << 16)
        line += received
        if not received or b"\n" in line[:-1]:
            return None
    return line


class _Lifeline:
    """Ends this process when its server is gone or says so.

    Attributes:
        folder: the job's, for a worker that may go on without its server once it has the folder's lock.
    """

    def __init__(self) -> None:
        self.folder: outliving.JobFolder | None = None

    def watch(self) -> None:
        """Wait for the end of stdin, and end the process."""
        is_unwanted = bool(os.read(0, 1))
        deadline = time.monotonic() + outliving.OUTLIVE_SECONDS
        while self.folder and self.folder.is_taken and not is_unwanted and time.monotonic() < deadline:
            time.sleep(outliving.STOP_POLL_SECONDS)
            is_unwanted = self.folder.is_asked_to_stop()
        os._exit(_ABANDONED)


def _be_modest() -> None:
    """Leave the processor to whoever is waited for, and bound the memory."""
    with suppress(AttributeError):  # POSIX only
        os.nice(_NICENESS)
    try:
        import resource  # noqa: PLC0415 - POSIX only
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY or most > MAX_MEMORY_BYTES:
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, most))


if __name__ == "__main__":
    main()

"""The worker process: carries out one order, and replies in lines of JSON.

Run as `python -m outpaint_mcp.workers.worker`, or forked by `nursery`. The first line of stdin is the order. stdin
then stays open as a lifeline: the worker ends with it, whatever it is doing. Only one that may outlive its server goes
on for a while; a byte on stdin ends that one as well. stdout has one `wire.Reply` a line; the last is the answer or
the error.
"""

from __future__ import annotations

import errno
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
from outpaint_mcp.workers import cage, looks, orders, outliving, wire
from outpaint_mcp.workers.inputs import folder_written, take_over

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from outpaint_mcp.workers.order import Order

# An hour of audio needs about a tenth of this; a job gone astray must not take the machine along.
MAX_MEMORY_BYTES = 4 << 30
# Of that, what may be filled; an index of a few bytes can claim a hundred million entries. Who only looks needs little.
_MAX_DATA_BYTES, _MAX_DATA_BYTES_OF_LOOKS = 2 << 30, 1 << 30
# Hours of audio at the highest rate, as eight channels.
_MAX_FILE_BYTES = 64 << 30
_MAX_OPEN_FILES = 256
_NICENESS = 10
# What the system, the loader, threads, libsndfile and FFmpeg say.
_NO_MEMORY = (
    *("cannot allocate memory", "failed to map segment", "can't start new thread", "unable to allocate"),
    *("out of memory", "not enough memory", "psf_allocate", "memory exhausted"),
)
_ABANDONED = 1

TASKS: dict[type[Order[Any]], tuple[str, str]] = {
    looks.Probe: ("looking", "probe"),
    looks.ProbeMany: ("looking", "probe_many"),
    looks.ReadForm: ("looking", "read_form"),
    looks.Measure: ("looking", "measure"),
    looks.Survey: ("looking", "survey"),
    looks.Digest: ("looking", "digest"),
    looks.Analyze: ("looking", "analyze"),
    looks.Draw: ("looking", "draw"),
    looks.ReadWaveform: ("looking", "read_waveform"),
    orders.Crop: ("making", "crop"),
    orders.WriteContext: ("making", "write_context"),
    orders.Extend: ("making", "extend"),
    orders.Finish: ("finishing", "finish"),
    orders.Convert: ("making", "convert"),
    orders.WritePreview: ("making", "write_preview"),
}
"""The module and the function of each task; only that module, and what it needs, is loaded."""


def main() -> None:
    """Carry out the one order on stdin, and exit."""
    # A server that was started in the background may ignore these, and would hand that down.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    sys.exit(serve([int(each) for each in sys.argv[1:]]))


def serve(inputs: Sequence[int]) -> int:
    """Carry out the one order on stdin, which reads these descriptors; returns the exit code."""
    os.umask(0o077)
    # Decoders print warnings: what is not a reply must not look like one.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    faulthandler.enable(2)
    line = _read_order()
    if line is None:
        return _ABANDONED

    def send(reply: wire.Reply[Any]) -> None:
        with suppress(OSError):  # nobody listens any more
            replies.write(f"{wire.encode(reply)}\n")
            replies.flush()

    try:
        order = take_over(wire.decode_order(line), inputs)
        own = folder_written(order)
        if own is not None:
            own.mkdir(parents=True, exist_ok=True)
        load(type(order))
        _be_modest(
            is_look=TASKS[type(order)][0] == "looking"
        )  # not before: pydantic aborts where there is no memory
        cage.enter(folder=own, inputs=inputs)
    except Exception as exc:  # noqa: BLE001 - whatever it was, the server is to know
        send(_failure(exc))
        return 0
    lifeline = _Lifeline()
    threading.Thread(
        target=lifeline.watch, daemon=True
    ).start()  # not before: a cage is for the threads to come
    _carry_out(order, lifeline, send)
    return 0


def load(order_type: type[Order[Any]]) -> ModuleType:
    """Load the module that carries out such orders."""
    return import_module(f"outpaint_mcp.workers.{TASKS[order_type][0]}")


def _carry_out(order: Order[Any], lifeline: _Lifeline, send: Callable[[wire.Reply[Any]], None]) -> None:
    """Carry an order out, and send the replies."""
    try:
        own = outliving.folder_of(order)
        folder = None if own is None else outliving.JobFolder(own)
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


def _answer(order: Order[Any], report: Callable[[float, str], None]) -> wire.Reply[Any]:
    """Carry an order out; returns the last reply to it."""
    try:
        task = getattr(load(type(order)), TASKS[type(order)][1])
        return wire.Reply(answer=task(order, report))
    except Exception as exc:  # noqa: BLE001 - as above
        return _failure(exc, is_extending=isinstance(order, orders.Extend | orders.Finish))


def _failure(exc: Exception, *, is_extending: bool = False) -> wire.Reply[Any]:
    """Return the reply for what went wrong; the traceback of a bug goes to the server's log, by stderr."""
    error: OutpaintError
    if _is_out_of_memory(exc):
        error = GenerationFailed(
            "The worker ran out of memory. Nothing else is affected."
            + (" Try a shorter source or extension." if is_extending else "")
        )
    elif isinstance(exc, OutpaintError):
        error = exc
    elif isinstance(exc, OSError):
        error = GenerationFailed(f"The worker could not use a file: {exc.strerror or exc}.")
    else:
        traceback.print_exception(exc)
        error = InternalError(
            "Internal error: the work failed for a reason that nobody foresaw. The log has the details."
        )
    return wire.Reply(error=wire.encode_error(error))


def _is_out_of_memory(exc: BaseException) -> bool:
    """Whether an error is, or came of, memory that could not be had; libraries have many words for that."""
    words = str(exc).lower()
    return (
        isinstance(exc, MemoryError)
        or (isinstance(exc, OSError) and exc.errno == errno.ENOMEM)
        or any(each in words for each in _NO_MEMORY)
        or any(_is_out_of_memory(each) for each in (exc.__cause__, exc.__context__) if each is not None)
    )


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


def _be_modest(*, is_look: bool) -> None:
    """Leave the processor to whoever is waited for, and bound the memory."""
    with suppress(AttributeError):  # POSIX only
        os.nice(_NICENESS)
    try:
        import resource  # noqa: PLC0415 - POSIX only
    except ImportError:
        return
    limits = {
        resource.RLIMIT_AS: MAX_MEMORY_BYTES,
        resource.RLIMIT_DATA: _MAX_DATA_BYTES_OF_LOOKS if is_look else _MAX_DATA_BYTES,
        resource.RLIMIT_FSIZE: _MAX_FILE_BYTES,
        resource.RLIMIT_NOFILE: _MAX_OPEN_FILES,
    }
    for kind, limit in limits.items():
        _, most = resource.getrlimit(kind)
        if most == resource.RLIM_INFINITY or most > limit:
            resource.setrlimit(kind, (limit, limit))


if __name__ == "__main__":
    main()

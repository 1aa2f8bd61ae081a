"""What the system knows of our processes, read from /proc."""

from __future__ import annotations

import fnmatch
import os
import signal
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tests.e2e.rpc import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_T = TypeVar("_T")
_LOOK_SECONDS = 0.01
# Whoever watches for long leaves the processor to those it watches.
_WATCH_SECONDS = 0.05

HAS_PROC = Path("/proc/self/environ").exists()


def until(look: Callable[[], _T | None], *, timeout_seconds: float = PATIENCE_SECONDS) -> _T:
    """Look again and again until something is seen, and return it.

    Raises:
        AssertionError: nothing was seen in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(_LOOK_SECONDS)
    return seen


def workers_of(data_dir: Path) -> list[int]:
    """Return the ids of the live worker processes of all servers on a data folder."""
    mark = f"OUTPAINT_DATA_DIR={data_dir}".encode()
    return [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdigit() and _is_worker(process) and mark in _read(process / "environ").split(b"\0")
    ]


def nurseries_of(data_dir: Path) -> list[int]:
    """Return the ids of the processes that fork the workers of all servers on a data folder."""
    mark = f"OUTPAINT_DATA_DIR={data_dir}".encode()
    return [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdigit()
        and b"outpaint_mcp.workers.nursery" in _read(process / "cmdline").split(b"\0")
        and not _is_worker(process)
        and mark in _read(process / "environ").split(b"\0")
    ]


def workers_on(data_dir: Path, request_id: str) -> list[int]:
    """Return the ids of the worker processes that have a request's job in hand; `*` is any request."""
    lock = str(data_dir / "jobs" / request_id / "lock")
    return [pid for pid in workers_of(data_dir) if fnmatch.filter(_open_files(pid), lock)]


def workers_at_work(data_dir: Path) -> list[int]:
    """Return the ids of the worker processes that have a job or an analysis in hand."""
    return [
        pid
        for pid in workers_of(data_dir)
        if any(each.startswith(str(data_dir)) and each.endswith("/lock") for each in _open_files(pid))
    ]


@contextmanager
def recording_workers(data_dir: Path) -> Iterator[set[int]]:
    """Take down the ids of all workers that have a job's folder in hand at some time while the block lasts."""
    with watching(lambda: workers_on(data_dir, "*")) as looks:
        seen: set[int] = set()
        yield seen
    seen.update(*looks)


@contextmanager
def watching(look: Callable[[], _T]) -> Iterator[list[_T]]:
    """Look again and again in a thread while the block lasts; all that was seen is in the list afterwards."""
    seen: list[_T] = []
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(_WATCH_SECONDS):
            seen.append(look())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def kill(pid: int, how: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a process, if it still runs."""
    with suppress(ProcessLookupError):
        os.kill(pid, how)


def kill_all(pids: Iterable[int]) -> None:
    """Kill these processes with a signal that they cannot catch."""
    for pid in pids:
        kill(pid)


def _is_worker(process: Path) -> bool:
    """Whether it is a worker in an interpreter of its own, or was forked and has been renamed."""
    return (
        b"outpaint_mcp.workers.worker" in _read(process / "cmdline").split(b"\0")
        or _read(process / "comm") == b"outpaint-worker\n"
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # ended meanwhile, or somebody else's
        return b""


def _open_files(pid: int) -> set[str]:
    found = set()
    with suppress(OSError):
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.add(str(each.readlink()))
    return found

"""Nurseries that are forked from a process in which everything is loaded: each would load it for half a second.

The process is started by the first test that needs one, and ends with the tests.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from tests.waiting import PATIENCE_SECONDS

from outpaint_mcp.service.lifespan import Surroundings
from outpaint_mcp.workers.pool import WorkerPool
from outpaint_mcp.workers.process import worker_environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from outpaint_mcp.workers.forking import NurseryProcess
    from outpaint_mcp.workers.nursery import Nursery

_MOST_BYTES = 1 << 17


class _Forked:
    """A nursery, of which only its descriptor is known: its parent is the warm process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __del__(self) -> None:
        os.close(self._descriptor)

    def wait(self) -> int:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.poll()
        return 0

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)


class _Warm:
    """The warm process."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(PATIENCE_SECONDS)
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=worker_environment() | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )

    def start_nursery(self, control: socket.socket) -> NurseryProcess:
        try:
            with self._lock:
                socket.send_fds(
                    self._control, [json.dumps(worker_environment()).encode()], [control.fileno()]
                )
                _, (descriptor,), _, _ = socket.recv_fds(self._control, 1, 1)
        except (OSError, ValueError) as exc:  # which the pool would take for a nursery that cannot be had
            raise AssertionError(f"the warm process has failed ({self._process.poll()})") from exc
        return _Forked(descriptor)


_warm = cache(_Warm)


def open_pool(*, folders: Sequence[Path] = ()) -> WorkerPool:
    """Open a pool whose nursery need not load anything."""
    if not hasattr(os, "pidfd_open"):
        return WorkerPool(folders=folders)
    return WorkerPool(folders=folders, start_nursery=_warm().start_nursery)


def around(**changes: Any) -> Surroundings:  # noqa: ANN401 - passed on
    """Return what the service takes from the world: the real thing, but for workers, and for what a test brings."""
    return Surroundings(open_pool=open_pool, **changes)


def _serve(control: socket.socket) -> None:
    from outpaint_mcp.workers import nursery, wire, worker  # noqa: PLC0415 - for the warm process alone

    for order_type in worker.TASKS:
        worker.load(order_type)
        wire.prepare(order_type)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    while True:
        environment, ends, _, _ = socket.recv_fds(control, _MOST_BYTES, 1)
        if not environment:
            return
        pid = os.fork()
        if pid == 0:
            control.close()
            _become_nursery(nursery.Nursery(socket.socket(fileno=ends[0])), json.loads(environment))
        socket.send_fds(control, [b"1"], [descriptor := os.pidfd_open(pid)])
        for each in (*ends, descriptor):
            os.close(each)


def _become_nursery(nursery: Nursery, environment: dict[str, str]) -> NoReturn:
    try:
        os.setsid()
        os.environ.clear()
        os.environ.update(environment)
        nursery.serve()
    finally:
        os._exit(0)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as _control:
        _serve(_control)

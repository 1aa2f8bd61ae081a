"""The nursery: a warm process that has everything loaded, and forks one worker a task.

Run as `python -m outpaint_mcp.workers.nursery FD`, with the socket to its server as file descriptor FD. It loads what
a task needs when one is first asked for, and never starts a thread, so that it can be forked at any time. It ends with
its server, and when it has had nothing to do for a while.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from outpaint_mcp.workers import cage, outliving, wire, worker
from outpaint_mcp.workers.inputs import MAX_INPUTS
from outpaint_mcp.workers.messages import ENDED, FORK, REPLY, REQUEST, STARTED

IDLE_SECONDS = 600.0
"""How long a nursery waits for another task: it takes as much memory as a worker."""

_BUG = 70
# It ends with its server. These are sent to groups of processes, and its workers' ends are still to be reported.
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Nursery:
    """Forks workers, reaps them, and kills those that it is asked to."""

    def __init__(self, control: socket.socket, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._control = control
        self._idle_seconds = idle_seconds
        self._request = b""
        self._far_ends: list[int] = []
        self._numbers: dict[int, int] = {}
        self._bound_to_server: set[int] = set()
        self._woken, self._waker = os.pipe()
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)

    def serve(self) -> None:
        """Serve until the server is gone, or has had no task for a while."""
        for each in _IGNORED:
            signal.signal(each, signal.SIG_IGN)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        is_wanted = True
        while is_wanted:
            ready = dict(poll.poll(None if self._numbers else self._idle_seconds * 1000))
            if self._woken in ready:
                with suppress(BlockingIOError):
                    os.read(self._woken, 1 << 12)
            self._reap()
            if self._control.fileno() in ready:
                is_wanted = self._receive()
            elif not ready and not self._numbers:
                is_wanted = False
        for pid in self._bound_to_server:  # one that hangs does not see that its lifeline has ended
            os.kill(pid, signal.SIGKILL)

    def _receive(self) -> bool:
        """Take the next message, or a part of it; returns whether the server is still there."""
        try:
            received, far_ends, _, _ = socket.recv_fds(
                self._control, REQUEST.size - len(self._request), 3 + MAX_INPUTS
            )
        except ConnectionError:
            return False
        self._request += received
        self._far_ends += far_ends
        if len(self._request) < REQUEST.size:
            return bool(received)
        what, number, task = REQUEST.unpack(self._request)
        far_ends, self._request, self._far_ends = self._far_ends, b"", []
        if what == FORK:
            self._fork(number, task.rstrip(b"\0").decode(), far_ends)
        else:
            for pid, of in self._numbers.items():
                if of == number:
                    os.kill(pid, signal.SIGKILL)
        return True

    def _fork(self, number: int, task: str, far_ends: list[int]) -> None:
        order_type = wire.order_type(task)
        with suppress(Exception):  # the worker runs into the same, and reports it
            worker.load(order_type)
            cage.prepare()
            wire.prepare(order_type)
        gc.freeze()  # else a worker's collections would copy every page
        failure = 0
        try:
            pid = os.fork()
        except OSError as exc:
            pid, failure = -1, exc.errno or 1
        if pid == 0:
            _work(far_ends[:3], inputs=far_ends[3:])
        for end in far_ends:
            os.close(end)
        if failure:
            self._send(STARTED, number, -failure)
            return
        self._numbers[pid] = number
        if not outliving.may_outlive(order_type):
            self._bound_to_server.add(pid)
        self._send(STARTED, number, pid)

    def _reap(self) -> None:
        while self._numbers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._bound_to_server.discard(pid)
            self._send(ENDED, self._numbers.pop(pid), os.waitstatus_to_exitcode(status))

    def _send(self, what: bytes, number: int, value: int) -> None:
        with suppress(OSError):  # the server is gone: seen at the next look
            self._control.sendall(REPLY.pack(what, number, value))


def _work(far_ends: list[int], *, inputs: list[int]) -> NoReturn:
    """Become a worker, with these as stdin, stdout and stderr, its inputs, and nothing else open."""
    code = _BUG
    try:
        for target, end in enumerate(far_ends):
            os.dup2(end, target)
        for path in list(Path("/dev/fd").iterdir()):
            if int(path.name) > 2 and int(path.name) not in inputs:  # noqa: PLR2004 - stderr
                with suppress(OSError):  # that of the listing itself
                    os.close(int(path.name))
        signal.set_wakeup_fd(-1)
        for each in (*_IGNORED, signal.SIGCHLD):
            signal.signal(each, signal.SIG_DFL)
        with suppress(OSError):  # to tell it from its nursery in a list of processes
            Path("/proc/self/comm").write_text("outpaint-worker", encoding="ascii")
        code = worker.serve(inputs)
    except BaseException:  # noqa: BLE001 - a forked process must never go on as its parent
        traceback.print_exc()
    finally:
        os._exit(code)


def main() -> None:
    """Serve the server at the other end of the socket whose number is the first argument."""
    with socket.socket(fileno=int(sys.argv[1])) as control:
        Nursery(control).serve()


if __name__ == "__main__":
    main()

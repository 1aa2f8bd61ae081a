"""The server's side of the nursery: a warm process that forks one worker a task, on POSIX systems.

The server sends it the far ends of a worker's pipes over a Unix socket, and is sent back what became of the worker.
Only the nursery kills its workers, since only it knows which of them it has not reaped.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from outpaint_mcp.workers.messages import ENDED, FORK, KILL, REPLY, REQUEST, STARTED
from outpaint_mcp.workers.pipes import Pipes, open_pipes
from outpaint_mcp.workers.process import worker_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CAN_FORK = hasattr(os, "fork") and hasattr(socket, "send_fds")

_CLOSE_SECONDS = 1.0
# In a row; after these, every worker gets an interpreter of its own.
_MAX_FAILURES = 3


class NurseryGone(Exception):
    """The nursery ended before it forked a worker; the order was not sent to anyone."""


class ForkedProcess:
    """A worker that the nursery forked."""

    def __init__(self, link: _Link, number: int, pipes: Pipes) -> None:
        loop = asyncio.get_running_loop()
        self._link = link
        self._number = number
        self.pipes = pipes
        self.started: asyncio.Future[int] = loop.create_future()
        self.exited: asyncio.Future[int | None] = loop.create_future()

    def fail(self, error: Exception) -> None:
        """Take note that it was not started, or that nobody knows its end any more."""
        self.exited.set_result(None)
        if not self.started.done():
            self.started.set_exception(error)
            self.started.exception()  # nobody may wait for it any more

    def send(self, order: bytes) -> None:
        """See `Process.send`."""
        self.pipes.start(order)

    def kill(self) -> None:
        """See `Process.kill`; where the nursery is gone, the worker ends by its lifeline."""
        if not self.exited.done():
            self._link.send(KILL, self._number)
        elif self.exited.result() is None:
            self.pipes.hang_up(last=b"\0")

    async def exit_code(self) -> int | None:
        """See `Process.exit_code`."""
        return await asyncio.shield(self.exited)


class NurseryProcess(Protocol):
    """The nursery's process, of which its server needs no more than this."""

    def wait(self) -> int:
        """Wait for its end; returns the exit code."""

    def kill(self) -> None:
        """End it by a signal that it cannot catch."""


class Nursery:
    """Starts the nursery at first need, and again when it has ended."""

    def __init__(self, start: Callable[[socket.socket], NurseryProcess]) -> None:
        self._start_process = start
        self._link: _Link | None = None
        self._starting: asyncio.Task[_Link] | None = None
        self._failures = 0
        self._is_closed = False

    @property
    def is_usable(self) -> bool:
        """Whether it is worth another try."""
        return self._failures < _MAX_FAILURES

    async def fork(self, task: str, inputs: Sequence[int] = ()) -> ForkedProcess:
        """Fork a worker for a task, which gets copies of these descriptors.

        Raises:
            NurseryGone: there is no nursery, or none any more; start the worker in another way.
            OSError: the system starts no more processes.
        """
        try:
            link = await self._started()
            process = link.fork(task, inputs)
        except OSError as exc:
            self._failures += 1
            raise NurseryGone from exc
        try:
            await asyncio.shield(process.started)
        except BaseException as exc:
            if isinstance(exc, OSError | NurseryGone):  # not a call that was cancelled
                self._failures += 1
            process.kill()
            process.pipes.close()
            raise
        self._failures = 0
        return process

    async def close(self) -> None:
        """End the nursery for good; its workers are not killed by that."""
        self._is_closed = True
        with suppress(OSError):
            if self._starting is not None:
                await self._starting
        if self._link is not None:
            await self._link.close()

    async def _started(self) -> _Link:
        if self._is_closed:
            raise NurseryGone
        if self._link is None or self._link.is_lost:
            if self._starting is None:
                self._starting = asyncio.create_task(self._start())
            await asyncio.shield(self._starting)
        assert self._link is not None  # noqa: S101 - just started
        return self._link

    async def _start(self) -> _Link:
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    # In a thread: until the new program runs, this waits.
                    process = await asyncio.to_thread(self._start_process, theirs)
                except BaseException:
                    ours.close()
                    raise
            self._link = _Link(ours, process)
            if self._is_closed:
                self._link.hang_up()
            return self._link
        finally:
            self._starting = None


class _Link:
    """A nursery that runs, and the socket to it."""

    def __init__(self, control: socket.socket, process: NurseryProcess) -> None:
        control.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._control = control
        self._process = process
        self._numbers = itertools.count()
        self._workers: dict[int, ForkedProcess] = {}
        self._received = b""
        self._reaper = threading.Thread(target=process.wait, daemon=True, name="nursery-reaper")
        self.is_lost = False
        self._loop.add_reader(control, self._read)

    def fork(self, task: str, inputs: Sequence[int]) -> ForkedProcess:
        """Ask for a worker; `started` says when it is there.

        Raises:
            OSError: the nursery is gone, or there are too many open files.
        """
        number = next(self._numbers)
        with open_pipes() as (pipes, far):
            socket.send_fds(self._control, [REQUEST.pack(FORK, number, task.encode())], (*far, *inputs))
        worker = self._workers[number] = ForkedProcess(self, number, pipes)
        return worker

    def send(self, what: bytes, number: int) -> None:
        """Send a message about a worker."""
        try:
            self._control.send(REQUEST.pack(what, number, b""))
        except OSError:
            self.hang_up()

    async def close(self) -> None:
        """Hang up, and wait for the nursery's end."""
        self.hang_up()
        if not await self._has_ended():
            self._process.kill()
            await self._has_ended()

    async def _has_ended(self) -> bool:
        await asyncio.to_thread(self._reaper.join, _CLOSE_SECONDS)
        return not self._reaper.is_alive()

    def _read(self) -> None:
        try:
            received = self._control.recv(1 << 12)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self.hang_up()
            return
        self._received += received
        whole = len(self._received) // REPLY.size * REPLY.size
        for what, number, value in REPLY.iter_unpack(self._received[:whole]):
            self._take(what, number, value)
        self._received = self._received[whole:]

    def _take(self, what: bytes, number: int, value: int) -> None:
        worker = self._workers[number]
        if what == ENDED:
            del self._workers[number]
            worker.exited.set_result(value)
        elif what == STARTED and value > 0:
            worker.started.set_result(value)
        else:
            del self._workers[number]
            worker.fail(OSError(-value, os.strerror(-value)))

    def hang_up(self) -> None:
        """Let the nursery go, which ends by itself, or has; workers that it forked go on."""
        if self.is_lost:
            return
        self.is_lost = True
        self._loop.remove_reader(self._control)
        self._control.close()
        self._reaper.start()
        for worker in self._workers.values():
            worker.fail(NurseryGone())
        self._workers.clear()


def start_nursery(control: socket.socket) -> NurseryProcess:
    """Start a nursery that serves the other end of a socket; blocks until the new program runs."""
    return subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-P", "-m", "outpaint_mcp.workers.nursery", str(control.fileno())],
        pass_fds=(control.fileno(),),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=worker_environment(),
        start_new_session=True,
    )

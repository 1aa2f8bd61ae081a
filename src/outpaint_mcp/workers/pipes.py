"""The server's ends of a worker's three pipes.

Threads read them: that works alike on every system and for every way to start a worker, and a worker that the server
leaves to itself needs nothing closed in time.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A reply is far shorter; a longer line is a worker gone mad.
_MAX_LINE_BYTES = 1 << 20
# Nor does any work report that often, or as fast as nobody can listen.
_MAX_LINES = 1_000_000
_MAX_UNREAD_BYTES = 16 << 20
_KEPT_STDERR_BYTES = 8 << 10


class Pipes:
    """Sends one order to a worker, and hands on what it writes."""

    def __init__(self, stdin: int, stdout: int, stderr: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._stdin = _Stdin(stdin)
        self._stdout = stdout
        self._stderr = stderr
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._is_read = True
        self._unread_bytes = 0
        self._stderr_end: asyncio.Future[bytes] = self._loop.create_future()

    def start(self, order: bytes, *, on_end: Callable[[], None] = lambda: None) -> None:
        """Send the order, and begin to read; `on_end` is called in a thread when stdout has ended.

        Raises:
            OSError: the system starts no more threads; the pipes are closed.
        """
        try:
            threading.Thread(target=self._read_stderr, daemon=True, name="worker-stderr").start()
        except RuntimeError as exc:
            self.close()
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from exc
        try:
            threading.Thread(
                target=self._talk, args=(order, on_end), daemon=True, name="worker-stdout"
            ).start()
        except RuntimeError as exc:
            self._stdin.close()
            os.close(self._stdout)
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from exc

    async def line(self) -> bytes | None:
        """Return the next line from stdout; None at its end, or where nobody reads it any more."""
        line = await self._lines.get()
        self._unread_bytes -= len(line or b"")
        return line

    async def last_words(self) -> str:
        """Return the end of stderr, when that has ended."""
        return (await asyncio.shield(self._stderr_end)).decode(errors="replace")

    def hang_up(self, *, last: bytes = b"") -> None:
        """End stdin, after a last byte where one is given; `line` returns None from now on."""
        self._stdin.close(last=last)
        self._is_read = False
        self._lines.put_nowait(None)

    def close(self) -> None:
        """Close pipes that were never started."""
        self._stdin.close()
        os.close(self._stdout)
        os.close(self._stderr)

    def _talk(self, order: bytes, on_end: Callable[[], None]) -> None:
        self._stdin.write(order)
        with os.fdopen(self._stdout, "rb") as stdout:
            for _ in range(_MAX_LINES):
                line = stdout.readline(_MAX_LINE_BYTES)
                if not line or self._unread_bytes > _MAX_UNREAD_BYTES:
                    break
                self._hand_on(self._take, line)
            if line:
                self._hand_on(self._take, b"too much\n")
        on_end()
        self._stdin.close()
        self._hand_on(self._lines.put_nowait, None)

    def _take(self, line: bytes) -> None:
        if self._is_read:
            self._unread_bytes += len(line)
            self._lines.put_nowait(line)

    def _read_stderr(self) -> None:
        end = b""
        while received := os.read(self._stderr, 1 << 16):
            end = (end + received)[-_KEPT_STDERR_BYTES:]
        os.close(self._stderr)
        self._hand_on(self._stderr_end.set_result, end)

    def _hand_on(self, take: Callable[..., None], what: bytes | None) -> None:
        with suppress(RuntimeError):  # the loop has closed, as when the server leaves a worker to itself
            self._loop.call_soon_threadsafe(take, what)


@contextmanager
def open_pipes() -> Iterator[tuple[Pipes, tuple[int, int, int]]]:
    """Open the pipes of a worker that the block starts; none stays open where that fails.

    Yields:
        The server's ends, and the worker's (stdin, stdout and stderr), which are closed when the block ends.

    Raises:
        OSError: there are too many open files.
    """
    ends: list[int] = []
    try:
        for _ in range(3):
            ends += os.pipe()
    except OSError:
        for end in ends:
            os.close(end)
        raise
    stdin_far, stdin, stdout, stdout_far, stderr, stderr_far = ends
    pipes, far = Pipes(stdin, stdout, stderr), (stdin_far, stdout_far, stderr_far)
    try:
        yield pipes, far
    except BaseException:
        pipes.close()
        raise
    finally:
        for end in far:
            os.close(end)


class _Stdin:
    """A worker's stdin, which one thread writes to and another closes."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._is_wanted = True

    def write(self, content: bytes) -> None:
        with self._lock, suppress(OSError):  # a worker that died at once is known by its exit code
            while content and self._fd >= 0:
                content = content[os.write(self._fd, content) :]
        if not self._is_wanted:
            self.close()

    def close(self, *, last: bytes = b"") -> None:
        """Close it, or leave that to the thread which is writing."""
        self._is_wanted = False
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._fd >= 0:
                if last:
                    with suppress(OSError):
                        os.set_blocking(self._fd, False)
                        os.write(self._fd, last)
                os.close(self._fd)
                self._fd = -1
        finally:
            self._lock.release()

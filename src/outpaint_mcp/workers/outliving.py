"""What a worker that may outlive its server leaves in its job's folder, for the next server to read.

A server's worker that extends, analyzes or draws a recording goes on for a while when its server is gone. All the while
it holds the folder's lock. It writes its progress down, and at its end its answer or its error, before it lets go of
the lock.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from outpaint_mcp.disk.opening import open_regular
from outpaint_mcp.errors import GenerationFailed, InternalError
from outpaint_mcp.workers import answers, wire
from outpaint_mcp.workers.looks import Analyze, Digest, Draw
from outpaint_mcp.workers.orders import Extend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from outpaint_mcp.workers.order import Order

OUTLIVE_SECONDS = 600.0
"""How long a worker goes on when its server is gone."""
ANSWER_NAME = "answer.json"
"""What such a worker ended with."""
STOP_POLL_SECONDS = 0.25
"""How often such a worker looks whether it is to stop."""

_OUTLIVING = (Extend, Digest, Analyze, Draw)
_PROGRESS_SECONDS = 0.25
_MAX_LEFT_BYTES = 1 << 20
# A predecessor that was killed lets go within moments.
_LOCK_TIMEOUT_SECONDS = 10.0

_AnswerT = TypeVar("_AnswerT")


def may_outlive(order_type: type[Order[Any]]) -> bool:
    """Return whether the worker of such an order goes on for a while when its server is gone."""
    return issubclass(order_type, _OUTLIVING)


def folder_of(order: Order[Any]) -> Path | None:
    """Return the folder of an order whose worker may outlive its server."""
    return order.folder if isinstance(order, _OUTLIVING) else None


def is_at_work(folder: Path) -> bool:
    """Return whether a worker has a job's folder in hand.

    A worker that has just been started does not hold the lock yet. Such a worker ends with its server.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - not needed to start a server

    if not (folder / "lock").exists():
        return False
    try:
        with FileLock(folder / "lock", timeout=0, mode=0o600):
            return False
    except Timeout:
        return True
    except OSError:  # the folder is gone meanwhile
        return False


def progress_of(folder: Path) -> tuple[float, str] | None:
    """Return the share done and the step that a job's worker wrote down last; None where there is nothing."""
    try:
        return answers.progress_in(wire.decode(wire.Progress, _left_in(folder, "progress.json")))
    except (OSError, InternalError):
        return None


def answer_of(folder: Path, order_type: type[Order[_AnswerT]]) -> _AnswerT | None:
    """Return what a job's worker answered when nobody listened.

    Returns:
        None where there is no answer, or none that this version can read: the job has to be started again.

    Raises:
        OutpaintError: the error that the worker ended with.
    """
    try:
        reply = wire.decode(wire.reply_type(order_type), _left_in(folder, ANSWER_NAME))
        answers.check_answer(reply.answer, folder)
    except (OSError, InternalError):
        return None
    if reply.error is not None:
        raise answers.error_of(reply.error)
    return reply.answer


def _left_in(folder: Path, name: str) -> bytes:
    """Read what a worker left: a regular file, and not more than anyone of ours writes."""
    with os.fdopen(open_regular(folder.resolve() / name, (folder.resolve(),)), "rb") as file:
        return file.read(_MAX_LEFT_BYTES)


def ask_to_stop(folder: Path) -> None:
    """Have a worker that has outlived its server end, within moments.

    Raises:
        OSError: the folder cannot be written to.
    """
    (folder / "stop").touch()


class JobFolder:
    """A job's folder in the hands of its worker.

    Attributes:
        is_taken: whether this worker got the folder's lock.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        lock_timeout_seconds: float = _LOCK_TIMEOUT_SECONDS,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._lock_timeout_seconds = lock_timeout_seconds
        self._written_at = -_PROGRESS_SECONDS
        self.is_taken = False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's lock; nothing that an earlier worker left in it is read again.

        Raises:
            GenerationFailed: another process holds it.
        """
        from filelock import FileLock, Timeout  # noqa: PLC0415 - see `is_at_work`

        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with FileLock(self._folder / "lock", timeout=self._lock_timeout_seconds, mode=0o600):
                self.is_taken = True  # before anything else: a server that sees the lock may leave at once
                for name in ("progress.json", ANSWER_NAME, "stop"):
                    (self._folder / name).unlink(missing_ok=True)
                yield
        except Timeout as exc:
            raise GenerationFailed(
                "Another process is still working on this request. Submit it again."
            ) from exc

    def write_progress(self, progress: wire.Progress) -> None:
        """Write down how far the work is, at most every quarter of a second."""
        now = self._clock()
        if now - self._written_at >= _PROGRESS_SECONDS:
            self._written_at = now
            self._write("progress.json", progress)

    def write_reply(self, reply: wire.Reply[Any]) -> None:
        """Write down what the work ended with."""
        self._write(ANSWER_NAME, reply)

    def is_asked_to_stop(self) -> bool:
        """Return whether somebody wants the work to end, or has deleted the folder."""
        return (self._folder / "stop").exists() or not (self._folder / "lock").exists()

    def _write(self, name: str, record: object) -> None:
        part = self._folder / f"{name}.{os.getpid()}.part"
        with suppress(OSError):  # a full disk ends no work that a server still waits for
            part.write_text(wire.encode(record), encoding="utf-8")
            part.replace(self._folder / name)

"""Locks that keep threads and processes from delivering the same file at the same time."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from outpaint_mcp.service.delivery_failures import being_delivered, data_folder_unusable, server_stopping

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

_POLL_SECONDS = 0.05


class DeliveryLocks:
    """A folder of lock files.

    A lock file is only ever removed by whoever holds the lock, and `FileLock` does not accept a file that was
    removed while it waited: no two can hold the same lock.
    """

    def __init__(self, folder: Path, stopping: threading.Event, *, wait_seconds: float) -> None:
        """Use a folder, which need not exist yet.

        Args:
            folder: the same for every process.
            stopping: ends every wait.
            wait_seconds: how long to wait for another process that delivers the same file.
        """
        self._folder = folder
        self._stopping = stopping
        self._wait_seconds = wait_seconds

    @contextmanager
    def held(self, key: str, request_id: str) -> Iterator[None]:
        """Hold a lock for as long as the block lasts.

        Args:
            key: names what is delivered.
            request_id: the request that it belongs to.

        Raises:
            DeliveryFailed: another process holds it for too long.
            StorageFailed: the folder cannot be used.
            ServerStopping: the server stopped meanwhile.
        """
        path = self._folder / f"{key}.lock"
        lock = FileLock(path, mode=0o600)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            until = time.monotonic() + self._wait_seconds
            while not _acquire(lock):
                if time.monotonic() > until:
                    raise being_delivered(request_id)
                if self._stopping.wait(_POLL_SECONDS):
                    raise server_stopping(request_id)
        except OSError as exc:
            raise data_folder_unusable(self._folder.parent, request_id, exc) from exc
        try:
            yield
        finally:
            _remove(path, lock)

    def tidy(self) -> None:
        """Remove the lock files of processes that were killed."""
        for path in self._folder.glob("*.lock"):
            lock = FileLock(path, mode=0o600)
            with suppress(OSError):
                if _acquire(lock):
                    _remove(path, lock)


def _acquire(lock: FileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True


def _remove(path: Path, lock: FileLock) -> None:
    with suppress(OSError):  # Windows removes it when the lock is released
        path.unlink()
    lock.release()

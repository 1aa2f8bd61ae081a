"""Who is alive: a lock file for each server process, let go by the system when the process ends."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Presence:
    """This process's sign of life, and a look at the others'.

    A lock rather than a heartbeat: a machine that slept through the night has no dead servers on
    it, and a process killed a moment ago is known to be gone at once.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.server_id = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._lock = self._lock_of(self.server_id)
        with FileLock(folder / "gate"):  # nobody takes one for dead that is just being born
            self._lock.acquire()
            self.dead_among(lock.stem for lock in folder.glob("*.lock"))

    def dead_among(self, server_ids: Iterable[str]) -> set[str]:
        """Return those of the servers that are no longer alive; their lock files go."""
        return {each for each in server_ids if each != self.server_id and not self._is_alive(each)}

    def close(self) -> None:
        """Be gone."""
        self._lock.release()
        self._forget(self.server_id)

    def _is_alive(self, server_id: str) -> bool:
        lock = self._lock_of(server_id)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return True
        lock.release()
        self._forget(server_id)
        return False

    def _lock_of(self, server_id: str) -> FileLock:
        return FileLock(self._folder / f"{server_id}.lock")

    def _forget(self, server_id: str) -> None:
        with suppress(OSError):  # a leftover file does no harm: its id is never used again
            (self._folder / f"{server_id}.lock").unlink()

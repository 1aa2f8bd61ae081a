"""Which servers are alive: each process holds a lock file that the system releases when the process ends."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from outpaint_mcp.disk.writing import remove
from outpaint_mcp.storage.failures import storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Others hold the gate for as long as it takes to look at a few files.
_GATE_TIMEOUT_SECONDS = 10


def scratch_of(presence: Presence, folder: Path) -> Path:
    """Return where this process may put what it needs for a while, and delete what dead ones have left there.

    Raises:
        StorageFailed: the folder cannot be used.
    """
    with storage_errors(folder.parent):
        for dead in presence.dead_among([each.name for each in folder.glob("*")]):
            remove(folder / dead)
    return folder / presence.server_id


class Presence:
    """This process's sign of life, and a look at the others'.

    A lock rather than a heartbeat: a machine that slept through the night has no dead servers on
    it, and a process that was killed a moment ago is known to be gone at once.
    """

    def __init__(self, folder: Path) -> None:
        """Show a sign of life from now on.

        Raises:
            StorageFailed: the folder cannot be used.
        """
        self._folder = folder
        self.server_id = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._lock = self._lock_of(self.server_id)
        with storage_errors(folder.parent):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # A server that is only starting is not mistaken for a dead one.
            with FileLock(folder / "gate", timeout=_GATE_TIMEOUT_SECONDS, mode=0o600):
                self._lock.acquire()
                self.dead_among(lock.stem for lock in folder.glob("*.lock"))

    def dead_among(self, server_ids: Iterable[str]) -> set[str]:
        """Return those of the servers that are no longer alive, and remove their lock files.

        Raises:
            OSError: a lock could not be tried.
        """
        return {each for each in server_ids if each != self.server_id and not self._is_alive(each)}

    def close(self) -> None:
        """Take the sign of life away: whatever this server still has is free for others."""
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
        # It is acquired in one thread and released in another.
        return FileLock(self._folder / f"{server_id}.lock", thread_local=False, mode=0o600)

    def _forget(self, server_id: str) -> None:
        with suppress(OSError):  # a leftover file does no harm: its id is never used again
            (self._folder / f"{server_id}.lock").unlink()

"""One SQLite file, used by several threads of several processes."""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from outpaint_mcp.errors import ServerStopping, StorageFailed
from outpaint_mcp.storage.schema import TABLES, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_log = logging.getLogger(__name__)

# A writer holds the file for milliseconds; whoever waits longer than this meets a broken disk.
_BUSY_TIMEOUT_SECONDS = 10
# Readers need the write-ahead log for milliseconds; whoever erases it does not wait for one that hangs.
_ERASE_TIMEOUT_MILLISECONDS = 200


def _set_aside_unreleased(path: Path) -> None:
    """Rename a file of a version before 0.1.0, which this one cannot read; nothing in it is lost.

    Raises:
        StorageFailed: another such file has that name already.
    """
    with closing(
        sqlite3.connect(path)
    ) as connection:  # the last to close puts the write-ahead log into the file
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not 0 < version < VERSION:
        return
    aside = path.with_stem(f"{path.stem}-unreleased-{version}")
    if aside.exists():
        raise StorageFailed(
            f"{path} and {aside} are both of a version before 0.1.0. To start anew, move one of them away, then try"
            " again.",
            path=str(path),
        )
    for end in ("-wal", "-shm", ""):
        written = path.with_name(path.name + end)
        if written.exists():
            written.rename(aside.with_name(aside.name + end))
    path.touch(mode=0o600)
    _log.warning("a database of an unreleased version was set aside as %s", aside)


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Report what is wrong with the data folder, and how to fix it.

    Raises:
        StorageFailed: the block could not use the folder.
    """
    try:
        yield
    except (sqlite3.Error, OSError, Timeout) as exc:
        reason = "another process holds its lock" if isinstance(exc, Timeout) else str(exc)
        is_busy = isinstance(exc, Timeout) or "locked" in reason
        advice = (
            "Another process is using it, or its disk does not answer. Try again in a moment."
            if is_busy
            else "Free some space, fix its permissions, or set OUTPAINT_DATA_DIR to another folder; then try again."
        )
        raise StorageFailed(
            f"The data folder {folder} cannot be used: {reason}. {advice}", path=str(folder)
        ) from exc


class Database:
    """Connections to one SQLite file, one per thread.

    Reads see committed state only; a write is on disk when its `write()` block ends.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or create it; one of an unreleased version is set aside under another name.

        Raises:
            StorageFailed: the file cannot be used, or a newer version of this program wrote it.
        """
        self._path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._in_use = 0
        self._is_open = True
        self._changed = threading.Condition()
        with storage_errors(path.parent), self._counted():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)  # the folder may have been there, open to others
            # SQLite's own lock does not cover the change to write-ahead mode.
            with FileLock(path.with_suffix(".lock"), timeout=_BUSY_TIMEOUT_SECONDS):
                _set_aside_unreleased(path)
                self._connection().execute("PRAGMA journal_mode = WAL")
                self._create()

    def _create(self) -> None:
        with self.write("schema") as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == VERSION:
                return
            if version:
                raise StorageFailed(
                    f"{self._path} was written by a newer outpaint-mcp. Upgrade this one, or set OUTPAINT_DATA_DIR to"
                    " another folder.",
                    path=str(self._path),
                )
            for statement in TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Lend this thread's connection for SELECT statements.

        Raises:
            StorageFailed: the file cannot be read.
            ServerStopping: the database is closed.
        """
        with storage_errors(self._path.parent), self._counted():
            yield self._connection()

    @contextmanager
    def write(self, lock: str, *, erases: bool = False) -> Iterator[sqlite3.Connection]:
        """Run one transaction, which other processes see entirely or not at all.

        Nothing in the block may touch another file, the network or a clock's patience: everybody else waits.

        Args:
            lock: what the block reads and then decides on, such as `queue`. SQLite has one lock for everything; a
                database with several writers locks just this.
            erases: whether what the block deletes has to leave the disk at once.

        Raises:
            StorageFailed: the file cannot be written; nothing in the block has taken effect.
            ServerStopping: the database is closed.
        """
        del lock
        with storage_errors(self._path.parent), self._counted():
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite itself rolls back when the disk is full
                    connection.execute("ROLLBACK")
                raise
            if erases:
                _erase_log(connection)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Keep the connections open meanwhile: SQLite crashes the process when one is closed under a statement."""
        with self._changed:
            if not self._is_open:
                raise ServerStopping("This server is stopping. Ask again; nothing is lost.")
            self._in_use += 1
        try:
            yield
        finally:
            with self._changed:
                self._in_use -= 1
                self._changed.notify_all()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self._path,
                timeout=_BUSY_TIMEOUT_SECONDS,
                isolation_level=None,
                check_same_thread=False,  # closed by whoever closes the database
            )
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA synchronous = FULL")  # a submission survives a power cut
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(
                "PRAGMA secure_delete = ON"
            )  # what is deleted, a signed link say, is overwritten
            self._local.connection = connection
            with self._changed:
                self._connections.append(connection)
        return connection

    def close(self) -> None:
        """Close every thread's connection, as soon as threads that were left behind are done with theirs."""
        with self._changed:
            self._is_open = False
            self._changed.wait_for(lambda: self._in_use == 0)
            for connection in self._connections:
                connection.close()
            self._connections.clear()


def _erase_log(connection: sqlite3.Connection) -> None:
    """Empty the write-ahead log, which still has what was deleted; where somebody reads it now, the next call does."""
    with suppress(sqlite3.Error):  # the transaction has taken effect all the same
        connection.execute(f"PRAGMA busy_timeout = {_ERASE_TIMEOUT_MILLISECONDS}")
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_SECONDS * 1000}")

"""One SQLite file, used by several threads of several processes."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import FileLock

from outpaint_mcp.disk.writing import make_private
from outpaint_mcp.errors import ServerStopping, StorageFailed
from outpaint_mcp.storage.database_file import identity_of, is_emptied, prepare
from outpaint_mcp.storage.failures import damaged, displaced, is_busy, is_damage, storage_errors
from outpaint_mcp.storage.schema import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A writer holds the file for milliseconds; whoever waits longer than this meets a broken disk.
_BUSY_TIMEOUT_SECONDS = 10
# Once somebody has waited in vain, others do not wait as long, one after the other; and whoever erases the write-ahead
# log, which readers need for milliseconds, does not wait for one that hangs.
_IMPATIENT_SECONDS = 0.2


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
        # Of the first connection, which stays open as long as there are others.
        self._identity: tuple[tuple[int, int], ...] | None = None
        self._damage: StorageFailed | None = None
        self._impatient_until = 0.0
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        with self._reported():
            make_private(self._path.parent)
            # SQLite's own lock does not cover the change to write-ahead mode.
            with FileLock(self._path.with_suffix(".lock"), timeout=_BUSY_TIMEOUT_SECONDS, mode=0o600):
                prepare(self._path)
                before = self._path.stat()
                with self.read() as connection:
                    (version,) = connection.execute("PRAGMA user_version").fetchone()
                    if version != VERSION:
                        raise StorageFailed(
                            f"{self._path} was written by a newer outpaint-mcp. Upgrade this one, or set"
                            " OUTPAINT_DATA_DIR to another folder.",
                            path=str(self._path),
                        )
                    connection.execute("PRAGMA journal_mode = WAL")
                    connection.execute("SELECT 1 FROM requests LIMIT 1").fetchone()
                self._identity = identity_of(self._path)
                if self._identity[0] != (before.st_dev, before.st_ino):
                    raise displaced(self._path)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Lend this thread's connection for SELECT statements.

        Raises:
            StorageFailed: the file cannot be read.
            ServerStopping: the database is closed.
        """
        with self._reported(), self._counted():
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
        with self._reported(), self._counted():
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            self._impatient_until = 0.0
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite itself rolls back when the disk is full
                    connection.execute("ROLLBACK")
                raise
            self._check()  # what went into a file that has lost its name is not written
            if erases:
                _erase_log(connection)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Report what is wrong with the file; once it is damaged, it is not used any more."""
        with storage_errors(self._path.parent):
            try:
                yield
            except sqlite3.Error as exc:
                if is_busy(exc):
                    self._impatient_until = time.monotonic() + _BUSY_TIMEOUT_SECONDS
                if is_damage(exc):
                    self._damage = self._damage or damaged(self._path, str(exc))
                    raise self._damage.with_traceback(None) from exc
                raise

    def _check(self) -> None:
        """See that the file that is open is there under its name.

        Raises:
            StorageFailed: it is another one, or none, or damaged.
        """
        if self._identity is None:  # it is being opened
            return
        if self._damage is None:
            try:
                if identity_of(self._path) != self._identity:
                    raise displaced(self._path)
            except FileNotFoundError as exc:
                raise displaced(self._path) from exc
            if is_emptied(self._path):
                self._damage = damaged(self._path, "it was emptied")
        if self._damage is not None:
            raise self._damage.with_traceback(None)

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
        """Return this thread's connection to the one file, which waits for others as long as is worth it."""
        self._check()
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
            try:
                self._check()  # since it was another file, too, that may have been opened
            except StorageFailed:
                connection.close()
                raise
            self._local.connection = connection
            with self._changed:
                self._connections.append(connection)
        is_patient = time.monotonic() >= self._impatient_until
        _set_patience(connection, _BUSY_TIMEOUT_SECONDS if is_patient else _IMPATIENT_SECONDS)
        return connection

    def close(self) -> None:
        """Close every thread's connection, as soon as threads that were left behind are done with theirs."""
        with self._changed:
            self._is_open = False
            self._changed.wait_for(lambda: self._in_use == 0)
            for connection in self._connections:
                connection.close()
            self._connections.clear()


def _set_patience(connection: sqlite3.Connection, seconds: float) -> None:
    connection.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")


def _erase_log(connection: sqlite3.Connection) -> None:
    """Empty the write-ahead log, which still has what was deleted; where somebody reads it now, the next call does."""
    with suppress(sqlite3.Error):  # the transaction has taken effect all the same
        _set_patience(connection, _IMPATIENT_SECONDS)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

"""One SQLite file that several server processes read and write at the same time."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock

from outpaint_mcp.errors import StorageFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A writer holds the file for milliseconds; whoever waits longer than this meets a broken disk.
_BUSY_TIMEOUT_SECONDS = 10

# Each script brings the file from one version to the next; only ever add to the end. What requests had of their
# delivery stays where it was, unread, since servers of the version before may still run; the triggers keep those from
# carrying out requests that they would get wrong.
_MIGRATIONS = (
    """
    CREATE TABLE requests (
        request_id TEXT PRIMARY KEY,
        provider TEXT NOT NULL,
        status TEXT NOT NULL,
        audio TEXT NOT NULL,
        title TEXT NOT NULL,
        tags TEXT NOT NULL,
        lyrics TEXT NOT NULL,
        seed INTEGER NOT NULL,
        extend_before_duration REAL NOT NULL,
        extend_after_duration REAL NOT NULL,
        parent_request_id TEXT REFERENCES requests (request_id),
        expected_duration_seconds REAL,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        error TEXT,
        path TEXT,
        sha256 TEXT,
        size_bytes INTEGER,
        duration_seconds REAL,
        before_seconds REAL,
        after_seconds REAL,
        used_seed INTEGER,
        note TEXT,
        delivered_at REAL
    ) STRICT;
    CREATE INDEX requests_by_time ON requests (created_at DESC);

    CREATE TABLE jobs (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        request_id TEXT NOT NULL UNIQUE,
        status TEXT NOT NULL,
        source TEXT NOT NULL,
        before_seconds REAL NOT NULL,
        after_seconds REAL NOT NULL,
        seed INTEGER NOT NULL,
        server_id TEXT,
        attempts INTEGER NOT NULL DEFAULT 0,
        cancel_requested INTEGER NOT NULL DEFAULT 0,
        progress REAL NOT NULL DEFAULT 0,
        step TEXT NOT NULL DEFAULT '',
        error TEXT,
        outcome TEXT
    ) STRICT;
    CREATE INDEX jobs_by_status ON jobs (status, position);
    """,
    """
    ALTER TABLE requests ADD COLUMN caller TEXT NOT NULL DEFAULT '';
    ALTER TABLE requests ADD COLUMN dedup_key TEXT;
    ALTER TABLE requests ADD COLUMN estimated_cost_usd REAL;
    ALTER TABLE requests ADD COLUMN cost_usd REAL;
    ALTER TABLE requests ADD COLUMN url TEXT;
    CREATE INDEX requests_by_likeness ON requests (dedup_key, created_at);

    CREATE TABLE orders (
        request_id TEXT PRIMARY KEY,
        status TEXT NOT NULL,
        source TEXT NOT NULL,
        inputs TEXT NOT NULL,
        server_id TEXT,
        cancel_requested INTEGER NOT NULL DEFAULT 0,
        source_seconds REAL,
        queue_position INTEGER,
        step TEXT NOT NULL DEFAULT '',
        account TEXT NOT NULL DEFAULT '',
        most_usd REAL,
        error TEXT,
        kind TEXT,
        outcome TEXT
    ) STRICT;
    CREATE INDEX orders_by_status ON orders (status);

    CREATE TABLE steps (
        request_id TEXT NOT NULL REFERENCES orders (request_id),
        number INTEGER NOT NULL,
        side TEXT NOT NULL,
        seconds REAL NOT NULL,
        context_seconds REAL NOT NULL,
        state TEXT NOT NULL,
        sent_at REAL,
        remote_id TEXT,
        object_name TEXT,
        cost_usd REAL,
        PRIMARY KEY (request_id, number)
    ) STRICT;
    """,
    """
    ALTER TABLE requests ADD COLUMN takes INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE requests ADD COLUMN take_of TEXT REFERENCES requests (request_id);
    CREATE INDEX requests_by_family ON requests (take_of);

    ALTER TABLE jobs ADD COLUMN start_seconds REAL NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN end_seconds REAL NOT NULL DEFAULT 0;
    ALTER TABLE orders ADD COLUMN start_seconds REAL NOT NULL DEFAULT 0;
    ALTER TABLE orders ADD COLUMN end_seconds REAL NOT NULL DEFAULT 0;

    CREATE TABLE deliveries (
        request_id TEXT NOT NULL REFERENCES requests (request_id),
        options TEXT NOT NULL,
        path TEXT NOT NULL,
        sha256 TEXT,
        size_bytes INTEGER,
        duration_seconds REAL,
        before_seconds REAL,
        after_seconds REAL,
        seed INTEGER,
        note TEXT,
        url TEXT,
        verdict TEXT,
        delivered_at REAL,
        PRIMARY KEY (request_id, options)
    ) STRICT;
    INSERT INTO deliveries (request_id, options, path, sha256, size_bytes, duration_seconds, before_seconds,
        after_seconds, seed, note, url, delivered_at)
        SELECT request_id, 'whole, source', path, sha256, size_bytes, duration_seconds, before_seconds,
            after_seconds, used_seed, note, url, delivered_at FROM requests WHERE path IS NOT NULL;
    CREATE TRIGGER jobs_need_this_version BEFORE UPDATE OF server_id ON jobs WHEN new.server_id IS NOT NULL
        BEGIN SELECT this_server_is_outdated_restart_it(); END;
    CREATE TRIGGER orders_need_this_version BEFORE UPDATE OF server_id ON orders WHEN new.server_id IS NOT NULL
        BEGIN SELECT this_server_is_outdated_restart_it(); END;
    """,
)


def _statements(script: str) -> Iterator[str]:
    """Take a script apart; triggers have semicolons of their own."""
    statement = ""
    for part in script.split(";")[:-1]:
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """Say what is wrong with the data folder, and how to mend it, where something is.

    Raises:
        StorageFailed: the block could not use it.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as exc:
        raise StorageFailed(
            f"The data folder {folder} cannot be used: {exc}. Make room, mend its permissions,"
            " or set OUTPAINT_DATA_DIR to another folder; then try again."
        ) from exc


class Database:
    """Connections to one SQLite file, one a thread.

    Reads see committed state only; a write is on disk when its `write()` block ends.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make it; brings an older one up to date.

        Raises:
            StorageFailed: the file cannot be used.
        """
        self._path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._in_use = 0
        self._is_open = True
        self._changed = threading.Condition()
        with told(path.parent), self._counted():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)  # the folder may have been there, open to others
            # SQLite's own lock does not cover the change to write-ahead mode.
            with FileLock(path.with_suffix(".lock"), timeout=_BUSY_TIMEOUT_SECONDS):
                self._connection().execute("PRAGMA journal_mode = WAL")
                self._migrate()

    def _migrate(self) -> None:
        with self.write() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > len(_MIGRATIONS):
                raise StorageFailed(f"{self._path} was written by a newer outpaint-mcp; upgrade this one.")
            for script in _MIGRATIONS[version:]:
                # Not `executescript`: it would commit the transaction that keeps other servers out.
                for statement in _statements(script):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One thread's connection, for SELECT statements.

        Raises:
            StorageFailed: the file cannot be read.
        """
        with told(self._path.parent), self._counted():
            yield self._connection()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction that other processes see wholly or not at all.

        Raises:
            StorageFailed: the file cannot be written; nothing of the block has happened.
        """
        with told(self._path.parent), self._counted():
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite itself rolls back when the disk is full
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Keep the connections open meanwhile: SQLite crashes the process when one is closed under a statement."""
        with self._changed:
            if not self._is_open:
                raise sqlite3.ProgrammingError("this server is stopping")
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
            connection.create_function("this_server_is_outdated_restart_it", 0, lambda: None)
            connection.execute("PRAGMA synchronous = FULL")  # a submission survives a power cut
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA secure_delete = ON")  # what is forgotten, a signed link say, is gone
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

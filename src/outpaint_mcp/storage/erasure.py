"""Taking requests out of the journal: what they cost stays, without a word of what they were about."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from outpaint_mcp.storage.leased_jobs import IS_OPEN

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from outpaint_mcp.storage.database import Database

_FAMILY = "SELECT request_id FROM requests WHERE request_id = :family OR take_of = :family"
_IS_OPEN = f"request_id IN (SELECT request_id FROM jobs WHERE {IS_OPEN})"


class StillNeeded(Exception):
    """A request cannot be taken out now.

    Attributes:
        request_id: the one that is open: itself, a take of it, or one that extends its result.
    """

    def __init__(self, request_id: str) -> None:
        super().__init__(request_id)
        self.request_id = request_id


class Erasure:
    """Takes requests out; every method may be called from any thread and any process."""

    def __init__(self, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    def check(self, family: str) -> None:
        """See whether a request can be taken out.

        Args:
            family: its id as a whole.

        Raises:
            StillNeeded: it is open, or another one works with its result.
        """
        with self._database.read() as connection:
            _check(connection, family)

    def erase(self, family: str) -> None:
        """Take a request out with all its takes; what extends its results stays, as if these had been files.

        Raises:
            StillNeeded: as of `check`.
        """
        values = {"family": family, "now": self._now()}
        with self._database.write(f"job {family}", erases=True) as connection:
            _check(connection, family)
            connection.execute(
                "UPDATE requests SET parent_request_id = NULL"
                f" WHERE parent_request_id IN ({_FAMILY}) OR request_id IN ({_FAMILY})",
                values,
            )
            connection.execute(
                "UPDATE jobs SET source = '', inputs = '', step = '', basis = NULL, error = NULL, error_kind = NULL,"
                " error_hint = NULL, error_field = NULL, outcome = NULL, audio_sha256 = NULL"
                f" WHERE request_id IN ({_FAMILY})",
                values,
            )
            connection.execute(f"DELETE FROM deliveries WHERE request_id IN ({_FAMILY})", values)
            connection.execute(
                "UPDATE requests SET audio = '', title = '', dedup_key = NULL, deleted_at = :now"
                f" WHERE request_id IN ({_FAMILY})",
                values,
            )

    def is_used_elsewhere(self, family: str, owner: str, audio: str) -> bool:
        """Whether another request of its owner has the same source, by what that is called."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT 1 FROM requests WHERE caller = ? AND audio = ? AND deleted_at IS NULL"
                " AND coalesce(take_of, request_id) <> ? LIMIT 1",
                (owner, audio, family),
            ).fetchone()
        return row is not None

    def sources_in_use(self) -> set[str]:
        """Return the sources of requests that have not ended."""
        with self._database.read() as connection:
            return {row["source"] for row in connection.execute(f"SELECT source FROM jobs WHERE {IS_OPEN}")}

    def families_of_remote(self, *, older_than_seconds: float) -> list[str]:
        """Return the requests of remote callers that were submitted so long ago."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT request_id FROM requests WHERE caller <> '' AND take_of IS NULL AND deleted_at IS NULL"
                " AND created_at < ?",
                (self._now() - older_than_seconds,),
            ).fetchall()
        return [row["request_id"] for row in rows]


def _check(connection: sqlite3.Connection, family: str) -> None:
    row = connection.execute(
        f"SELECT request_id FROM requests WHERE (request_id IN ({_FAMILY}) OR parent_request_id IN ({_FAMILY}))"
        f" AND {_IS_OPEN} LIMIT 1",
        {"family": family},
    ).fetchone()
    if row is not None:
        raise StillNeeded(row["request_id"])

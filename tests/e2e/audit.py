"""A witness inside the database: every step that any server takes with any job, as it is committed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outpaint_mcp.storage.database import Database

if TYPE_CHECKING:
    from pathlib import Path

_WITNESS = """
CREATE TABLE IF NOT EXISTS audit (
    moment INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT, was TEXT, status TEXT,
    old_server_id TEXT, server_id TEXT, old_attempt INTEGER, attempt INTEGER
);
CREATE TRIGGER IF NOT EXISTS audit_new AFTER INSERT ON jobs BEGIN
    INSERT INTO audit (request_id, was, status, old_server_id, server_id, old_attempt, attempt)
    VALUES (new.request_id, '', new.status, NULL, new.server_id, 0, new.attempt);
END;
CREATE TRIGGER IF NOT EXISTS audit_step AFTER UPDATE OF status, server_id, attempt ON jobs BEGIN
    INSERT INTO audit (request_id, was, status, old_server_id, server_id, old_attempt, attempt)
    VALUES (new.request_id, old.status, new.status, old.server_id, new.server_id, old.attempt, new.attempt);
END;
"""
_COLUMNS = "request_id, was, status, old_server_id, server_id, old_attempt, attempt"
_OPEN = {"in_queue", "in_progress"}


@dataclass(frozen=True, slots=True)
class Step:
    """A change of a job's status or of its lease."""

    request_id: str
    was: str
    status: str
    old_server_id: str | None
    server_id: str | None
    old_attempt: int
    attempt: int


class Audit:
    """Reads what the witness saw."""

    def __init__(self, data_dir: Path) -> None:
        """Make the database if no server has, and put the witness in."""
        self._path = data_dir / "outpaint.sqlite3"
        Database(self._path).close()
        with closing(sqlite3.connect(self._path, timeout=30)) as connection:
            connection.executescript(_WITNESS)

    def steps(self) -> list[Step]:
        """Return every step so far, of all jobs, oldest first."""
        with closing(sqlite3.connect(self._path, timeout=30)) as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM audit ORDER BY moment")
            return [Step(*row) for row in rows]

    def starts(self) -> list[str]:
        """Return the request ids in the order in which their jobs were claimed."""
        return [step.request_id for step in self.steps() if step.attempt > step.old_attempt]

    def check(self) -> None:
        """Check that no job was ever with two servers, run after its end, or ended twice.

        Raises:
            AssertionError: one was.
        """
        where: dict[str, tuple[str, str | None, int]] = {}
        for step in self.steps():
            assert where.get(step.request_id, ("", None, 0)) == (
                step.was,
                step.old_server_id,
                step.old_attempt,
            )
            if step.was == "":
                assert (step.status, step.server_id, step.attempt) == ("in_queue", None, 0), step
            else:
                assert step.was in _OPEN, step
            if step.status not in _OPEN:  # whoever ends it lets go of it
                assert step.server_id is None, step
            if step.server_id not in {None, step.old_server_id}:  # a claim, of what nobody has
                assert (step.old_server_id, step.attempt) == (None, step.old_attempt + 1), step
            else:
                assert step.attempt == step.old_attempt, step
            where[step.request_id] = (step.status, step.server_id, step.attempt)

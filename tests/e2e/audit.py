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
    server_id TEXT, attempts INTEGER
);
CREATE TRIGGER IF NOT EXISTS audit_new AFTER INSERT ON jobs BEGIN
    INSERT INTO audit (request_id, was, status, server_id, attempts)
    VALUES (new.request_id, '', new.status, new.server_id, new.attempts);
END;
CREATE TRIGGER IF NOT EXISTS audit_step AFTER UPDATE OF status ON jobs BEGIN
    INSERT INTO audit (request_id, was, status, server_id, attempts)
    VALUES (new.request_id, old.status, new.status, coalesce(new.server_id, old.server_id), new.attempts);
END;
"""
_FINAL = {"completed", "failed", "cancelled"}
_ALLOWED = {
    ("", "in_queue"),
    ("", "failed"),  # given up before its server handed it over
    ("in_queue", "in_progress"),
    ("in_queue", "cancelled"),
    ("in_progress", "in_progress"),  # somebody asked for it to be cancelled
    ("in_progress", "in_queue"),
    *(("in_progress", final) for final in _FINAL),
}


@dataclass(frozen=True, slots=True)
class Step:
    """A change of a job's status; `server_id` is who had it before or has it now."""

    request_id: str
    was: str
    status: str
    server_id: str | None
    attempts: int


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
            rows = connection.execute(
                "SELECT request_id, was, status, server_id, attempts FROM audit ORDER BY moment"
            )
            return [Step(*row) for row in rows]

    def starts(self) -> list[str]:
        """Return the request ids in the order in which their jobs were started."""
        return [
            step.request_id for step in self.steps() if (step.was, step.status) == ("in_queue", "in_progress")
        ]

    def check(self) -> None:
        """Check that no job was ever with two servers, run after its end, or ended twice.

        Raises:
            AssertionError: one was.
        """
        where: dict[str, tuple[str, str | None]] = {}
        for step in self.steps():
            status, holder = where.get(step.request_id, ("", None))
            assert step.was == status, step
            assert (step.was, step.status) in _ALLOWED, step
            if step.was == "in_progress":
                assert step.server_id == holder, step
            where[step.request_id] = (step.status, step.server_id if step.status == "in_progress" else None)

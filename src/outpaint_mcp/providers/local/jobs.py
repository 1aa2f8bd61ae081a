"""The queue of local jobs, shared by every server process of this user."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from outpaint_mcp.errors import ProviderUnavailable, RequestNotFound
from outpaint_mcp.models import CancelOutcome, Status
from outpaint_mcp.providers.base import ProviderStatus

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from outpaint_mcp.storage.database import Database

# A job that went down with its server this often may be what takes servers down: it needs more memory than
# the machine has, say. Servers that leave in good order do not count, and few others leave any other way.
MAX_ATTEMPTS = 5
_GIVEN_UP = (
    f"The server stopped {MAX_ATTEMPTS} times while this was in progress. Submit it again; if the server"
    " stops again, try a shorter source or extension."
)
_NEVER_TAKEN_ON = "The server stopped before this was started. Nothing was made; submit it again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The local record that carries a request out.

    Attributes:
        source: a path, or an https URL that has not been fetched yet.
        start_seconds: where in it the part begins that is extended.
        end_seconds: where that ends; 0 for the source's own end.
        seed: 0 or more.
        attempts: how many times it has been started, this time included.
    """

    request_id: str
    source: str
    before_seconds: float
    after_seconds: float
    seed: int
    start_seconds: float = 0.0
    end_seconds: float = 0.0
    attempts: int = 0


class Jobs:
    """All SQL about jobs; every method may be called from any thread and any process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, job: Job) -> None:
        """Put a job at the end of the queue.

        Raises:
            ProviderUnavailable: the request has been given up meanwhile.
        """
        with self._database.write() as connection:
            added = connection.execute(
                "INSERT INTO jobs (request_id, status, source, before_seconds, after_seconds, seed, start_seconds,"
                " end_seconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (request_id) DO NOTHING",
                (
                    job.request_id,
                    Status.IN_QUEUE,
                    job.source,
                    job.before_seconds,
                    job.after_seconds,
                    job.seed,
                    job.start_seconds,
                    job.end_seconds,
                ),
            )
            if not added.rowcount:
                raise ProviderUnavailable(
                    "The server was held up for so long that this was given up. Nothing was made; submit it again."
                )

    def give_up(self, request_id: str) -> None:
        """See to it that a request that never got here fails, and is refused if it still comes."""
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO jobs (request_id, status, source, before_seconds, after_seconds, seed, error)"
                " VALUES (?, ?, '', 0, 0, 0, ?) ON CONFLICT (request_id) DO NOTHING",
                (request_id, Status.FAILED, _NEVER_TAKEN_ON),
            )

    def claim(self, server_id: str, *, most_running: int) -> Job | None:
        """Take the first job of the queue for a server, unless enough are running on this machine."""
        with self._database.write() as connection:
            row = connection.execute(
                "UPDATE jobs SET status = ?, server_id = ?, attempts = attempts + 1, progress = 0, step = ''"
                " WHERE position = (SELECT position FROM jobs WHERE status = ? ORDER BY position LIMIT 1)"
                " AND (SELECT count(*) FROM jobs WHERE status = ?) < ? RETURNING *",
                (Status.IN_PROGRESS, server_id, Status.IN_QUEUE, Status.IN_PROGRESS, most_running),
            ).fetchone()
        return None if row is None else _job(row)

    def has_queued(self) -> bool:
        """Whether a job waits for its turn; cheaper than a claim in vain."""
        with self._database.read() as connection:
            row = connection.execute("SELECT 1 FROM jobs WHERE status = 'in_queue' LIMIT 1").fetchone()
        return row is not None

    def servers_at_work(self) -> set[str]:
        """Return the ids of the servers that have a job in progress."""
        with self._database.read() as connection:
            rows = connection.execute("SELECT DISTINCT server_id FROM jobs WHERE status = 'in_progress'")
            return {row["server_id"] for row in rows}

    def take_back(self, server_ids: Iterable[str]) -> None:
        """Put the jobs of servers that died back into the queue, where they were before.

        One that has met this fate too often fails instead, and one that nobody wants is cancelled.
        """
        with self._database.write() as connection:
            for server_id in server_ids:
                _cancel_unwanted(connection, server_id)
                connection.execute(
                    "UPDATE jobs SET status = ?, error = ?, server_id = NULL, source = ''"
                    " WHERE server_id = ? AND status = ? AND attempts >= ?",
                    (Status.FAILED, _GIVEN_UP, server_id, Status.IN_PROGRESS, MAX_ATTEMPTS),
                )
                connection.execute(
                    "UPDATE jobs SET status = ?, server_id = NULL WHERE server_id = ? AND status = ?",
                    (Status.IN_QUEUE, server_id, Status.IN_PROGRESS),
                )

    def hand_back(self, server_id: str) -> None:
        """Put the jobs of a server back that is leaving in good order; the attempt does not count."""
        with self._database.write() as connection:
            _cancel_unwanted(connection, server_id)
            connection.execute(
                "UPDATE jobs SET status = ?, server_id = NULL, attempts = attempts - 1"
                " WHERE server_id = ? AND status = ?",
                (Status.IN_QUEUE, server_id, Status.IN_PROGRESS),
            )

    def advance(self, job: Job, server_id: str, progress: float, step: str) -> bool:
        """Note how far a job is; returns whether somebody wants it cancelled."""
        with self._database.write() as connection:
            row = connection.execute(
                "UPDATE jobs SET progress = ?, step = ? WHERE request_id = ? AND server_id = ?"
                " RETURNING cancel_requested",
                (progress, step, job.request_id, server_id),
            ).fetchone()
        return row is None or bool(row["cancel_requested"])

    def is_unwanted(self, job: Job, server_id: str) -> bool:
        """Whether somebody wants the job cancelled, or another server has it."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT cancel_requested FROM jobs WHERE request_id = ? AND server_id = ?",
                (job.request_id, server_id),
            ).fetchone()
        return row is None or bool(row["cancel_requested"])

    def end(
        self,
        job: Job,
        server_id: str,
        status: Status,
        *,
        error: str | None = None,
        outcome: dict[str, Any] | None = None,
    ) -> None:
        """Write down how a job ended, if this server still has it; forgets where the source came from."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE jobs SET status = ?, error = ?, outcome = ?, server_id = NULL, source = ''"
                " WHERE request_id = ? AND server_id = ? AND status = ?",
                (
                    status,
                    error,
                    None if outcome is None else json.dumps(outcome),
                    job.request_id,
                    server_id,
                    Status.IN_PROGRESS,
                ),
            )

    def cancel(self, request_id: str) -> CancelOutcome:
        """Cancel a queued job at once, or ask the server that runs it to stop it.

        Raises:
            RequestNotFound: there is no such job.
        """
        with self._database.write() as connection:
            row = _row(connection, request_id)
            if Status(row["status"]).is_final:
                return CancelOutcome.NOT_CANCELLABLE
            connection.execute("UPDATE jobs SET cancel_requested = 1 WHERE request_id = ?", (request_id,))
            connection.execute(
                "UPDATE jobs SET status = ?, source = '' WHERE request_id = ? AND status = ?",
                (Status.CANCELLED, request_id, Status.IN_QUEUE),
            )
        return CancelOutcome.CANCELLED

    def cancel_without_its_server(self, request_id: str) -> None:
        """End a job that should have been stopped by now; its server, if it wakes up, finds it gone."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE jobs SET status = ?, server_id = NULL, source = ''"
                " WHERE request_id = ? AND status = ? AND cancel_requested",
                (Status.CANCELLED, request_id, Status.IN_PROGRESS),
            )

    def status(self, request_id: str) -> ProviderStatus:
        """Say where a job stands; the queue position counts the jobs of all servers.

        Raises:
            RequestNotFound: there is no such job.
        """
        position = None
        with self._database.read() as connection:
            row = _row(connection, request_id)
            status = Status(row["status"])
            if status is Status.IN_QUEUE:
                (position,) = connection.execute(
                    "SELECT count(*) FROM jobs WHERE status = ? AND position <= ?",
                    (Status.IN_QUEUE, row["position"]),
                ).fetchone()
        return ProviderStatus(
            status=status,
            queue_position=position,
            progress=row["progress"] if status is Status.IN_PROGRESS else None,
            step=row["step"],
            error=row["error"],
        )

    def outcome(self, request_id: str) -> dict[str, Any]:
        """Return what the worker reported of a completed job.

        Raises:
            RequestNotFound: there is no such job, or it did not complete.
        """
        with self._database.read() as connection:
            text = _row(connection, request_id)["outcome"]
        if text is None:
            raise RequestNotFound(f"Request {request_id} has no result.")
        outcome: dict[str, Any] = json.loads(text)
        return outcome


def _cancel_unwanted(connection: sqlite3.Connection, server_id: str) -> None:
    """End the jobs of a server that somebody wants cancelled, since nobody is left to stop them."""
    connection.execute(
        "UPDATE jobs SET status = ?, server_id = NULL, source = ''"
        " WHERE server_id = ? AND status = ? AND cancel_requested",
        (Status.CANCELLED, server_id, Status.IN_PROGRESS),
    )


def _row(connection: sqlite3.Connection, request_id: str) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM jobs WHERE request_id = ?", (request_id,)
    ).fetchone()
    if row is None:
        raise RequestNotFound(f"The local provider has no request {request_id}.")
    return row


def _job(row: sqlite3.Row) -> Job:
    return Job(
        request_id=row["request_id"],
        source=row["source"],
        before_seconds=row["before_seconds"],
        after_seconds=row["after_seconds"],
        seed=row["seed"],
        start_seconds=row["start_seconds"],
        end_seconds=row["end_seconds"],
        attempts=row["attempts"],
    )

"""What the server that carries a job out writes about it: nothing of it reaches a job that is no longer its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from outpaint_mcp.storage.rows import pack_outcome

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from outpaint_mcp.errors import OutpaintError
    from outpaint_mcp.models import Status
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.storage.database import Database
    from outpaint_mcp.storage.records import Lease, RequestProgress, Step

IS_OPEN = "status IN ('in_queue', 'in_progress')"
IS_MINE = f"request_id = ? AND server_id = ? AND attempt = ? AND {IS_OPEN}"
# Nothing of it ever left this machine, so that nothing is lost by starting over or by stopping for good.
IS_UNSENT = (
    "NOT EXISTS (SELECT 1 FROM steps WHERE steps.request_id = jobs.request_id AND steps.state <> 'planned')"
)


# How a job's row is left: with nothing of the source or the lyrics, and free where nothing was sent. Its last
# placeholder is for the time.
ENDED = (
    "server_id = NULL, source = '', inputs = '', step = '', queue_position = NULL, progress = NULL,"
    f" cost_usd = CASE WHEN account <> '' AND {IS_UNSENT} THEN 0 ELSE cost_usd END, ended_at = ?"
)


class LeaseLost(Exception):
    """The job has another owner now, or has ended: whoever meets this stops at once and writes nothing more."""


class LeasedJobs:
    """Every write matches the lease under which the job was claimed, and raises `LeaseLost` where that has ended."""

    def __init__(self, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    def report(self, lease: Lease, progress: RequestProgress) -> None:
        """Write down where a job is.

        Raises:
            LeaseLost: it is somebody else's.
        """
        with self._database.write(f"job {lease.request_id}") as connection:
            update_mine(
                connection,
                lease,
                "status = ?, progress = ?, step = ?, queue_position = ?",
                progress.status,
                progress.progress,
                progress.step,
                progress.queue_position,
            )

    def update_step(self, lease: Lease, step: Step) -> None:
        """Write down how far a paid step is, and what has been billed by now; on disk when this returns.

        Raises:
            LeaseLost: the job is somebody else's.
        """
        self._write_step(lease, step, "")

    def begin_sending(self, lease: Lease, step: Step) -> None:
        """Turn a planned step into one that is about to be sent; at most one caller ever succeeds.

        Raises:
            LeaseLost: the job is somebody else's, or the step is no longer planned.
        """
        self._write_step(lease, step, " AND state = 'planned'")

    def _write_step(self, lease: Lease, step: Step, condition: str) -> None:
        with self._database.write(f"job {lease.request_id}") as connection:
            written = connection.execute(
                "UPDATE steps SET state = ?, seconds = ?, context_seconds = ?, sent_at = ?, remote_id = ?,"
                f" object_name = ?, cost_usd = ? WHERE request_id = ? AND number = ?{condition}"
                f" AND EXISTS (SELECT 1 FROM jobs WHERE jobs.{IS_MINE})",
                (
                    step.state,
                    step.seconds,
                    step.context_seconds,
                    step.sent_at,
                    step.remote_id,
                    step.object_name,
                    step.cost_usd,
                    lease.request_id,
                    step.number,
                    lease.request_id,
                    lease.server_id,
                    lease.attempt,
                ),
            )
            if not written.rowcount:
                raise LeaseLost
            update_mine(
                connection,
                lease,
                "cost_usd = (SELECT CASE WHEN count(*) = count(cost_usd) THEN sum(cost_usd) END FROM steps"
                " WHERE steps.request_id = jobs.request_id AND sent_at IS NOT NULL)",
            )

    def end(
        self,
        lease: Lease,
        status: Status,
        *,
        error: OutpaintError | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        """Write down how a job ended; deletes where the source came from and what was to be sung.

        Raises:
            LeaseLost: it is somebody else's.
        """
        with self._database.write(f"job {lease.request_id}", erases=True) as connection:
            update_mine(
                connection,
                lease,
                f"status = ?, error = ?, error_kind = ?, error_hint = ?, error_field = ?, outcome = ?, {ENDED}",
                status,
                None if error is None else str(error),
                None if error is None else type(error).__name__,
                None if error is None else error.hint,
                None if error is None else error.field,
                None if outcome is None else pack_outcome(outcome),
                self._now(),
            )

    def refuse_to_cancel(self, lease: Lease) -> None:
        """Write down that it is too late to cancel.

        Raises:
            LeaseLost: the job is somebody else's.
        """
        with self._database.write(f"job {lease.request_id}") as connection:
            update_mine(connection, lease, "cancel_wish = 'refused'")


def update_mine(connection: sqlite3.Connection, lease: Lease, changes: str, *values: object) -> None:
    """Change a job's row.

    Raises:
        LeaseLost: it is somebody else's.
    """
    written = connection.execute(
        f"UPDATE jobs SET {changes} WHERE {IS_MINE}",
        (*values, lease.request_id, lease.server_id, lease.attempt),
    )
    if not written.rowcount:
        raise LeaseLost

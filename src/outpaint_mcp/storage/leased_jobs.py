"""What the server that carries a job out writes about it: nothing of it reaches a job that is no longer its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from outpaint_mcp.storage.rows import pack_outcome
from outpaint_mcp.storage.spending import ESTIMATE, check_sending

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


# How a job's row is left: with nothing of the source or the lyrics, free where nothing was sent, and without an
# estimate of what never will be. Its last placeholder is for the time.
ENDED = (
    "server_id = NULL, source = '', inputs = '', step = '', queue_position = NULL, progress = NULL,"
    f" cost_usd = CASE WHEN account <> '' AND {IS_UNSENT} THEN 0 ELSE cost_usd END,"
    f" estimated_cost_usd = {ESTIMATE.removesuffix(')')} AND sent_at IS NOT NULL), ended_at = ?"
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
                "status = ?, progress = ?, step = ?, queue_position = ?, is_held = ?",
                progress.status,
                progress.progress,
                progress.step,
                progress.queue_position,
                int(progress.awaits_agreement),
            )

    def rename(self, lease: Lease, title: str) -> None:
        """Write down what the extended file is named after, now that its source has been fetched.

        Raises:
            LeaseLost: the job is somebody else's.
        """
        with self._database.write(f"job {lease.request_id}") as connection:
            written = connection.execute(
                "UPDATE requests SET title = ? WHERE request_id = ?"
                f" AND EXISTS (SELECT 1 FROM jobs WHERE jobs.{IS_MINE})",
                (title, lease.request_id, lease.request_id, lease.server_id, lease.attempt),
            )
            if not written.rowcount:
                raise LeaseLost

    def update_step(self, lease: Lease, step: Step) -> None:
        """Write down how far a paid step is, and what has been billed by now; on disk when this returns.

        Raises:
            LeaseLost: the job is somebody else's.
        """
        with self._database.write(f"job {lease.request_id}") as connection:
            _write_step(connection, lease, step, "")

    def begin_sending(self, lease: Lease, step: Step) -> None:
        """Turn a planned step into one that is about to be sent; at most one caller ever succeeds.

        Raises:
            LeaseLost: the job is somebody else's, or the step is no longer planned.
            OverBudget: the request would cost more than is allowed.
            NotAgreed: it would cost more than the person knows.
        """
        with self._database.write("ledger") as connection:
            _write_step(connection, lease, step, " AND state = 'planned'")
            check_sending(connection, lease.request_id, self._now())

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
                "status = ?, error = ?, error_kind = ?, error_hint = ?, error_field = ?, outcome = ?,"
                f" audio_sha256 = ?, {ENDED}",
                status,
                None if error is None else str(error),
                None if error is None else type(error).__name__,
                None if error is None else error.hint,
                None if error is None else error.field,
                None if outcome is None else pack_outcome(outcome),
                None if outcome is None else outcome.audio_sha256,
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


def _write_step(connection: sqlite3.Connection, lease: Lease, step: Step, condition: str) -> None:
    """Write down how far a step is; nobody has agreed to a bill yet that cannot be believed.

    Raises:
        LeaseLost: the job is somebody else's, or the step does not meet the condition.
    """
    written = connection.execute(
        "UPDATE steps SET state = ?, seconds = ?, context_seconds = ?, sent_at = ?, remote_id = ?, object_name = ?,"
        " cost_usd = ?, agreed_cost_usd = CASE WHEN coalesce(odd_cost, '') = ? THEN agreed_cost_usd END,"
        f" odd_cost = ? WHERE request_id = ? AND number = ?{condition}"
        f" AND EXISTS (SELECT 1 FROM jobs WHERE jobs.{IS_MINE})",
        (
            step.state,
            step.seconds,
            step.context_seconds,
            step.sent_at,
            step.remote_id,
            step.object_name,
            step.cost_usd,
            step.odd_cost or "",
            step.odd_cost,
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
        f" WHERE steps.request_id = jobs.request_id AND sent_at IS NOT NULL), estimated_cost_usd = {ESTIMATE}",
    )

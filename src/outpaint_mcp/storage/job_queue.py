"""The queue of jobs, shared by every server of this user, whatever the provider; and who has which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.errors import Hint, RequestNotFound, StorageFailed
from outpaint_mcp.models import Status
from outpaint_mcp.storage.leased_jobs import ENDED, IS_MINE, IS_OPEN, IS_UNSENT, LeasedJobs
from outpaint_mcp.storage.records import CALLERS, CancelWish, Credentials, Lease, StepState
from outpaint_mcp.storage.rows import pack_outcome, read_job, unpack_outcome

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from outpaint_mcp.storage.records import Job

# A job that went down with its server this often may be what takes servers down: it needs more memory than
# the machine has, say. Servers that leave in good order do not count, and few others leave any other way.
MAX_CRASHES = 5
_CRASHED = (
    f"The server stopped {MAX_CRASHES} times while this was in progress. If it stops again after another submission,"
    " try a shorter source or extension."
)

FETCHING = "fetching"
"""The step of a job whose source is on its way here: that needs no core, so it takes none of the places of others."""
MOST_FETCHING = 8

WAITING = "waiting for its caller's token: it goes on with their next call"
"""The step of a job that no server can carry out before its caller brings their token along again."""

_CANCELLED = f"status = 'cancelled', {ENDED}"


class _Unreadable(Exception):
    """The next job is none that this version writes."""

    def __init__(self, request_id: str, steps: Sequence[sqlite3.Row], error: StorageFailed) -> None:
        super().__init__(request_id)
        self.request_id = request_id
        self.steps = steps
        self.error = error


class JobQueue(LeasedJobs):
    """Claims jobs, cancels them, and leaves those of dead servers to others; may be called from any thread."""

    def claim(
        self,
        server_id: str,
        provider: str,
        *,
        most_running: int | None = None,
        credentials: Credentials = Credentials(),  # noqa: B008 - immutable
    ) -> Job | None:
        """Take the first job that no server carries out.

        Args:
            server_id: who takes it.
            provider: whose jobs to look at.
            most_running: how many of these may run on this machine at a time; None for any number.
            credentials: whose are known here.
        """
        while True:
            try:
                return self._claim(server_id, provider, most_running, credentials)
            except _Unreadable as exc:  # it would be in the way of every job behind it
                self._end_unreadable(exc)

    def _claim(
        self, server_id: str, provider: str, most_running: int | None, credentials: Credentials
    ) -> Job | None:
        with self._database.write("queue") as connection:
            if (condition := _condition(connection, provider, most_running, credentials)) is None:
                return None
            row = connection.execute(
                "UPDATE jobs SET server_id = ?, attempt = attempt + 1, progress = NULL WHERE position ="
                f" (SELECT position FROM jobs WHERE provider = ? AND {condition}"
                " ORDER BY position LIMIT 1) RETURNING *",
                (server_id, provider, *credentials.callers),
            ).fetchone()
            if row is None:
                return None
            steps = _steps(connection, row["request_id"])
            try:
                return read_job(row, steps)
            except StorageFailed as exc:  # undoes the claim
                raise _Unreadable(row["request_id"], steps, exc) from exc

    def _end_unreadable(self, job: _Unreadable) -> None:
        is_unknown = any(step["state"] == StepState.SENDING for step in job.steps)
        sent = ", ".join(step["remote_id"] for step in job.steps if step["remote_id"])
        which = f" (the service's request {sent})" if sent else ""
        bill = f" What was sent may be carried out and billed{which}." if sent or is_unknown else ""
        with self._database.write(f"job {job.request_id}", erases=True) as connection:
            connection.execute(
                f"UPDATE jobs SET status = ?, error = ?, error_kind = ?, {ENDED}"
                f" WHERE request_id = ? AND server_id IS NULL AND {IS_OPEN}",
                (
                    Status.UNKNOWN if is_unknown else Status.FAILED,
                    f"{job.error}{bill}",
                    type(job.error).__name__,
                    self._now(),
                    job.request_id,
                ),
            )

    def has_claimable(
        self,
        provider: str,
        *,
        most_running: int | None = None,
        credentials: Credentials = Credentials(),  # noqa: B008 - immutable
    ) -> bool:
        """Whether a claim is likely to succeed; cheaper than one in vain."""
        with self._database.read() as connection:
            if (condition := _condition(connection, provider, most_running, credentials)) is None:
                return False
            row = connection.execute(
                f"SELECT 1 FROM jobs WHERE provider = ? AND {condition} LIMIT 1",
                (provider, *credentials.callers),
            ).fetchone()
        return row is not None

    def servers_at_work(self) -> set[str]:
        """Return the ids of the servers that have claimed a job."""
        with self._database.read() as connection:
            rows = connection.execute("SELECT DISTINCT server_id FROM jobs WHERE server_id IS NOT NULL")
            return {row["server_id"] for row in rows}

    def take_back(self, server_ids: Iterable[str]) -> None:
        """Leave the jobs of servers that died to others, at their old places in the queue.

        One that met this fate too often fails, and one that is to be cancelled is; unless something of it was sent.
        """
        with self._database.write("queue", erases=True) as connection:
            for server_id in server_ids:
                connection.execute(
                    f"UPDATE jobs SET crashes = crashes + 1 WHERE server_id = ? AND {IS_OPEN} AND {IS_UNSENT}",
                    (server_id,),
                )
                connection.execute(
                    "UPDATE jobs SET status = 'failed', error = ?, error_kind = 'GenerationFailed', error_hint = ?,"
                    f" {ENDED} WHERE server_id = ? AND {IS_OPEN} AND {IS_UNSENT} AND crashes >= ?"
                    " AND cancel_wish <> 'wanted'",
                    (_CRASHED, Hint.SUBMIT_AGAIN, self._now(), server_id, MAX_CRASHES),
                )
                self._leave(connection, "server_id = ?", server_id)

    def hand_back(self, server_id: str) -> None:
        """Leave the jobs of a server that is closing to others."""
        with self._database.write("queue", erases=True) as connection:
            self._leave(connection, "server_id = ?", server_id)

    def release(self, lease: Lease) -> None:
        """Leave one job to others, if it is still this lease's."""
        with self._database.write("queue", erases=True) as connection:
            self._leave(connection, IS_MINE, lease.request_id, lease.server_id, lease.attempt)

    def _leave(self, connection: sqlite3.Connection, condition: str, *values: object) -> None:
        connection.execute(
            f"UPDATE jobs SET {_CANCELLED} WHERE {condition} AND {IS_OPEN} AND cancel_wish = 'wanted'"
            f" AND {IS_UNSENT}",
            (self._now(), *values),
        )
        connection.execute(
            f"UPDATE jobs SET server_id = NULL, status = CASE WHEN {IS_UNSENT} THEN 'in_queue' ELSE status END,"
            f" step = CASE WHEN account LIKE '{CALLERS}%' AND {IS_OPEN} THEN ? ELSE step END WHERE {condition}",
            (WAITING, *values),
        )

    def cancel(self, request_id: str) -> bool:
        """Write down the wish to cancel; a job that no server has and of which nothing was sent ends at once.

        Returns:
            Whether it had not ended already.

        Raises:
            RequestNotFound: there is no such job.
        """
        with self._database.write(f"job {request_id}", erases=True) as connection:
            wanted = connection.execute(
                f"UPDATE jobs SET cancel_wish = 'wanted' WHERE request_id = ? AND {IS_OPEN}", (request_id,)
            ).rowcount
            if not wanted:
                _row(connection, request_id)
                return False
            connection.execute(
                f"UPDATE jobs SET {_CANCELLED} WHERE request_id = ? AND {IS_OPEN} AND server_id IS NULL"
                f" AND {IS_UNSENT}",
                (self._now(), request_id),
            )
        return True

    def cancel_without_its_server(self, request_id: str) -> None:
        """End a job that should have been stopped by now, unless something of it was sent.

        Its server, if it wakes up, finds that it has lost the lease.
        """
        with self._database.write(f"job {request_id}", erases=True) as connection:
            connection.execute(
                f"UPDATE jobs SET {_CANCELLED} WHERE request_id = ? AND {IS_OPEN}"
                f" AND cancel_wish = 'wanted' AND {IS_UNSENT}",
                (self._now(), request_id),
            )

    def cancel_wish(self, request_id: str) -> CancelWish:
        """Return what became of the wish to cancel.

        Raises:
            RequestNotFound: there is no such job.
        """
        with self._database.read() as connection:
            return CancelWish(_row(connection, request_id)["cancel_wish"])

    def leases(self, server_id: str) -> dict[Lease, CancelWish]:
        """Return the leases that a server holds, and whether somebody wants the jobs cancelled."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT request_id, attempt, cancel_wish FROM jobs WHERE server_id = ?", (server_id,)
            )
            return {
                Lease(row["request_id"], server_id, row["attempt"]): CancelWish(row["cancel_wish"])
                for row in rows
            }

    def forget_links(self, request_id: str) -> None:
        """Delete the links, which can be signed, from what a request produced."""
        with self._database.write(f"job {request_id}", erases=True) as connection:
            packed = _row(connection, request_id)["outcome"]
            if packed is not None:
                stripped = pack_outcome(unpack_outcome(packed).without_links())
                connection.execute("UPDATE jobs SET outcome = ? WHERE request_id = ?", (stripped, request_id))
            connection.execute("UPDATE deliveries SET url = NULL WHERE request_id = ?", (request_id,))


def _condition(
    connection: sqlite3.Connection, provider: str, most_running: int | None, credentials: Credentials
) -> str | None:
    """Return what makes a job one that may be claimed now; None where enough of them run.

    Its values are the accounts of the callers whose credentials are known.
    """
    own = f"account NOT LIKE '{CALLERS}%'" if credentials.has_own else "1 = 0"
    callers = ", ".join("?" * len(credentials.callers))
    is_waiting = f"server_id IS NULL AND {IS_OPEN} AND ({own} OR account IN ({callers}))"
    if most_running is None:
        return is_waiting
    running, fetching = connection.execute(
        "SELECT count(*) FILTER (WHERE step <> ?), count(*) FILTER (WHERE step = ?) FROM jobs"
        f" WHERE provider = ? AND server_id IS NOT NULL AND {IS_OPEN}",
        (FETCHING, FETCHING, provider),
    ).fetchone()
    if running >= most_running:
        return None
    return is_waiting if fetching < MOST_FETCHING else f"{is_waiting} AND source NOT LIKE 'https:%'"


def _steps(connection: sqlite3.Connection, request_id: str) -> list[sqlite3.Row]:
    return connection.execute(
        "SELECT * FROM steps WHERE request_id = ? ORDER BY number", (request_id,)
    ).fetchall()


def _row(connection: sqlite3.Connection, request_id: str) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM jobs WHERE request_id = ?", (request_id,)
    ).fetchone()
    if row is None:
        raise RequestNotFound(
            f"No request has the id {request_id}.", hint=Hint.FIND_REQUEST, request_id=request_id
        )
    return row

"""How much one caller may have under way, and ask for within an hour: SQL inside of the submission's transaction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from outpaint_mcp.errors import LimitReached

if TYPE_CHECKING:
    import sqlite3

    from outpaint_mcp.storage.records import NewRequest

_HOUR_SECONDS = 3600.0
_MINUTE_SECONDS = 60.0


def check_allowance(connection: sqlite3.Connection, new: NewRequest, now: float) -> None:
    """See that a new request is within what its caller may have, before it is written.

    Raises:
        LimitReached: it is not.
    """
    if new.allowance is None:
        return
    takes, most_jobs = len(new.ids), new.allowance.open_jobs
    open_jobs = _open_jobs(connection, new.caller)
    if open_jobs + takes > most_jobs:
        wanted = f", and this would be {takes} more" if takes > 1 else ""
        raise LimitReached(
            f"You have {open_jobs} takes that have not ended{wanted}; one caller may have {most_jobs} at once. Nothing"
            " was started. Wait until one has ended, or cancel one, then submit this again."
        )
    most = new.allowance.submissions_per_hour
    submitted_at = _submitted_at(connection, new.caller, now - _HOUR_SECONDS, most)
    if len(submitted_at) >= most:
        minutes = math.ceil((submitted_at[-1] + _HOUR_SECONDS - now) / _MINUTE_SECONDS)
        raise LimitReached(
            f"You have submitted {most} requests within an hour, which is the most for one caller. Nothing was"
            f" started. Submit this again in {minutes} min."
        )


def _open_jobs(connection: sqlite3.Connection, caller: str) -> int:
    # In this order: what is open is little, and what a caller ever asked for may be much.
    (count,) = connection.execute(
        "SELECT count(*) FROM jobs CROSS JOIN requests WHERE jobs.status IN ('in_queue', 'in_progress')"
        " AND requests.request_id = jobs.request_id AND requests.caller = ?",
        (caller,),
    ).fetchone()
    return int(count)


def _submitted_at(connection: sqlite3.Connection, caller: str, since: float, most: int) -> list[float]:
    """Return when a caller's last requests were submitted, the newest first."""
    rows = connection.execute(
        "SELECT created_at FROM requests WHERE caller = ? AND caller <> '' AND created_at > ? AND take_of IS NULL"
        " ORDER BY created_at DESC LIMIT ?",
        (caller, since, most),
    )
    return [row["created_at"] for row in rows]

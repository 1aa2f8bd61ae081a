"""Writing a request down with the jobs of its takes, and finding an identical one that is there already.

Every take is a row of its own with a job of its own. Where there are several, the whole is one more row, without a job:
its id means all of them, and no take's id means anything but that take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.models import Status
from outpaint_mcp.storage.rows import write_inputs

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from outpaint_mcp.models import SubmitRequest
    from outpaint_mcp.storage.records import NewRequest

# A host that lost an answer asks again within its own limit of five minutes; an agent in a loop, sooner.
DEDUP_SECONDS = 600.0


def select_identical(
    connection: sqlite3.Connection, dedup_key: str | None, now: float
) -> Sequence[sqlite3.Row]:
    """Return the takes of identical requests that are open, of unknown fate, or were completed lately."""
    return connection.execute(
        "SELECT requests.request_id, requests.take_of, jobs.status FROM requests JOIN jobs"
        " ON jobs.request_id = requests.request_id WHERE dedup_key = ?"
        " AND (jobs.status IN ('in_queue', 'in_progress', 'unknown')"
        " OR jobs.status = 'completed' AND abs(requests.created_at - ?) < ?) ORDER BY jobs.position DESC",
        (dedup_key, now, DEDUP_SECONDS),
    ).fetchall()


def insert_request(connection: sqlite3.Connection, new: NewRequest, now: float) -> None:
    """Write all rows of a new request."""
    if len(new.ids) > 1:
        _insert_row(connection, new, new.request, new.request_id, now)
    for number, request_id in enumerate(new.ids, 1):
        take = new.request.take(number)
        _insert_row(connection, new, take, request_id, now)
        connection.execute(
            "INSERT INTO jobs (request_id, provider, status, source, inputs, account, limit_usd,"
            " day_limit_usd)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                request_id,
                new.provider,
                Status.IN_QUEUE,
                new.source,
                write_inputs(take),
                new.account,
                new.limit_usd,
                new.day_limit_usd,
            ),
        )


def _insert_row(
    connection: sqlite3.Connection, new: NewRequest, request: SubmitRequest, request_id: str, now: float
) -> None:
    connection.execute(
        "INSERT INTO requests (request_id, provider, caller, audio, title, extend_before_duration,"
        " extend_after_duration, parent_request_id, take_of, takes, expected_duration_seconds, dedup_key,"
        " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            request_id,
            new.provider,
            new.caller,
            new.audio,
            new.title,
            request.extend_before_duration,
            new.after_seconds,
            new.parent_request_id,
            None if request_id == new.request_id else new.request_id,
            len(new.ids),
            new.expected_duration_seconds,
            new.dedup_key,
            now,
        ),
    )

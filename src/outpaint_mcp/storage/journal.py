"""The journal: every request there ever was, on disk before anything is done with it, and what was delivered of it."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.errors import Hint, RequestNotFound
from outpaint_mcp.models import Status
from outpaint_mcp.storage.allowances import check_allowance
from outpaint_mcp.storage.ids import is_request_id
from outpaint_mcp.storage.new_requests import insert_request, select_identical
from outpaint_mcp.storage.rows import IS_THEIRS, RECORD_COLUMNS, read_record, theirs
from outpaint_mcp.wishes import MAX_TAKES

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from outpaint_mcp.export_options import ExportOptions
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.storage.database import Database
    from outpaint_mcp.storage.records import Delivery, NewRequest, RequestRecord

UNFETCHED_DAYS = 30
"""How long a result waits that nobody has fetched."""

# A drive that was named once, and is not there any more, is not looked at for ever.
_PLANNED_SECONDS = 40 * 86_400.0

# Databases take some thousands of values in a statement.
_MOST_VALUES = 500

_RECORDS = (
    f"SELECT {RECORD_COLUMNS} FROM requests JOIN jobs ON jobs.request_id = requests.request_id"
    " AND requests.deleted_at IS NULL"
)

_DELIVERY_COLUMNS = (
    *("path", "sha256", "size_bytes", "duration_seconds", "before_seconds", "after_seconds"),
    *("url", "delivered_at"),
)

_FAMILIES = (
    "SELECT coalesce(requests.take_of, requests.request_id) AS family FROM jobs"
    " JOIN requests ON requests.request_id = jobs.request_id AND requests.deleted_at IS NULL"
)
# Of several takes some have ended while others still wait.
_IS_HALF_DONE = (
    "jobs.status = 'in_queue' AND requests.takes > 1 AND EXISTS (SELECT 1 FROM requests AS others JOIN jobs AS ended"
    " ON ended.request_id = others.request_id WHERE others.take_of = requests.take_of"
    " AND ended.status NOT IN ('in_queue', 'in_progress'))"
)


class Journal:
    """Requests and deliveries; every method may be called from any thread and any process."""

    def __init__(self, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    def add(self, new: NewRequest) -> tuple[list[RequestRecord], bool]:
        """Write a new request with its jobs in one transaction, unless an identical one is there.

        Returns:
            Its takes, and whether it is new. One that failed or was cancelled, or whose files were removed, does
            not count as identical; one that is open, or whose fate is unknown, does so at any age.

        Raises:
            LimitReached: it is new, and more than its caller may have.
        """
        now = self._now()
        removed = self._removed(self._identical(new.dedup_key, now))
        with self._database.write(f"dedup {new.dedup_key}") as connection:
            for row in select_identical(connection, new.dedup_key, now):
                if row["request_id"] not in removed:
                    return self.takes(row["take_of"] or row["request_id"]), False
            check_allowance(connection, new, now)
            insert_request(connection, new, now)
            return self.takes(
                new.request_id
            ), True  # here: what is written does not fail because it cannot be read

    def _identical(self, dedup_key: str | None, now: float) -> Sequence[sqlite3.Row]:
        with self._database.read() as connection:
            return select_identical(connection, dedup_key, now)

    def _removed(self, rows: Sequence[sqlite3.Row]) -> set[str]:
        """Find out whose delivered files were all removed; outside of any transaction, as a drive may hang."""
        records = [self.get(row["request_id"]) for row in rows if row["status"] == Status.COMPLETED]
        return {
            record.request_id
            for record in records
            if record.deliveries and all(map(is_removed, record.deliveries.values()))
        }

    def get(self, request_id: str) -> RequestRecord:
        """Find a take of this or any other process; a request of one take is that take.

        Raises:
            RequestNotFound: the journal has no such take.
        """
        found = self._read("WHERE requests.request_id = ?", request_id) if is_request_id(request_id) else []
        if not found:  # what is no id may not even be text that SQLite takes
            raise _not_found(request_id)
        return found[0]

    def takes(self, request_id: str) -> list[RequestRecord]:
        """Return all takes of a request, in order; by a take's own id, that one alone.

        Raises:
            RequestNotFound: the journal has no such request.
        """
        if is_request_id(request_id):
            takes = self._read(
                "WHERE requests.request_id = ? OR requests.take_of = ? ORDER BY jobs.position",
                request_id,
                request_id,
            )
            if takes:
                return takes
        return [self.get(request_id)]

    def takes_of_all(self, request_ids: Sequence[str]) -> dict[str, list[RequestRecord]]:
        """Return the takes of several requests that are there, as `takes` does, in one go."""
        found: dict[str, list[RequestRecord]] = {request_id: [] for request_id in request_ids}
        for first in range(0, len(request_ids), _MOST_VALUES):
            some = request_ids[first : first + _MOST_VALUES]
            marks = ", ".join("?" * len(some))
            where = f"WHERE requests.request_id IN ({marks}) OR requests.take_of IN ({marks}) ORDER BY jobs.position"
            for take in self._read(where, *some, *some):
                for request_id in {take.request_id, take.family} & found.keys():
                    found[request_id].append(take)
        return found

    def takes_of(self, principal: Principal, request_id: str) -> list[RequestRecord]:
        """Return all takes of a request as `takes` does, for whoever asks.

        Raises:
            RequestNotFound: they have no such request, whether or not somebody else has.
        """
        takes = (
            self._read(
                f"WHERE (requests.request_id = ? OR requests.take_of = ?) AND {IS_THEIRS} ORDER BY jobs.position",
                request_id,
                request_id,
                *theirs(principal),
            )
            if is_request_id(request_id)
            else []
        )
        if not takes:
            raise _not_found(request_id)
        return takes

    def newest(
        self, principal: Principal, *, limit: int, status: Status | None = None
    ) -> list[list[RequestRecord]]:
        """Return the takes of each of the newest requests of whoever asks, without outcomes.

        Args:
            principal: whose requests.
            limit: how many requests.
            status: of the request or one of its takes; None for any.
        """
        with self._database.read() as connection:
            families = _newest_families(connection, principal, limit, status)
        found: dict[str, list[RequestRecord]] = {family: [] for family in families}
        for first in range(0, len(families), _MOST_VALUES):
            some = families[first : first + _MOST_VALUES]
            marks = ", ".join("?" * len(some))
            where = f"WHERE requests.request_id IN ({marks}) OR requests.take_of IN ({marks}) ORDER BY jobs.position"
            for take in self._read(where, *some, *some, with_outcomes=False):
                found[take.family].append(take)
        return list(found.values())

    def _read(self, where: str, *values: object, with_outcomes: bool = True) -> list[RequestRecord]:
        with self._database.read() as connection:
            rows = connection.execute(f"{_RECORDS} {where}", values).fetchall()
            if not rows:
                return []
            deliveries: dict[str, list[sqlite3.Row]] = {row["request_id"]: [] for row in rows}
            marks = ", ".join("?" * len(deliveries))
            for each in connection.execute(
                f"SELECT * FROM deliveries WHERE request_id IN ({marks}) ORDER BY delivered_at",
                tuple(deliveries),
            ):
                deliveries[each["request_id"]].append(each)
            return [
                read_record(
                    row,
                    deliveries[row["request_id"]],
                    queue_position=_place(connection, row) if with_outcomes else None,
                    with_outcome=with_outcomes,
                )
                for row in rows
            ]

    def age_seconds(self, record: RequestRecord) -> float:
        """Return how long ago the request was submitted."""
        return self._now() - record.created_at

    def is_stale(self, record: RequestRecord, *, delivered_seconds: float, unfetched_seconds: float) -> bool:
        """Whether what a request produced has been there for longer than anybody needs it.

        Args:
            record: the request.
            delivered_seconds: how long it is needed after its last delivery.
            unfetched_seconds: how long it waits for a first one.
        """
        if not record.status.is_final:
            return False
        latest = max((each.delivered_at for each in record.deliveries.values()), default=None)
        if latest is not None:
            return self._now() - latest > delivered_seconds
        return self._now() - (record.ended_at or record.created_at) > unfetched_seconds

    def plan_delivery(self, request_id: str, options: ExportOptions, path: Path) -> None:
        """Write down where a file is about to be put, so that a crash cannot lose track of it."""
        with self._database.write(f"deliveries {request_id}") as connection:
            connection.execute(
                "INSERT INTO deliveries (request_id, options, path) VALUES (?, ?, ?)"
                " ON CONFLICT (request_id, options) DO UPDATE SET path = excluded.path"
                " WHERE deliveries.delivered_at IS NULL",
                (request_id, str(options), str(path)),
            )

    def planned_places(self) -> list[tuple[str, str, Path]]:
        """Return where files are about to be put, or were lately when a server was killed: request, form, place."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT request_id, options, path FROM deliveries JOIN requests USING (request_id)"
                " WHERE delivered_at IS NULL AND created_at > ?",
                (self._now() - _PLANNED_SECONDS,),
            ).fetchall()
        return [(row["request_id"], row["options"], Path(row["path"])) for row in rows]

    def deliver(self, request_id: str, options: ExportOptions, delivery: Delivery) -> Delivery:
        """Write down that a file is in its place; returns it with the time."""
        delivery = dataclasses.replace(delivery, delivered_at=self._now())
        with self._database.write(f"deliveries {request_id}") as connection:
            connection.execute(
                f"INSERT INTO deliveries (request_id, options, {', '.join(_DELIVERY_COLUMNS)})"
                f" VALUES (?, ?{', ?' * len(_DELIVERY_COLUMNS)}) ON CONFLICT (request_id, options) DO UPDATE SET "
                + ", ".join(f"{each} = excluded.{each}" for each in _DELIVERY_COLUMNS),
                (request_id, str(options), *(getattr(delivery, each) for each in _DELIVERY_COLUMNS)),
            )
        return delivery


def is_removed(delivery: Delivery) -> bool:
    """Whether a file is gone from its folder.

    Where the folder is away, too, its drive may just not be there. A drive whose folder stays, empty, looks as though
    the file was removed.
    """
    path = Path(delivery.path)
    return path.parent.is_dir() and not path.is_file()


def _not_found(request_id: str) -> RequestNotFound:
    return RequestNotFound(
        f"No request has the id {request_id[:64]!r}.", hint=Hint.FIND_REQUEST, request_id=request_id[:64]
    )


def _newest_families(
    connection: sqlite3.Connection, principal: Principal, limit: int, status: Status | None
) -> list[str]:
    """Return the ids of requests, newest first; the takes of a request are next to each other in the queue."""
    where = IS_THEIRS
    values: tuple[object, ...] = theirs(principal)
    if status is not None:
        half_done = f" OR ({_IS_HALF_DONE})" if status is Status.IN_PROGRESS else ""
        where, values = f"{where} AND (jobs.status = ?{half_done})", (*values, status)
    rows = connection.execute(
        f"{_FAMILIES} WHERE {where} ORDER BY jobs.position DESC LIMIT ?", (*values, limit * MAX_TAKES)
    )
    return list(dict.fromkeys(row["family"] for row in rows))[:limit]


def _place(connection: sqlite3.Connection, row: sqlite3.Row) -> int | None:
    """Count the place of a job that waits in our own queue."""
    if row["status"] != Status.IN_QUEUE or row["server_id"] is not None or row["is_planned"]:
        return None
    (place,) = connection.execute(
        "SELECT count(*) FROM jobs WHERE status = 'in_queue' AND server_id IS NULL AND provider = ? AND position <= ?",
        (row["provider"], row["position"]),
    ).fetchone()
    return int(place)

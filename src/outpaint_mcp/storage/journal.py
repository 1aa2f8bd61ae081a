"""The journal: every request ever made, on disk before anything is done with it."""

from __future__ import annotations

import dataclasses
import json
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.errors import RequestNotFound
from outpaint_mcp.models import Status, SubmitRequest
from outpaint_mcp.storage.records import Delivery, RequestRecord, read_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outpaint_mcp.results import ExportOptions
    from outpaint_mcp.storage.database import Database

# A host that lost an answer asks again within its own limit of five minutes; an agent in a loop, sooner.
ALIKE_SECONDS = 600.0

_ID_PREFIX = "op_"
_ID_BYTES = 10


def is_request_id(text: str) -> bool:
    """Whether the text has the form of a request id, known or not."""
    digits = text.removeprefix(_ID_PREFIX)
    return digits != text and len(digits) == 2 * _ID_BYTES and set(digits) <= set("0123456789abcdef")


class Journal:
    """All SQL about requests; every method may be called from any thread and any process."""

    def __init__(self, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    def add(  # noqa: PLR0913 - one argument for each thing a row begins with
        self,
        request: SubmitRequest,
        *,
        provider: str,
        shown_audio: str,
        title: str,
        parent_request_id: str | None,
        expected_duration_seconds: float | None,
        dedup_key: str | None = None,
        caller: str = "",
    ) -> tuple[RequestRecord, bool]:
        """Write a new request down, unless the same was asked a moment ago; it is on disk when this returns.

        Each take has a row and an id of its own; that of the first is the request's.

        Args:
            request: what is asked.
            provider: who carries it out.
            shown_audio: its audio in a form that may be shown.
            title: what the longer file is named after.
            parent_request_id: the request whose result is the source.
            expected_duration_seconds: the longer file's length, where it is known.
            dedup_key: the same for the same request; None is like nothing.
            caller: who asks, where several people share a server.

        Returns:
            The request, and whether it is new. One that failed or was cancelled, or whose files were taken
            away, does not stand in the way of another; one that is open, or that nobody knows the fate of,
            does so at any age.
        """
        now = self._now()
        ids = [_ID_PREFIX + secrets.token_hex(_ID_BYTES) for _ in range(request.takes)]
        with self._database.write() as connection:
            rows = connection.execute(
                "SELECT * FROM requests WHERE dedup_key = ? AND (status IN ('in_queue', 'in_progress', 'unknown')"
                " OR status = 'completed' AND abs(created_at - ?) < ?) ORDER BY created_at DESC",
                (dedup_key, now, ALIKE_SECONDS),
            )
            for alike in [read_record(connection, row) for row in rows]:
                delivered = alike.deliveries.values()
                if not delivered or any(Path(each.path).is_file() for each in delivered):
                    return self.get(alike.take_of or alike.request_id), False
            for number, request_id in enumerate(ids, 1):
                take = request.take(number)
                connection.execute(
                    "INSERT INTO requests (request_id, provider, status, audio, title, tags, lyrics, seed,"
                    " extend_before_duration, extend_after_duration, parent_request_id, take_of, takes,"
                    " expected_duration_seconds, dedup_key, caller, created_at, updated_at)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        request_id,
                        provider,
                        Status.IN_QUEUE,
                        shown_audio,
                        title,
                        take.tags,
                        take.lyrics,
                        take.seed,
                        take.extend_before_duration,
                        take.extend_after_duration,
                        parent_request_id,
                        None if number == 1 else ids[0],
                        request.takes,
                        expected_duration_seconds,
                        dedup_key,
                        caller,
                        now,
                        now,
                    ),
                )
        return self.get(ids[0]), True

    def get(self, request_id: str) -> RequestRecord:
        """Find a request made by this or any other process.

        Raises:
            RequestNotFound: the journal has no such request.
        """
        if is_request_id(request_id):  # anything else may not even be text that SQLite takes
            with self._database.read() as connection:
                row = connection.execute(
                    "SELECT * FROM requests WHERE request_id = ?", (request_id,)
                ).fetchone()
                if row is not None:
                    return read_record(connection, row)
        raise RequestNotFound(
            f"No request has the id {request_id[:64]!r}. Copy the id from submit_outpaint's answer,"
            " or find it with list_outpaints."
        )

    def takes(self, request_id: str) -> list[RequestRecord]:
        """Return all takes of a request, in order; of a further take, that alone.

        Raises:
            RequestNotFound: the journal has no such request.
        """
        first = self.get(request_id)
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT * FROM requests WHERE take_of = ? ORDER BY rowid", (request_id,)
            )
            return [first, *(read_record(connection, row) for row in rows)]

    def age_seconds(self, record: RequestRecord) -> float:
        """Return how long ago the request was made."""
        return self._now() - record.created_at

    def is_stale(self, record: RequestRecord, seconds: float) -> bool:
        """Whether a request was delivered, and not within so many seconds."""
        latest = max((each.delivered_at for each in record.deliveries.values()), default=None)
        return latest is not None and self._now() - latest > seconds

    def note(
        self, request_id: str, status: Status, error: str | None = None, *, cost_usd: float | None = None
    ) -> RequestRecord:
        """Write down where a request stands and what it has cost; a final status stays what it is."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE requests SET status = ?, error = ?, cost_usd = ?, updated_at = ?"
                " WHERE request_id = ? AND status IN ('in_queue', 'in_progress')",
                (status, error, cost_usd, self._now(), request_id),
            )
        return self.get(request_id)

    def plan_delivery(self, request_id: str, options: ExportOptions, path: Path) -> None:
        """Write down where a file is about to be put, so that a crash cannot lose track of it."""
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO deliveries (request_id, options, path) VALUES (?, ?, ?)"
                " ON CONFLICT (request_id, options) DO UPDATE SET path = excluded.path WHERE delivered_at IS NULL",
                (request_id, str(options), str(path)),
            )

    def deliver(self, request_id: str, options: ExportOptions, delivery: Delivery) -> Delivery:
        """Write down that a file is in its place; returns it with the time."""
        delivery = dataclasses.replace(delivery, delivered_at=self._now())
        values = {each.name: getattr(delivery, each.name) for each in dataclasses.fields(delivery)}
        values["verdict"] = None if delivery.verdict is None else json.dumps(delivery.verdict)
        with self._database.write() as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO deliveries (request_id, options, {', '.join(values)})"  # noqa: S608 - fixed
                f" VALUES (?, ?{', ?' * len(values)})",
                (request_id, str(options), *values.values()),
            )
        return delivery

    def newest(self) -> Iterator[RequestRecord]:
        """Return requests, newest first; a further take is not one of its own."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT * FROM requests WHERE take_of IS NULL ORDER BY created_at DESC, rowid DESC"
            )
            for row in rows:
                yield read_record(connection, row)

    def open_requests(self) -> list[RequestRecord]:
        """Return the requests that have not ended, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT * FROM requests WHERE status IN ('in_queue', 'in_progress') ORDER BY created_at"
            )
            return [read_record(connection, row) for row in rows]

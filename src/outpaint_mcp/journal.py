"""The journal: every request ever made, on disk before anything is done with it."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.errors import RequestNotFound
from outpaint_mcp.models import OutpaintRequest, Status

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from outpaint_mcp.database import Database

# A host that lost an answer asks again within its own limit of five minutes; an agent in a loop, sooner.
ALIKE_SECONDS = 600.0

_ID_PREFIX = "op_"
_ID_BYTES = 10


def is_request_id(text: str) -> bool:
    """Whether the text has the form of a request id, known or not."""
    digits = text.removeprefix(_ID_PREFIX)
    return digits != text and len(digits) == 2 * _ID_BYTES and set(digits) <= set("0123456789abcdef")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The longer file in the output folder; durations in seconds."""

    path: str
    sha256: str
    size_bytes: int
    duration_seconds: float
    before_seconds: float
    after_seconds: float
    seed: int
    note: str
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request as the journal knows it; times are Unix seconds, `audio` is fit to be shown.

    Attributes:
        caller: who asked, where several people share a server; empty where the server is one person's.
        estimated_cost_usd: what it costs at most; None where it is free, or not known yet.
        cost_usd: what it has cost, where the provider says so; 0 where nothing was ever sent.
        basis: how the estimate was computed and how the request is carried out, until it is delivered.
    """

    request_id: str
    provider: str
    status: Status
    audio: str
    title: str
    extend_before_duration: float
    extend_after_duration: float
    parent_request_id: str | None
    expected_duration_seconds: float | None
    created_at: float
    caller: str
    estimated_cost_usd: float | None
    cost_usd: float | None
    basis: str | None
    error: str | None
    delivery: Delivery | None
    planned_path: str | None


class Journal:
    """All SQL about requests; every method may be called from any thread and any process."""

    def __init__(self, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    def add(  # noqa: PLR0913 - one argument for each thing a row begins with
        self,
        request: OutpaintRequest,
        *,
        provider: str,
        shown_audio: str,
        title: str,
        parent_request_id: str | None,
        expected_duration_seconds: float | None,
        likeness: str | None = None,
        caller: str = "",
    ) -> tuple[Entry, bool]:
        """Write a new request down, unless the same was asked a moment ago; it is on disk when this returns.

        Args:
            request: what is asked.
            provider: who carries it out.
            shown_audio: its audio in a form that may be shown.
            title: what the longer file is named after.
            parent_request_id: the request whose result is the source.
            expected_duration_seconds: the longer file's length, where it is known.
            likeness: the same for the same request; None is like nothing.
            caller: who asks, where several people share a server.

        Returns:
            The request, and whether it is new. One that failed or was cancelled, or whose file was taken
            away, does not stand in the way of another; one that is open, or that nobody knows the fate of,
            does so at any age.
        """
        request_id = _ID_PREFIX + secrets.token_hex(_ID_BYTES)
        now = self._now()
        with self._database.write() as connection:
            row = connection.execute(
                "SELECT * FROM requests WHERE likeness = ? AND (status IN ('in_queue', 'in_progress', 'unknown')"
                " OR status = 'completed' AND abs(created_at - ?) < ?) ORDER BY created_at DESC LIMIT 1",
                (likeness, now, ALIKE_SECONDS),
            ).fetchone()
            if row is not None:
                alike = _entry(row)
                if alike.delivery is None or Path(alike.delivery.path).is_file():
                    return alike, False
            connection.execute(
                "INSERT INTO requests (request_id, provider, status, audio, title, tags, lyrics, seed,"
                " extend_before_duration, extend_after_duration, parent_request_id,"
                " expected_duration_seconds, likeness, caller, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    request_id,
                    provider,
                    Status.IN_QUEUE,
                    shown_audio,
                    title,
                    request.tags,
                    request.lyrics,
                    request.seed,
                    request.extend_before_duration,
                    request.extend_after_duration,
                    parent_request_id,
                    expected_duration_seconds,
                    likeness,
                    caller,
                    now,
                    now,
                ),
            )
        return self.get(request_id), True

    def get(self, request_id: str) -> Entry:
        """Find a request made by this or any other process.

        Raises:
            RequestNotFound: the journal has no such request.
        """
        row = None
        if is_request_id(request_id):  # anything else may not even be text that SQLite takes
            with self._database.read() as connection:
                row = connection.execute(
                    "SELECT * FROM requests WHERE request_id = ?", (request_id,)
                ).fetchone()
        if row is None:
            raise RequestNotFound(
                f"No request has the id {request_id[:64]!r}. Copy the id from submit_outpaint's answer,"
                " or find it with list_outpaints."
            )
        return _entry(row)

    def age_seconds(self, entry: Entry) -> float:
        """Return how long ago the request was made."""
        return self._now() - entry.created_at

    def note(
        self, request_id: str, status: Status, error: str | None = None, *, cost_usd: float | None = None
    ) -> Entry:
        """Write down where a request stands and what it has cost; a final status stays what it is."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE requests SET status = ?, error = ?, cost_usd = ?, updated_at = ?"
                " WHERE request_id = ? AND status IN ('in_queue', 'in_progress')",
                (status, error, cost_usd, self._now(), request_id),
            )
        return self.get(request_id)

    def plan_delivery(self, request_id: str, path: Path) -> None:
        """Write down where the longer file is about to be put, so that a crash cannot lose track of it."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE requests SET path = ?, updated_at = ? WHERE request_id = ? AND delivered_at IS NULL",
                (str(path), self._now(), request_id),
            )

    def deliver(self, request_id: str, delivery: Delivery) -> Entry:
        """Write down that the longer file is in its place."""
        now = self._now()
        with self._database.write() as connection:
            connection.execute(
                "UPDATE requests SET path = ?, sha256 = ?, size_bytes = ?, duration_seconds = ?,"
                " before_seconds = ?, after_seconds = ?, used_seed = ?, note = ?, url = ?,"
                " delivered_at = ?, updated_at = ?"
                " WHERE request_id = ?",
                (
                    delivery.path,
                    delivery.sha256,
                    delivery.size_bytes,
                    delivery.duration_seconds,
                    delivery.before_seconds,
                    delivery.after_seconds,
                    delivery.seed,
                    delivery.note,
                    delivery.url,
                    now,
                    now,
                    request_id,
                ),
            )
        return self.get(request_id)

    def newest(self, *, limit: int, status: Status | None = None) -> list[Entry]:
        """Return requests, newest first."""
        where, values = ("WHERE status = ? ", [str(status)]) if status else ("", [])
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT * FROM requests {where}ORDER BY created_at DESC, rowid DESC LIMIT ?",  # noqa: S608 - fixed text
                (*values, limit),
            )
            return [_entry(row) for row in rows]

    def open_requests(self) -> list[Entry]:
        """Return the requests that have not ended, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT * FROM requests WHERE status IN ('in_queue', 'in_progress') ORDER BY created_at"
            )
            return [_entry(row) for row in rows]


def _entry(row: sqlite3.Row) -> Entry:
    delivered = row["delivered_at"] is not None
    return Entry(
        request_id=row["request_id"],
        provider=row["provider"],
        status=Status(row["status"]),
        audio=row["audio"],
        title=row["title"],
        extend_before_duration=row["extend_before_duration"],
        extend_after_duration=row["extend_after_duration"],
        parent_request_id=row["parent_request_id"],
        expected_duration_seconds=row["expected_duration_seconds"],
        created_at=row["created_at"],
        caller=row["caller"],
        estimated_cost_usd=row["estimated_cost_usd"],
        cost_usd=row["cost_usd"],
        basis=None if delivered else row["note"],
        error=row["error"],
        planned_path=None if delivered else row["path"],
        delivery=Delivery(
            path=row["path"],
            sha256=row["sha256"],
            size_bytes=row["size_bytes"],
            duration_seconds=row["duration_seconds"],
            before_seconds=row["before_seconds"],
            after_seconds=row["after_seconds"],
            seed=row["used_seed"],
            note=row["note"],
            url=row["url"],
        )
        if delivered
        else None,
    )

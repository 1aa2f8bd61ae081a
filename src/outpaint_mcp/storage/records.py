"""What the journal knows of a request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from outpaint_mcp.models import Status
from outpaint_mcp.results import ExportOptions

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One edition of the longer file in the output folder; durations in seconds.

    Attributes:
        note: how it was made, in sentences.
        url: where a hosted provider keeps the very same file.
        verdict: what was measured, as `Outcome.verdict`.
        delivered_at: Unix seconds.
    """

    path: str
    sha256: str
    size_bytes: int
    duration_seconds: float
    before_seconds: float
    after_seconds: float
    seed: int
    note: str
    url: str | None = None
    verdict: dict[str, Any] | None = None
    delivered_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One request as the journal knows it; times are Unix seconds, `audio` is fit to be shown.

    Attributes:
        take_of: the request that this is a further take of; None for the first take, which is the request itself.
        takes: how many takes the request has, of which this is one.
        caller: who asked, where several people share a server; empty where the server is one person's.
        estimated_cost_usd: what it costs at most; None where it is free, or not known yet.
        cost_usd: what it has cost, where the provider says so; 0 where nothing was ever sent.
        basis: how the estimate was computed and how the request is carried out.
        deliveries: what was delivered of it, by options, the oldest first.
        planned_paths: where an options was about to be put when nothing more was heard, by options.
    """

    request_id: str
    provider: str
    status: Status
    audio: str
    title: str
    extend_before_duration: float
    extend_after_duration: float
    parent_request_id: str | None
    take_of: str | None
    takes: int
    expected_duration_seconds: float | None
    created_at: float
    caller: str
    estimated_cost_usd: float | None
    cost_usd: float | None
    basis: str | None
    error: str | None
    deliveries: Mapping[str, Delivery]
    planned_paths: Mapping[str, str]

    @property
    def delivery(self) -> Delivery | None:
        """The longer file as it is by default; in another form where only that was asked for, if it is all of it."""
        wholes = [each for name, each in self.deliveries.items() if name.startswith("whole")]
        return self.deliveries.get(str(ExportOptions())) or next(iter(wholes), None)


def read_record(connection: sqlite3.Connection, row: sqlite3.Row) -> RequestRecord:
    """Read a row of the table of requests, and what was delivered of it."""
    rows = connection.execute(
        "SELECT * FROM deliveries WHERE request_id = ? ORDER BY delivered_at", (row["request_id"],)
    ).fetchall()
    return RequestRecord(
        request_id=row["request_id"],
        provider=row["provider"],
        status=Status(row["status"]),
        audio=row["audio"],
        title=row["title"],
        extend_before_duration=row["extend_before_duration"],
        extend_after_duration=row["extend_after_duration"],
        parent_request_id=row["parent_request_id"],
        take_of=row["take_of"],
        takes=row["takes"],
        expected_duration_seconds=row["expected_duration_seconds"],
        created_at=row["created_at"],
        caller=row["caller"],
        estimated_cost_usd=row["estimated_cost_usd"],
        cost_usd=row["cost_usd"],
        basis=row["note"],
        error=row["error"],
        deliveries={each["options"]: _delivery(each) for each in rows if each["delivered_at"] is not None},
        planned_paths={each["options"]: each["path"] for each in rows if each["delivered_at"] is None},
    )


def _delivery(row: sqlite3.Row) -> Delivery:
    return Delivery(
        path=row["path"],
        sha256=row["sha256"],
        size_bytes=row["size_bytes"],
        duration_seconds=row["duration_seconds"],
        before_seconds=row["before_seconds"],
        after_seconds=row["after_seconds"],
        seed=row["seed"],
        note=row["note"],
        url=row["url"],
        verdict=None if row["verdict"] is None else json.loads(row["verdict"]),
        delivered_at=row["delivered_at"],
    )

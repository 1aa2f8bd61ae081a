"""Where extended files come from: what each consists of, and whose result it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.storage.rows import IS_THEIRS, theirs, unpack_outcome

if TYPE_CHECKING:
    from outpaint_mcp.audio.layout import Layout
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.storage.database import Database
    from outpaint_mcp.storage.journal import Journal
    from outpaint_mcp.storage.records import RequestRecord

_AND_REQUESTS = "JOIN requests ON requests.request_id = deliveries.request_id"


class Lineage:
    """What is known of files that are earlier results."""

    def __init__(self, database: Database, journal: Journal) -> None:
        self._database = database
        self._journal = journal

    def layout_of_source(self, request_id: str) -> Layout | None:
        """Return what the source of a request consists of; None for one that is no earlier result."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT outcome FROM jobs JOIN requests ON requests.parent_request_id = jobs.request_id"
                " WHERE requests.request_id = ?",
                (request_id,),
            ).fetchone()
        return None if row is None or row["outcome"] is None else unpack_outcome(row["outcome"]).layout

    def digests_of_results(self, principal: Principal, size_bytes: int) -> list[str]:
        """Return the SHA-256 of each file of this size that was delivered to whoever asks."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT DISTINCT sha256 FROM deliveries {_AND_REQUESTS} WHERE size_bytes = ? AND {IS_THEIRS}",
                (size_bytes, *theirs(principal)),
            ).fetchall()
        return [row["sha256"] for row in rows]

    def result_with(self, principal: Principal, sha256: str) -> RequestRecord | None:
        """Find the request of whoever asks whose extended file, delivered whole in any format, has this content."""
        with self._database.read() as connection:
            row = connection.execute(
                f"SELECT deliveries.request_id, duration_seconds FROM deliveries {_AND_REQUESTS} WHERE sha256 = ?"
                f" AND options NOT LIKE '%as made' AND {IS_THEIRS} ORDER BY delivered_at LIMIT 1",
                (sha256, *theirs(principal)),
            ).fetchone()
        if row is None:
            return None
        record = self._journal.get(row["request_id"])
        is_whole = record.outcome is not None and record.outcome.duration_seconds == row["duration_seconds"]
        return record if is_whole else None

    def twin_of(self, record: RequestRecord) -> str | None:
        """Return their earliest other request with the same extended file, value by value; None for its own takes."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT jobs.request_id FROM jobs JOIN requests ON requests.request_id = jobs.request_id"
                " WHERE audio_sha256 = (SELECT audio_sha256 FROM jobs WHERE request_id = ?)"
                " AND requests.caller = ? AND coalesce(requests.take_of, requests.request_id) <> ?"
                " ORDER BY jobs.position LIMIT 1",
                (record.request_id, record.caller, record.family),
            ).fetchone()
        return None if row is None else str(row["request_id"])

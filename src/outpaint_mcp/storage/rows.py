"""Rows of the tables as records."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, TypedDict

from outpaint_mcp.audio.sides import Side
from outpaint_mcp.errors import StorageFailed
from outpaint_mcp.models import Status, SubmitRequest
from outpaint_mcp.results import outcome_from_json, outcome_to_json
from outpaint_mcp.storage.records import Delivery, Job, Lease, RequestProgress, RequestRecord, Step, StepState
from outpaint_mcp.storage.spending import AWAITS_AGREEMENT, EXPECTED_BILL

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from outpaint_mcp.audio.verdict.records import Verdict
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.results import Outcome


class _Facts(TypedDict, total=False):
    seed: int
    note: str
    verdict: Verdict | None
    audio_sha256: str | None
    restore_refusal: str | None
    has_as_made: bool
    seeds_differ: bool


UNUSED_AUDIO = "-"
"""Stands where the model requires an `audio` that is stored elsewhere."""

RECORD_COLUMNS = (
    "requests.request_id, requests.provider, requests.audio, requests.title, requests.extend_before_duration,"
    " requests.extend_after_duration, requests.parent_request_id, requests.take_of, requests.takes,"
    " requests.expected_duration_seconds, requests.created_at, requests.caller, jobs.position, jobs.status,"
    " jobs.server_id, jobs.progress, jobs.step, jobs.queue_position, jobs.estimated_cost_usd, jobs.cost_usd,"
    " jobs.basis, jobs.error, jobs.error_kind, jobs.error_hint, jobs.error_field, jobs.ended_at, jobs.outcome,"
    " EXISTS (SELECT 1 FROM steps WHERE steps.request_id = jobs.request_id AND remote_id IS NOT NULL) AS is_sent,"
    " EXISTS (SELECT 1 FROM steps WHERE steps.request_id = jobs.request_id) AS is_planned,"
    " (SELECT max(odd_cost) FROM steps WHERE steps.request_id = jobs.request_id) AS odd_cost,"
    f" {EXPECTED_BILL} AS expected_cost_usd, {AWAITS_AGREEMENT} AS awaits_agreement"
)
"""What `read_record` reads, of `requests JOIN jobs USING (request_id)`."""


IS_THEIRS = "(? OR requests.caller = ?)"
"""Of `requests`: whether whoever asks may know of it; `theirs` gives the values."""


def theirs(principal: Principal) -> tuple[bool, str]:
    """Return the values of `IS_THEIRS`."""
    return principal.sees_all, principal.owner


def read_record(
    row: sqlite3.Row,
    deliveries: Sequence[sqlite3.Row],
    *,
    queue_position: int | None = None,
    with_outcome: bool = True,
) -> RequestRecord:
    """Read one row of `RECORD_COLUMNS`.

    Args:
        row: the request and its job.
        deliveries: the request's rows of the table of deliveries, oldest first.
        queue_position: its place in our own queue, where it waits there.
        with_outcome: whether to decode what the provider made.
    """
    status = Status(row["status"])
    outcome = unpack_outcome(row["outcome"]) if with_outcome and row["outcome"] else None
    return RequestRecord(
        request_id=row["request_id"],
        provider=row["provider"],
        status=status,
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
        cost_usd=row["cost_usd"] if status.is_final else None,  # until then, more may come
        basis=row["basis"],
        error=row["error"],
        error_kind=row["error_kind"],
        error_hint=row["error_hint"],
        error_field=row["error_field"],
        is_accepted=bool(row["is_sent"]),
        expected_cost_usd=row["expected_cost_usd"],
        odd_cost=row["odd_cost"],
        live=None if status.is_final else _progress(row, status, queue_position),
        ended_at=row["ended_at"],
        outcome=outcome,
        deliveries={
            each["options"]: read_delivery(each, outcome)
            for each in deliveries
            if each["delivered_at"] is not None
        },
        planned_paths={each["options"]: each["path"] for each in deliveries if each["delivered_at"] is None},
    )


def _progress(row: sqlite3.Row, status: Status, queue_position: int | None) -> RequestProgress:
    return RequestProgress(
        status=status,
        queue_position=row["queue_position"] or queue_position,
        progress=row["progress"] if status is Status.IN_PROGRESS else None,
        step=row["step"],
        cost_usd=row["cost_usd"],
        awaits_agreement=bool(row["awaits_agreement"]),
    )


def pack_outcome(outcome: Outcome) -> bytes:
    """Return an outcome as it is stored: compressed, as it is most of what there is of a request."""
    return zlib.compress(outcome_to_json(outcome).encode(), 9)


def unpack_outcome(content: bytes) -> Outcome:
    """Read what `pack_outcome` returned.

    Raises:
        StorageFailed: it is something else.
    """
    try:
        return outcome_from_json(zlib.decompress(content).decode())
    except (zlib.error, ValueError) as exc:
        raise StorageFailed("A stored result cannot be read.") from exc


def read_delivery(row: sqlite3.Row, outcome: Outcome | None) -> Delivery:
    """Read one row of the table of deliveries; `outcome` is the request's."""
    if outcome is not None and outcome.as_made is not None and row["options"].endswith("as made"):
        outcome = outcome.as_made
    return Delivery(
        path=row["path"],
        sha256=row["sha256"],
        size_bytes=row["size_bytes"],
        duration_seconds=row["duration_seconds"],
        before_seconds=row["before_seconds"],
        after_seconds=row["after_seconds"],
        url=row["url"],
        delivered_at=row["delivered_at"],
        **facts_of(outcome),
    )


def facts_of(outcome: Outcome | None) -> _Facts:
    """Return what a delivery has of what the provider produced, whatever form it is delivered in."""
    if outcome is None:
        return {}
    return {
        "seed": outcome.seed,
        "note": outcome.note,
        "verdict": outcome.verdict,
        "audio_sha256": outcome.audio_sha256,
        "restore_refusal": outcome.restore_refusal,
        "has_as_made": outcome.as_made is not None,
        "seeds_differ": outcome.seeds_differ,
    }


def read_job(row: sqlite3.Row, steps: Sequence[sqlite3.Row]) -> Job:
    """Read one row of the table of jobs that a server has claimed.

    Raises:
        StorageFailed: it is none that this version writes.
    """
    try:
        return Job(
            lease=Lease(row["request_id"], row["server_id"], row["attempt"]),
            provider=row["provider"],
            status=Status(row["status"]),
            source=row["source"],
            request=SubmitRequest.model_validate(json.loads(row["inputs"]) | {"audio": UNUSED_AUDIO}),
            account=row["account"],
            limit_usd=row["limit_usd"],
            day_limit_usd=row["day_limit_usd"],
            source_seconds=row["source_seconds"],
            steps=tuple(map(read_step, steps)),
        )
    except (ValueError, TypeError) as exc:
        raise StorageFailed("A stored request cannot be read.") from exc


def read_step(row: sqlite3.Row) -> Step:
    """Read one row of the table of steps."""
    return Step(
        number=row["number"],
        side=Side(row["side"]),
        seconds=row["seconds"],
        context_seconds=row["context_seconds"],
        state=StepState(row["state"]),
        sent_at=row["sent_at"],
        remote_id=row["remote_id"],
        object_name=row["object_name"],
        estimated_cost_usd=row["estimated_cost_usd"],
        cost_usd=row["cost_usd"],
        odd_cost=row["odd_cost"],
    )


def write_inputs(request: SubmitRequest) -> str:
    """Return what is asked as JSON, without the audio."""
    return request.model_dump_json(exclude={"audio"}, exclude_defaults=True)

"""What is answered: where a request stands, in figures and in words, and what to do next."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.models import CancelOutcome, Status
from outpaint_mcp.reports import takes as comparison
from outpaint_mcp.reports.models import (
    Cancellation,
    RequestSummary,
    ResultReport,
    StatusReport,
    Submission,
    TakeReport,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outpaint_mcp.providers.base import ProviderStatus
    from outpaint_mcp.results import ExportOptions
    from outpaint_mcp.storage.records import Delivery, RequestRecord

WHAT_NEXT = "Call get_outpaint_result with wait_seconds=45 (or 3, where your host cuts calls short)."


def in_words(seen: ProviderStatus) -> str:
    """Say in a few words where a request stands that has not ended."""
    if seen.queue_position is not None:
        ahead = seen.queue_position - 1
        queued = "Next in the queue" if not ahead else f"In the queue, {ahead} ahead"
        return f"{queued} ({seen.step})" if seen.step else queued
    share = "" if seen.progress is None else f", {seen.progress:.0%} done"
    return f"In progress ({seen.step}){share}" if seen.step else f"In progress{share}"


def taken_on(
    record: RequestRecord, *, waits_for: str = "", refused: Sequence[BaseException] = ()
) -> Submission:
    """Say what was taken on, what it costs, and what to do next.

    Args:
        record: the request, with all its takes.
        waits_for: what has still to happen before the provider has really taken it on.
        refused: why some of its takes were not taken on.
    """
    if record.status is Status.UNKNOWN:
        return _submission(record, record.error or "")
    length = record.expected_duration_seconds
    told = (
        f"Written down; {record.provider} has not taken it on yet ({waits_for}), get_outpaint_status tells."
        if waits_for
        else "Accepted.",
        f"{record.takes} takes." if record.takes > 1 else "",
        f"{len(refused)} of them were not taken on: {refused[0]}" if refused else record.error or "",
        "" if length is None else f"The longer file will last {length:.0f} s.",
        _basis(record) or ("What it costs is told there, too." if waits_for else ""),
        WHAT_NEXT,
    )
    return _submission(record, " ".join(filter(None, told)))


def _basis(record: RequestRecord) -> str:
    """How the estimate was computed, for each take."""
    if not record.basis:
        return ""
    return f"For each of {record.takes} takes: {record.basis}" if record.takes > 1 else record.basis


def taken_on_before(record: RequestRecord, age_seconds: float) -> Submission:
    """Say that nothing was started, and how to mean it."""
    before = f"Nothing new was started: the same was asked {max(0.0, age_seconds):.0f} s ago, and this is that request."
    if record.status is Status.UNKNOWN:
        return _submission(record, f"{before} {record.error}", is_repeat=True)
    return _submission(record, f"{before} For another take, give another seed. {WHAT_NEXT}", is_repeat=True)


def _submission(record: RequestRecord, message: str, *, is_repeat: bool | None = None) -> Submission:
    return Submission(
        request_id=record.request_id,
        provider=record.provider,
        status=record.status,
        expected_duration_seconds=_rounded(record.expected_duration_seconds),
        estimated_cost_usd=_dollars(record.estimated_cost_usd),
        is_repeat=is_repeat,
        message=message,
    )


def standing(
    record: RequestRecord, seen: ProviderStatus | None, takes: Sequence[RequestRecord]
) -> StatusReport:
    """Say where a request stands; `seen` is what the last look found, None once it has ended."""
    progress = seen.progress if seen else 1.0 if record.status is Status.COMPLETED else None
    return StatusReport(
        request_id=record.request_id,
        provider=record.provider,
        status=record.status,
        queue_position=seen.queue_position if seen else None,
        progress=progress,
        estimated_cost_usd=_estimate(record),
        cost_usd=_dollars(seen.cost_usd if seen else record.cost_usd),
        error=record.error,
        message=" ".join(filter(None, (_advice(record, seen), _each(takes)))),
    )


def not_delivered(record: RequestRecord, seen: ProviderStatus | None) -> ResultReport:
    """Say why there is no file, or not yet."""
    return ResultReport(
        request_id=record.request_id,
        provider=record.provider,
        status=record.status,
        cost_usd=_dollars(record.cost_usd),
        error=record.error,
        message=_advice(record, seen),
    )


def being_written(record: RequestRecord, options: ExportOptions) -> ResultReport:
    """Say that it is made, and the file that was asked for nearly so."""
    return ResultReport(
        request_id=record.request_id,
        provider=record.provider,
        status=record.status,
        cost_usd=_dollars(record.cost_usd),
        message=f"Completed; the file ({options}) is being written. {WHAT_NEXT}",
    )


def delivered(
    record: RequestRecord,
    takes: Sequence[RequestRecord],
    deliveries: Mapping[str, Delivery],
    missing: Mapping[str, str],
    options: ExportOptions,
) -> ResultReport:
    """Say where the longer file is and how it came out; of several takes, the best one's.

    Args:
        record: the request.
        takes: all of its takes.
        deliveries: by the ids of those whose file is there.
        missing: why it is not, by the ids of others that were made.
        options: what was asked for.
    """
    best_first = comparison.best_first(list(deliveries.values()))
    delivery = best_first[0]
    message = (
        ""
        if record.status.is_final
        else f"{len(deliveries)} of {len(takes)} takes are made; call again for the rest.",
        comparison.compared([deliveries.get(take.request_id) for take in takes]) if len(takes) > 1 else "",
        delivery.note if (options.part, options.format) == ("whole", "source") else "",
        _about(options),
    )
    return ResultReport(
        request_id=record.request_id,
        provider=record.provider,
        status=record.status,
        path=delivery.path,
        url=delivery.url or Path(delivery.path).as_uri(),
        duration_seconds=_rounded(delivery.duration_seconds),
        before_seconds=_rounded(delivery.before_seconds),
        after_seconds=_rounded(delivery.after_seconds),
        seed=delivery.seed,
        size_bytes=delivery.size_bytes,
        sha256=delivery.sha256,
        cost_usd=_dollars(record.cost_usd),
        verdict=comparison.in_words(delivery),
        measured=comparison.figures(delivery),
        takes=_takes(takes, deliveries, missing, best_first) if len(takes) > 1 else None,
        message=" ".join(filter(None, message)),
    )


def _takes(
    takes: Sequence[RequestRecord],
    deliveries: Mapping[str, Delivery],
    missing: Mapping[str, str],
    best_first: Sequence[Delivery],
) -> list[TakeReport]:
    """One line for each take, the best first, those without a file last."""

    def place(take: RequestRecord) -> int:
        delivery = deliveries.get(take.request_id)
        return len(takes) if delivery is None else best_first.index(delivery)

    told = []
    for take in sorted(takes, key=place):
        delivery = deliveries.get(take.request_id)
        told.append(
            TakeReport(
                request_id=take.request_id,
                status=take.status,
                seed=delivery.seed if delivery else None,
                path=delivery.path if delivery else None,
                verdict=comparison.in_words(delivery) if delivery else None,
                error=take.error or missing.get(take.request_id),
            )
        )
    return told


def _about(options: ExportOptions) -> str:
    """What is to be said of an edition that is not simply the longer file."""
    lossy = {"mp3": "MP3", "ogg": "OGG", "opus": "Opus"}.get(options.format)
    return " ".join(
        filter(
            None,
            (
                f"This file has only the music added {options.part}; the verdict is on the whole."
                if options.part != "whole"
                else "",
                f"{lossy} is lossy: the verdict is on the music before it was coded." if lossy else "",
                "Of more than 16 bits it is rounded to them, with dither."
                if options.format == "wav16"
                else "",
            ),
        )
    )


def cancellation(
    record: RequestRecord, outcome: CancelOutcome, takes: Sequence[RequestRecord]
) -> Cancellation:
    """Say what became of the wish to cancel; of several takes, of each."""
    match outcome, record.status:
        case _ if len(takes) > 1 and outcome is CancelOutcome.NOT_CANCELLABLE and not record.status.is_final:
            message = (
                f"Not all of it was cancelled; what is in progress is carried out, and billed. {_each(takes)}"
            )
        case _ if len(takes) > 1:
            message = _each(takes)
        case CancelOutcome.CANCELLED, Status.CANCELLED:
            message = record.error or "Cancelled; nothing was delivered."
        case CancelOutcome.CANCELLED, _:
            message = "Cancelling; look at get_outpaint_status in a moment."
        case _ if record.status.is_final:
            message = f"Nothing to cancel: the request is {record.status}."
        case _:
            message = (
                f"Not cancelled: {record.provider} is carrying it out, or has not answered yet whether it still can be."
                " get_outpaint_status tells."
            )
    return Cancellation(request_id=record.request_id, outcome=outcome, status=record.status, message=message)


def _each(takes: Sequence[RequestRecord]) -> str:
    """Where each of several takes stands, by its own id."""
    told = [f"take {number} ({take.request_id}) {take.status}" for number, take in enumerate(takes, 1)]
    return f"{'; '.join(told)}.".capitalize() if len(takes) > 1 else ""


def summary(record: RequestRecord) -> RequestSummary:
    """Put a request into one line."""
    return RequestSummary(
        request_id=record.request_id,
        provider=record.provider,
        status=record.status,
        title=record.title,
        extend_before_duration=record.extend_before_duration,
        extend_after_duration=record.extend_after_duration,
        created_at=datetime.fromtimestamp(record.created_at, UTC).isoformat(timespec="seconds"),
        parent_request_id=record.parent_request_id,
        takes=record.takes if record.takes > 1 else None,
        path=record.delivery.path if record.delivery else None,
        estimated_cost_usd=_estimate(record),
        cost_usd=_dollars(record.cost_usd),
        error=record.error,
    )


def _advice(record: RequestRecord, seen: ProviderStatus | None) -> str:
    """Say where a request stands and what to do next."""
    match record.status:
        case Status.IN_QUEUE | Status.IN_PROGRESS:
            where = in_words(seen) if seen else "Waiting"
            return " ".join(filter(None, (f"{where}.", _basis(record), WHAT_NEXT)))
        case Status.COMPLETED:
            return "Completed. Call get_outpaint_result for the file."
        case Status.CANCELLED:
            return record.error or "Cancelled; nothing was delivered. Submit again to start over."
        case Status.UNKNOWN:
            return "Nobody knows what became of it; the error says why and what to do. It is not sent again by itself."
        case Status.FAILED:
            return "Failed; the error says why, what was billed, and what to try."


def _estimate(record: RequestRecord) -> float | None:
    """What it costs at most, for as long as it is not known what it did."""
    return _dollars(record.estimated_cost_usd) if record.cost_usd is None else None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None or not math.isfinite(seconds) else round(seconds, 3)


def _dollars(amount: float | None) -> float | None:
    return None if amount is None else round(amount, 6)

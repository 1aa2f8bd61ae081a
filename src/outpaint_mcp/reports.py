"""What is answered: where a request stands, in figures and in words, and what to do next."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp import comparison
from outpaint_mcp.answers import (
    Cancellation,
    RequestSummary,
    ResultReport,
    StatusReport,
    Submission,
    TakeReport,
)
from outpaint_mcp.models import CancelOutcome, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outpaint_mcp.edition import Edition
    from outpaint_mcp.entries import Delivery, Entry
    from outpaint_mcp.provider import ProviderStatus

WHAT_NEXT = "Call get_outpaint_result with wait_seconds=45 (or 3, where your host cuts calls short)."


def in_words(seen: ProviderStatus) -> str:
    """Say in a few words where a request stands that has not ended."""
    if seen.queue_position is not None:
        ahead = seen.queue_position - 1
        queued = "Next in the queue" if not ahead else f"In the queue, {ahead} ahead"
        return f"{queued} ({seen.step})" if seen.step else queued
    share = "" if seen.progress is None else f", {seen.progress:.0%} done"
    return f"In progress ({seen.step}){share}" if seen.step else f"In progress{share}"


def taken_on(entry: Entry, *, waits_for: str = "", refused: Sequence[BaseException] = ()) -> Submission:
    """Say what was taken on, what it costs, and what to do next.

    Args:
        entry: the request, with all its takes.
        waits_for: what has still to happen before the provider has really taken it on.
        refused: why some of its takes were not taken on.
    """
    if entry.status is Status.UNKNOWN:
        return _submission(entry, entry.error or "")
    length = entry.expected_duration_seconds
    told = (
        f"Written down; {entry.provider} has not taken it on yet ({waits_for}), get_outpaint_status tells."
        if waits_for
        else "Accepted.",
        f"{entry.takes} takes." if entry.takes > 1 else "",
        f"{len(refused)} of them were not taken on: {refused[0]}" if refused else entry.error or "",
        "" if length is None else f"The longer file will last {length:.0f} s.",
        _basis(entry) or ("What it costs is told there, too." if waits_for else ""),
        WHAT_NEXT,
    )
    return _submission(entry, " ".join(filter(None, told)))


def _basis(entry: Entry) -> str:
    """How the estimate was computed, for each take."""
    if not entry.basis:
        return ""
    return f"For each of {entry.takes} takes: {entry.basis}" if entry.takes > 1 else entry.basis


def taken_on_before(entry: Entry, age_seconds: float) -> Submission:
    """Say that nothing was started, and how to mean it."""
    before = f"Nothing new was started: the same was asked {max(0.0, age_seconds):.0f} s ago, and this is that request."
    if entry.status is Status.UNKNOWN:
        return _submission(entry, f"{before} {entry.error}", is_repeat=True)
    return _submission(entry, f"{before} For another take, give another seed. {WHAT_NEXT}", is_repeat=True)


def _submission(entry: Entry, message: str, *, is_repeat: bool | None = None) -> Submission:
    return Submission(
        request_id=entry.request_id,
        provider=entry.provider,
        status=entry.status,
        expected_duration_seconds=_rounded(entry.expected_duration_seconds),
        estimated_cost_usd=_dollars(entry.estimated_cost_usd),
        is_repeat=is_repeat,
        message=message,
    )


def standing(entry: Entry, seen: ProviderStatus | None, takes: Sequence[Entry]) -> StatusReport:
    """Say where a request stands; `seen` is what the last look found, None once it has ended."""
    progress = seen.progress if seen else 1.0 if entry.status is Status.COMPLETED else None
    return StatusReport(
        request_id=entry.request_id,
        provider=entry.provider,
        status=entry.status,
        queue_position=seen.queue_position if seen else None,
        progress=progress,
        estimated_cost_usd=_estimate(entry),
        cost_usd=_dollars(seen.cost_usd if seen else entry.cost_usd),
        error=entry.error,
        message=" ".join(filter(None, (_advice(entry, seen), _each(takes)))),
    )


def not_delivered(entry: Entry, seen: ProviderStatus | None) -> ResultReport:
    """Say why there is no file, or not yet."""
    return ResultReport(
        request_id=entry.request_id,
        provider=entry.provider,
        status=entry.status,
        cost_usd=_dollars(entry.cost_usd),
        error=entry.error,
        message=_advice(entry, seen),
    )


def being_written(entry: Entry, edition: Edition) -> ResultReport:
    """Say that it is made, and the file that was asked for nearly so."""
    return ResultReport(
        request_id=entry.request_id,
        provider=entry.provider,
        status=entry.status,
        cost_usd=_dollars(entry.cost_usd),
        message=f"Completed; the file ({edition}) is being written. {WHAT_NEXT}",
    )


def delivered(
    entry: Entry,
    takes: Sequence[Entry],
    deliveries: Mapping[str, Delivery],
    missing: Mapping[str, str],
    edition: Edition,
) -> ResultReport:
    """Say where the longer file is and how it came out; of several takes, the best one's.

    Args:
        entry: the request.
        takes: all of its takes.
        deliveries: by the ids of those whose file is there.
        missing: why it is not, by the ids of others that were made.
        edition: what was asked for.
    """
    best_first = comparison.best_first(list(deliveries.values()))
    delivery = best_first[0]
    message = (
        ""
        if entry.status.is_final
        else f"{len(deliveries)} of {len(takes)} takes are made; call again for the rest.",
        comparison.compared([deliveries.get(take.request_id) for take in takes]) if len(takes) > 1 else "",
        delivery.note if (edition.part, edition.format) == ("whole", "source") else "",
        _about(edition),
    )
    return ResultReport(
        request_id=entry.request_id,
        provider=entry.provider,
        status=entry.status,
        path=delivery.path,
        url=delivery.url or Path(delivery.path).as_uri(),
        duration_seconds=_rounded(delivery.duration_seconds),
        before_seconds=_rounded(delivery.before_seconds),
        after_seconds=_rounded(delivery.after_seconds),
        seed=delivery.seed,
        size_bytes=delivery.size_bytes,
        sha256=delivery.sha256,
        cost_usd=_dollars(entry.cost_usd),
        verdict=comparison.in_words(delivery),
        measured=comparison.figures(delivery),
        takes=_takes(takes, deliveries, missing, best_first) if len(takes) > 1 else None,
        message=" ".join(filter(None, message)),
    )


def _takes(
    takes: Sequence[Entry],
    deliveries: Mapping[str, Delivery],
    missing: Mapping[str, str],
    best_first: Sequence[Delivery],
) -> list[TakeReport]:
    """One line for each take, the best first, those without a file last."""

    def place(take: Entry) -> int:
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


def _about(edition: Edition) -> str:
    """What is to be said of an edition that is not simply the longer file."""
    lossy = {"mp3": "MP3", "ogg": "OGG", "opus": "Opus"}.get(edition.format)
    return " ".join(
        filter(
            None,
            (
                f"This file has only the music added {edition.part}; the verdict is on the whole."
                if edition.part != "whole"
                else "",
                f"{lossy} is lossy: the verdict is on the music before it was coded." if lossy else "",
                "Of more than 16 bits it is rounded to them, with dither."
                if edition.format == "wav16"
                else "",
            ),
        )
    )


def cancellation(entry: Entry, outcome: CancelOutcome, takes: Sequence[Entry]) -> Cancellation:
    """Say what became of the wish to cancel; of several takes, of each."""
    match outcome, entry.status:
        case _ if len(takes) > 1 and outcome is CancelOutcome.NOT_CANCELLABLE and not entry.status.is_final:
            message = (
                f"Not all of it was cancelled; what is in progress is carried out, and billed. {_each(takes)}"
            )
        case _ if len(takes) > 1:
            message = _each(takes)
        case CancelOutcome.CANCELLED, Status.CANCELLED:
            message = entry.error or "Cancelled; nothing was delivered."
        case CancelOutcome.CANCELLED, _:
            message = "Cancelling; look at get_outpaint_status in a moment."
        case _ if entry.status.is_final:
            message = f"Nothing to cancel: the request is {entry.status}."
        case _:
            message = (
                f"Not cancelled: {entry.provider} is carrying it out, or has not answered yet whether it still can be."
                " get_outpaint_status tells."
            )
    return Cancellation(request_id=entry.request_id, outcome=outcome, status=entry.status, message=message)


def _each(takes: Sequence[Entry]) -> str:
    """Where each of several takes stands, by its own id."""
    told = [f"take {number} ({take.request_id}) {take.status}" for number, take in enumerate(takes, 1)]
    return f"{'; '.join(told)}.".capitalize() if len(takes) > 1 else ""


def summary(entry: Entry) -> RequestSummary:
    """Put a request into one line."""
    return RequestSummary(
        request_id=entry.request_id,
        provider=entry.provider,
        status=entry.status,
        title=entry.title,
        extend_before_duration=entry.extend_before_duration,
        extend_after_duration=entry.extend_after_duration,
        created_at=datetime.fromtimestamp(entry.created_at, UTC).isoformat(timespec="seconds"),
        parent_request_id=entry.parent_request_id,
        takes=entry.takes if entry.takes > 1 else None,
        path=entry.delivery.path if entry.delivery else None,
        estimated_cost_usd=_estimate(entry),
        cost_usd=_dollars(entry.cost_usd),
        error=entry.error,
    )


def _advice(entry: Entry, seen: ProviderStatus | None) -> str:
    """Say where a request stands and what to do next."""
    match entry.status:
        case Status.IN_QUEUE | Status.IN_PROGRESS:
            where = in_words(seen) if seen else "Waiting"
            return " ".join(filter(None, (f"{where}.", _basis(entry), WHAT_NEXT)))
        case Status.COMPLETED:
            return "Completed. Call get_outpaint_result for the file."
        case Status.CANCELLED:
            return entry.error or "Cancelled; nothing was delivered. Submit again to start over."
        case Status.UNKNOWN:
            return "Nobody knows what became of it; the error says why and what to do. It is not sent again by itself."
        case Status.FAILED:
            return "Failed; the error says why, what was billed, and what to try."


def _estimate(entry: Entry) -> float | None:
    """What it costs at most, for as long as it is not known what it did."""
    return _dollars(entry.estimated_cost_usd) if entry.cost_usd is None else None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None or not math.isfinite(seconds) else round(seconds, 3)


def _dollars(amount: float | None) -> float | None:
    return None if amount is None else round(amount, 6)

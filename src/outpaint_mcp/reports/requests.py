"""Reports on requests: their status in figures and in words, and what to do next."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.errors import Hint, OutpaintError, error_of_kind
from outpaint_mcp.models import CancelOutcome, Status
from outpaint_mcp.providers.registry import describe
from outpaint_mcp.reports import takes as comparison
from outpaint_mcp.reports.bills import bill_words
from outpaint_mcp.reports.models import Cancellation, ResultReport, StatusReport, TakeReport
from outpaint_mcp.reports.progress import in_words
from outpaint_mcp.reports.verdicts import file_notes
from outpaint_mcp.reports.wording import explain
from outpaint_mcp.storage.journal import UNFETCHED_DAYS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outpaint_mcp.export_options import ExportOptions
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.storage.records import Delivery, RequestRecord


def basis(record: RequestRecord) -> str:
    """Explain the estimate, of a whole request for each take."""
    if not record.basis:
        return ""
    is_whole = record.takes > 1 and record.take_of is None
    return f"For each of {record.takes} takes: {record.basis}" if is_whole else record.basis


def error_words(record: RequestRecord, vocabulary: Vocabulary) -> str | None:
    """Explain why a request ended without a result, or what was left of it; None where there is nothing to explain."""
    if record.error is None:
        return None
    error = error_of_kind(record.error_kind, record.error, hint=record.error_hint, field=record.error_field)
    error.request_id = record.request_id
    return explain(error, vocabulary)


def status(record: RequestRecord, vocabulary: Vocabulary, takes: Sequence[RequestRecord]) -> StatusReport:
    """Report a request's status."""
    seen = record.live
    progress = seen.progress if seen else 1.0 if record.status is Status.COMPLETED else None
    return StatusReport(
        request_id=record.request_id,
        provider=record.provider,
        status=record.status,
        queue_position=seen.queue_position if seen else None,
        progress=progress,
        estimated_cost_usd=estimate(record),
        cost_usd=dollars(seen.cost_usd if seen else record.cost_usd),
        error=error_words(record, vocabulary),
        message=" ".join(filter(None, (_state(record, vocabulary), bill_words(record), _each(takes)))),
    )


def not_delivered(record: RequestRecord, vocabulary: Vocabulary) -> ResultReport:
    """Report why there is no file, or not yet."""
    return ResultReport(
        request_id=record.request_id,
        provider=record.provider,
        status=record.status,
        cost_usd=dollars(record.cost_usd),
        error=error_words(record, vocabulary),
        error_kind=record.error_kind,
        awaits_agreement=record.awaits_agreement,
        message=" ".join(filter(None, (_state(record, vocabulary), bill_words(record)))),
    )


def being_written(
    record: RequestRecord, vocabulary: Vocabulary, options: ExportOptions, share: float
) -> ResultReport:
    """Report that the music is there and its file is being written, which share of it is done."""
    next_step = vocabulary.advise(Hint.AWAIT_RESULT, request_id=record.request_id)
    return ResultReport(
        request_id=record.request_id,
        provider=record.provider,
        status=Status.IN_PROGRESS,
        progress=round(share, 2),
        cost_usd=dollars(record.cost_usd),
        message=f"The music is ready; its file ({options}) is being written, {share:.0%} done. {next_step}",
    )


def delivered(  # noqa: PLR0913 - the takes and what became of each
    record: RequestRecord,
    vocabulary: Vocabulary,
    takes: Sequence[RequestRecord],
    deliveries: Mapping[str, Delivery],
    missing: Mapping[str, OutpaintError],
    options: ExportOptions,
    *,
    details: bool = False,
) -> ResultReport:
    """Report where the extended file is and how it turned out; of several takes, the best one's.

    Args:
        record: the request.
        vocabulary: the words of the surface that shows it.
        takes: all of its takes.
        deliveries: by request id, the takes whose file is there.
        missing: by request id, why a completed take has no file.
        options: the form in which the file was requested.
        details: whether to report the file's digest and size.
    """
    best_first = comparison.best_first(list(deliveries.values()))
    delivery = best_first[0]
    reasons = {request_id: explain(each, vocabulary) for request_id, each in missing.items()}
    message = (
        ""
        if record.status.is_final
        else f"{len(deliveries)} of {len(takes)} takes are ready. {_next_step(record, vocabulary)}",
        comparison.compared([deliveries.get(take.request_id) for take in takes]) if len(takes) > 1 else "",
        _note(vocabulary, delivery, options),
        _about(options),
        bill_words(record),
    )
    return ResultReport(
        request_id=record.request_id,
        provider=record.provider,
        status=record.status,
        path=delivery.path,
        url=delivery.url or Path(delivery.path).as_uri(),
        duration_seconds=rounded(delivery.duration_seconds),
        before_seconds=rounded(delivery.before_seconds),
        after_seconds=rounded(delivery.after_seconds),
        seed=delivery.seed,
        size_bytes=delivery.size_bytes if details else None,
        sha256=delivery.sha256 if details else None,
        cost_usd=dollars(record.cost_usd),
        verdict=_verdict(record, vocabulary, delivery, options, best_first),
        measured=comparison.figures(delivery),
        takes=_takes(takes, vocabulary, deliveries, reasons, best_first, options) if len(takes) > 1 else None,
        message=" ".join(filter(None, message)),
    )


def _takes(  # noqa: PLR0913 - the takes, what became of each, and how to say it
    takes: Sequence[RequestRecord],
    vocabulary: Vocabulary,
    deliveries: Mapping[str, Delivery],
    missing: Mapping[str, str],
    best_first: Sequence[Delivery],
    options: ExportOptions,
) -> list[TakeReport]:
    """Report each take in a line, the best first, those without a file last."""

    def place(take: RequestRecord) -> int:
        delivery = deliveries.get(take.request_id)
        return len(takes) if delivery is None else best_first.index(delivery)

    reports = []
    for take in sorted(takes, key=place):
        delivery = deliveries.get(take.request_id)
        reports.append(
            TakeReport(
                request_id=take.request_id,
                status=take.status,
                seed=delivery.seed if delivery else None,
                path=delivery.path if delivery else None,
                verdict=_verdict(take, vocabulary, delivery, options, best_first) if delivery else None,
                error=error_words(take, vocabulary) or missing.get(take.request_id),
            )
        )
    return reports


def _verdict(
    record: RequestRecord,
    vocabulary: Vocabulary,
    delivery: Delivery,
    options: ExportOptions,
    deliveries: Sequence[Delivery],
) -> str | None:
    """Describe how a file came out, one of those of all takes."""
    return comparison.in_words(
        delivery,
        vocabulary,
        is_generative=describe(record.provider).is_generative,
        can_restore=not options.restore_source and delivery.restore_refusal is None,
        seeds_differ=delivery.seeds_differ and not comparison.is_one_for_all(deliveries),
    )


def _note(vocabulary: Vocabulary, delivery: Delivery, options: ExportOptions) -> str:
    """Explain how a file was generated, and which other file there is."""
    if options.part != "whole":
        return ""
    if options.format != "source":
        return delivery.note
    return " ".join(filter(None, (delivery.note, file_notes(delivery, vocabulary))))


def _about(options: ExportOptions) -> str:
    """Explain a form other than the whole file in the source's format."""
    lossy = {"mp3": "MP3", "m4a": "AAC", "ogg": "OGG", "opus": "Opus"}.get(options.format)
    return " ".join(
        filter(
            None,
            (
                f"This file holds only the music added {options.part}; the verdict covers the whole."
                if options.part != "whole"
                else "",
                f"{lossy} is lossy: this describes the music and the source before encoding."
                if lossy
                else "",
                "Deeper audio is rounded to 16 bits, with dither." if options.format == "wav16" else "",
            ),
        )
    )


def cancellation(
    record: RequestRecord, vocabulary: Vocabulary, outcome: CancelOutcome, takes: Sequence[RequestRecord]
) -> Cancellation:
    """Report whether a request was cancelled; of several takes, each one's status."""
    later = vocabulary.advise(Hint.CHECK_STATUS, request_id=record.request_id)
    match outcome, record.status:
        case _ if len(takes) > 1 and outcome is CancelOutcome.NOT_CANCELLABLE and not record.status.is_final:
            message = f"Not everything was cancelled: what is in progress will finish, and is billed. {_each(takes)}"
        case _ if len(takes) > 1:
            message = _each(takes)
        case CancelOutcome.CANCELLED, Status.CANCELLED:
            message = error_words(record, vocabulary) or "Cancelled; nothing was delivered."
        case CancelOutcome.CANCELLED, _:
            message = f"Cancelling. {later}"
        case _ if record.status.is_final:
            message = f"Nothing to cancel: the request is {record.status}."
        case _:
            message = (
                f"Not cancelled: {describe(record.provider).title} is already carrying the request out, or has not yet"
                f" confirmed whether it can be cancelled. {later}"
            )
    return Cancellation(request_id=record.request_id, outcome=outcome, status=record.status, message=message)


def _each(takes: Sequence[RequestRecord]) -> str:
    """List the status of each of several takes, by its own id."""
    lines = [f"take {number} ({take.request_id}) {take.status}" for number, take in enumerate(takes, 1)]
    return f"{'; '.join(lines)}.".capitalize() if len(takes) > 1 else ""


def _state(record: RequestRecord, vocabulary: Vocabulary) -> str:
    """Put a request's status and the next step into words."""
    match record.status:
        case Status.IN_QUEUE | Status.IN_PROGRESS:
            where = in_words(record.live) if record.live else "Waiting"
            return " ".join(filter(None, (f"{where}.", basis(record), _next_step(record, vocabulary))))
        case Status.COMPLETED:
            next_step = vocabulary.advise(Hint.FETCH_RESULT, request_id=record.request_id)
            return " ".join(filter(None, ("Completed.", next_step, _stored_until(record))))
        case Status.CANCELLED:
            return (
                error_words(record, vocabulary)
                or "Cancelled; nothing was delivered. Submit it again to start over."
            )
        case Status.UNKNOWN:
            return (
                "Nobody knows whether it was carried out: the error says why, and what to do. It is never resubmitted"
                " automatically."
            )
        case Status.FAILED:
            return "Failed. The error says why, what was billed, and what to try."


def _stored_until(record: RequestRecord) -> str:
    """Say until when a result is stored that nobody has fetched yet."""
    if record.deliveries or record.ended_at is None:
        return ""
    last_day = datetime.fromtimestamp(record.ended_at, UTC) + timedelta(days=UNFETCHED_DAYS)
    return f"It is deleted after {last_day:%Y-%m-%d} if nobody fetches it."


def _next_step(record: RequestRecord, vocabulary: Vocabulary) -> str:
    """Say what to do about a request that has not ended."""
    hint = Hint.AGREE if record.awaits_agreement else Hint.AWAIT_RESULT
    return vocabulary.advise(hint, request_id=record.request_id)


def estimate(record: RequestRecord) -> float | None:
    """Return the most that the request can cost, until its cost is known."""
    return dollars(record.estimated_cost_usd) if record.cost_usd is None else None


def rounded(seconds: float | None) -> float | None:
    """Round to milliseconds what is finite."""
    return None if seconds is None or not math.isfinite(seconds) else round(seconds, 3)


def dollars(amount: float | None) -> float | None:
    """Round to millionths of a dollar."""
    return None if amount is None else round(amount, 6)

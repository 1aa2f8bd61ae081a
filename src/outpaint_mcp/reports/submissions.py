"""Reports on submissions: what was started, what it costs, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.errors import Hint
from outpaint_mcp.models import Status
from outpaint_mcp.providers.registry import describe
from outpaint_mcp.reports.models import Submission
from outpaint_mcp.reports.requests import basis, dollars, error_words, rounded
from outpaint_mcp.reports.wording import explain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.errors import OutpaintError
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.storage.records import RequestRecord


def submitted(
    record: RequestRecord,
    vocabulary: Vocabulary,
    *,
    waits_for: str = "",
    refused: Sequence[OutpaintError] = (),
) -> Submission:
    """Report a new request: what it costs, and what to do next.

    Args:
        record: the request, with all its takes.
        vocabulary: the words of the surface that shows it.
        waits_for: what has still to happen before the provider accepts it.
        refused: why some of its takes could not be submitted.
    """
    if record.status is Status.UNKNOWN:
        return _submission(record, error_words(record, vocabulary) or "")
    length = record.expected_duration_seconds
    message = (
        f"Request saved; {describe(record.provider).title} has not accepted it yet ({waits_for})."
        if waits_for
        else "Accepted.",
        f"{record.takes} takes." if record.takes > 1 else "",
        f"Could not submit {len(refused)} of them: {explain(refused[0], vocabulary)}"
        if refused
        else error_words(record, vocabulary) or "",
        "" if length is None else f"The extended file will last {length:.0f} s.",
        basis(record) or ("Its status will state the cost." if waits_for else ""),
        vocabulary.advise(Hint.AWAIT_RESULT, request_id=record.request_id),
    )
    return _submission(record, " ".join(filter(None, message)))


def submitted_before(record: RequestRecord, vocabulary: Vocabulary, age_seconds: float) -> Submission:
    """Report the existing request that a new, identical one was taken for, and how to ask for another."""
    before = f"Nothing new was started: an identical request was submitted {max(0.0, age_seconds):.0f} s ago."
    if record.status is Status.UNKNOWN:
        return _submission(
            record, f"{before} {error_words(record, vocabulary) or ''}".strip(), is_repeat=True
        )
    another = f"For a different take, use another {vocabulary.input('seed')}."
    next_step = vocabulary.advise(Hint.AWAIT_RESULT, request_id=record.request_id)
    return _submission(record, f"{before} {another} {next_step}", is_repeat=True)


def _submission(record: RequestRecord, message: str, *, is_repeat: bool | None = None) -> Submission:
    return Submission(
        request_id=record.request_id,
        provider=record.provider,
        status=record.status,
        expected_duration_seconds=rounded(record.expected_duration_seconds),
        estimated_cost_usd=dollars(record.estimated_cost_usd),
        is_repeat=is_repeat,
        message=message,
    )

"""Reports on submissions: what was started, what it costs, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from outpaint_mcp.errors import Hint
from outpaint_mcp.models import Status
from outpaint_mcp.providers.registry import describe
from outpaint_mcp.reports.models import DryRun, Submission
from outpaint_mcp.reports.requests import basis, dollars, error_words, rounded
from outpaint_mcp.reports.wording import explain
from outpaint_mcp.sources.names import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.errors import OutpaintError
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.storage.records import RequestRecord

_Report = TypeVar("_Report", Submission, DryRun)


def submitted(  # noqa: PLR0913 - what there is to say of it
    record: RequestRecord,
    vocabulary: Vocabulary,
    takes: Sequence[RequestRecord],
    *,
    plan: str = "",
    waits_for: str = "",
    refused: Sequence[OutpaintError] = (),
) -> Submission:
    """Report a new request: what it costs, and what to do next.

    Args:
        record: the request as a whole.
        vocabulary: the words of the surface that shows it.
        takes: each of its takes.
        plan: what will be done, and to which take, where that is worth a sentence.
        waits_for: what has still to happen before the provider accepts it.
        refused: why some of its takes could not be submitted.
    """
    if record.status in {Status.UNKNOWN, Status.FAILED}:
        return _submission(record, error_words(record, vocabulary) or f"It is {record.status}.")
    length = record.expected_duration_seconds
    message = (
        f"Request saved; {describe(record.provider).title} has not accepted it yet ({waits_for})."
        if waits_for
        else "Accepted.",
        f"{len(takes)} takes: {', '.join(take.request_id for take in takes)}." if len(takes) > 1 else "",
        f"Could not submit {len(refused)} of them: {explain(refused[0], vocabulary)}"
        if refused
        else error_words(record, vocabulary) or "",
        "" if length is None else f"The extended file will last {length:.6g} s.",
        plan,
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


def naming(taken: str, submission: _Report) -> _Report:
    """Say first which file is extended, where a name was given that fits no other."""
    if not taken:
        return submission
    return submission.model_copy(update={"message": f"Source: {quoted(taken)}. {submission.message}"})


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

"""Requests in a list, a line each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from outpaint_mcp.reports.models import RequestSummary, TakeSummary
from outpaint_mcp.reports.requests import dollars, error_words, estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.storage.records import RequestRecord


def summary(
    record: RequestRecord, vocabulary: Vocabulary, takes: Sequence[RequestRecord], *, shows_paths: bool = True
) -> RequestSummary:
    """Put a request into one line, and each of several takes into another; paths where they mean something."""
    lines = [
        TakeSummary(
            request_id=take.request_id,
            status=take.status,
            path=take.delivery.path if take.delivery and shows_paths else None,
        )
        for take in takes
    ]
    done = next((take.delivery for take in takes if take.delivery), None)
    before = record.extend_before_duration if done is None else done.before_seconds
    after = record.extend_after_duration if done is None else done.after_seconds
    return RequestSummary(
        request_id=record.request_id,
        provider=record.provider,
        status=record.status,
        title=record.title,
        extend_before_duration=round(before, 3),
        extend_after_duration=round(after, 3),
        created_at=datetime.fromtimestamp(record.created_at, UTC).isoformat(timespec="seconds"),
        parent_request_id=record.parent_request_id,
        takes=lines if len(takes) > 1 else None,
        path=lines[0].path if len(takes) == 1 else None,
        estimated_cost_usd=estimate(record),
        cost_usd=dollars(record.cost_usd),
        error=error_words(record, vocabulary),
    )

"""Several takes of one request, as one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from outpaint_mcp.models import Status
from outpaint_mcp.storage.records import RequestProgress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.storage.records import RequestRecord


def as_one(takes: Sequence[RequestRecord]) -> RequestRecord:
    """Return the request as a whole, with the status, the progress and the costs of all its takes."""
    if len(takes) == 1:
        return takes[0]
    status = _status([take.status for take in takes])
    return dataclasses.replace(
        takes[0],
        request_id=takes[0].family,
        take_of=None,
        status=status,
        error=" ".join(
            f"Take {number}: {take.error}" for number, take in enumerate(takes, 1) if take.error is not None
        )
        or None,
        error_kind=next((take.error_kind for take in takes if take.status is status), None),
        error_hint=next((take.error_hint for take in takes if take.error_hint), None),
        error_field=None,
        estimated_cost_usd=_sum([take.estimated_cost_usd for take in takes]),
        cost_usd=_sum([take.cost_usd for take in takes]),
        live=_progress(takes),
        is_accepted=all(take.is_accepted for take in takes),
        expected_cost_usd=_expected(takes),
        odd_cost=next((take.odd_cost for take in takes if take.odd_cost), None),
    )


def _progress(takes: Sequence[RequestRecord]) -> RequestProgress | None:
    """Return where the takes are, as one; None once all have ended."""
    open_ones = [(number, take.live) for number, take in enumerate(takes, 1) if take.live is not None]
    if not open_ones:
        return None
    waiting = {number for number, take in enumerate(takes, 1) if take.awaits_agreement}
    number, first = next((each for each in open_ones if each[0] in waiting), open_ones[0])
    done = len(takes) - len(open_ones) + sum(each.progress or 0.0 for _, each in open_ones)
    return RequestProgress(
        status=_status([take.status for take in takes]),
        queue_position=first.queue_position if len(open_ones) == len(takes) else None,
        progress=done / len(takes),
        step=f"take {number} of {len(takes)}{f', {first.step}' if first.step else ''}",
        cost_usd=_cost_so_far(takes),
        awaits_agreement=bool(waiting),
    )


def _status(states: Sequence[Status]) -> Status:
    """Return the status of a request whose takes have these."""
    if all(state is Status.IN_QUEUE for state in states):
        return Status.IN_QUEUE
    if any(not state.is_final for state in states):
        return Status.IN_PROGRESS
    ended_by = (Status.COMPLETED, Status.UNKNOWN, Status.FAILED, Status.CANCELLED)
    return next(state for state in ended_by if state in states)


def _sum(amounts: Sequence[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None


def _expected(takes: Sequence[RequestRecord]) -> float | None:
    """Return what all takes were expected to cost; None where none has cost more."""
    if all(take.expected_cost_usd is None for take in takes):
        return None
    return _sum(
        [take.cost_usd if take.expected_cost_usd is None else take.expected_cost_usd for take in takes]
    )


def _cost_so_far(takes: Sequence[RequestRecord]) -> float | None:
    """Return what has been billed by now, as far as the provider says so."""
    amounts = [take.live.cost_usd if take.live else take.cost_usd for take in takes]
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None

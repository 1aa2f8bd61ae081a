"""Several takes of one request, seen as one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from outpaint_mcp.models import Status
from outpaint_mcp.providers.base import ProviderStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.storage.records import RequestRecord


def as_one(takes: Sequence[RequestRecord]) -> RequestRecord:
    """Return the first take with the state and the costs of all."""
    if len(takes) == 1:
        return takes[0]
    return dataclasses.replace(
        takes[0],
        status=_status([take.status for take in takes]),
        error=" ".join(
            f"Take {number}: {take.error}" for number, take in enumerate(takes, 1) if take.error is not None
        )
        or None,
        estimated_cost_usd=_sum([take.estimated_cost_usd for take in takes]),
        cost_usd=_sum([take.cost_usd for take in takes]),
    )


def seen_as_one(
    takes: Sequence[RequestRecord], seen: Sequence[ProviderStatus | None]
) -> ProviderStatus | None:
    """Return what the last looks found, as one; None once all have ended."""
    if len(takes) == 1:
        return seen[0]
    open_ones = [(number, each) for number, each in enumerate(seen, 1) if each is not None]
    if not open_ones:
        return None
    number, first = open_ones[0]
    done = len(takes) - len(open_ones) + sum(each.progress or 0.0 for _, each in open_ones)
    return ProviderStatus(
        status=_status([take.status for take in takes]),
        queue_position=first.queue_position if len(open_ones) == len(takes) else None,
        progress=done / len(takes),
        step=f"take {number} of {len(takes)}{f', {first.step}' if first.step else ''}",
        cost_usd=_so_far(takes, seen),
    )


def _status(states: Sequence[Status]) -> Status:
    """Where a request stands whose takes stand there."""
    if all(state is Status.IN_QUEUE for state in states):
        return Status.IN_QUEUE
    if any(not state.is_final for state in states):
        return Status.IN_PROGRESS
    ended_by = (Status.COMPLETED, Status.UNKNOWN, Status.FAILED, Status.CANCELLED)
    return next(state for state in ended_by if state in states)


def _sum(amounts: Sequence[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None


def _so_far(takes: Sequence[RequestRecord], seen: Sequence[ProviderStatus | None]) -> float | None:
    """What has been billed by now, as far as the provider says so."""
    told = [each.cost_usd if each else take.cost_usd for take, each in zip(takes, seen, strict=True)]
    known = [amount for amount in told if amount is not None]
    return sum(known) if known else None

"""Before a step is sent: what is left is priced anew, held against the limits, and waits for the person if need be."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

from outpaint_mcp.errors import OutpaintError, OverBudget
from outpaint_mcp.jobs.run import PermanentFailure
from outpaint_mcp.models import Status
from outpaint_mcp.providers.remote.estimate import at_price
from outpaint_mcp.providers.remote.prepare import PRICE_SECONDS, prepare_source
from outpaint_mcp.providers.remote.submit import submit
from outpaint_mcp.storage.records import StepState
from outpaint_mcp.storage.spending import NotAgreed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.providers.remote.prepare import PreparedSource
    from outpaint_mcp.providers.remote.run import RemoteRun
    from outpaint_mcp.storage.records import Step
    from outpaint_mcp.storage.spending import Costs
    from outpaint_mcp.workers.orders import GeneratedPart


async def hold_against_own_limits(remote: RemoteRun) -> None:
    """See that a job that was submitted under higher limits than this server's is held against these."""
    settings, job = remote.context.shared.settings, remote.job
    limit_usd = _lower(job.limit_usd, settings.max_cost_usd)
    day_limit_usd = _lower(job.day_limit_usd, settings.max_day_usd)
    if (limit_usd, day_limit_usd) != (job.limit_usd, job.day_limit_usd):
        ledger = remote.context.shared.store.ledger
        await asyncio.to_thread(ledger.lower_limits, job.lease, limit_usd, day_limit_usd)
        remote.run.job = dataclasses.replace(job, limit_usd=limit_usd, day_limit_usd=day_limit_usd)


def _lower(one: float | None, other: float | None) -> float | None:
    """Return the lower of two limits; None is no limit."""
    return min((each for each in (one, other) if each is not None), default=None)


async def send_when_agreed(
    remote: RemoteRun, step: Step, source: PreparedSource | None, parts: Sequence[GeneratedPart]
) -> tuple[Step, PreparedSource]:
    """Send a step as soon as the person agrees to its cost; also returns the source, prepared.

    Raises:
        PermanentFailure: it would cost more than is allowed, whoever agrees; what was generated so far stays.
    """
    while True:
        try:
            await _await_agreement(remote)
            source = source or await prepare_source(remote)
            return await submit(remote, step, source, parts), source
        except NotAgreed:  # the bill of another take has come meanwhile
            continue
        except OverBudget as exc:
            names = remote.fetched_files
            where = f" What was generated so far stays in {remote.folder} for a month ({', '.join(names)})."
            journal = remote.context.shared.store.journal
            # A folder of this machine means nothing to a remote caller.
            is_remote = bool((await asyncio.to_thread(journal.get, remote.job.request_id)).caller)
            is_shown = names and not is_remote
            raise PermanentFailure(OverBudget(f"{exc}{where if is_shown else ''}"), leaves=names) from exc


async def _await_agreement(remote: RemoteRun) -> None:
    """Return once what is left of a request may be sent, as far as its cost goes.

    Raises:
        OverBudget: it would cost more than is allowed, whoever agrees.
        RunCancelled: somebody wants the job cancelled.
        LeaseLost: the job is somebody else's.
    """
    waits = True
    while waits:
        if not remote.is_priced:
            await _estimate_anew(remote)
        remote.is_priced = waits = False
        while unknown_costs := await asyncio.to_thread(_not_agreed, remote):
            waits = True  # and the price may be another one when the person has agreed
            words = f"{unknown_costs.in_words}; waiting for agreement"
            await remote.report(words, Status.IN_PROGRESS, awaits_agreement=True)
            await remote.pause(remote.context.schedule.first_seconds)
            await remote.stop_if_cancelled()


def _not_agreed(remote: RemoteRun) -> Costs | None:
    """Return what the person has to agree to first; None where nothing is in the way."""
    try:
        remote.context.shared.store.ledger.check_sending(remote.job.request_id)
    except NotAgreed as exc:
        return exc.costs
    return None


async def _estimate_anew(remote: RemoteRun) -> None:
    """Estimate what is left at the price of now; where that cannot be read, the one that was read last stands."""
    await remote.context.schedule.turn()
    try:
        price = await remote.client.price(within_seconds=PRICE_SECONDS)
    except OutpaintError:
        return
    planned = tuple(step for step in remote.job.steps if step.state is StepState.PLANNED)
    estimated = at_price(price, planned)
    if estimated != planned:
        ledger = remote.context.shared.store.ledger
        await asyncio.to_thread(ledger.estimate_anew, remote.job.lease, estimated)
        sent = tuple(step for step in remote.job.steps if step.state is not StepState.PLANNED)
        steps = tuple(sorted((*sent, *estimated), key=lambda step: step.number))
        remote.run.job = dataclasses.replace(remote.job, steps=steps)

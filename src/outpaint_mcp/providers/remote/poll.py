"""A step that the service has accepted is polled to its end, by one poller, and cancelled where that is wanted."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NoReturn

from outpaint_mcp.errors import (
    GenerationFailed,
    OutpaintError,
    ProviderError,
    ProviderRejected,
    RequestNotFound,
    Unauthorized,
)
from outpaint_mcp.jobs.run import PermanentFailure, RunCancelled
from outpaint_mcp.models import CancelOutcome, Status
from outpaint_mcp.providers.remote.schedule import Absence
from outpaint_mcp.providers.remote.transfer import HOW_TO_HOST
from outpaint_mcp.storage.records import StepState

if TYPE_CHECKING:
    from outpaint_mcp.providers.remote.model import RemoteResult, RemoteStatus
    from outpaint_mcp.providers.remote.run import RemoteRun
    from outpaint_mcp.storage.records import Step


async def poll(remote: RemoteRun, step: Step) -> RemoteResult:
    """Ask where a step is until it has ended, and then for its result.

    Raises:
        PermanentFailure: it failed, or the service does not know it any more.
        RunCancelled: it was cancelled, here or there.
    """
    schedule = remote.context.schedule
    began, absence, refusal = schedule.clock(), Absence(schedule), Absence(schedule)
    while True:
        await remote.pause(schedule.pause_seconds(schedule.clock() - began))
        await schedule.turn()
        if step.state is StepState.FINISHED:  # there is nothing left to cancel there
            await remote.stop_if_cancelled()
        else:
            await _cancel_if_wanted(remote, step, refusal)
        try:
            result = await _ended(remote, step)
        except RequestNotFound as exc:
            if absence.lasts():
                await _forgotten(remote, step, exc)
            continue
        except ProviderError as exc:
            await _trouble(remote, step, exc)
            continue
        absence.ends()
        refusal.ends()  # a token that may read is not revoked
        match result:
            case None:
                pass
            case _ if result.status is Status.CANCELLED:
                await _cancelled_there(remote, step, result)
            case _ if result.status is Status.FAILED:
                await _failed(remote, step, result)
            case _ if result.status is Status.COMPLETED:
                return result


def billed(step: Step, result: RemoteResult) -> Step:
    """Return a step with what the service says that it has billed for it."""
    return dataclasses.replace(step, cost_usd=result.cost_usd, odd_cost=result.odd_cost)


async def _ended(remote: RemoteRun, step: Step) -> RemoteResult | None:
    """Ask for the result of a step that has ended; None while it has not."""
    client, remote_id = remote.client, step.remote_id or ""
    status = await client.status(remote_id)
    if status.status.is_final:
        await remote.context.schedule.turn()
        return await client.result(remote_id, submitted_audio=remote.job.source)
    await _report(remote, step, status)
    return None


async def _cancelled_there(remote: RemoteRun, step: Step, result: RemoteResult) -> NoReturn:
    step = billed(step, result)
    if step.cost_usd is None and step.odd_cost is None:
        step = dataclasses.replace(step, cost_usd=0.0)
    await remote.run.record_step(step)
    where = f"It was cancelled at {remote.context.model.title}."
    raise RunCancelled(" ".join(filter(None, (where, remote.bill))))


async def _failed(remote: RemoteRun, step: Step, result: RemoteResult) -> NoReturn:
    await remote.run.record_step(billed(step, result))
    inline = remote.context.transfer.is_inline and not remote.job.source.startswith("https:")
    hint = f" If it could not read the audio: {HOW_TO_HOST}" if inline else ""
    bill = "" if result.cost_usd is None else f" It was billed at ${result.cost_usd:.4f}."
    raise PermanentFailure(
        GenerationFailed(
            f"{remote.context.model.title} could not carry it out ({remote.label(step)}): {result.error}.{bill} Other"
            f" tags or another seed may do better.{hint}"
        )
    )


async def _forgotten(remote: RemoteRun, step: Step, exc: RequestNotFound) -> None:
    """Give up a step that the service does not know any more; one that was sent with other credentials waits.

    Raises:
        PermanentFailure: it has expired, or was deleted.
    """
    if remote.is_of_another_account:
        await _trouble(
            remote, step, ProviderError("It was sent with another token, and is not known with this one")
        )
        return
    raise PermanentFailure(
        GenerationFailed(
            f"{remote.context.model.title} does not know the request any more ({step.remote_id}): it has expired, or"
            " was deleted there."
        )
    ) from exc


async def _report(remote: RemoteRun, step: Step, status: RemoteStatus) -> None:
    """Pass on where a step is; the request is in the queue as long as nothing of it has begun."""
    label, place, title = remote.label(step), status.queue_position, remote.context.model.title
    if status.status is Status.IN_QUEUE and step.number == 1:
        await remote.report(label, Status.IN_QUEUE, queue_position=max(1, place or 1))
    elif status.status is Status.IN_QUEUE:
        where = f"place {place} in" if place else "in"
        await remote.report(f"{label}, {where} {title}'s queue", Status.IN_PROGRESS)
    else:
        word = "" if status.word == Status.IN_PROGRESS else f", {title} says {status.word}"
        await remote.report(label + word, Status.IN_PROGRESS)


async def _trouble(remote: RemoteRun, step: Step, exc: OutpaintError) -> None:
    first_sentence = str(exc).partition(". ")[0]
    await remote.report(f"{remote.label(step)}; {first_sentence}; it continues there, and is checked again")


async def _cancel_if_wanted(remote: RemoteRun, step: Step, refusal: Absence) -> None:
    if not remote.run.cancel_wanted.is_set() or not await remote.run.is_cancel_wanted():
        return
    try:
        outcome = await remote.client.cancel(step.remote_id or "")
    except RequestNotFound as exc:
        if remote.is_of_another_account:
            raise RunCancelled(
                f"Given up. It was sent with another token ({step.remote_id}), and may be carried out and billed."
            ) from exc
        outcome = CancelOutcome.NOT_CANCELLABLE
    except ProviderRejected:
        outcome = CancelOutcome.NOT_CANCELLABLE
    except Unauthorized as exc:
        if refusal.lasts():  # nobody here can cancel it, now or later
            raise RunCancelled(f"{remote.given_up} {exc}") from exc
        await _trouble(remote, step, exc)
        return
    except ProviderError as exc:
        await _trouble(remote, step, exc)
        return
    if outcome is CancelOutcome.CANCELLED:
        await remote.run.record_step(dataclasses.replace(step, cost_usd=0.0))  # it never began
        raise RunCancelled(f"Cancelled. {remote.bill}" if remote.bill else "")
    if step.number < len(remote.job.steps):
        bill = f" {remote.bill}" if remote.bill else ""
        raise RunCancelled(
            f"Cancelled; {remote.label(step)}, is under way at {remote.context.model.title} ({step.remote_id}) and is"
            f" billed. Nothing more is sent.{bill}"
        )
    await remote.report(remote.label(step), Status.IN_PROGRESS)  # or it could have been cancelled
    await remote.run.refuse_to_cancel()

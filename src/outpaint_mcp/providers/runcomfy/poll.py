"""A step that the service has taken on is followed to its end, by one poller, and cancelled where that is wanted."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NoReturn

from outpaint_mcp.errors import (
    GenerationFailed,
    OutpaintError,
    ProviderError,
    ProviderRejected,
    RequestNotFound,
)
from outpaint_mcp.models import CancelOutcome, Status
from outpaint_mcp.providers.runcomfy.run import RunCancelled, Verdict
from outpaint_mcp.providers.runcomfy.transfer import HOW_TO_HOST

if TYPE_CHECKING:
    from outpaint_mcp.providers.runcomfy.api.wire import RemoteResult, RemoteStatus
    from outpaint_mcp.providers.runcomfy.records import Step
    from outpaint_mcp.providers.runcomfy.run import Run


async def follow(run: Run, step: Step) -> RemoteResult:
    """Ask where a step stands until it has ended, and for what was made.

    Raises:
        Verdict: it failed, or the service does not know it any more.
        RunCancelled: it was cancelled, here or there.
    """
    schedule = run.context.schedule
    began = last_known = schedule.clock()
    while True:
        await run.pause(schedule.pause_seconds(schedule.clock() - began))
        await schedule.turn()
        await _cancel_if_unwanted(run, step)
        try:
            result = await _ended(run, step)
        except RequestNotFound as exc:
            if schedule.clock() - last_known >= schedule.unheard_of_seconds:
                await _forgotten(run, step, exc)
            continue
        except ProviderError as exc:
            await _trouble(run, step, exc)
            continue
        last_known = schedule.clock()
        match result:
            case None:
                pass
            case _ if result.status is Status.CANCELLED:
                await run.record(dataclasses.replace(step, cost_usd=result.cost_usd or 0.0))
                raise RunCancelled(" ".join(filter(None, ("It was cancelled at RunComfy.", run.bill))))
            case _ if result.status is Status.FAILED:
                await _failed(run, step, result)
            case _ if result.status is Status.COMPLETED:
                return result


async def _ended(run: Run, step: Step) -> RemoteResult | None:
    """Ask for the result of a step that has ended; None while it has not."""
    client, remote_id = run.context.client(), step.remote_id or ""
    seen = await client.status(remote_id)
    if seen.status.is_final:
        await run.context.schedule.turn()
        return await client.result(remote_id, submitted_audio=run.order.source)
    await _tell(run, step, seen)
    return None


async def _failed(run: Run, step: Step, result: RemoteResult) -> NoReturn:
    await run.record(dataclasses.replace(step, cost_usd=result.cost_usd))
    inline = run.context.handover.is_inline and not run.order.source.startswith("https:")
    hint = f" If it could not read the audio: {HOW_TO_HOST}" if inline else ""
    billed = "" if result.cost_usd is None else f" It was billed at ${result.cost_usd:.4f}."
    raise Verdict(
        GenerationFailed(
            f"RunComfy could not carry it out ({run.words(step)}): {result.error}.{billed} Other tags or another"
            f" seed may do better.{hint}"
        )
    )


async def _forgotten(run: Run, step: Step, exc: RequestNotFound) -> None:
    """Give a step up that the service does not know any more; if it was sent with another token, wait for that.

    Raises:
        Verdict: it has expired, or was deleted.
    """
    if run.order.account != run.context.account:
        await _trouble(
            run, step, ProviderError("It was sent with another token, and is not known with this one")
        )
        return
    raise Verdict(
        GenerationFailed(
            f"RunComfy does not know the request any more ({step.remote_id}): it has expired, or was deleted there."
        )
    ) from exc


async def _tell(run: Run, step: Step, seen: RemoteStatus) -> None:
    """Pass on where a step stands; the request is in the queue as long as nothing of it was begun."""
    words, place = run.words(step), seen.queue_position
    if seen.status is Status.IN_QUEUE and step.number == 1:
        await run.say(Status.IN_QUEUE, words, queue_position=max(1, place or 1))
    elif seen.status is Status.IN_QUEUE:
        await run.say(Status.IN_PROGRESS, f"{words}, {f'place {place} ' if place else ''}in RunComfy's queue")
    else:
        word = "" if seen.word == Status.IN_PROGRESS else f", RunComfy says {seen.word}"
        await run.say(Status.IN_PROGRESS, words + word)


async def _trouble(run: Run, step: Step, exc: OutpaintError) -> None:
    first_sentence = str(exc).partition(". ")[0]
    await run.say(
        Status.IN_PROGRESS, f"{run.words(step)}; {first_sentence}; it goes on there, and is asked for again"
    )


async def _cancel_if_unwanted(run: Run, step: Step) -> None:
    if not run.unwanted.is_set() or not await run.is_unwanted():
        return
    try:
        outcome = await run.context.client().cancel(step.remote_id or "")
    except RequestNotFound as exc:
        if run.order.account != run.context.account:
            raise RunCancelled(
                f"Given up. It was sent with another token ({step.remote_id}), and may be carried out and billed."
            ) from exc
        outcome = CancelOutcome.NOT_CANCELLABLE
    except ProviderRejected:
        outcome = CancelOutcome.NOT_CANCELLABLE
    except ProviderError as exc:
        await _trouble(run, step, exc)
        return
    if outcome is CancelOutcome.CANCELLED:
        await run.record(dataclasses.replace(step, cost_usd=0.0))  # it never began
        raise RunCancelled(f"Cancelled. {run.bill}" if run.bill else "")
    if step.number < len(run.order.steps):
        bill = f" {run.bill}" if run.bill else ""
        raise RunCancelled(
            f"Cancelled; {run.words(step)}, is under way at RunComfy ({step.remote_id}) and is billed. Nothing more"
            f" is sent.{bill}"
        )
    await run.refuse_to_cancel()

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
from outpaint_mcp.hosted.handover import HOW_TO_HOST
from outpaint_mcp.hosted.means import CancelledOrder, Verdict
from outpaint_mcp.models import CancelOutcome, Status

if TYPE_CHECKING:
    from outpaint_mcp.hosted.means import Errand
    from outpaint_mcp.hosted.records import Step
    from outpaint_mcp.runcomfy.wire import RemoteResult, RemoteStatus


async def follow(errand: Errand, step: Step) -> RemoteResult:
    """Ask where a step stands until it has ended, and for what was made.

    Raises:
        Verdict: it failed, or the service does not know it any more.
        CancelledOrder: it was cancelled, here or there.
    """
    pace = errand.means.pace
    began = last_known = pace.clock()
    while True:
        await errand.pause(pace.pause_seconds(pace.clock() - began))
        await pace.turn()
        await _cancel_if_unwanted(errand, step)
        try:
            result = await _ended(errand, step)
        except RequestNotFound as exc:
            if pace.clock() - last_known >= pace.unheard_of_seconds:
                await _forgotten(errand, step, exc)
            continue
        except ProviderError as exc:
            await _trouble(errand, step, exc)
            continue
        last_known = pace.clock()
        match result:
            case None:
                pass
            case _ if result.status is Status.CANCELLED:
                await errand.record(dataclasses.replace(step, cost_usd=result.cost_usd or 0.0))
                raise CancelledOrder(" ".join(filter(None, ("It was cancelled at RunComfy.", errand.bill))))
            case _ if result.status is Status.FAILED:
                await _failed(errand, step, result)
            case _ if result.status is Status.COMPLETED:
                return result


async def _ended(errand: Errand, step: Step) -> RemoteResult | None:
    """Ask for the result of a step that has ended; None while it has not."""
    client, remote_id = errand.means.client(), step.remote_id or ""
    seen = await client.status(remote_id)
    if seen.status.is_final:
        await errand.means.pace.turn()
        return await client.result(remote_id, submitted_audio=errand.order.source)
    await _tell(errand, step, seen)
    return None


async def _failed(errand: Errand, step: Step, result: RemoteResult) -> NoReturn:
    await errand.record(dataclasses.replace(step, cost_usd=result.cost_usd))
    inline = errand.means.handover.is_inline and not errand.order.source.startswith("https:")
    hint = f" If it could not read the audio: {HOW_TO_HOST}" if inline else ""
    billed = "" if result.cost_usd is None else f" It was billed at ${result.cost_usd:.4f}."
    raise Verdict(
        GenerationFailed(
            f"RunComfy could not carry it out ({errand.words(step)}): {result.error}.{billed} Other tags or another"
            f" seed may do better.{hint}"
        )
    )


async def _forgotten(errand: Errand, step: Step, exc: RequestNotFound) -> None:
    """Give a step up that the service does not know any more; if it was sent with another token, wait for that.

    Raises:
        Verdict: it has expired, or was deleted.
    """
    if errand.order.account != errand.means.account:
        await _trouble(
            errand, step, ProviderError("It was sent with another token, and is not known with this one")
        )
        return
    raise Verdict(
        GenerationFailed(
            f"RunComfy does not know the request any more ({step.remote_id}): it has expired, or was deleted there."
        )
    ) from exc


async def _tell(errand: Errand, step: Step, seen: RemoteStatus) -> None:
    """Pass on where a step stands; the request is in the queue as long as nothing of it was begun."""
    words, place = errand.words(step), seen.queue_position
    if seen.status is Status.IN_QUEUE and step.number == 1:
        await errand.say(Status.IN_QUEUE, words, queue_position=max(1, place or 1))
    elif seen.status is Status.IN_QUEUE:
        await errand.say(
            Status.IN_PROGRESS, f"{words}, {f'place {place} ' if place else ''}in RunComfy's queue"
        )
    else:
        word = "" if seen.word == Status.IN_PROGRESS else f", RunComfy says {seen.word}"
        await errand.say(Status.IN_PROGRESS, words + word)


async def _trouble(errand: Errand, step: Step, exc: OutpaintError) -> None:
    first_sentence = str(exc).partition(". ")[0]
    await errand.say(
        Status.IN_PROGRESS,
        f"{errand.words(step)}; {first_sentence}; it goes on there, and is asked for again",
    )


async def _cancel_if_unwanted(errand: Errand, step: Step) -> None:
    if not errand.unwanted.is_set() or not await errand.is_unwanted():
        return
    try:
        outcome = await errand.means.client().cancel(step.remote_id or "")
    except RequestNotFound as exc:
        if errand.order.account != errand.means.account:
            raise CancelledOrder(
                f"Given up. It was sent with another token ({step.remote_id}), and may be carried out and billed."
            ) from exc
        outcome = CancelOutcome.NOT_CANCELLABLE
    except ProviderRejected:
        outcome = CancelOutcome.NOT_CANCELLABLE
    except ProviderError as exc:
        await _trouble(errand, step, exc)
        return
    if outcome is CancelOutcome.CANCELLED:
        await errand.record(dataclasses.replace(step, cost_usd=0.0))  # it never began
        raise CancelledOrder(f"Cancelled. {errand.bill}" if errand.bill else "")
    if step.number < len(errand.order.steps):
        bill = f" {errand.bill}" if errand.bill else ""
        raise CancelledOrder(
            f"Cancelled; {errand.words(step)}, is under way at RunComfy ({step.remote_id}) and is billed. Nothing more"
            f" is sent.{bill}"
        )
    await errand.refuse_to_cancel()

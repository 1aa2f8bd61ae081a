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
from outpaint_mcp.hosted.means import CancelledOrder, until_on_disk
from outpaint_mcp.hosted.records import CancelWish
from outpaint_mcp.models import CancelOutcome, Status

if TYPE_CHECKING:
    from outpaint_mcp.hosted.means import Errand
    from outpaint_mcp.hosted.records import Step
    from outpaint_mcp.runcomfy.wire import RemoteResult, RemoteStatus

# A service that has just taken a request on may not know it everywhere yet.
_UNHEARD_OF_SECONDS = 60.0


async def follow(errand: Errand, step: Step) -> RemoteResult:
    """Ask where a step stands until it has ended, and for what was made.

    Raises:
        GenerationFailed: it failed, or the service does not know it any more.
        CancelledOrder: it was cancelled, here or there.
    """
    pace = errand.means.pace
    began = pace.clock()
    while True:
        await errand.pause(pace.pause_seconds(pace.clock() - began))
        await _cancel_if_unwanted(errand, step)
        await pace.turn()
        try:
            result = await _ended(errand, step)
        except RequestNotFound as exc:
            if errand.means.now() - (step.sent_at or 0) >= _UNHEARD_OF_SECONDS:
                raise GenerationFailed(
                    f"RunComfy does not know the request any more ({step.remote_id}): it has expired, or was deleted"
                    " there."
                ) from exc
            continue
        except ProviderError as exc:
            await _trouble(errand, step, exc)
            continue
        match result:
            case None:
                pass
            case _ if result.status is Status.CANCELLED:
                raise CancelledOrder("It was cancelled at RunComfy.")
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
    raise GenerationFailed(
        f"RunComfy could not carry it out ({errand.words(step)}): {result.error}. Other tags or another seed may do"
        f" better.{hint}"
    )


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
    except (RequestNotFound, ProviderRejected):
        outcome = CancelOutcome.NOT_CANCELLABLE
    except ProviderError as exc:
        await _trouble(errand, step, exc)
        return
    if outcome is CancelOutcome.CANCELLED:
        raise CancelledOrder("")
    if step.number < len(errand.order.steps):
        raise CancelledOrder(
            f"Cancelled; {errand.words(step)}, is under way at RunComfy and is billed, the steps after it were not"
            " sent."
        )
    errand.unwanted.clear()
    orders, request_id = errand.means.orders, errand.order.request_id
    await until_on_disk(lambda: orders.cancel(request_id, CancelWish.REFUSED))
    errand.means.news.tell(request_id)

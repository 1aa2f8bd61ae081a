"""What a step made is fetched: at once, from the service's own hosts, and until it is here, since it is paid for."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from outpaint_mcp.errors import (
    GenerationFailed,
    InvalidRequest,
    ProviderError,
    RequestNotFound,
    SourceError,
    SourceNotAllowed,
    SourceTooLarge,
    UnsupportedAudio,
)
from outpaint_mcp.models import Status
from outpaint_mcp.providers.runcomfy.run import Verdict
from outpaint_mcp.workers.probing import MAX_SOURCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.providers.runcomfy.api.wire import RemoteResult
    from outpaint_mcp.providers.runcomfy.records import Step
    from outpaint_mcp.providers.runcomfy.run import Run

# A file that is not what it should be may have been caught half-way; not more often than this.
_MOST_BAD_FILES = 5

# Lengths are right to about so much: less is no new music.
_LEAST_NEW_SECONDS = 0.25

_HTTP_STATUS = re.compile(r"HTTP \d{3}")


def file_of(run: Run, step: Step) -> Path:
    """Where what a step made is kept until the request is delivered."""
    return run.folder / f"step-{step.number}"


async def fetch_result(run: Run, step: Step, result: RemoteResult) -> str | None:
    """Fetch what a step made; asks for fresh links for as long as the old ones lead nowhere.

    Returns:
        The link that it came from; None where an earlier process had fetched it.

    Raises:
        Verdict: what is there is no audio, lies where nothing may be fetched, or has expired.
    """
    schedule, bad_files = run.context.schedule, 0
    last_known = schedule.clock()
    with suppress(SourceError):  # then it is fetched again
        if await asyncio.to_thread(_arrival_of(run, step).exists):
            await _keep(run, step)
    for attempt in count():
        if await asyncio.to_thread(file_of(run, step).exists):
            return None
        try:
            return await _fetch_any(run, step, result)
        except (SourceNotAllowed, SourceTooLarge, UnsupportedAudio) as exc:
            bad_files += 1
            why = f"is of no use: {_fault(exc)}"
            if bad_files == _MOST_BAD_FILES:
                raise Verdict(GenerationFailed(f"What RunComfy gives {why}.")) from exc
        except SourceError as exc:
            why = f"cannot be fetched: {_fault(exc)}"
        await run.say(Status.IN_PROGRESS, f"{run.words(step)}, is made; the file {why}. It is tried again")
        await run.pause(schedule.retry_pause_seconds(attempt))
        await run.stop_if_unwanted()
        await schedule.turn()
        try:
            result, last_known = await _fresh(run, step, result), schedule.clock()
        except RequestNotFound as exc:
            is_ours = run.order.account == run.context.account
            if is_ours and schedule.clock() - last_known >= schedule.unheard_of_seconds:
                raise Verdict(
                    GenerationFailed("RunComfy made it, but the file could not be fetched before it expired.")
                ) from exc
    raise AssertionError("counting does not end")


def _fault(exc: SourceError) -> str:
    """What is wrong with a result, in words that are not about sources."""
    status = _HTTP_STATUS.search(str(exc))
    match exc:
        case _Useless():
            return str(exc)
        case SourceNotAllowed():
            return "its link leads to where no result of RunComfy's may lie"
        case SourceTooLarge():
            return "it is larger than any result can be"
        case UnsupportedAudio():
            return "it is no audio"
        case _:
            return status[0] if status else "the transfer broke off, or could not be written here"


class _Useless(UnsupportedAudio):
    """It is audio, but not what was asked."""


async def _fresh(run: Run, step: Step, result: RemoteResult) -> RemoteResult:
    """Ask for the result anew, as its links may have expired.

    Raises:
        RequestNotFound: the service does not know it, or not just now.
    """
    with suppress(ProviderError):
        fresh = await run.context.client().result(step.remote_id or "", submitted_audio=run.order.source)
        return fresh if fresh.urls else result
    return result


async def _fetch_any(run: Run, step: Step, result: RemoteResult) -> str:
    """Fetch the first of the links that leads to audio.

    Raises:
        SourceError: of the last of them.
    """
    await run.say(Status.IN_PROGRESS, f"{run.words(step)}: fetching the result")
    failure: SourceError = UnsupportedAudio("its answer names no audio.")
    fetch, arrival = run.context.fetch, _arrival_of(run, step)
    for url in result.urls:
        try:
            await run.unless_unwanted(fetch(url, arrival, policy=run.context.policy))
            await _keep(run, step)
        except SourceError as exc:
            failure = exc
        except InvalidRequest:
            failure = SourceNotAllowed("its answer names a malformed link.")
        else:
            return url
    raise failure


def _arrival_of(run: Run, step: Step) -> Path:
    """Where a whole file lies that was not looked at yet."""
    return run.folder / f"step-{step.number}.arrived"


async def _keep(run: Run, step: Step) -> None:
    """Look at what has arrived, and keep it if there is music in it that was not there before.

    Raises:
        UnsupportedAudio: there is none.
    """
    arrival = _arrival_of(run, step)
    found = await run.work("measure", path=str(arrival), max_seconds=MAX_SOURCE_SECONDS)
    added = found["seconds"] - step.context_seconds
    if added < min(_LEAST_NEW_SECONDS, step.seconds / 2):
        raise _Useless(
            f"it has nothing new, as it lasts {found['seconds']:.1f} s where {step.context_seconds:.1f} s were sent and"
            f" {step.seconds:.4g} s more were asked; other tags or another seed may do better"
        )
    await asyncio.to_thread(arrival.replace, file_of(run, step))

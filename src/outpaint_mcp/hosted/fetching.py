"""What a step made is fetched: at once, from the service's own hosts, and until it is here, since it is paid for."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from outpaint_mcp.errors import (
    GenerationFailed,
    InvalidRequest,
    ProviderError,
    RequestNotFound,
    SourceError,
    SourceNotAllowed,
    UnsupportedAudio,
)
from outpaint_mcp.models import Status
from outpaint_mcp.workers.probing import MAX_SOURCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.hosted.means import Errand
    from outpaint_mcp.hosted.records import Step
    from outpaint_mcp.runcomfy.wire import RemoteResult

# A file that is not what it should be may have been caught half-way; not more often than this.
_MOST_BAD_FILES = 3

# Lengths are right to about so much: less is no new music.
_LEAST_NEW_SECONDS = 0.25

_HTTP_STATUS = re.compile(r"HTTP \d{3}")


def file_of(errand: Errand, step: Step) -> Path:
    """Where what a step made is kept until the request is delivered."""
    return errand.folder / f"step-{step.number}"


async def fetch_result(errand: Errand, step: Step, result: RemoteResult) -> str | None:
    """Fetch what a step made; asks for fresh links for as long as the old ones lead nowhere.

    Returns:
        The link that it came from; None where an earlier process had fetched it.

    Raises:
        GenerationFailed: what is there is no audio, lies where nothing may be fetched, or has expired.
    """
    pace = errand.means.pace
    began, bad_files = pace.clock(), 0
    with suppress(SourceError):  # then it is fetched again
        if await asyncio.to_thread(_arrival_of(errand, step).exists):
            await _keep(errand, step)
    while not await asyncio.to_thread(file_of(errand, step).exists):
        try:
            return await _fetch_any(errand, step, result)
        except (SourceNotAllowed, UnsupportedAudio) as exc:
            bad_files += 1
            if bad_files == _MOST_BAD_FILES:
                raise GenerationFailed(
                    f"RunComfy says that it is done ({step.remote_id}), but what it gives is of no use: {exc}"
                ) from exc
            why = "RunComfy's file is of no use"
        except SourceError as exc:
            status = _HTTP_STATUS.search(str(exc))
            why = f"RunComfy's file cannot be fetched{f' ({status[0]})' if status else ''}"
        await errand.say(Status.IN_PROGRESS, f"{errand.words(step)}: made; {why}, trying again")
        await errand.pause(pace.pause_seconds(pace.clock() - began))
        await errand.stop_if_unwanted()
        await pace.turn()
        result = await _fresh(errand, step, result)
    return None


async def _fresh(errand: Errand, step: Step, result: RemoteResult) -> RemoteResult:
    """Ask for the result anew, as its links may have expired."""
    with suppress(ProviderError):
        try:
            fresh = await errand.means.client().result(
                step.remote_id or "", submitted_audio=errand.order.source
            )
        except RequestNotFound as exc:
            raise GenerationFailed(
                f"RunComfy made it ({step.remote_id}), but its file could not be fetched before it expired."
            ) from exc
        return fresh if fresh.urls else result
    return result


async def _fetch_any(errand: Errand, step: Step, result: RemoteResult) -> str:
    """Fetch the first of the links that leads to audio.

    Raises:
        SourceError: of the last of them.
    """
    await errand.say(Status.IN_PROGRESS, f"{errand.words(step)}: fetching the result")
    failure: SourceError = UnsupportedAudio("its answer names no audio.")
    fetch, arrival = errand.means.fetch, _arrival_of(errand, step)
    for url in result.urls:
        try:
            await errand.unless_unwanted(fetch(url, arrival, doors=errand.means.doors))
            await _keep(errand, step)
        except SourceError as exc:
            failure = exc
        except InvalidRequest:
            failure = SourceNotAllowed("its answer names a malformed link.")
        else:
            return url
    raise failure


def _arrival_of(errand: Errand, step: Step) -> Path:
    """Where a whole file lies that was not looked at yet."""
    return errand.folder / f"step-{step.number}.arrived"


async def _keep(errand: Errand, step: Step) -> None:
    """Look at what has arrived, and keep it if there is music in it that was not there before.

    Raises:
        UnsupportedAudio: there is none.
    """
    arrival = _arrival_of(errand, step)
    found = await errand.work("measure", path=str(arrival), max_seconds=MAX_SOURCE_SECONDS)
    added = found["seconds"] - step.context_seconds
    if added < min(_LEAST_NEW_SECONDS, step.seconds / 2):
        raise UnsupportedAudio(
            f"it has nothing new, as it lasts {found['seconds']:.1f} s where {step.context_seconds:.1f} s were sent and"
            f" {step.seconds:.4g} s more were asked. Try other tags or another seed."
        )
    await asyncio.to_thread(arrival.replace, file_of(errand, step))

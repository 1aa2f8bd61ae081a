"""A step's file is fetched: at once, from the service's own hosts, and until it is here, since it is paid for."""

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
from outpaint_mcp.jobs.run import PermanentFailure
from outpaint_mcp.providers.remote.schedule import Absence
from outpaint_mcp.workers.looks import Measure
from outpaint_mcp.workers.probing import MAX_SOURCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.providers.remote.model import RemoteResult
    from outpaint_mcp.providers.remote.run import RemoteRun
    from outpaint_mcp.storage.records import Step

# A file that is not what it should be may have been caught half-way; not more often than this.
_MOST_BAD_FILES = 5

# Lengths are right to about so much: less is no new music.
_LEAST_NEW_SECONDS = 0.25

_HTTP_STATUS = re.compile(r"HTTP \d{3}")


async def is_here(remote: RemoteRun, step: Step) -> bool:
    """Whether an earlier try has fetched a step's file; one that nobody has measured yet is measured now."""
    if await asyncio.to_thread(_arrival_of(remote, step).exists):
        with suppress(SourceError):  # then it is fetched again
            await _accept(remote, step)
    return await asyncio.to_thread(remote.file_of(step).exists)


async def download(remote: RemoteRun, step: Step, result: RemoteResult) -> str:
    """Fetch a step's file; asks for fresh links for as long as the old ones lead nowhere.

    Returns:
        The link that it came from.

    Raises:
        PermanentFailure: what is there is no audio, lies where nothing may be fetched, or has expired.
    """
    schedule, title, bad_files = remote.context.schedule, remote.context.model.title, 0
    absence = Absence(schedule)
    for attempt in count():
        try:
            return await _fetch_any(remote, step, result)
        except (SourceNotAllowed, SourceTooLarge, UnsupportedAudio) as exc:
            bad_files += 1
            why = f"cannot be used: {_fault(remote, exc)}"
            if bad_files == _MOST_BAD_FILES:
                raise PermanentFailure(GenerationFailed(f"The file that {title} returned {why}.")) from exc
        except SourceError as exc:
            why = f"cannot be fetched: {_fault(remote, exc)}"
        remote.is_held_up = True
        await remote.report(f"{remote.label(step)}, is ready; the file {why}. Trying again")
        await remote.pause(schedule.retry_pause_seconds(attempt))
        await remote.stop_if_cancelled()
        await schedule.turn()
        try:
            fresh = await remote.client.result(step.remote_id or "", submitted_audio=remote.job.source)
        except RequestNotFound as exc:
            if absence.lasts() and not remote.is_of_another_account:
                raise PermanentFailure(
                    GenerationFailed(
                        f"{title} generated it, but the file could not be fetched before it expired."
                    )
                ) from exc
        except ProviderError:
            pass  # the old links may lead somewhere by now
        else:
            absence.ends()
            result = fresh if fresh.urls else result
    raise AssertionError("counting does not end")


def _fault(remote: RemoteRun, exc: SourceError) -> str:
    """Explain what is wrong with a result, in words that are not about sources."""
    status = _HTTP_STATUS.search(str(exc))
    match exc:
        case _Useless():
            return str(exc)
        case SourceNotAllowed():
            return f"its link does not lead to one of {remote.context.model.title}'s own hosts"
        case SourceTooLarge():
            return "it is larger than any result can be"
        case UnsupportedAudio():
            return "it is not audio"
        case _:
            return status[0] if status else "the transfer broke off, or could not be written here"


class _Useless(UnsupportedAudio):
    """It is audio, but not what was asked."""


async def _fetch_any(remote: RemoteRun, step: Step, result: RemoteResult) -> str:
    """Fetch the first of the links that leads to audio.

    Raises:
        SourceError: of the last of them.
    """
    await remote.report(f"{remote.label(step)}: fetching the result")
    failure: SourceError = UnsupportedAudio("its answer names no audio.")
    fetch, arrival = remote.context.shared.fetch, _arrival_of(remote, step)
    for url in result.urls:
        try:
            await remote.unless_cancelled(fetch(url, arrival, policy=remote.context.model.policy))
            await _accept(remote, step)
        except SourceError as exc:
            failure = exc
        except InvalidRequest:
            failure = SourceNotAllowed("its answer names a malformed link.")
        else:
            return url
    raise failure


def _arrival_of(remote: RemoteRun, step: Step) -> Path:
    """Where a complete file lies that was not checked yet."""
    return remote.folder / f"step-{step.number}.arrived"


async def _accept(remote: RemoteRun, step: Step) -> None:
    """Measure what has arrived, and take it if there is music in it that was not there before.

    Raises:
        UnsupportedAudio: there is none.
    """
    arrival = _arrival_of(remote, step)
    found = await remote.work(Measure(path=arrival, max_seconds=MAX_SOURCE_SECONDS))
    added = found.seconds - step.context_seconds
    if added < min(_LEAST_NEW_SECONDS, step.seconds / 2):
        raise _Useless(
            f"it has nothing new: it lasts {found.seconds:.1f} s, but {step.context_seconds:.1f} s were sent and"
            f" {step.seconds:.4g} s more were asked; other tags or another seed may do better"
        )
    await asyncio.to_thread(arrival.replace, remote.file_of(step))

"""A step's context is made readable for the service, and the step is sent: once, whatever happens."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, NoReturn

from outpaint_mcp.errors import (
    OutpaintError,
    ProviderRejected,
    ProviderUnavailable,
    ServerStopping,
    SourceNotHosted,
    SourceTooLarge,
    SubmissionUnknown,
)
from outpaint_mcp.jobs.run import PermanentFailure
from outpaint_mcp.models import OutpaintRequest
from outpaint_mcp.providers.remote.model import lost_answer
from outpaint_mcp.providers.remote.retries import RetryPolicy
from outpaint_mcp.providers.remote.transfer import HOW_TO_HOST, TransferredAudio
from outpaint_mcp.storage.leased_jobs import LeaseLost
from outpaint_mcp.storage.records import StepState
from outpaint_mcp.workers.orders import WriteContext

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from pathlib import Path

    from outpaint_mcp.providers.remote.prepare import PreparedSource
    from outpaint_mcp.providers.remote.run import RemoteRun
    from outpaint_mcp.storage.records import Step
    from outpaint_mcp.workers.orders import GeneratedPart

# A submission under way when the server leaves is worth a moment: an answer that is missed is never known. Hosts
# wait for two seconds until they kill.
_LEAVE_SECONDS = 1.2

_log = logging.getLogger(__name__)

_SHOWN_TAGS_CHARACTERS = 80

_LEAVING = "This server is stopping; the next one sends it."


async def submit(
    remote: RemoteRun, step: Step, source: PreparedSource, parts: Sequence[GeneratedPart]
) -> Step:
    """Send a step that was never sent.

    Args:
        remote: the job.
        step: planned.
        source: what is extended.
        parts: what was generated on this side so far.

    Returns:
        The step, accepted.

    Raises:
        SubmissionUnknown: its answer was lost.
        OutpaintError: it was refused, or never arrived.
        RunCancelled: somebody wants the job cancelled.
        LeaseLost: another server has the job.
    """
    await remote.report(f"{remote.label(step)}: transferring the audio")
    step, transferred = await _transfer(remote, step, source, parts)
    await remote.stop_if_cancelled()
    await remote.report(f"{remote.label(step)}: being sent")
    return await _send(remote, step, transferred)


async def _send(remote: RemoteRun, step: Step, transferred: TransferredAudio) -> Step:
    """Send a step; again only after the service provably did not take it, and nobody wants it cancelled meanwhile."""
    request = _request(remote, step, transferred.audio)

    async def pause(seconds: float) -> None:
        await remote.report(f"{remote.label(step)}: not accepted yet; sent again in a moment")
        await remote.pause(seconds)
        await remote.stop_if_cancelled()

    schedule = remote.context.schedule
    policy = RetryPolicy(pause, Random(), schedule.clock)  # noqa: S311 - jitter
    return await policy.run(
        lambda _left: _to_its_end(_send_once(remote, step, request, transferred)), schedule.submit_seconds
    )


async def _to_its_end(sending: Coroutine[object, object, Step]) -> Step:
    """Await a submission, and for a moment more when cancelled."""
    posting = asyncio.create_task(sending)
    try:
        return await asyncio.shield(posting)
    except asyncio.CancelledError:
        await asyncio.wait({posting}, timeout=_LEAVE_SECONDS)
        posting.cancel()
        await asyncio.wait({posting})
        if not posting.cancelled():
            posting.exception()  # it is on disk; the next server reports it
        raise


async def _send_once(
    remote: RemoteRun, step: Step, request: OutpaintRequest, transferred: TransferredAudio
) -> Step:
    """Write that a step is about to be sent, and send it, unless the server is about to leave."""
    if remote.run.leaving.is_set():
        raise ServerStopping(_LEAVING)
    sent_at = remote.context.shared.now()
    step = await remote.run.begin_sending(dataclasses.replace(step, state=StepState.SENDING, sent_at=sent_at))
    if remote.run.leaving.is_set():
        await remote.run.record_step(dataclasses.replace(step, state=StepState.PLANNED, sent_at=None))
        raise ServerStopping(_LEAVING)
    return await _post(remote, step, request, transferred)


async def _post(
    remote: RemoteRun, step: Step, request: OutpaintRequest, transferred: TransferredAudio
) -> Step:
    """Send a step, once; whatever becomes of it is on disk."""
    title = remote.context.model.title
    try:
        remote_id = await remote.client.submit(request, inline=transferred.inline)
    except SubmissionUnknown as exc:
        lost(remote, step, str(exc), exc)
    except OutpaintError as exc:
        await remote.run.record_step(dataclasses.replace(step, state=StepState.PLANNED, sent_at=None))
        if isinstance(exc, ProviderRejected):
            hint = f" If it takes no audio inside requests: {HOW_TO_HOST}" if transferred.inline else ""
            raise PermanentFailure(ProviderRejected(f"{exc}{hint}")) from exc
        if isinstance(exc, ProviderUnavailable):
            unavailable = type(exc)(f"{exc} This was not accepted, and is not billed.")
            unavailable.retry_after_seconds = exc.retry_after_seconds
            raise unavailable from exc
        raise
    except LeaseLost:
        raise
    except Exception as exc:  # noqa: BLE001 - it was on its way: nobody knows
        lost(remote, step, lost_answer(title, f"this server failed meanwhile ({type(exc).__name__})"), exc)
    step = dataclasses.replace(step, state=StepState.ACCEPTED, remote_id=remote_id)
    try:
        await remote.run.record_step(step)
    except LeaseLost:
        _log.warning(
            "%s has accepted request %s as %s, but it is not this server's any more, or not in the database: look for"
            " it there.",
            *(title, remote.job.request_id, remote_id),
        )
        raise
    await remote.report(f"{remote.label(step)}: accepted")
    return step


def _request(remote: RemoteRun, step: Step, audio: str) -> OutpaintRequest:
    """Return what is sent for a step."""
    asked = remote.job.request
    return OutpaintRequest(
        audio=audio,
        tags=asked.tags,
        lyrics=asked.lyrics,
        seed=asked.seed,
        extend_before_duration=step.seconds if step.side == "before" else 0,
        extend_after_duration=step.seconds if step.side == "after" else 0,
    )


def lost(remote: RemoteRun, step: Step, words: str, exc: Exception | None = None) -> NoReturn:
    """Report what is known of a submission whose answer is not; `words` say how it was lost.

    Raises:
        SubmissionUnknown: always.
    """
    request, title = remote.job.request, remote.context.model.title
    sent = datetime.fromtimestamp(step.sent_at or 0, UTC).isoformat(timespec="seconds")
    raise SubmissionUnknown(
        f'{words} Sent at {sent}: {remote.label(step)}, tags "{request.tags[:_SHOWN_TAGS_CHARACTERS]}", seed'
        f" {request.seed}. It is never resubmitted automatically. Look for it among your requests at {title}; if it is"
        " not there, or to pay for another, submit again with another seed."
    ) from exc


async def _transfer(
    remote: RemoteRun, step: Step, source: PreparedSource, parts: Sequence[GeneratedPart]
) -> tuple[Step, TransferredAudio]:
    """Make the music so far readable for the service: as it is where that will do, otherwise as a file of ours.

    Returns:
        The step with the exact length of its context, and what to send.
    """
    # What this claim writes has names of its own: one that was lost may still be read, or written, meanwhile.
    transfer, attempt = remote.context.transfer, remote.job.lease.attempt
    is_whole = not parts and step.context_seconds >= source.seconds
    link = source.link if is_whole else None
    if is_whole and source.format and (link is not None or transfer.fits(source.path)):
        path, seconds, media_type = source.path, source.seconds, source.format.media_type
    else:
        path = remote.folder / f"context-{step.number}-{attempt}"
        seconds, media_type = await _write_context(remote, step, source.path, parts, path)
    # Never more than it is built on, which may be short.
    step = dataclasses.replace(step, seconds=min(step.seconds, seconds), context_seconds=seconds)
    if link is not None:
        return step, TransferredAudio(audio=link)
    formats = remote.context.model.limits.formats.values()
    suffix = next(each.suffix for each in formats if each.media_type == media_type)
    name = f"{remote.job.request_id}-{step.number}-{attempt}.{suffix}"
    if not transfer.is_inline:
        if step.object_name not in {None, name}:  # of a server that did not get to send it
            await transfer.remove(step.object_name or "")
        # Written first: whatever comes in between, it is removed again.
        step = await remote.run.record_step(dataclasses.replace(step, object_name=name))
    return step, await remote.unless_cancelled(transfer.give(path, name, media_type))


async def _write_context(
    remote: RemoteRun, step: Step, source: Path, parts: Sequence[GeneratedPart], destination: Path
) -> tuple[float, str]:
    """Write the context of a step; returns its exact length in seconds and its media type."""
    order = WriteContext(
        source=source,
        side=step.side,
        parts=tuple(parts),
        destination=destination,
        seconds=step.context_seconds,
        max_bytes=remote.context.transfer.max_bytes,
    )
    try:
        written = await remote.work(order)
    except SourceTooLarge as exc:
        raise SourceNotHosted(f"{exc} {HOW_TO_HOST}") from exc
    return written.seconds, written.media_type

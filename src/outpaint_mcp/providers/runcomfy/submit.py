"""A step's context is handed over, and the step is sent: once, whatever happens."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from outpaint_mcp.errors import (
    OutpaintError,
    ProviderRejected,
    ProviderUnavailable,
    SourceNotHosted,
    SourceTooLarge,
    SubmissionUnknown,
)
from outpaint_mcp.models import Status
from outpaint_mcp.providers.runcomfy.api.refusals import lost_answer
from outpaint_mcp.providers.runcomfy.records import StepState
from outpaint_mcp.providers.runcomfy.run import Verdict
from outpaint_mcp.providers.runcomfy.transfer import HOW_TO_HOST, TransferredAudio

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from outpaint_mcp.providers.runcomfy.prepare import Looked
    from outpaint_mcp.providers.runcomfy.records import Step
    from outpaint_mcp.providers.runcomfy.run import Run

# A submission under way when the server leaves is worth a moment: an answer that is missed is never known. Hosts
# wait for two seconds until they kill.
_LEAVE_SECONDS = 1.2

_SUFFIXES = {"audio/wav": "wav", "audio/flac": "flac", "audio/mpeg": "mp3"}
_SHOWN_TAGS_CHARACTERS = 80


async def send(run: Run, step: Step, looked: Looked, pieces: Sequence[dict[str, Any]]) -> Step:
    """Send a step that was never sent.

    Args:
        run: the request.
        step: planned.
        looked: the source.
        pieces: what was made on this side so far, as the worker takes it.

    Returns:
        The step, accepted.

    Raises:
        SubmissionUnknown: its answer was lost.
        OutpaintError: it was refused, or never arrived.
        RunCancelled: somebody wants the request cancelled.
    """
    await run.say(Status.IN_PROGRESS, f"{run.words(step)}: handing the audio over")
    step, handed = await _handed_over(run, step, looked, pieces)
    await run.stop_if_unwanted()
    step = await run.record(dataclasses.replace(step, state=StepState.SENDING, sent_at=run.context.now()))
    posting = asyncio.create_task(_post(run, step, handed))
    try:
        return await asyncio.shield(posting)
    except asyncio.CancelledError:
        await asyncio.wait({posting}, timeout=_LEAVE_SECONDS)
        posting.cancel()
        await asyncio.wait({posting})
        if not posting.cancelled():
            posting.exception()  # it is on disk; the next server tells it
        raise


async def _post(run: Run, step: Step, handed: TransferredAudio) -> Step:
    """Send a step, once; whatever becomes of it is on disk."""
    request = run.order.request(handed.audio, step)
    try:
        remote_id = await run.context.client().submit(request, inline=handed.inline)
    except SubmissionUnknown as exc:
        lost(run, step, str(exc), exc)
    except OutpaintError as exc:
        await run.record(dataclasses.replace(step, state=StepState.PLANNED, sent_at=None))
        if isinstance(exc, ProviderRejected):
            hint = f" If it takes no audio inside of requests: {HOW_TO_HOST}" if handed.inline else ""
            raise Verdict(ProviderRejected(f"{exc}{hint}")) from exc
        if isinstance(exc, ProviderUnavailable):
            raise type(exc)(f"{exc} This was not taken on, and is not billed.") from exc
        raise
    except Exception as exc:  # noqa: BLE001 - it was on its way: nobody knows
        lost(run, step, lost_answer(f"this server broke meanwhile ({type(exc).__name__})"), exc)
    step = await run.record(dataclasses.replace(step, state=StepState.ACCEPTED, remote_id=remote_id))
    await run.say(Status.IN_PROGRESS, f"{run.words(step)}: accepted")
    return step


def lost(run: Run, step: Step, words: str, exc: Exception | None = None) -> NoReturn:
    """Say what is known of a submission whose answer is not; `words` say that, and how it came to be.

    Raises:
        SubmissionUnknown: always.
    """
    inputs = run.order.inputs
    sent = datetime.fromtimestamp(step.sent_at or 0, UTC).isoformat(timespec="seconds")
    raise SubmissionUnknown(
        f'{words} Sent at {sent}: {run.words(step)}, tags "{inputs["tags"][:_SHOWN_TAGS_CHARACTERS]}", seed'
        f" {inputs['seed']}. It is not sent again by itself. Look for it among your requests at RunComfy; if it is"
        " not there, or to pay for another, submit again with another seed."
    ) from exc


async def _handed_over(
    run: Run, step: Step, looked: Looked, pieces: Sequence[dict[str, Any]]
) -> tuple[Step, TransferredAudio]:
    """Make the music so far readable for the service: as it is where that will do, otherwise as a file of ours.

    Returns:
        The step with the exact length of its context, and what to send.
    """
    handover = run.context.handover
    is_whole = not pieces and step.context_seconds >= looked.seconds
    link = looked.link if is_whole else None
    if is_whole and looked.media_type and (link is not None or handover.takes(looked.path)):
        path, seconds, media_type = looked.path, looked.seconds, looked.media_type
    else:
        path = run.folder / f"context-{step.number}"
        seconds, media_type = await _cut(run, step, looked.path, pieces, path)
    # Never more than it is built on, which may be short.
    step = dataclasses.replace(step, seconds=min(step.seconds, seconds), context_seconds=seconds)
    if link is not None:
        return step, TransferredAudio(audio=link)
    name = f"{run.order.request_id}-{step.number}.{_SUFFIXES[media_type]}"
    if not handover.is_inline:
        # Written down first: whatever comes in between, it is taken back.
        step = await run.record(dataclasses.replace(step, object_name=name))
    return step, await handover.give(path, name, media_type)


async def _cut(
    run: Run, step: Step, source: Path, pieces: Sequence[dict[str, Any]], destination: Path
) -> tuple[float, str]:
    """Write the context of a step; returns its exact length and its type."""
    try:
        made = await run.work(
            "context",
            source=str(source),
            side=step.side,
            pieces=list(pieces),
            destination=str(destination),
            seconds=step.context_seconds,
            max_bytes=run.context.handover.max_bytes,
        )
    except SourceTooLarge as exc:
        raise SourceNotHosted(f"{exc} {HOW_TO_HOST}") from exc
    return made["seconds"], made["media_type"]

"""A step's context is handed over, and the step is sent: once, whatever happens."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from outpaint_mcp.errors import (
    OutpaintError,
    ProviderRejected,
    ProviderUnavailable,
    SourceNotHosted,
    SourceTooLarge,
    SubmissionUnknown,
)
from outpaint_mcp.hosted.handover import HOW_TO_HOST
from outpaint_mcp.hosted.records import StepState
from outpaint_mcp.models import Status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from outpaint_mcp.hosted.means import Errand
    from outpaint_mcp.hosted.preparation import Looked
    from outpaint_mcp.hosted.records import Step

# A submission under way when the server leaves is worth a moment: an answer that is missed is never known.
_LEAVE_SECONDS = 2.0

_SUFFIXES = {"audio/wav": "wav", "audio/flac": "flac", "audio/mpeg": "mp3"}
_SHOWN_TAGS_CHARACTERS = 80


class _Context(NamedTuple):
    """What a step is sent with.

    Attributes:
        audio: the input of this name; a secret where it is a signed link.
        object_name: under which it lies in the bucket, if it does.
    """

    audio: str
    seconds: float
    object_name: str | None = None


async def send(errand: Errand, step: Step, looked: Looked, pieces: Sequence[dict[str, Any]]) -> Step:
    """Send a step that was never sent.

    Args:
        errand: the request.
        step: planned.
        looked: the source.
        pieces: what was made on this side so far, as the worker takes it.

    Returns:
        The step, accepted.

    Raises:
        SubmissionUnknown: its answer was lost.
        OutpaintError: it was refused, or never arrived.
        CancelledOrder: somebody wants the request cancelled.
    """
    await errand.say(Status.IN_PROGRESS, f"{errand.words(step)}: handing the audio over")
    async with errand.means.sending:
        return await _send(errand, step, looked, pieces)


async def _send(errand: Errand, step: Step, looked: Looked, pieces: Sequence[dict[str, Any]]) -> Step:
    context = await _handed_over(errand, step, looked, pieces)
    await errand.stop_if_unwanted()
    step = await errand.record(
        dataclasses.replace(
            step,
            state=StepState.SENDING,
            seconds=min(step.seconds, context.seconds),  # never more than it is built on, which may be short
            context_seconds=context.seconds,
            object_name=context.object_name,
            sent_at=errand.means.now(),
        )
    )
    posting = asyncio.create_task(_post(errand, step, context.audio))
    try:
        return await asyncio.shield(posting)
    except asyncio.CancelledError:
        await asyncio.wait({posting}, timeout=_LEAVE_SECONDS)
        posting.cancel()
        raise


async def _post(errand: Errand, step: Step, audio: str) -> Step:
    """Send a step, once; whatever becomes of it is on disk."""
    try:
        remote_id = await errand.means.client().submit(errand.order.request(audio, step))
    except SubmissionUnknown as exc:
        lost(errand, step, str(exc), exc)
    except OutpaintError as exc:
        await errand.record(dataclasses.replace(step, state=StepState.PLANNED, sent_at=None))
        if isinstance(exc, ProviderRejected) and audio.startswith("data:"):
            raise ProviderRejected(f"{exc} If it takes no audio inside of requests: {HOW_TO_HOST}") from exc
        if isinstance(exc, ProviderUnavailable):
            raise type(exc)(f"{exc} Nothing was taken on, and nothing is billed.") from exc
        raise
    step = await errand.record(dataclasses.replace(step, state=StepState.ACCEPTED, remote_id=remote_id))
    await errand.say(Status.IN_PROGRESS, f"{errand.words(step)}: accepted")
    return step


def lost(errand: Errand, step: Step, words: str, exc: Exception | None = None) -> NoReturn:
    """Say what is known of a submission whose answer is not; `words` say that, and how it came to be.

    Raises:
        SubmissionUnknown: always.
    """
    inputs = errand.order.inputs
    sent = datetime.fromtimestamp(step.sent_at or 0, UTC).isoformat(timespec="seconds")
    raise SubmissionUnknown(
        f'{words} Sent at {sent}: {errand.words(step)}, tags "{inputs["tags"][:_SHOWN_TAGS_CHARACTERS]}", seed'
        f" {inputs['seed']}. It is not sent again by itself. Look for it among your requests at RunComfy; if it is"
        " not there, or to pay for another, submit again with another seed."
    ) from exc


async def _handed_over(
    errand: Errand, step: Step, looked: Looked, pieces: Sequence[dict[str, Any]]
) -> _Context:
    """Make the music so far readable for the service: as it is where that will do, otherwise as a file of ours."""
    handover, source = errand.means.handover, errand.order.source
    is_whole = not pieces and step.context_seconds >= looked.seconds
    if is_whole and looked.media_type and source.startswith("https:"):
        return _Context(source, looked.seconds)
    if is_whole and looked.media_type and handover.takes(looked.path):
        path, seconds, media_type = looked.path, looked.seconds, looked.media_type
    else:
        path = errand.folder / f"context-{step.number}"
        seconds, media_type = await _cut(errand, step, looked.path, pieces, path)
    name = f"{errand.order.request_id}-{step.number}.{_SUFFIXES[media_type]}"
    if handover.is_inline:
        return _Context(await handover.give(path, name, media_type), seconds)
    # Written down first: whatever comes in between, it is taken back.
    await errand.record(dataclasses.replace(step, object_name=name))
    return _Context(await handover.give(path, name, media_type), seconds, name)


async def _cut(
    errand: Errand, step: Step, source: Path, pieces: Sequence[dict[str, Any]], destination: Path
) -> tuple[float, str]:
    """Write the context of a step; returns its exact length and its type."""
    try:
        made = await errand.work(
            "context",
            source=str(source),
            side=step.side,
            pieces=list(pieces),
            destination=str(destination),
            seconds=step.context_seconds,
            max_bytes=errand.means.handover.max_bytes,
        )
    except SourceTooLarge as exc:
        raise SourceNotHosted(f"{exc} {HOW_TO_HOST}") from exc
    return made["seconds"], made["media_type"]

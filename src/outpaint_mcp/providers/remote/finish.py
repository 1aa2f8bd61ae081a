"""Once every step's file is here, the extended file is made of them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from outpaint_mcp.audio.sides import Side
from outpaint_mcp.errors import OutpaintError
from outpaint_mcp.workers.orders import Finish, GeneratedPart
from outpaint_mcp.workers.probing import MAX_SOURCE_SECONDS

if TYPE_CHECKING:
    from outpaint_mcp.providers.remote.prepare import PreparedSource
    from outpaint_mcp.providers.remote.run import RemoteRun
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.storage.records import Step

_FINISHING_TRIES = 3


def part_of(remote: RemoteRun, step: Step) -> GeneratedPart:
    """Return a step's file as workers take it."""
    return GeneratedPart(path=remote.file_of(step), context_seconds=step.context_seconds)


async def finish(remote: RemoteRun, source: PreparedSource, url: str | None) -> Outcome:
    """Restore the source in the one file that the model made, or join its parts to the source.

    What was paid for must not hang on what is done with it: after some failures, everything optional is left out.

    Args:
        remote: the job, all of its steps fetched.
        source: what was extended.
        url: where the service stores the last step's file.
    """
    steps, request, description = remote.job.steps, remote.job.request, remote.context.model.description
    is_whole = len(steps) == 1 and steps[0].context_seconds >= source.seconds
    await remote.report("restoring the source" if is_whole else "joining the parts")
    asked = {side: sum(step.seconds for step in steps if step.side is side) for side in Side}
    order = Finish(
        whole=remote.file_of(steps[0]) if is_whole else None,
        before=tuple(part_of(remote, step) for step in steps if step.side is Side.BEFORE and not is_whole),
        after=tuple(part_of(remote, step) for step in steps if step.side is Side.AFTER and not is_whole),
        before_seconds=asked[Side.BEFORE],
        after_seconds=asked[Side.AFTER],
        music=source.path,
        source=source.used,
        original=source.original,
        cut_before_frames=source.target.cut_before_frames,
        cut_after_frames=source.target.cut_after_frames,
        start_seconds=request.source_start_seconds,
        is_cut=request.is_cut,
        layout=source.layout,
        wishes=request.wishes,
        folder=remote.folder,
        seed=request.seed,
        provider=description.name,
        provider_title=description.title,
        max_seconds=MAX_SOURCE_SECONDS,
        plain=remote.finishing_failures >= _FINISHING_TRIES,
    )
    try:
        outcome = await remote.work(order)
    except OutpaintError:
        remote.finishing_failures += 1
        raise
    return _with_link(outcome, url) if is_whole else outcome


def _with_link(outcome: Outcome, url: str | None) -> Outcome:
    """Say where the service stores the very file that it made."""
    if outcome.as_made is None:
        return dataclasses.replace(outcome, url=url)
    return dataclasses.replace(outcome, as_made=dataclasses.replace(outcome.as_made, url=url))

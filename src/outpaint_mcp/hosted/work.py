"""One request from its source to the longer file: prepared, carried out step by step, put together."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from outpaint_mcp.credits import comment
from outpaint_mcp.errors import OutpaintError
from outpaint_mcp.hosted.fetching import fetch_result, file_of
from outpaint_mcp.hosted.following import follow
from outpaint_mcp.hosted.preparation import look_at_source, settle_plan
from outpaint_mcp.hosted.records import StepState
from outpaint_mcp.hosted.sending import lost, send
from outpaint_mcp.models import Status
from outpaint_mcp.runcomfy.refusals import lost_answer
from outpaint_mcp.workers.probing import MAX_SOURCE_SECONDS

if TYPE_CHECKING:
    from outpaint_mcp.hosted.means import Errand
    from outpaint_mcp.hosted.plan import Side
    from outpaint_mcp.hosted.preparation import Looked
    from outpaint_mcp.hosted.records import Step


_FINISHING_TRIES = 3


async def carry_out(errand: Errand) -> dict[str, Any]:
    """Carry a request out from wherever it stands, and return its outcome as `Outcome` has it.

    Raises:
        Verdict: it failed for good, by what the service has said or made.
        SubmissionUnknown: the answer to a submission was lost.
        CancelledOrder: somebody wanted it cancelled.
        OutpaintError: something else is in the way; where money is spent, it may be tried again.
    """
    for step in errand.order.steps:
        if step.state is StepState.SENDING:
            lost(errand, step, lost_answer("the server stopped before it was there"))
    looked = await look_at_source(errand)
    await settle_plan(errand, looked)
    pieces: dict[Side, list[dict[str, Any]]] = {"before": [], "after": []}
    url = None
    for planned in errand.order.steps:
        step, url = await _carry_out_step(errand, planned, looked, pieces[planned.side])
        pieces[step.side].append(
            {"path": str(file_of(errand, step)), "context_seconds": step.context_seconds}
        )
    return await _finish(errand, looked, pieces, url)


async def _carry_out_step(
    errand: Errand, step: Step, looked: Looked, pieces: list[dict[str, Any]]
) -> tuple[Step, str | None]:
    """Do what is left to do of a step; also returns where the service keeps what was fetched just now."""
    if step.state is StepState.MADE:
        return step, None
    if step.state is StepState.PLANNED:
        step = await send(errand, step, looked, pieces)
    result = await follow(errand, step)
    step = await errand.record(dataclasses.replace(step, state=StepState.FINISHED, cost_usd=result.cost_usd))
    url = await fetch_result(errand, step, result)
    await take_back(errand, step)
    return await errand.record(dataclasses.replace(step, state=StepState.MADE, object_name=None)), url


async def take_back(errand: Errand, step: Step) -> None:
    """Remove what was put into the bucket for a step that has ended."""
    if step.object_name is not None:
        await errand.means.handover.take_back(step.object_name)


async def _finish(
    errand: Errand, looked: Looked, pieces: dict[Side, list[dict[str, Any]]], url: str | None
) -> dict[str, Any]:
    """Put the source back into the one file that the model made, which is kept as well, or join several to it.

    What was paid for must not hang on what is done with it: when that has failed some times, it is done without.
    """
    steps = errand.order.steps
    is_one = len(steps) == 1 and steps[0].context_seconds >= looked.seconds
    await errand.say(Status.IN_PROGRESS, "putting the source back" if is_one else "putting it together")
    order = _finishing(errand, looked) | {"plain": errand.finishing_failures >= _FINISHING_TRIES}
    try:
        if is_one:
            outcome = await errand.work("finish", made=str(file_of(errand, steps[0])), **order)
        else:
            outcome = await errand.work("assemble", **pieces, **order)
    except OutpaintError:
        errand.finishing_failures += 1
        raise
    if is_one:
        untouched = outcome.get("as_made", outcome)
        untouched["url"] = url
    return outcome


def _finishing(errand: Errand, looked: Looked) -> dict[str, Any]:
    inputs = errand.order.inputs
    asked = (inputs["extend_before_duration"], inputs["extend_after_duration"])
    return {
        "source": str(looked.path),
        "original": str(looked.original),
        "folder": str(errand.folder),
        "asked": asked,
        "seed": inputs["seed"],
        "comment": comment("runcomfy", *asked, seed=inputs["seed"]),
        "max_source_seconds": MAX_SOURCE_SECONDS,
    }

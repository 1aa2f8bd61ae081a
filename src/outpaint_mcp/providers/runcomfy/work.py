"""One request from its source to the longer file: prepared, carried out step by step, put together."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from outpaint_mcp.errors import OutpaintError
from outpaint_mcp.models import Status
from outpaint_mcp.providers.runcomfy.api.refusals import lost_answer
from outpaint_mcp.providers.runcomfy.download import fetch_result, file_of
from outpaint_mcp.providers.runcomfy.poll import follow
from outpaint_mcp.providers.runcomfy.prepare import look_at_source, settle_plan
from outpaint_mcp.providers.runcomfy.records import StepState
from outpaint_mcp.providers.runcomfy.submit import lost, send
from outpaint_mcp.workers.credits import comment
from outpaint_mcp.workers.probing import MAX_SOURCE_SECONDS

if TYPE_CHECKING:
    from outpaint_mcp.providers.runcomfy.plan import Side
    from outpaint_mcp.providers.runcomfy.prepare import Looked
    from outpaint_mcp.providers.runcomfy.records import Step
    from outpaint_mcp.providers.runcomfy.run import Run


_FINISHING_TRIES = 3


async def carry_out(run: Run) -> dict[str, Any]:
    """Carry a request out from wherever it stands, and return its outcome as `Outcome` has it.

    Raises:
        Verdict: it failed for good, by what the service has said or made.
        SubmissionUnknown: the answer to a submission was lost.
        RunCancelled: somebody wanted it cancelled.
        OutpaintError: something else is in the way; where money is spent, it may be tried again.
    """
    for step in run.order.steps:
        if step.state is StepState.SENDING:
            lost(run, step, lost_answer("the server stopped before it was there"))
    looked = await look_at_source(run)
    await settle_plan(run, looked)
    pieces: dict[Side, list[dict[str, Any]]] = {"before": [], "after": []}
    url = None
    for planned in run.order.steps:
        step, url = await _carry_out_step(run, planned, looked, pieces[planned.side])
        pieces[step.side].append({"path": str(file_of(run, step)), "context_seconds": step.context_seconds})
    return await _finish(run, looked, pieces, url)


async def _carry_out_step(
    run: Run, step: Step, looked: Looked, pieces: list[dict[str, Any]]
) -> tuple[Step, str | None]:
    """Do what is left to do of a step; also returns where the service keeps what was fetched just now."""
    if step.state is StepState.MADE:
        return step, None
    if step.state is StepState.PLANNED:
        step = await send(run, step, looked, pieces)
    result = await follow(run, step)
    step = await run.record(dataclasses.replace(step, state=StepState.FINISHED, cost_usd=result.cost_usd))
    url = await fetch_result(run, step, result)
    await take_back(run, step)
    return await run.record(dataclasses.replace(step, state=StepState.MADE, object_name=None)), url


async def take_back(run: Run, step: Step) -> None:
    """Remove what was put into the bucket for a step that has ended."""
    if step.object_name is not None:
        await run.context.handover.take_back(step.object_name)


async def _finish(
    run: Run, looked: Looked, pieces: dict[Side, list[dict[str, Any]]], url: str | None
) -> dict[str, Any]:
    """Put the source back into the one file that the model made, which is kept as well, or join several to it.

    What was paid for must not hang on what is done with it: when that has failed some times, it is done without.
    """
    steps = run.order.steps
    is_one = len(steps) == 1 and steps[0].context_seconds >= looked.seconds
    await run.say(Status.IN_PROGRESS, "putting the source back" if is_one else "putting it together")
    order = _finishing(run, looked) | {"plain": run.finishing_failures >= _FINISHING_TRIES}
    try:
        if is_one:
            outcome = await run.work("finish", made=str(file_of(run, steps[0])), **order)
        else:
            outcome = await run.work("assemble", **pieces, **order)
    except OutpaintError:
        run.finishing_failures += 1
        raise
    if is_one:
        untouched = outcome.get("as_made", outcome)
        untouched["url"] = url
    return outcome


def _finishing(run: Run, looked: Looked) -> dict[str, Any]:
    inputs = run.order.inputs
    asked = (inputs["extend_before_duration"], inputs["extend_after_duration"])
    return {
        "source": str(looked.path),
        "original": str(looked.original),
        "folder": str(run.folder),
        "asked": asked,
        "seed": inputs["seed"],
        "comment": comment("runcomfy", *asked, seed=inputs["seed"]),
        "max_source_seconds": MAX_SOURCE_SECONDS,
    }

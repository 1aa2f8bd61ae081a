"""One request from its source to the longer file: prepared, carried out step by step, put together."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import shutil
from typing import TYPE_CHECKING, Any

from outpaint_mcp.hosted.fetching import fetch_result, file_of
from outpaint_mcp.hosted.following import follow
from outpaint_mcp.hosted.preparation import look_at_source, settle_plan
from outpaint_mcp.hosted.records import StepState
from outpaint_mcp.hosted.sending import lost, send
from outpaint_mcp.models import Status
from outpaint_mcp.runcomfy.refusals import lost_answer
from outpaint_mcp.workers.probing import MAX_SOURCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.hosted.means import Errand
    from outpaint_mcp.hosted.plan import Side
    from outpaint_mcp.hosted.preparation import Looked
    from outpaint_mcp.hosted.records import Step

_SUFFIXES = {"WAV": ".wav", "WAVEX": ".wav", "RF64": ".wav", "FLAC": ".flac", "MP3": ".mp3", "OGG": ".ogg"}

# The model paints in steps of about 93 ms, at either end.
_PRECISION_SECONDS = 0.25


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
    steps = errand.order.steps
    if len(steps) == 1 and steps[0].context_seconds >= looked.seconds:
        outcome = await _as_it_came(errand, steps[0], looked) | {"url": url}
    else:
        outcome = await _put_together(errand, looked, pieces)
    return outcome | {"seed": errand.order.inputs["seed"]}


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


async def _as_it_came(errand: Errand, step: Step, looked: Looked) -> dict[str, Any]:
    """Measure the one file that the model made; it is delivered untouched."""
    path = file_of(errand, step)
    await errand.say(Status.IN_PROGRESS, "measuring the result")
    found = await errand.work("measure", path=str(path), max_seconds=MAX_SOURCE_SECONDS)
    added = found["seconds"] - looked.seconds
    output = path.with_name(f"output{_SUFFIXES.get(found['container'], '.wav')}")
    size_bytes, sha256 = await asyncio.to_thread(_named, path, output)
    note = (
        (
            f"RunComfy's file as it came ({found['container']}, {found['sample_rate']} Hz): the model decodes the"
            " source anew, so it is not bit for bit inside."
        ),
        _length_words({step.side: (step.seconds, added)}),
        "" if found["intact"] else "It is damaged, and ends where decoding it did.",
    )
    return {
        "path": str(output),
        "sha256": sha256,
        "size_bytes": size_bytes,
        "duration_seconds": found["seconds"],
        "before_seconds": added if step.side == "before" else 0.0,
        "after_seconds": added if step.side == "after" else 0.0,
        "note": " ".join(filter(None, note)),
    }


async def _put_together(
    errand: Errand, looked: Looked, pieces: dict[Side, list[dict[str, Any]]]
) -> dict[str, Any]:
    """Join what the model added to the source."""
    await errand.say(Status.IN_PROGRESS, "putting it together")
    made = await errand.work(
        "assemble",
        source=str(looked.path),
        before=pieces["before"],
        after=pieces["after"],
        folder=str(errand.folder),
        max_source_seconds=MAX_SOURCE_SECONDS,
    )
    sides: tuple[Side, ...] = ("before", "after")
    lengths = {
        side: (errand.order.inputs[f"extend_{side}_duration"], made[f"{side}_seconds"]) for side in sides
    }
    loose = made.pop("loose_joins")
    kept = "bit for bit" if made.pop("source_lossless") else "as it decodes, at 24 bits"
    note = (
        f"What RunComfy added is joined to the source, which is inside {kept} but for 50 ms at each join.",
        _length_words(lengths),
        f"At {loose} of the joins what came back is unlike what was sent: listen there." if loose else "",
        "" if made.pop("source_intact") else "The source is damaged, and ends where decoding it did.",
    )
    return made | {"note": " ".join(filter(None, note))}


def _length_words(lengths: dict[Side, tuple[float, float]]) -> str:
    """Say where it did not become as long as was asked."""
    return " ".join(
        f"{asked:g} s {side} were asked, {came:.1f} s came."
        for side, (asked, came) in lengths.items()
        if abs(asked - came) > _PRECISION_SECONDS
    )


def _named(path: Path, output: Path) -> tuple[int, str]:
    """Give a file its suffix beside itself; returns its size and SHA-256."""
    output.unlink(missing_ok=True)
    try:
        output.hardlink_to(path)
    except OSError:  # a disk without hard links
        shutil.copyfile(path, output)
    with output.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest

"""Before anything is sent: the source is fetched and looked at, the steps are planned, the cost is estimated."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from outpaint_mcp.errors import OutpaintError, SourceError, SourceNotAllowed, SourceUnreachable, Unauthorized
from outpaint_mcp.models import Status
from outpaint_mcp.providers.runcomfy.api.wire import LIST_PRICE, Price
from outpaint_mcp.providers.runcomfy.plan import CANVAS_SECONDS, plan
from outpaint_mcp.workers.probing import MAX_SOURCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.providers.runcomfy.plan import PlannedStep
    from outpaint_mcp.providers.runcomfy.run import Run

SOURCE_NAME = "source"

_PRICE_SECONDS = 2.5

_MEDIA_TYPES = {"WAV": "audio/wav", "FLAC": "audio/flac", "MP3": "audio/mpeg"}
_PLAIN_SUBTYPES = {"WAV": ("PCM_16", "PCM_24"), "FLAC": ("PCM_16", "PCM_24"), "MP3": ("MPEG_LAYER_III",)}
_MOST_CHANNELS = 2


class Looked(NamedTuple):
    """What was seen of a source.

    Attributes:
        path: what is extended, this request's own: what becomes of the person's file meanwhile is no matter.
        original: the same, or the recording that it was cut out of.
        media_type: where the model takes the file as it is; None where it has to be coded anew.
        link: where the model can read the very same file.
    """

    path: Path
    original: Path
    seconds: float
    media_type: str | None
    link: str | None


async def look_at_source(run: Run) -> Looked:
    """Bring the source into the request's own folder and see what it is.

    Raises:
        SourceError: it cannot be had, or cannot be decoded.
    """
    source, path = run.order.source, run.folder / SOURCE_NAME
    await asyncio.to_thread(run.folder.mkdir, parents=True, exist_ok=True)
    if not await asyncio.to_thread(path.exists):
        if not source:
            raise SourceUnreachable("The audio that came with the request is gone; submit it again.")
        if source.startswith("https:"):
            await run.say(Status.IN_PROGRESS, "fetching the source")
            await run.unless_unwanted(run.context.fetch(source, path))
        else:
            await asyncio.to_thread(_copy, Path(source), path)
    used = await _cut(run, path) if run.order.is_cut else path
    found = await run.work("probe", path=str(used), max_seconds=MAX_SOURCE_SECONDS)
    media_type = _media_type(found)
    is_there = used == path and source.startswith("https:")
    link = source if is_there and media_type is not None else None
    return Looked(used, path, found["seconds"], media_type, link)


async def _cut(run: Run, source: Path) -> Path:
    """Cut out the part that is to be extended, once."""
    cut = run.folder / "cut"
    if not await asyncio.to_thread(cut.exists):
        await run.say(Status.IN_PROGRESS, "cutting the source")
        await run.work(
            "crop",
            source=str(source),
            destination=str(cut),
            start_seconds=run.order.start_seconds,
            end_seconds=run.order.end_seconds,
            max_seconds=MAX_SOURCE_SECONDS,
        )
    return cut


async def settle_plan(run: Run, looked: Looked) -> None:
    """Plan the steps, estimate their cost, and hold it against the limit; once for each request.

    Raises:
        InvalidRequest: the source is too short for what is asked.
        OverBudget: it would cost too much.
        Unauthorized: there is no token, or none that RunComfy takes.
    """
    if run.order.source_seconds is not None:
        return
    context, inputs = run.context, run.order.inputs
    steps = plan(
        looked.seconds,
        before_seconds=inputs["extend_before_duration"],
        after_seconds=inputs["extend_after_duration"],
    )
    price = await _price(run)
    seconds = sum(step.context_seconds + step.seconds for step in steps)
    cost = price.at_most_usd(seconds, len(steps))
    basis = (_cost_words(price, cost, seconds, len(steps)), _plan_words(steps, looked.seconds))
    await asyncio.to_thread(
        context.ledger.reserve,
        run.order.request_id,
        cost,
        basis=" ".join(filter(None, basis)),
        most_usd=run.order.most_usd,
    )
    run.order = await asyncio.to_thread(
        context.orders.settle_plan, run.order.request_id, steps, source_seconds=looked.seconds
    )


async def _price(run: Run) -> Price:
    try:
        return await run.context.prices.price(within_seconds=_PRICE_SECONDS)
    except Unauthorized:
        raise
    except OutpaintError as exc:
        await run.say(Status.IN_PROGRESS, str(exc).partition(". ")[0])
        return LIST_PRICE


def _cost_words(price: Price, cost_usd: float, seconds: float, outputs: int) -> str:
    how = f"{outputs} x ${price.usd:g}" if price.unit == "output" else f"{seconds:.0f} s x ${price.usd:g}"
    counted = "" if price.unit == "output" else ", the source's own seconds counted, which may not be billed"
    most = "At most" if price is not LIST_PRICE else "About"
    return f"{most} ${cost_usd:.4f}: {how} ({price.origin}{counted})."


def _plan_words(steps: Sequence[PlannedStep], source_seconds: float) -> str:
    """Say how it is gone about, where that is not just one request."""
    reasons = []
    if len({step.side for step in steps}) > 1:
        reasons.append("one side at a time, as the model gets both at once wrong")
    if any(step.context_seconds < source_seconds for step in steps):
        reasons.append(
            f"from the music nearest the edge, as the model holds {CANVAS_SECONDS:.0f} s in all; the rest of the"
            " recording is joined on again"
        )
    if len(steps) > len({step.side for step in steps}):
        reasons.append("grown bit by bit, as no extension may be longer than what it is built on")
    if not reasons:
        return ""
    count = f"In {len(steps)} paid steps: " if len(steps) > 1 else "Made "
    return f"{count}{'; '.join(reasons)}."


def _media_type(found: dict[str, Any]) -> str | None:
    """The type under which the model takes a file as it is."""
    container = found["container"]
    plain = found["subtype"] in _PLAIN_SUBTYPES.get(container, ()) and found["channels"] <= _MOST_CHANNELS
    return _MEDIA_TYPES[container] if plain else None


def _copy(source: Path, target: Path) -> None:
    part = target.with_name(f"{target.name}.part")
    if source.resolve() != source:
        raise SourceNotAllowed("The source was moved behind a link after it was submitted; submit it again.")
    try:
        shutil.copyfile(source, part)
        part.replace(target)
    except FileNotFoundError as exc:
        raise SourceUnreachable(f"{source.name} is gone; it was there when it was submitted.") from exc
    except OSError as exc:
        raise SourceError(
            f"{source.name} could not be copied into the data folder: {exc.strerror or exc}. Make room or mend the"
            " permissions, then submit again."
        ) from exc

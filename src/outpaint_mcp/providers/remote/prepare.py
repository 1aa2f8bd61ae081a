"""Before anything is sent: the source is fetched and measured, the steps are planned, the cost is estimated."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from outpaint_mcp.errors import (
    Hint,
    OutpaintError,
    SourceError,
    SourceNotAllowed,
    SourceUnreachable,
    Unauthorized,
)
from outpaint_mcp.jobs.run import SOURCE_NAME
from outpaint_mcp.providers.remote.plan import plan
from outpaint_mcp.workers.orders import Crop, Probe
from outpaint_mcp.workers.probing import MAX_SOURCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.providers.remote.model import FileFormat, Limits, Price
    from outpaint_mcp.providers.remote.run import RemoteRun
    from outpaint_mcp.storage.records import Step
    from outpaint_mcp.workers.orders import Probed

_PRICE_SECONDS = 2.5


class PreparedSource(NamedTuple):
    """A source as it is about to be extended.

    Attributes:
        path: what is extended, the job's own: what becomes of the person's file meanwhile does not matter.
        original: the same, or the recording that it was cut out of.
        format: how the model reads the file as it is; None where it has to be coded again.
        link: where the model can read the very same file.
    """

    path: Path
    original: Path
    seconds: float
    format: FileFormat | None
    link: str | None


async def prepare_source(remote: RemoteRun) -> PreparedSource:
    """Bring the source into the job's own folder and see what it is.

    Raises:
        SourceError: it cannot be had, or cannot be decoded.
    """
    source, path = remote.job.source, remote.folder / SOURCE_NAME
    if not await asyncio.to_thread(path.exists):
        if not source:
            raise SourceUnreachable("The audio that came with the request is gone.", hint=Hint.SUBMIT_AGAIN)
        if source.startswith("https:"):
            await remote.report("fetching the source")
            await remote.unless_cancelled(remote.context.shared.fetch(source, path))
        else:
            part = path.with_name(f"{path.name}.{remote.job.lease.attempt}.part")
            await asyncio.to_thread(_copy, Path(source), part, path)
    used = await _cut(remote, path) if remote.job.request.is_cut else path
    probed = await remote.work(Probe(path=used, max_seconds=MAX_SOURCE_SECONDS))
    file_format = _readable_format(remote.context.model.limits, probed)
    is_linked = used == path and source.startswith("https:") and file_format is not None
    return PreparedSource(used, path, probed.seconds, file_format, source if is_linked else None)


async def _cut(remote: RemoteRun, source: Path) -> Path:
    """Cut out the part that is to be extended, once."""
    cut = remote.folder / "cut"
    if not await asyncio.to_thread(cut.exists):
        await remote.report("cutting the source")
        order = Crop(
            source=source,
            destination=cut,
            start_seconds=remote.job.request.source_start_seconds,
            end_seconds=remote.job.request.source_end_seconds,
            max_seconds=MAX_SOURCE_SECONDS,
        )
        await remote.work(order)
    return cut


async def settle_plan(remote: RemoteRun, source: PreparedSource) -> None:
    """Plan the steps, estimate their cost, and hold it against the limit.

    Raises:
        InvalidRequest: the source is too short for what is asked.
        OverBudget: it would cost too much.
        Unauthorized: there are no credentials, or none that the service accepts.
    """
    request, model = remote.job.request, remote.context.model
    steps = plan(
        model.limits,
        source.seconds,
        before_seconds=request.extend_before_duration,
        after_seconds=request.extend_after_duration,
    )
    price = await _price(remote)
    seconds = sum(step.context_seconds + step.seconds for step in steps)
    cost_usd = price.at_most_usd(seconds, len(steps))
    basis = (
        _cost_words(price, cost_usd, seconds, len(steps)),
        _plan_words(model.limits, steps, source.seconds),
    )
    await asyncio.to_thread(
        remote.context.shared.store.ledger.settle_plan,
        remote.job.lease,
        steps,
        source_seconds=source.seconds,
        estimated_cost_usd=cost_usd,
        basis=" ".join(filter(None, basis)),
        limit_usd=remote.job.limit_usd,
    )
    remote.run.job = dataclasses.replace(remote.job, steps=steps, source_seconds=source.seconds)


async def _price(remote: RemoteRun) -> Price:
    try:
        return await remote.context.prices.price(within_seconds=_PRICE_SECONDS)
    except Unauthorized:
        raise
    except OutpaintError as exc:
        await remote.report(str(exc).partition(". ")[0])
        return remote.context.model.list_price


def _cost_words(price: Price, cost_usd: float, seconds: float, outputs: int) -> str:
    how = f"{outputs} x ${price.usd:g}" if price.unit == "output" else f"{seconds:.0f} s x ${price.usd:g}"
    counted = (
        "" if price.unit == "output" else ", including the source's own seconds, which may not be billed"
    )
    most = "At most" if price.is_certain else "About"
    return f"{most} ${cost_usd:.4f}: {how} ({price.origin}{counted})."


def _plan_words(limits: Limits, steps: Sequence[Step], source_seconds: float) -> str:
    """Explain how the request is carried out, where that is not just one step."""
    reasons = []
    if len({step.side for step in steps}) > 1:
        reasons.append("one side at a time, since the model is unreliable with both at once")
    if any(step.context_seconds < source_seconds for step in steps):
        reasons.append(
            f"from the music nearest the edge, since the model handles {limits.canvas_seconds:.0f} s in all; the rest"
            " of the recording is joined on again"
        )
    if len(steps) > len({step.side for step in steps}):
        reasons.append("in stages, since no extension may be longer than what it is built on")
    if not reasons:
        return ""
    count = f"In {len(steps)} paid steps: " if len(steps) > 1 else "Generated "
    return f"{count}{'; '.join(reasons)}."


def _readable_format(limits: Limits, probed: Probed) -> FileFormat | None:
    """Return the format as which the model takes a file as it is."""
    found = limits.formats.get(probed.container)
    if found is None or probed.subtype not in found.subtypes or probed.channels > limits.most_channels:
        return None
    return found


def _copy(source: Path, part: Path, target: Path) -> None:
    """Copy the person's file; `part` is this claim's own, as the thread of an earlier one may still be copying."""
    if source.resolve() != source:
        raise SourceNotAllowed(
            "The source was moved behind a link after it was submitted.", hint=Hint.SUBMIT_AGAIN
        )
    try:
        shutil.copyfile(source, part)
        part.replace(target)
    except FileNotFoundError as exc:
        raise SourceUnreachable(f"{source.name} is gone; it was there when it was submitted.") from exc
    except OSError as exc:
        raise SourceError(
            f"{source.name} could not be copied into the data folder: {exc.strerror or exc}. Free some space or fix the"
            " permissions.",
            hint=Hint.SUBMIT_AGAIN,
        ) from exc

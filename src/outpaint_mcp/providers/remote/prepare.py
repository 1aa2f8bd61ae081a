"""Before anything is sent: the source is fetched and measured, the steps are planned, the cost is estimated."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
import shutil
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakValueDictionary

from outpaint_mcp.disk.opening import open_regular
from outpaint_mcp.errors import (
    Hint,
    OutpaintError,
    OverBudget,
    SourceError,
    SourceNotAllowed,
    SourceUnreachable,
    Unauthorized,
)
from outpaint_mcp.jobs.run import SOURCE_NAME, share
from outpaint_mcp.providers.remote.estimate import estimate
from outpaint_mcp.providers.remote.survey import find_music
from outpaint_mcp.providers.remote.target import Target, find_target
from outpaint_mcp.sources import fetch_patiently, stored_path
from outpaint_mcp.workers.looks import Probe
from outpaint_mcp.workers.orders import Crop
from outpaint_mcp.workers.probing import MAX_SOURCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.layout import Layout
    from outpaint_mcp.providers.remote.model import FileFormat, Limits, Price
    from outpaint_mcp.providers.remote.run import RemoteRun
    from outpaint_mcp.workers.looks import Probed

_CHUNK_BYTES = 1 << 20

PRICE_SECONDS = 2.5
"""How long the service may take to say what it costs."""

_copying: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()
"""By request, held while its source is copied."""


class PreparedSource(NamedTuple):
    """A source as it is about to be extended.

    Attributes:
        path: what is extended, the job's own: what becomes of the person's file meanwhile does not matter.
        used: what is to be longer: the same, or what it was cut out of.
        original: the same, or the recording that this was cut out of.
        target: how long it is, and what is to come before and after it.
        layout: what the original consists of, if it is an earlier result.
        format: how the model reads the file as it is; None where it has to be coded again.
        link: where the model can read the very same file.
    """

    path: Path
    used: Path
    original: Path
    target: Target
    layout: Layout | None
    format: FileFormat | None
    link: str | None

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.target.music_seconds


async def prepare_source(remote: RemoteRun) -> PreparedSource:
    """Bring the source into the job's own folder, see what it is, and find the music in it that is extended.

    However often a job is begun again, this is the same: what was found is in its folder.

    Raises:
        SourceError: it cannot be had, or cannot be decoded.
        InvalidRequest: it is as long as the whole is to be already.
    """
    source, path = remote.job.source, remote.folder / SOURCE_NAME
    if not await asyncio.to_thread(path.exists):
        if not source:
            raise SourceUnreachable("The audio that came with the request is gone.", hint=Hint.SUBMIT_AGAIN)
        if source.startswith("https:"):
            await remote.report("fetching the source")
            shared = remote.context.shared
            fetching = fetch_patiently(shared.fetch, source, path, sleep=shared.sleep)
            await remote.run.rename(await remote.unless_cancelled(fetching))
        else:
            await _bring(remote, stored_path(source), path)
    request, limits = remote.job.request, remote.context.model.limits
    start_seconds, end_seconds = request.source_start_seconds, request.source_end_seconds
    used = await _cut(remote, path, "cut", start_seconds, end_seconds) if request.is_cut else path
    lineage = remote.context.shared.store.lineage
    layout = await asyncio.to_thread(lineage.layout_of_source, remote.job.request_id)
    probed = await remote.work(Probe(path=used, max_seconds=MAX_SOURCE_SECONDS))
    music = await find_music(remote, path, layout)
    used_seconds = probed.seconds if music is None else music.frames / music.sample_rate
    target = find_target(limits, request, used_seconds, music)
    extended = used
    if music is not None and (target.cut_before_frames or target.cut_after_frames):
        start = target.cut_before_frames / music.sample_rate
        stop = (music.frames - target.cut_after_frames) / music.sample_rate
        extended = await _cut(remote, used, "music", start, stop)
        probed = await remote.work(Probe(path=extended, max_seconds=MAX_SOURCE_SECONDS))
    file_format = _readable_format(limits, probed)
    is_linked = extended == path and source.startswith("https:") and file_format is not None
    return PreparedSource(extended, used, path, target, layout, file_format, source if is_linked else None)


async def _bring(remote: RemoteRun, source: Path, path: Path) -> None:
    """Have a copy of the person's file; the takes of a request share one."""
    journal = remote.context.shared.store.journal
    family = (await asyncio.to_thread(journal.get, remote.job.request_id)).family
    takes = await asyncio.to_thread(journal.takes, family)
    part = path.with_name(f"{path.name}.{remote.job.lease.attempt}.part")
    # One by one, since they begin together.
    async with _copying.setdefault(remote.folder.with_name(family), asyncio.Lock()):
        for take in takes:
            if await asyncio.to_thread(share, remote.folder.with_name(take.request_id) / SOURCE_NAME, path):
                return
        await asyncio.to_thread(_copy, source, part, path)


async def _cut(remote: RemoteRun, source: Path, name: str, start_seconds: float, end_seconds: float) -> Path:
    """Cut a part out of a recording, once."""
    cut = remote.folder / name
    if not await asyncio.to_thread(cut.exists):
        await remote.report("cutting the source")
        order = Crop(
            source=source,
            destination=cut,
            start_seconds=start_seconds,
            end_seconds=end_seconds,
            max_seconds=MAX_SOURCE_SECONDS,
        )
        await remote.work(order)
    return cut


async def settle_plan(remote: RemoteRun, source: PreparedSource) -> None:
    """Plan the steps, estimate their cost, and hold it against the limit.

    Raises:
        InvalidRequest: the source is too short for what is asked.
        OverBudget: it would cost too much, or nobody knows what it costs.
        Unauthorized: there are no credentials, or none that the service accepts.
    """
    found = estimate(remote.context.model.limits, await _price(remote), source.target)
    await asyncio.to_thread(
        remote.context.shared.store.ledger.settle_plan,
        remote.job.lease,
        found.steps,
        source_seconds=source.seconds,
        basis=found.basis,
    )
    remote.is_priced = True
    remote.run.job = dataclasses.replace(remote.job, steps=found.steps, source_seconds=source.seconds)


async def _price(remote: RemoteRun) -> Price:
    try:
        return await remote.client.price(within_seconds=PRICE_SECONDS)
    except Unauthorized:
        raise
    except OutpaintError as exc:
        if remote.job.limit_usd is not None:  # others' word for the price is no ground to spend on
            raise OverBudget.without_price(remote.job.limit_usd, str(exc)) from exc
        await remote.report(str(exc).partition(". ")[0])
        return remote.context.model.list_price


def _readable_format(limits: Limits, probed: Probed) -> FileFormat | None:
    """Return the format as which the model takes a file as it is; None if it has to be coded again, or to be safe."""
    found = limits.formats.get(probed.container)
    if found is None or not probed.is_ordinary:
        return None
    return found if probed.subtype in found.subtypes and probed.channels <= limits.most_channels else None


def _copy(source: Path, part: Path, target: Path) -> None:
    """Copy the person's file; `part` is this claim's own, as the thread of an earlier one may still be copying."""
    try:
        with os.fdopen(open_regular(source, (source.parent,)), "rb") as reader, part.open("wb") as writer:
            shutil.copyfileobj(reader, writer, _CHUNK_BYTES)
        part.replace(target)
    except FileNotFoundError as exc:
        raise SourceUnreachable(f"{source.name} is gone; it was there when it was submitted.") from exc
    except OSError as exc:
        if exc.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise SourceNotAllowed(
                "The source was moved behind a link after it was submitted.", hint=Hint.SUBMIT_AGAIN
            ) from exc
        raise SourceError(
            f"{source.name} could not be copied into the data folder: {exc.strerror or exc}. Free some space or fix the"
            " permissions.",
            hint=Hint.SUBMIT_AGAIN,
        ) from exc

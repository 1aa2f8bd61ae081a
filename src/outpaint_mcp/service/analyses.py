"""Analyses as jobs: one for all who ask, which goes on when a call ends; stored, and deleted in time."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outpaint_mcp.disk.writing import remove
from outpaint_mcp.errors import ServerBusy, ServerStopping
from outpaint_mcp.models import Status
from outpaint_mcp.reports import analysis as reports
from outpaint_mcp.sources import InlineAudio, LocalFile, RemoteUrl
from outpaint_mcp.storage.records import RequestProgress
from outpaint_mcp.workers import outliving
from outpaint_mcp.workers.listening import identity_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from outpaint_mcp.audio.hearing.records import Analysis
    from outpaint_mcp.reports.models import AnalysisReport
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.service.origins import Origin
    from outpaint_mcp.service.poller import OnUpdate
    from outpaint_mcp.service.references import AnalyzedSource
    from outpaint_mcp.sources import Source
    from outpaint_mcp.workers.listening import SourceAnalyzer

STORED_ANALYSES = 1_000
STORED_ANALYSES_DAYS = 30
"""The most analyses, pictures and digests of files that are stored, and for how long after they were last asked for."""

_DAY_SECONDS = 86_400.0
_UPDATE_SECONDS = 1.0
# How long a call that does not wait does so until a worker has the analysis in hand.
_BEGIN_SECONDS, _LOOK_SECONDS = 1.5, 0.05
# A call that was cut off may have missed what went wrong; whoever asks again soon is told.
_FAILURE_SECONDS = 60.0
# Of a job whose steps are listening and drawing.
_LISTENING_SHARE = 0.6

_Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Analyzed:
    """A finished analysis.

    Attributes:
        origin: where it came from, for a result of ours.
        picture: as PNG; None where none was wanted.
    """

    analysis: Analysis
    origin: Origin
    picture: bytes | None


class _Job:
    """An analysis under way."""

    def __init__(self) -> None:
        self.task: asyncio.Task[Analyzed]
        self.ended_at: float | None = None
        self.folder: Path | None = None
        self.span = (0.0, 1.0)

    async def progress(self) -> RequestProgress:
        """Return how far it is, from what its worker wrote down, in whichever process that is."""
        written = None if self.folder is None else await asyncio.to_thread(outliving.progress_of, self.folder)
        share, step = written or (0.0, "reading" if self.folder is None else "starting")
        start, stop = self.span
        return RequestProgress(status=Status.IN_PROGRESS, progress=start + share * (stop - start), step=step)

    async def is_in_hand(self) -> bool:
        """Return whether a worker has it in hand."""
        return self.folder is not None and await asyncio.to_thread(outliving.is_at_work, self.folder)


class Analyses:
    """The analyses of one caller in this process."""

    def __init__(
        self,
        analyzer: SourceAnalyzer,
        find_origin: Callable[[str], Awaitable[Origin]],
        *,
        most: int | None = None,
    ) -> None:
        """Prepare.

        Args:
            analyzer: has sources analyzed.
            find_origin: finds out, by the SHA-256 of a file, of which request it is the result.
            most: how many may be under way at a time; None for any number.
        """
        self._most = most
        self._analyzer = analyzer
        self._find_origin = find_origin
        self._jobs: dict[_Key, _Job] = {}
        self._is_closed = False
        self._waits_no_longer = False

    def stop_waiting(self) -> None:
        """Let nobody wait any longer: whoever does gets how far the analysis is, within a second or two."""
        self._waits_no_longer = True

    async def follow(
        self, found: AnalyzedSource, *, picture: bool, wait_seconds: float, on_update: OnUpdate | None
    ) -> Analyzed | RequestProgress:
        """Wait for an analysis, which goes on when the wait is over or was cancelled.

        Args:
            found: what is to be analyzed.
            picture: whether to draw it, too.
            wait_seconds: how long to wait.
            on_update: receives the progress.

        Returns:
            How far it is, when the wait is over.

        Raises:
            InvalidRequest, SourceError: it cannot be analyzed.
            ServerStopping: this server is closed.
        """
        key = (*await asyncio.to_thread(_identity, found.source), found.title, found.origin, picture)
        job = self._job(key, found, picture=picture)
        deadline = time.monotonic() + wait_seconds
        while not (job.task.done() or self._waits_no_longer) and (left := deadline - time.monotonic()) > 0:
            await asyncio.wait({job.task}, timeout=min(left, _UPDATE_SECONDS))
            if on_update is not None and not job.task.done():
                await on_update(await job.progress())
        # A client may start a server for each call: what is in a worker's hands goes on without it.
        deadline = time.monotonic() + _BEGIN_SECONDS
        while not job.task.done() and time.monotonic() < deadline and not await job.is_in_hand():
            await asyncio.wait({job.task}, timeout=_LOOK_SECONDS)
        if not job.task.done():
            return await job.progress()
        if self._jobs.get(key) is job:
            del self._jobs[key]
        if job.task.cancelled():
            raise ServerStopping("This server is stopping, so the recording was not analyzed.")
        return job.task.result()

    @property
    def is_busy(self) -> bool:
        """Whether an analysis is under way, or one that failed may still be asked for."""
        return bool(self._jobs)

    async def close(self) -> None:
        """End what goes on in this process; workers are the pool's."""
        self._is_closed = True
        tasks = {job.task for job in self._jobs.values()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _job(self, key: _Key, found: AnalyzedSource, *, picture: bool) -> _Job:
        """Return the job for this, which is begun where there is none."""
        now = time.monotonic()
        for each, ended in [*self._jobs.items()]:
            if ended.ended_at is not None and now - ended.ended_at > _FAILURE_SECONDS:
                del self._jobs[each]
        job = self._jobs.get(key)
        if job is None:
            if self._is_closed:
                raise ServerStopping("This server is stopping, so the recording was not analyzed.")
            if (
                self._most is not None
                and sum(each.ended_at is None for each in self._jobs.values()) >= self._most
            ):
                raise ServerBusy(
                    f"{self._most} recordings are being analyzed for you. Wait until one of them is done."
                )
            job = self._jobs[key] = _Job()
            job.task = asyncio.create_task(self._analyze(job, found, picture=picture))
            job.task.add_done_callback(lambda task: self._ended(key, task))
        return job

    def _ended(self, key: _Key, task: asyncio.Task[Analyzed]) -> None:
        job = self._jobs.get(key)
        if job is None or job.task is not task:
            return
        if task.cancelled() or task.exception() is None:  # what succeeded is stored
            del self._jobs[key]
        else:
            job.ended_at = time.monotonic()

    async def _analyze(self, job: _Job, found: AnalyzedSource, *, picture: bool) -> Analyzed:
        def on_folder(folder: Path) -> None:
            job.folder = folder

        job.span = (0.0, 0.0)
        content = await self._analyzer.locate(found.source, on_folder=on_folder)
        origin = found.origin or await self._find_origin(content.digest)
        job.span = (0.0, _LISTENING_SHARE if picture else 1.0)
        analysis = await self._analyzer.analyze(
            content, song_spans_seconds=origin.song_spans_seconds, on_folder=on_folder
        )
        drawn = None
        if picture:
            job.span = (_LISTENING_SHARE, 1.0)
            drawn = await self._analyzer.draw(
                content,
                analysis,
                title=found.picture_title,
                seams_seconds=origin.seams_seconds,
                on_folder=on_folder,
            )
        return Analyzed(analysis, origin, drawn)


def reported(
    found: AnalyzedSource, done: Analyzed | RequestProgress, vocabulary: Vocabulary, *, details: bool
) -> tuple[AnalysisReport, bytes | None]:
    """Report on an analysis, or how far it is; also returns its picture.

    Args:
        found: what is analyzed.
        done: as `Analyses.follow` returned it.
        vocabulary: the words of the surface that asks.
        details: whether to report everything that was measured.
    """
    if isinstance(done, RequestProgress):
        return reports.not_finished(found.title, done, vocabulary), None
    report = reports.report(
        done.analysis,
        title=found.title,
        details=details,
        carry_on_from_seconds=done.origin.carry_on_from_seconds,
    )
    return report, done.picture


def tidy_analyses(folder: Path) -> None:
    """Delete what was not asked for in a long time, and the oldest of too many; blocks.

    Args:
        folder: where a caller's analyses are stored.
    """
    ages = sorted((_idle_seconds(each), each) for each in folder.glob("*-*"))
    for place, (age, analysis) in enumerate(ages):
        is_old = place >= STORED_ANALYSES or age > STORED_ANALYSES_DAYS * _DAY_SECONDS
        if is_old and not outliving.is_at_work(analysis):
            remove(analysis)


def _identity(source: Source) -> _Key:
    """Return what tells sources apart without reading them."""
    match source:
        case LocalFile(path=path):
            return identity_of(path)
        case RemoteUrl(url=url):
            return (url,)
        case InlineAudio(content=content):
            return (content,)


def _idle_seconds(folder: Path) -> float:
    """Return for how long nobody has asked for an analysis."""
    with suppress(OSError):
        return time.time() - folder.stat().st_mtime
    return 0.0

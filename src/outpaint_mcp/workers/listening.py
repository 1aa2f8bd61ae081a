"""Having a source analyzed and drawn, once for each content, whoever asks for it.

An analysis has a folder in the data folder, named after what is in the file. The worker leaves its answer there, and
goes on when its server is gone. So the next call finds the analysis, or how far it is, in whichever process that is.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

from outpaint_mcp.audio.hearing.records import ANALYSIS_VERSION
from outpaint_mcp.disk.opening import open_regular
from outpaint_mcp.errors import (
    GenerationFailed,
    OutpaintError,
    ServerStopping,
    SourceError,
    SourceUnreachable,
    StorageFailed,
    WorkerTimedOut,
)
from outpaint_mcp.sources import LocalFile
from outpaint_mcp.workers import outliving
from outpaint_mcp.workers.looks import Analyze, Digest, Draw
from outpaint_mcp.workers.probing import MAX_SOURCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from outpaint_mcp.audio.hearing.records import Analysis
    from outpaint_mcp.sources import Source
    from outpaint_mcp.workers.order import Order
    from outpaint_mcp.workers.pool import WorkerPool
    from outpaint_mcp.workers.source_copies import SourceCopies

# An hour takes a tenth of this.
_TIMEOUT_SECONDS = 180.0
_MAX_PICTURE_BYTES = 8 << 20
# How often to look at what another process works on.
_LOOK_SECONDS = 0.25


_AnswerT = TypeVar("_AnswerT")
_Identity = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a source.

    Attributes:
        path: a file that has it.
        digest: its SHA-256.
    """

    path: Path
    digest: str


class SourceAnalyzer:
    """Analyzes sources in worker processes.

    Args:
        pool: runs the workers.
        copies: holds what is no file yet.
        folder: where analyses are stored.
        timeout_seconds: how long fetching may take, and then the analysis; waiting for a slot does not count.
    """

    def __init__(
        self,
        pool: WorkerPool,
        copies: SourceCopies,
        folder: Path,
        *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._pool = pool
        self._folder = folder
        self._copies = copies
        self._timeout_seconds = timeout_seconds
        self._locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    async def locate(
        self, source: Source, *, on_folder: Callable[[Path], None] = lambda _folder: None
    ) -> Content:
        """Find out what is in a source; a link is fetched for that, and a file read once for as long as it is the same.

        Args:
            source: what is to be analyzed.
            on_folder: called with the folder that the progress is written to.

        Raises:
            SourceError: the source cannot be fetched or read.
            StorageFailed: there is no room for a copy.
        """
        try:
            async with asyncio.timeout(None if isinstance(source, LocalFile) else self._timeout_seconds):
                path = await self._copies.locate(source)
            identity = await asyncio.to_thread(identity_of, path)
        except TimeoutError as exc:  # of a link, since what came with the call is only written
            raise SourceUnreachable(
                f"The source could not be downloaded within {self._timeout_seconds:.0f} seconds: its host is too slow."
                " Try again later, or save the file and give its path."
            ) from exc
        except OSError as exc:
            raise _no_room(exc) from exc
        order = Digest(path=path, folder=self._folder / f"file-{_short_digest(identity)}")
        on_folder(order.folder)
        return Content(path, (await self._carry_out(order, order.folder)).sha256)

    async def analyze(
        self,
        content: Content,
        *,
        song_spans_seconds: tuple[tuple[float, float], ...] = (),
        on_folder: Callable[[Path], None] = lambda _folder: None,
    ) -> Analysis:
        """Analyze a content, or find its analysis.

        Args:
            content: as `locate` returned it.
            song_spans_seconds: where the person's own recording is in it; empty for all of it.
            on_folder: called with the folder that the progress is written to.

        Raises:
            SourceError: the source cannot be decoded, or takes too long.
            StorageFailed: the data folder cannot be written to.
            OutpaintError: as `WorkerPool.run` raises it.
        """
        name = f"{content.digest}-{ANALYSIS_VERSION}"
        if song_spans_seconds:
            name = f"{name}-{_short_digest(song_spans_seconds)}"
        order = Analyze(
            path=content.path,
            folder=self._folder / name,
            max_seconds=MAX_SOURCE_SECONDS,
            song_spans_seconds=song_spans_seconds,
        )
        on_folder(order.folder)
        return await self._carry_out(order, order.folder)

    async def draw(
        self,
        content: Content,
        analysis: Analysis,
        *,
        title: str,
        seams_seconds: tuple[float, ...],
        on_folder: Callable[[Path], None] = lambda _folder: None,
    ) -> bytes:
        """Draw a content that was analyzed, or find its picture; as PNG.

        Raises as `analyze` does.
        """
        name = (
            f"{content.digest}-{ANALYSIS_VERSION}-picture-{_short_digest((title, seams_seconds, analysis))}"
        )
        order = Draw(
            path=content.path,
            folder=self._folder / name,
            analysis=analysis,
            title=title,
            seams_seconds=seams_seconds,
        )
        on_folder(order.folder)
        drawn = await self._carry_out(order, order.folder)
        try:
            return await asyncio.to_thread(_read, drawn.path)
        except OSError:  # deleted meanwhile, or moved with the data folder
            await asyncio.to_thread(_forget, order.folder)
            drawn = await self._carry_out(order, order.folder)
            return await asyncio.to_thread(_read, drawn.path)

    async def _carry_out(self, order: Order[_AnswerT], folder: Path) -> _AnswerT:
        """Return what a worker answered to an order, here or elsewhere, now or before."""
        lock = self._locks.setdefault(folder, asyncio.Lock())
        async with lock:
            try:
                return await self._answer(order, folder)
            except (TimeoutError, WorkerTimedOut) as exc:
                await asyncio.to_thread(_forget, folder)
                raise self._too_slow() from exc
            except ServerStopping:  # the worker goes on, and leaves its answer
                raise
            except OutpaintError:
                await asyncio.to_thread(_forget, folder)  # whoever asks again gets another try
                raise
            except OSError as exc:
                raise _no_room(exc) from exc

    async def _answer(self, order: Order[_AnswerT], folder: Path) -> _AnswerT:
        while True:
            if (found := await asyncio.to_thread(_stored_answer, folder, type(order))) is not None:
                return found
            if await asyncio.to_thread(outliving.is_at_work, folder):
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            try:
                return await self._pool.run(order, timeout_seconds=self._timeout_seconds)
            except GenerationFailed:
                # Another process was faster: what it has is taken, or it is followed.
                if (found := await asyncio.to_thread(_stored_answer, folder, type(order))) is not None:
                    return found
                if not await asyncio.to_thread(outliving.is_at_work, folder):
                    raise

    def _too_slow(self) -> SourceError:
        return SourceError(
            f"The source could not be analyzed within {self._timeout_seconds:.0f} seconds. Copy it to a disk of this"
            " machine, or give a shorter one."
        )


def identity_of(path: Path) -> _Identity:
    """Return what changes when a file does, without reading it; of one that is not there, its path."""
    try:
        found = path.stat()
    except OSError:  # whoever reads it says what is wrong
        return (path,)
    return path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _stored_answer(folder: Path, order_type: type[Order[_AnswerT]]) -> _AnswerT | None:
    """Return what a worker left in a folder, which counts as used from now on; raises what it failed with."""
    if not (folder / outliving.ANSWER_NAME).exists():
        return None
    with suppress(OSError):
        os.utime(folder)
    return outliving.answer_of(folder, order_type)


def _forget(folder: Path) -> None:
    with suppress(OSError):
        (folder / outliving.ANSWER_NAME).unlink(missing_ok=True)


def _short_digest(value: Any) -> str:  # noqa: ANN401 - whatever has a lasting `repr`
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def _read(picture: Path) -> bytes:
    """Read a worker's picture, if it is a file of a picture's size."""
    folder = picture.parent.resolve()
    with os.fdopen(open_regular(folder / picture.name, (folder,)), "rb") as file:
        return file.read(_MAX_PICTURE_BYTES)


def _no_room(exc: OSError) -> StorageFailed:
    return StorageFailed(
        f"Nothing can be written to the data folder: {exc.strerror or exc}. Make room, then try again."
    )

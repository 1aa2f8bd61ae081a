"""What a result looks and sounds like, for a page that shows it: a waveform, and pieces of sound."""

from __future__ import annotations

import asyncio
import base64
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from outpaint_mcp.disk.opening import open_regular
from outpaint_mcp.disk.writing import remove
from outpaint_mcp.errors import DeliveryFailed, Hint, InvalidRequest, ServerStopping
from outpaint_mcp.models import Status
from outpaint_mcp.reports.previews import (
    MAX_PIECE_SECONDS,
    PREVIEW_RATE_HZ,
    PageSection,
    PageTake,
    PeaksReport,
    PreviewPiece,
    parts_between,
)
from outpaint_mcp.service.origins import origin_of
from outpaint_mcp.service.references import AnalyzedSource
from outpaint_mcp.service.takes import as_one
from outpaint_mcp.sources import LocalFile
from outpaint_mcp.storage.failures import storage_errors
from outpaint_mcp.storage.records import RequestProgress
from outpaint_mcp.workers.looks import ReadWaveform
from outpaint_mcp.workers.orders import WritePreview

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence

    from outpaint_mcp.principals import Principal
    from outpaint_mcp.service.exporter import Exporter
    from outpaint_mcp.service.poller import StatusPoller
    from outpaint_mcp.service.rooms import Rooms
    from outpaint_mcp.storage.journal import Journal
    from outpaint_mcp.storage.records import RequestRecord
    from outpaint_mcp.workers.pool import WorkerPool

STORED_DAYS = 7
"""How long a piece is stored after it was last written."""

STORED_BYTES = 256 << 20
"""How much is stored of all results together; of more, the oldest go."""

_COLUMNS = 1_500
_WORK_SECONDS = 120.0
# Hosts give up on what takes a minute.
_WAIT_SECONDS = 45.0
_SECTIONS_SECONDS = 3.0
_TIDY_AFTER_BYTES = 32 << 20
_MAX_PIECE_BYTES = 1 << 20
_DAY_SECONDS = 86_400.0
_SCRATCH = "new-"

_T = TypeVar("_T")


class Previews:
    """Waveforms and pieces of results; each is worked out once, and stored for a while."""

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        folder: Path,
        journal: Journal,
        pool: WorkerPool,
        poller: StatusPoller,
        exporter: Exporter,
        rooms: Rooms,
    ) -> None:
        """Prepare; no folder is created yet.

        Args:
            folder: where they are stored, in a folder for each take.
            journal: every request there ever was.
            pool: runs the workers.
            poller: knows where requests are.
            exporter: knows where their files are.
            rooms: where their analyses are.
        """
        self._folder = folder
        self._journal = journal
        self._pool = pool
        self._poller = poller
        self._exporter = exporter
        self._rooms = rooms
        self._under_way: dict[tuple[object, ...], asyncio.Task[Any]] = {}
        self._untidied_bytes = 0

    async def close(self) -> None:
        """End what goes on; whoever waits gets `ServerStopping`."""
        tasks = [*self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def piece(
        self, principal: Principal, request_id: str, *, start_seconds: int, seconds: int
    ) -> PreviewPiece:
        """Return a piece of a result, as sound.

        Args:
            principal: who asks.
            request_id: of a take; of several, it is the first that is completed.
            start_seconds: where the piece begins.
            seconds: how long it is, 30 at most; less where the result ends.

        Raises:
            RequestNotFound: they have no such request.
            InvalidRequest: there is no such piece, or no result yet.
            DeliveryFailed: the result is not stored any more.
        """
        take, _ = await self._completed(principal, request_id)
        duration = take.outcome.duration_seconds if take.outcome else 0.0
        if not 0 <= start_seconds < duration or not 1 <= seconds <= MAX_PIECE_SECONDS:
            raise InvalidRequest(
                f"A preview begins at a whole second before the end, {duration:.2f} s, and lasts 1 to"
                f" {MAX_PIECE_SECONDS} whole seconds."
            )
        place = self._folder / take.request_id / f"{start_seconds}-{seconds}.json"
        stored = await asyncio.to_thread(_read, place, _MAX_PIECE_BYTES)
        if stored is not None:
            return PreviewPiece.model_validate_json(stored)

        async def write() -> PreviewPiece:
            recording = await self._file_of(principal, take)
            return await self._write(take, recording, place, start_seconds, seconds)

        return await self._shared((principal, place), write)

    async def peaks(self, principal: Principal, request_id: str) -> PeaksReport:
        """Return a result at a glance; raises as `piece` does."""
        take, takes = await self._completed(principal, request_id)
        path = await self._file_of(principal, take)
        origin = await asyncio.to_thread(origin_of, self._journal, take)
        peaks = await self._waveform(principal, take, path)
        found = AnalyzedSource(LocalFile(path), take.title, path.name, origin)
        done = await self._rooms.of(principal).analyses.follow(
            found, picture=False, wait_seconds=_SECTIONS_SECONDS, on_update=None
        )
        seconds = take.outcome.duration_seconds if take.outcome else 0.0
        parts = parts_between(origin.seams_seconds, origin.song_spans_seconds, seconds)
        verdict = take.outcome.verdict if take.outcome else None
        return PeaksReport(
            request_id=take.request_id,
            title=take.title,
            duration_seconds=seconds,
            loudness_lufs=verdict.lufs if verdict else None,
            peaks=peaks,
            parts=parts,
            seams_seconds=[part.start_seconds for part in parts[1:]],
            sections=None
            if isinstance(done, RequestProgress)
            else [
                PageSection(
                    label=each.letter,
                    level=each.level,
                    start_seconds=each.start_seconds,
                    end_seconds=each.end_seconds,
                )
                for each in done.analysis.sections
            ],
            takes=[PageTake(request_id=each.request_id, status=each.status) for each in takes],
        )

    async def is_delivered(self, principal: Principal, request_id: str) -> bool:
        """Whether the extended file was delivered, of every take that is completed.

        Raises:
            RequestNotFound: they have no such request.
        """
        takes = await self._poller.takes(principal, request_id)
        return all(take.deliveries for take in takes if take.status is Status.COMPLETED)

    def forget(self, request_id: str) -> None:
        """Delete what is stored of a take; blocks."""
        remove(self._folder / request_id)

    def tidy(self) -> None:
        """Delete what was written long ago, what killed servers left behind, and the oldest of too much; blocks."""
        files = sorted(_ages(self._folder.glob("*/*")))
        total = 0
        for age, size, path in files:
            total += size
            if total > STORED_BYTES or age > STORED_DAYS * _DAY_SECONDS:
                path.unlink(missing_ok=True)
        for folder in self._folder.glob("*"):
            with suppress(OSError):  # something is in it
                if (
                    not folder.name.startswith(_SCRATCH)
                    or time.time() - folder.stat().st_mtime > _DAY_SECONDS
                ):
                    folder.rmdir()

    async def _completed(
        self, principal: Principal, request_id: str
    ) -> tuple[RequestRecord, Sequence[RequestRecord]]:
        takes = await self._poller.takes(principal, request_id)
        take = next((each for each in takes if each.status is Status.COMPLETED), None)
        if take is None:
            status = as_one(takes).status
            raise InvalidRequest(
                f"Request {request_id} is {status}, so there is nothing to see or hear"
                f"{'.' if status.is_final else ' yet.'}",
                hint=None if status.is_final else Hint.AWAIT_RESULT,
                request_id=request_id,
            )
        return take, takes

    async def _file_of(self, principal: Principal, take: RequestRecord) -> Path:
        try:
            return (await self._exporter.stored(take)).path
        except DeliveryFailed:
            found = await self._rooms.of(principal).references.resolve_for_analysis(take.request_id)
            if isinstance(found.source, LocalFile):
                return found.source.path
            raise

    async def _waveform(self, principal: Principal, take: RequestRecord, path: Path) -> str:
        place = self._folder / take.request_id / f"peaks-{_COLUMNS}"
        stored = await asyncio.to_thread(_read, place, _MAX_PIECE_BYTES)
        if stored is not None:
            return stored.decode()

        async def read() -> str:
            order = ReadWaveform(path=path, columns=_COLUMNS)
            pairs = (await self._pool.run(order, timeout_seconds=_WORK_SECONDS)).pairs
            await self._store(place, pairs.encode())
            return pairs

        return await self._shared((principal, place), read)

    async def _write(
        self, take: RequestRecord, recording: Path, place: Path, start_seconds: int, seconds: int
    ) -> PreviewPiece:
        scratch = await asyncio.to_thread(self._new_folder)
        try:
            order = WritePreview(
                recording=recording, folder=scratch, start_seconds=start_seconds, seconds=seconds
            )
            written = await self._pool.run(order, timeout_seconds=_WORK_SECONDS)
            content = await asyncio.to_thread(_read, written.path, _MAX_PIECE_BYTES)
        finally:
            await asyncio.to_thread(remove, scratch)
        piece = PreviewPiece(
            request_id=take.request_id,
            start_frame=start_seconds * PREVIEW_RATE_HZ,
            frames=written.frames,
            audio=base64.b64encode(content or b"").decode(),
        )
        await self._store(place, piece.model_dump_json().encode())
        return piece

    async def _store(self, place: Path, content: bytes) -> None:
        def write() -> None:
            with storage_errors(self._folder.parent):
                place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                part = place.with_name(f".{place.name}.{os.getpid()}")
                part.write_bytes(content)
                part.replace(place)

        await asyncio.to_thread(write)
        self._untidied_bytes += len(content)
        if self._untidied_bytes > _TIDY_AFTER_BYTES:
            self._untidied_bytes = 0
            await asyncio.to_thread(self.tidy)

    def _new_folder(self) -> Path:
        with storage_errors(self._folder.parent):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            return Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=self._folder))

    async def _shared(self, key: tuple[object, ...], work: Callable[[], Coroutine[object, object, _T]]) -> _T:
        """Do something once for all who wait for it, and go on with it when they do not any more."""
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(work())
            task.add_done_callback(lambda task: self._ended(key, task))
        await asyncio.wait({task}, timeout=_WAIT_SECONDS)
        if not task.done():
            raise InvalidRequest("That is still being worked out. Read it again.")
        if task.cancelled():
            raise ServerStopping("This server is stopping.")
        done: _T = task.result()
        return done

    def _ended(self, key: tuple[object, ...], task: asyncio.Task[Any]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # whoever waited may have left


def _read(path: Path, most_bytes: int) -> bytes | None:
    """Read a file of ours, through no link; None where there is none."""
    folder = path.parent.resolve()
    try:
        with os.fdopen(open_regular(folder / path.name, (folder,)), "rb") as file:
            return file.read(most_bytes)
    except OSError:
        return None


def _ages(files: Iterable[Path]) -> Iterator[tuple[float, int, Path]]:
    """Yield how old each file is in seconds, and its size."""
    for path in files:
        with suppress(OSError):  # deleted meanwhile
            found = path.stat()
            yield time.time() - found.st_mtime, found.st_size, path

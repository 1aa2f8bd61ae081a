"""What a result looks and sounds like, for a page that shows it: a waveform, and pieces of sound."""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from outpaint_mcp.audio.preview_format import PREVIEW_RATE_HZ
from outpaint_mcp.disk.writing import remove
from outpaint_mcp.errors import DeliveryFailed, Hint, InvalidRequest, ServerBusy, ServerStopping
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.models import Status
from outpaint_mcp.reports.previews import (
    MAX_PIECE_SECONDS,
    PageSection,
    PageTake,
    PeaksReport,
    PreviewPiece,
    parts_between,
)
from outpaint_mcp.service.origins import origin_of
from outpaint_mcp.service.preview_files import FOLDER, PreviewFiles, read
from outpaint_mcp.service.references import AnalyzedSource
from outpaint_mcp.service.takes import as_one
from outpaint_mcp.sources import LocalFile
from outpaint_mcp.storage.records import RequestProgress
from outpaint_mcp.workers.looks import ReadWaveform
from outpaint_mcp.workers.orders import WritePreview

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.service.exporter import Exporter
    from outpaint_mcp.service.poller import StatusPoller
    from outpaint_mcp.service.rooms import Rooms
    from outpaint_mcp.storage.journal import Journal
    from outpaint_mcp.storage.records import RequestRecord
    from outpaint_mcp.workers.pool import WorkerPool

_WHOLE = ExportOptions()
_COLUMNS = 1_500
_WORK_SECONDS = 120.0
# Hosts give up on what takes a minute.
_WAIT_SECONDS = 45.0
_SECTIONS_SECONDS = 3.0

# Of one caller's, at the same time; a player asks for the next one while it plays.
_MOST_WAITING = 8

_T = TypeVar("_T")
_Key = tuple[str, str, str]
"""The owner, the take, and what of it."""


class Previews:
    """Waveforms and pieces of results; each is worked out once, and stored for a while."""

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        settings: Settings,
        journal: Journal,
        pool: WorkerPool,
        poller: StatusPoller,
        exporter: Exporter,
        rooms: Rooms,
    ) -> None:
        """Prepare.

        Args:
            settings: where they are stored.
            journal: every request there ever was.
            pool: runs the workers.
            poller: knows where requests are.
            exporter: knows where their files are.
            rooms: where their analyses are.
        """
        self._files = PreviewFiles(settings.data_dir / FOLDER)
        self._journal = journal
        self._pool = pool
        self._poller = poller
        self._exporter = exporter
        self._rooms = rooms
        self._under_way: dict[_Key, asyncio.Task[Any]] = {}
        # Whoever turns the pages of a player must not hold up the jobs of everybody.
        self._turn = asyncio.Semaphore(1)

    def stop_waiting(self) -> None:
        """Answer all who wait, as the server is about to leave; what they wait for is worked out again elsewhere."""
        for task in self._under_way.values():
            task.cancel()

    async def close(self) -> None:
        """End what goes on; whoever waits gets `ServerStopping`."""
        self.stop_waiting()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)

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
            ServerBusy: they wait for too many already.
            DeliveryFailed: the result is not stored any more.
        """
        take, _ = await self._completed(principal, request_id)
        duration = take.outcome.duration_seconds if take.outcome else 0.0
        if not 0 <= start_seconds < duration or not 1 <= seconds <= MAX_PIECE_SECONDS:
            raise InvalidRequest(
                f"A preview begins at a whole second before the end, {duration:.2f} s, and lasts 1 to"
                f" {MAX_PIECE_SECONDS} whole seconds."
            )
        name = f"{start_seconds}-{seconds}.json"
        stored = await asyncio.to_thread(self._files.get, take.request_id, name)
        if stored is not None:
            return PreviewPiece.model_validate_json(stored)

        async def write() -> PreviewPiece:
            recording = await self._file_of(principal, take)
            piece = await self._write(take, recording, start_seconds, seconds)
            content = piece.model_dump_json().encode()
            await asyncio.to_thread(self._files.put, take.request_id, name, content)
            return piece

        return await self._shared((take.caller, take.request_id, name), write)

    async def peaks(self, principal: Principal, request_id: str) -> PeaksReport:
        """Return a result at a glance; raises as `piece` does."""
        take, takes = await self._completed(principal, request_id)
        path = await self._file_of(principal, take)
        origin = await asyncio.to_thread(origin_of, self._journal, take)
        peaks = await self._waveform(take, path)
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
        """Whether the extended file was delivered as it is usually asked for, of every take that is completed.

        Raises:
            RequestNotFound: they have no such request.
        """
        takes = await self._poller.takes(principal, request_id)
        return all(str(_WHOLE) in take.deliveries for take in takes if take.status is Status.COMPLETED)

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
        with suppress(DeliveryFailed):
            return (await self._exporter.stored(take)).path
        with suppress(DeliveryFailed):
            found = await self._rooms.of(principal).references.resolve_for_analysis(take.request_id)
            if isinstance(found.source, LocalFile):
                return found.source.path
        raise DeliveryFailed(
            "The extended file is no longer where it was delivered, and is stored nowhere else.",
            request_id=take.request_id,
        )

    async def _waveform(self, take: RequestRecord, path: Path) -> str:
        name = f"peaks-{_COLUMNS}"
        stored = await asyncio.to_thread(self._files.get, take.request_id, name)
        if stored is not None:
            return stored.decode()

        async def read_pairs() -> str:
            order = ReadWaveform(path=path, columns=_COLUMNS)
            async with self._turn:
                pairs = (await self._pool.run(order, timeout_seconds=_WORK_SECONDS)).pairs
            await asyncio.to_thread(self._files.put, take.request_id, name, pairs.encode())
            return pairs

        return await self._shared((take.caller, take.request_id, name), read_pairs)

    async def _write(
        self, take: RequestRecord, recording: Path, start_seconds: int, seconds: int
    ) -> PreviewPiece:
        scratch = await asyncio.to_thread(self._files.new_folder)
        try:
            order = WritePreview(
                recording=recording, folder=scratch, start_seconds=start_seconds, seconds=seconds
            )
            async with self._turn:
                written = await self._pool.run(order, timeout_seconds=_WORK_SECONDS)
            content = await asyncio.to_thread(read, written.path)
        finally:
            await asyncio.to_thread(remove, scratch)
        return PreviewPiece(
            request_id=take.request_id,
            start_frame=start_seconds * PREVIEW_RATE_HZ,
            frames=written.frames,
            audio=base64.b64encode(content or b"").decode(),
        )

    async def _shared(self, key: _Key, work: Callable[[], Coroutine[object, object, _T]]) -> _T:
        """Do something once for all who wait for it, and go on with it when they do not any more."""
        task = self._under_way.get(key)
        if task is None:
            if sum(owner == key[0] for owner, *_ in self._under_way) >= _MOST_WAITING:
                raise ServerBusy(
                    f"{_MOST_WAITING} previews are being worked out. Wait for one, then read this again."
                )
            task = self._under_way[key] = asyncio.create_task(work())
            task.add_done_callback(lambda task: self._ended(key, task))
        await asyncio.wait({task}, timeout=_WAIT_SECONDS)
        if not task.done():
            raise InvalidRequest("That is still being worked out. Read it again.")
        if task.cancelled():
            raise ServerStopping("This server is stopping.")
        done: _T = task.result()
        return done

    def _ended(self, key: _Key, task: asyncio.Task[Any]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # whoever waited may have left

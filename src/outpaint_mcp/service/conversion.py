"""Having a worker write a finished file in another form, in a folder that is there for as long as that takes."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.disk.writing import remove
from outpaint_mcp.errors import GenerationFailed, SourceError
from outpaint_mcp.service.delivery_failures import no_longer_stored, not_converted
from outpaint_mcp.storage.failures import storage_errors
from outpaint_mcp.workers.orders import Convert

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from outpaint_mcp.export_options import ExportOptions
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.service.file_threads import FileThreads
    from outpaint_mcp.storage.records import RequestRecord
    from outpaint_mcp.workers.pool import WorkerPool

STORED_DAYS = 7
"""How long after the last delivery other formats of a result can be made."""

# Encoding four minutes as MP3 takes twenty seconds; a worker that needs this long hangs.
_MAX_SECONDS = 900.0
_STALE_SECONDS = 86_400.0


class Converter:
    """Writes other forms of finished files.

    Args:
        folder: where they are written before they are delivered.
        pool: runs the conversions.
        threads: does what may block.
    """

    def __init__(self, folder: Path, pool: WorkerPool, threads: FileThreads) -> None:
        self._folder = folder
        self._pool = pool
        self._threads = threads

    @asynccontextmanager
    async def converted(
        self,
        record: RequestRecord,
        options: ExportOptions,
        outcome: Outcome,
        on_progress: Callable[[float], None],
    ) -> AsyncIterator[Outcome]:
        """Write a form that was asked for; its file is there for as long as the block lasts.

        Raises:
            DeliveryFailed: it cannot be written, or the original was tidied away.
            StorageFailed: the data folder cannot be written to.
        """
        folder = await self._threads.run(self._new_folder)
        try:
            yield await self._convert(record, options, outcome, folder, on_progress)
        finally:
            await self._threads.run(remove, folder)

    async def _convert(
        self,
        record: RequestRecord,
        options: ExportOptions,
        outcome: Outcome,
        folder: Path,
        on_progress: Callable[[float], None],
    ) -> Outcome:
        order = Convert(
            longer=outcome.path,
            folder=folder,
            part=options.part,
            format=options.format,
            bitrate_kbps=options.bitrate_kbps,
            preserved=outcome.preserved,
            before_seconds=outcome.before_seconds,
            after_seconds=outcome.after_seconds,
        )
        try:
            converted = await self._pool.run(
                order, on_progress=lambda share, _step: on_progress(share), timeout_seconds=_MAX_SECONDS
            )
        except GenerationFailed as exc:
            raise not_converted(record.request_id, exc) from exc
        except SourceError as exc:  # it was tidied away meanwhile
            raise no_longer_stored(record, STORED_DAYS) from exc
        return dataclasses.replace(
            outcome,
            path=converted.path,
            sha256=converted.sha256,
            size_bytes=converted.size_bytes,
            duration_seconds=converted.duration_seconds,
            before_seconds=converted.before_seconds,
            after_seconds=converted.after_seconds,
            note=f"{outcome.note} {converted.note}".strip(),
            url=None,
            as_made=None,
        )

    def tidy(self) -> None:
        """Remove what was being converted when a server was killed; blocks."""
        for folder in self._folder.glob("*"):
            with suppress(OSError):  # another server may remove it at this moment
                if time.time() - folder.stat().st_mtime > _STALE_SECONDS:
                    remove(folder)

    def _new_folder(self) -> Path:
        with storage_errors(self._folder.parent):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            return Path(tempfile.mkdtemp(dir=self._folder))

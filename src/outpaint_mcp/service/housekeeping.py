"""Deleting what jobs and deliveries have left behind and nobody will need again."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from outpaint_mcp.disk.writing import remove
from outpaint_mcp.errors import OutpaintError, OverBudget, RequestNotFound, ServerStopping, StorageFailed
from outpaint_mcp.jobs.run import SOURCE_NAME, clear
from outpaint_mcp.models import Status
from outpaint_mcp.service.analyses import tidy_analyses
from outpaint_mcp.service.conversion import STORED_DAYS
from outpaint_mcp.service.preview_files import FOLDER, PreviewFiles
from outpaint_mcp.storage.erasure import StillNeeded
from outpaint_mcp.storage.journal import UNFETCHED_DAYS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.service.caller_files import CallerFiles
    from outpaint_mcp.service.exporter import Exporter
    from outpaint_mcp.service.output_folder import OutputFolder
    from outpaint_mcp.storage.records import RequestRecord
    from outpaint_mcp.storage.store import Store

_DAY_SECONDS = 86_400.0

# A submission writes its audio before its request.
_ORPHAN_SECONDS = 3_600.0

# What hangs with its disk is left behind.
_STOP_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Housekeeper:
    """Deletes files that belong to requests that are over, or that nobody will need again.

    Attributes:
        vitals: whether work can be done, and figures of what was.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        exporter: Exporter,
        output_folder: OutputFolder,
        files: CallerFiles,
    ) -> None:
        """Prepare; nothing is deleted yet.

        Args:
            store: every request there ever was.
            settings: where everybody's files are.
            exporter: converts files.
            output_folder: receives them.
            files: what callers have sent and been given.
        """
        self.vitals = store.vitals
        self._store = store
        self._settings = settings
        self._jobs_folder = settings.data_dir / "jobs"
        self._exporter = exporter
        self._output_folder = output_folder
        self._files = files

    async def keep_tidy(self, sleep: Callable[[float], Awaitable[None]], seconds: float) -> None:
        """Tidy up now, and again every so many seconds: a server may run for weeks."""
        while True:
            await self.tidy()
            await sleep(seconds)

    async def tidy(self) -> None:
        """Tidy up once; when cancelled, it ends with the folder that it is at."""
        stopping = threading.Event()
        tidying = asyncio.ensure_future(asyncio.to_thread(self._tidy, stopping))
        try:
            await asyncio.shield(tidying)
        finally:
            stopping.set()
            await asyncio.wait({tidying}, timeout=_STOP_SECONDS)

    def _tidy(self, stopping: threading.Event) -> None:
        # The person's folder comes last: its drive is the one most likely to hang.
        jobs, callers = (partial(each, stopping) for each in (self._tidy_jobs, self._tidy_callers))
        previews = PreviewFiles(self._settings.data_dir / FOLDER).tidy
        mine = (jobs, self._tidy_analyses, previews, callers)
        for tidy in (*mine, self._exporter.tidy, self._output_folder.tidy):
            if stopping.is_set():
                return
            try:
                tidy()
            except ServerStopping:
                return
            except (OutpaintError, OSError) as exc:  # what is in the way of one is in no other's
                _log.warning("Old files cannot be deleted for now: %s", exc)
            except Exception:  # noqa: BLE001 - tidying goes on, whatever it meets
                _log.exception("Old files cannot be deleted for now")

    def _tidy_jobs(self, stopping: threading.Event) -> None:
        """Delete what nobody needs of jobs whose requests are over, and the links to what a provider stores."""
        for folder in self._jobs_folder.glob("*"):
            if stopping.is_set():
                return
            try:
                record = self._store.journal.get(folder.name)
            except RequestNotFound:
                _delete_orphan(folder)
                continue
            except StorageFailed:  # damaged, or another version's: it stays as it is
                continue
            if self._is_of_no_use(record):
                # First: without the folder nobody would come here again.
                self._store.queue.forget_links(folder.name)
                remove(folder)
            elif (
                record.status is Status.COMPLETED and record.outcome
            ):  # by a server that was killed before it did this
                clear(folder, record.outcome.file_names)

    def _tidy_callers(self, stopping: threading.Event) -> None:
        """Delete what remote callers have sent, and their requests, once these were stored for long enough."""
        journal, seconds = self._store.journal, self._settings.retention_days * _DAY_SECONDS
        self._files.uploads.tidy(seconds, self._store.erasure.sources_in_use())
        for family in self._store.erasure.families_of_remote(older_than_seconds=seconds):
            if stopping.is_set():
                return
            with suppress(RequestNotFound, StorageFailed, StillNeeded):
                takes = journal.takes(family)
                limits = {"delivered_seconds": seconds, "unfetched_seconds": seconds}
                if all(journal.is_stale(take, **limits) for take in takes):
                    self._files.eraser.erase(takes)

    def _tidy_analyses(self) -> None:
        for folder in self._settings.analyses_folders():
            tidy_analyses(folder)

    def _is_of_no_use(self, record: RequestRecord) -> bool:
        has_paid_parts = record.error_kind == OverBudget.__name__ and record.is_accepted
        if record.status.is_final and record.status is not Status.COMPLETED and not has_paid_parts:
            return True
        return self._store.journal.is_stale(
            record,
            delivered_seconds=STORED_DAYS * _DAY_SECONDS,
            unfetched_seconds=UNFETCHED_DAYS * _DAY_SECONDS,
        )


def _delete_orphan(folder: Path) -> None:
    """Delete audio whose request was never written.

    Anything else without a request may be all that is left of a journal that was lost: it stays.
    """
    with suppress(OSError):
        is_old = time.time() - folder.stat().st_mtime > _ORPHAN_SECONDS
        if is_old and all(each.name == SOURCE_NAME for each in folder.iterdir()):
            remove(folder)

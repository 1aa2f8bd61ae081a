"""The editions of a result: the file as it was made, or a part of it, or in another format."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.errors import DeliveryFailed, InvalidRequest, OutpaintError, RequestNotFound, WorkerDied
from outpaint_mcp.models import Status
from outpaint_mcp.providers.base import ProviderStatus
from outpaint_mcp.storage.database import told
from outpaint_mcp.workers.process import call_worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.providers.base import Provider
    from outpaint_mcp.results import ExportOptions, Outcome
    from outpaint_mcp.service.output_folder import OutputFolder
    from outpaint_mcp.service.poller import OnUpdate
    from outpaint_mcp.storage.records import Delivery, RequestRecord

KEPT_DAYS = 7
"""How long other editions can still be made after the last delivery."""

# Coding four minutes as MP3 takes twenty seconds; a worker that needs so much longer hangs.
_MOST_SECONDS = 900.0
_NEWS_SECONDS = 1.0
_OLD_SECONDS = 86_400.0

Delivered = Mapping[str, "Delivery | OutpaintError | None"]
"""By the id of each take: its file, why there is none, or None while it is being written."""


class Exporter:
    """Makes an edition of a completed request once, puts it into the output folder, and finds it there ever after."""

    def __init__(self, results: OutputFolder, providers: Mapping[str, Provider], folder: Path) -> None:
        """Open it.

        Args:
            results: puts files into their places.
            providers: by name; they keep what they made.
            folder: where exporter are written before they are put there.
        """
        self._results = results
        self._providers = providers
        self._folder = folder
        self._making: dict[tuple[str, ExportOptions], asyncio.Task[Delivery]] = {}
        self._shares: dict[str, float] = {}
        self._workers = asyncio.Semaphore(os.cpu_count() or 1)

    async def deliver(
        self,
        takes: Sequence[RequestRecord],
        options: ExportOptions,
        *,
        target: Path | None = None,
        wait_seconds: float,
        on_update: OnUpdate | None = None,
    ) -> Delivered:
        """Deliver an edition of completed takes.

        It goes on when the wait is over, and is shared by all who ask for it; what went wrong is told once to
        whoever asks next.

        Raises:
            InvalidRequest: nothing was added on that side.
        """
        side = options.part
        if side != "whole" and not getattr(takes[0], f"extend_{side}_duration"):
            raise InvalidRequest(f"Nothing was added {side} the source; ask for part=whole.")
        tasks = {take.request_id: self._task(take, options, target) for take in takes}
        until = time.monotonic() + wait_seconds
        while (left := until - time.monotonic()) > 0:
            _, pending = await asyncio.wait(tasks.values(), timeout=min(left, _NEWS_SECONDS))
            if not pending:
                break
            if on_update is not None:
                shares = [self._shares.get(each, 0.0) for each in tasks]
                share = sum(shares) / len(shares)
                await on_update(
                    ProviderStatus(status=Status.COMPLETED, progress=share, step=f"writing {options}")
                )
        return {request_id: self._read(request_id, options, task) for request_id, task in tasks.items()}

    def _task(
        self, record: RequestRecord, options: ExportOptions, target: Path | None
    ) -> asyncio.Task[Delivery]:
        key = (record.request_id, options)
        if key not in self._making:
            self._making[key] = asyncio.create_task(self._deliver(record, options, target))
        return self._making[key]

    def _read(
        self, request_id: str, options: ExportOptions, task: asyncio.Task[Delivery]
    ) -> Delivery | OutpaintError | None:
        if not task.done():
            return None
        self._making.pop((request_id, options), None)
        failure = task.exception()
        if failure is not None and not isinstance(failure, OutpaintError):
            raise failure
        return failure or task.result()

    async def _deliver(self, record: RequestRecord, options: ExportOptions, target: Path | None) -> Delivery:
        delivery = record.deliveries.get(str(options))
        if delivery is None:
            outcome = await self._outcome(record)
            if not options.restore_source:
                if outcome.as_made is None:  # there is but one
                    return await self._deliver(
                        record, dataclasses.replace(options, restore_source=True), target
                    )
                outcome = outcome.as_made
            delivery = await self._made(record, options, outcome, target)
        await asyncio.to_thread(self._results.find, delivery, is_paid=record.estimated_cost_usd is not None)
        return delivery

    async def _outcome(self, record: RequestRecord) -> Outcome:
        """What the provider keeps of a request.

        Raises:
            DeliveryFailed: it does not any more.
        """
        try:
            outcome = await self._providers[record.provider].result(record.request_id)
        except RequestNotFound as exc:
            raise _gone(record) from exc
        if not await asyncio.to_thread(outcome.path.is_file):
            raise _gone(record)
        return outcome

    async def _made(
        self, record: RequestRecord, options: ExportOptions, outcome: Outcome, target: Path | None
    ) -> Delivery:
        """Make an edition, and put it into its place."""
        if (options.part, options.format) == ("whole", "source"):
            return await asyncio.to_thread(self._results.deliver, record.request_id, options, outcome, target)
        folder = Path(await asyncio.to_thread(self._new_folder))
        try:
            outcome = await self._converted(record, options, outcome, folder)
            return await asyncio.to_thread(self._results.deliver, record.request_id, options, outcome, target)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            self._shares.pop(record.request_id, None)

    def _new_folder(self) -> str:
        with told(self._folder.parent):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            return tempfile.mkdtemp(dir=self._folder)

    async def _converted(
        self, record: RequestRecord, options: ExportOptions, outcome: Outcome, folder: Path
    ) -> Outcome:
        """Have a worker write another edition of what was made."""
        order = {
            "task": "convert",
            "made": str(outcome.path),
            "folder": str(folder),
            "part": options.part,
            "format": options.format,
            "before_seconds": outcome.before_seconds,
            "after_seconds": outcome.after_seconds,
        }
        try:
            async with self._workers, asyncio.timeout(_MOST_SECONDS):
                made = await call_worker(
                    order, on_progress=lambda share, _: self._shares.update({record.request_id: share})
                )
        except TimeoutError as exc:
            raise WorkerDied(
                f"The file ({options}) was not written within {_MOST_SECONDS:.0f} seconds. Try again."
            ) from exc
        return dataclasses.replace(
            outcome, **made | {"path": Path(made["path"]), "url": None, "as_made": None}
        )

    def tidy(self) -> None:
        """Throw away what was being written when a server was killed."""
        for folder in self._folder.glob("*"):
            with suppress(OSError):  # another server may be done with it this moment
                if time.time() - folder.stat().st_mtime > _OLD_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)


def _gone(record: RequestRecord) -> DeliveryFailed:
    there = next(iter(record.deliveries.values()), None)
    way_out = f"Convert {there.path} instead." if there else "Submit the request again."
    return DeliveryFailed(
        f"What other exporter are made of is kept for {KEPT_DAYS} days after a delivery, and is gone. {way_out}"
    )

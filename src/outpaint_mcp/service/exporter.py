"""Exporting a result: the whole file or a part of it, in the format that was asked for, into the person's folder."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from weakref import WeakValueDictionary

from outpaint_mcp.errors import InvalidRequest, OutpaintError, ServerBusy
from outpaint_mcp.models import Status
from outpaint_mcp.service.conversion import STORED_DAYS, Converter
from outpaint_mcp.service.delivery_failures import (
    changed_since_delivery,
    changed_since_generation,
    no_longer_stored,
    server_stopping,
)
from outpaint_mcp.service.file_threads import FileThreads
from outpaint_mcp.storage.records import RequestProgress

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from outpaint_mcp.export_options import ExportOptions
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.service.output_folder import OutputFolder
    from outpaint_mcp.service.poller import OnUpdate
    from outpaint_mcp.storage.records import Delivery, RequestRecord
    from outpaint_mcp.workers.pool import WorkerPool

_UPDATE_SECONDS = 1.0
# Of one remote caller at a time, each form of each take: all wait in one line for the machine's cores.
_MOST_EXPORTS = 16


@dataclass(frozen=True, slots=True)
class BeingWritten:
    """A file that is on its way; `progress` is the share of it that is written, 0 to 1."""

    progress: float


Delivered = dict[str, "Delivery | OutpaintError | BeingWritten"]
"""By the id of each take: its file, why there is none, or how far it is."""


@dataclass(slots=True, eq=False)
class _Export:
    """One file on its way to a folder; `progress` is the share of it that is written, 0 to 1."""

    is_only_take: bool
    caller: str
    progress: float = 0.0
    task: asyncio.Task[Delivery] = field(init=False)


_Key = tuple[str, "ExportOptions", "Path | None"]


class Exporter:
    """Writes each form of a completed request's result once, and finds it again afterwards."""

    def __init__(
        self,
        output_folder: OutputFolder,
        folder: Path,
        pool: WorkerPool,
        *,
        update_seconds: float = _UPDATE_SECONDS,
    ) -> None:
        """Prepare exports; no folder is created yet.

        Args:
            output_folder: takes the finished files.
            folder: where converted files are written before they are delivered.
            pool: runs the conversions.
            update_seconds: how often whoever waits learns of the progress.
        """
        self._output_folder = output_folder
        self._update_seconds = update_seconds
        self._exports: dict[_Key, _Export] = {}
        self._locks: WeakValueDictionary[tuple[str, ExportOptions], asyncio.Lock] = WeakValueDictionary()
        self._threads = FileThreads()
        self._converter = Converter(folder, pool, self._threads)
        self._waits_no_longer = False
        self._is_closed = False

    def stop_waiting(self) -> None:
        """Let nobody wait any longer: whoever does gets how far the file is, within a second."""
        self._waits_no_longer = True

    async def close(self) -> None:
        """Stop all exports; whoever waits for one gets `ServerStopping`, and nothing is left half written."""
        self._is_closed = True
        self._output_folder.stop()
        tasks = [export.task for export in self._exports.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.close()

    async def deliver(
        self,
        takes: Sequence[RequestRecord],
        options: ExportOptions,
        *,
        target: Path | None = None,
        wait_seconds: float,
        on_update: OnUpdate | None = None,
    ) -> Delivered:
        """Deliver completed takes.

        An export goes on when the wait is over, and is shared by all who ask for it. A failure is reported once,
        to whoever asks next.

        Args:
            takes: of one request.
            options: in which form.
            target: the file or the folder to put it at, wherever it was delivered before; the output folder
                where there is none.
            wait_seconds: how long to wait for it.
            on_update: called with the progress while waiting.

        Raises:
            InvalidRequest: nothing was added on that side.
            ServerBusy: too many files are being written for a remote caller.
            ServerStopping: the exporter is closed.
        """
        self._check_open()
        side = options.part
        if side != "whole" and not any(_adds(take, side) for take in takes):
            raise InvalidRequest(f"Nothing was added {side} the source, so there is no such part.")
        is_only_take = len(takes) == 1
        exports = {
            take.request_id: self._export(take, options, target, is_only_take=is_only_take) for take in takes
        }
        tasks = [export.task for export in exports.values()]
        until = time.monotonic() + wait_seconds
        while not self._waits_no_longer and (left := until - time.monotonic()) > 0:
            _, pending = await asyncio.wait(tasks, timeout=min(left, self._update_seconds))
            if not pending:
                break
            if on_update is not None:
                done = sum(1.0 if each.task.done() else each.progress for each in exports.values())
                await on_update(
                    RequestProgress(
                        status=Status.COMPLETED, progress=done / len(exports), step=f"writing {options}"
                    )
                )
        return {
            request_id: self._outcome_of((request_id, options, target), export)
            for request_id, export in exports.items()
        }

    async def check_content(self, request_id: str, delivery: Delivery) -> None:
        """Check that a delivered file is still the result of its request; reads all of it.

        Raises:
            DeliveryFailed: somebody changed it.
            ServerStopping: the exporter is closed.
        """
        if not await self.is_unchanged(delivery):
            raise changed_since_delivery(request_id, delivery)

    async def is_unchanged(self, delivery: Delivery) -> bool:
        """Whether a delivered file is there and still has the content that was delivered; reads all of it."""
        self._check_open()
        return await self._threads.run(self._output_folder.is_unchanged, delivery)

    async def forget(self, request_ids: Collection[str]) -> None:
        """Stop what is being written of these requests; nothing is left half written."""
        keys = [key for key in self._exports if key[0] in request_ids]
        tasks = [self._exports.pop(key).task for key in keys]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def tidy(self) -> None:
        """Remove what was being converted when a server was killed; blocks."""
        self._converter.tidy()

    def _check_open(self) -> None:
        if self._is_closed:
            raise server_stopping()

    def _check_room(self, caller: str) -> None:
        under_way = [
            each for each in self._exports.values() if each.caller == caller and not each.task.done()
        ]
        if len(under_way) >= _MOST_EXPORTS:
            raise ServerBusy(
                f"{_MOST_EXPORTS} files are being written for you. Wait until one of them is done."
            )

    def _export(
        self, record: RequestRecord, options: ExportOptions, target: Path | None, *, is_only_take: bool
    ) -> _Export:
        """Find the export that is under way, or start one."""
        key = (record.request_id, options, target)
        if key not in self._exports:
            if record.caller:
                self._check_room(record.caller)
            export = self._exports[key] = _Export(is_only_take, record.caller)
            export.task = asyncio.create_task(self._deliver(export, record, options, target))
            export.task.add_done_callback(lambda task: self._forget_success(key, task))
        return self._exports[key]

    def _forget_success(self, key: _Key, task: asyncio.Task[Delivery]) -> None:
        """Keep a failure until somebody asks; a delivery is in the journal."""
        if not task.cancelled() and task.exception() is None:
            self._exports.pop(key, None)

    def _outcome_of(self, key: _Key, export: _Export) -> Delivery | OutpaintError | BeingWritten:
        if not export.task.done():
            return BeingWritten(export.progress)
        if self._exports.get(key) is export:  # somebody else may have asked again by now
            del self._exports[key]
        if export.task.cancelled():
            return server_stopping(key[0])
        if isinstance(failure := export.task.exception(), OutpaintError):
            return failure
        return export.task.result()

    async def _deliver(
        self, export: _Export, record: RequestRecord, options: ExportOptions, target: Path | None
    ) -> Delivery:
        """Deliver one take, and put it at the target as well if it was delivered elsewhere before."""
        lock = self._locks.setdefault((record.request_id, options), asyncio.Lock())
        async with lock:
            delivery = await self._threads.run(
                self._output_folder.delivered, record.request_id, options, is_only_take=export.is_only_take
            )
            if delivery is None:
                delivery = await self._deliver_anew(export, record, options, target)
        await self._threads.run(
            self._output_folder.check_exists,
            record.request_id,
            delivery,
            is_paid=record.estimated_cost_usd is not None,
        )
        if target is None:
            return delivery
        return await self._threads.run(self._output_folder.copy, record.request_id, options, delivery, target)

    async def _deliver_anew(
        self, export: _Export, record: RequestRecord, options: ExportOptions, target: Path | None
    ) -> Delivery:
        outcome = await self.stored(record)
        if not options.restore_source:
            if outcome.as_made is None:  # there is but one
                options = dataclasses.replace(options, restore_source=True)
                return await self._deliver(export, record, options, target)
            outcome = outcome.as_made
        if (options.part, options.format) == ("whole", "source"):
            return await self._threads.run(
                self._output_folder.deliver, record.request_id, options, outcome, target
            )
        if not await self._threads.run(self._output_folder.is_stored, outcome):
            raise changed_since_generation(record)

        def note(progress: float) -> None:
            export.progress = progress

        async with self._converter.converted(record, options, outcome, note) as converted:
            return await self._threads.run(
                self._output_folder.deliver, record.request_id, options, converted, target
            )

    async def stored(self, record: RequestRecord) -> Outcome:
        """Return what its provider produced of a request, if that is still in the data folder.

        Raises:
            DeliveryFailed: it was deleted.
        """
        outcome = record.outcome
        if outcome is None or not await self._threads.run(outcome.path.is_file):
            raise no_longer_stored(record, STORED_DAYS)
        return outcome


def _adds(take: RequestRecord, side: Literal["before", "after"]) -> bool:
    """Whether a take's file has new music on a side; what is inside the source counts as after it."""
    if take.outcome is None:
        return False
    return (take.outcome.before_seconds if side == "before" else take.outcome.after_seconds) > 0

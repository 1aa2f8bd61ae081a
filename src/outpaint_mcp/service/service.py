"""The service: one request from submission to delivery; the tools and the command line both come here."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import deque
from typing import TYPE_CHECKING

from outpaint_mcp.errors import DeliveryFailed, InvalidRequest, OutpaintError, ServerStopping
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.models import CancelOutcome, Status
from outpaint_mcp.reports import analysis
from outpaint_mcp.reports import requests as reports
from outpaint_mcp.reports.models import RequestList
from outpaint_mcp.service.exporter import Exporter
from outpaint_mcp.service.housekeeping import Housekeeper
from outpaint_mcp.service.output_folder import OutputFolder
from outpaint_mcp.service.poller import StatusPoller
from outpaint_mcp.service.references import ReferenceResolver
from outpaint_mcp.service.submission import Submitter
from outpaint_mcp.service.takes import as_one
from outpaint_mcp.storage.records import CancelWish, Delivery, RequestProgress
from outpaint_mcp.workers.listening import SourceAnalyzer
from outpaint_mcp.workers.probing import Prober

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.jobs.dispatcher import Dispatcher
    from outpaint_mcp.jobs.signal import UpdateSignal
    from outpaint_mcp.models import SubmitRequest
    from outpaint_mcp.providers.base import Provider
    from outpaint_mcp.reports.models import (
        AnalysisReport,
        Cancellation,
        ResultReport,
        StatusReport,
        Submission,
    )
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.service.exporter import Delivered
    from outpaint_mcp.service.lifespan import Surroundings
    from outpaint_mcp.service.poller import OnUpdate
    from outpaint_mcp.storage.records import RequestRecord
    from outpaint_mcp.storage.store import Store
    from outpaint_mcp.workers.pool import WorkerPool

_MOST_LISTED = 1_000_000
_DEFAULT = ExportOptions()

_UPDATE_SECONDS = 1.0

_GLANCE_SECONDS = 0.25


class OutpaintService:
    """Takes requests on, follows them, and delivers their results.

    Attributes:
        housekeeper: deletes what is not needed any more.
    """

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        settings: Settings,
        store: Store,
        providers: Mapping[str, Provider],
        pool: WorkerPool,
        signal: UpdateSignal,
        dispatcher: Dispatcher | None,
        vocabulary: Vocabulary,
        surroundings: Surroundings,
    ) -> None:
        """Put the service together.

        Args:
            settings: where things are, and who takes new requests.
            store: every request there ever was.
            providers: by name, since old requests stay with the one that took them.
            pool: runs worker processes.
            signal: says when something happens to a request.
            dispatcher: carries requests out; None where that is left to other processes.
            vocabulary: the words of the surface that opens it.
            surroundings: the network, and how long calls wait.
        """
        self._store = store
        self._providers = providers
        self._pool = pool
        self._signal = signal
        self._dispatcher = dispatcher
        self._cancel_seconds = surroundings.cancel_seconds
        self._delivery_seconds = surroundings.delivery_seconds
        self._vocabulary = vocabulary
        self._jobs_folder = settings.data_dir / "jobs"
        output_folder = OutputFolder(store.journal, settings.output_dir, settings.data_dir / "locks")
        self._exporter = Exporter(output_folder, settings.data_dir / "exports", pool)
        self.housekeeper = Housekeeper(store, self._jobs_folder, self._exporter, output_folder)
        self._poller = StatusPoller(store.journal, signal)
        self._references = ReferenceResolver(settings.input_dirs, self._poller, self._exporter)
        self._submitter = Submitter(
            store.journal,
            signal,
            providers,
            Prober(pool),
            self._jobs_folder,
            vocabulary,
            provider=settings.provider,
            ring=None if dispatcher is None else dispatcher.ring,
            accept_seconds=surroundings.accept_seconds,
        )
        self._analyzer = SourceAnalyzer(pool, surroundings.fetch)
        self._analyses: set[asyncio.Task[object]] = set()

    async def close(self, *, outlive: bool = False) -> None:
        """End what goes on here; `outlive` lets workers of local jobs finish, for the next server to take up."""
        if self._dispatcher is not None:
            self._dispatcher.leave()
        await self._pool.close(outlive=outlive)
        await self._poller.close()
        await self._exporter.close()
        for task in [*self._analyses]:
            task.cancel()
        if self._analyses:
            await asyncio.wait(self._analyses)

    async def analyze(
        self, audio: str, *, details: bool = False, picture: bool = False, on_update: OnUpdate | None = None
    ) -> tuple[AnalysisReport, bytes | None]:
        """Measure a recording, or the extended file of an earlier request.

        Args:
            audio: as `submit` takes it.
            details: whether to report everything that was measured.
            picture: whether to draw it, too, as PNG.
            on_update: receives the progress.

        Raises:
            InvalidRequest, SourceError: it cannot be measured.
        """
        found = await self._references.resolve_for_analysis(audio)
        updates: deque[RequestProgress] = deque(maxlen=1)
        work = asyncio.create_task(
            self._analyzer.analyze(
                found.source,
                picture=picture,
                seams_seconds=found.seams_seconds,
                on_progress=lambda share, step: updates.append(
                    RequestProgress(status=Status.IN_PROGRESS, progress=share, step=step)
                ),
            )
        )
        self._analyses.add(work)
        work.add_done_callback(self._analyses.discard)
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=_UPDATE_SECONDS)
                if updates and on_update is not None:
                    await on_update(updates[-1])
            if work.cancelled():
                raise ServerStopping("This server is stopping, so the recording was not analyzed.")
            measured, drawn = work.result()
        finally:
            work.cancel()
            await asyncio.wait({work})
        return analysis.report(measured, title=found.title, details=details), drawn

    async def submit(self, request: SubmitRequest, *, caller: str = "") -> Submission:
        """Take a request on; see `Submitter.submit`."""
        return await self._submitter.submit(
            request, await self._references.resolve(request.audio), caller=caller
        )

    async def status(
        self, request_id: str, *, wait_seconds: float = 0, on_update: OnUpdate | None = None
    ) -> StatusReport:
        """Report where a request is; with `wait_seconds`, as soon as it has ended.

        Raises:
            RequestNotFound: there is no such request.
        """
        takes = await self._poller.follow(request_id, wait_seconds, on_update)
        return reports.status(as_one(takes), self._vocabulary, takes)

    async def result(
        self,
        request_id: str,
        *,
        wait_seconds: float = 0,
        options: ExportOptions = _DEFAULT,
        on_update: OnUpdate | None = None,
        target: Path | None = None,
    ) -> ResultReport:
        """Deliver the extended file and report where it is, or where the request is instead.

        Args:
            request_id: as `submit` returned it.
            wait_seconds: how long to wait for the request to end.
            options: in which form to deliver it.
            on_update: receives the progress while waiting.
            target: where to put the file, its suffix left to the format, or an existing folder to put it
                into; the output folder where there is none.

        Raises:
            RequestNotFound: there is no such request.
            InvalidRequest: it cannot be delivered in this form.
            DeliveryFailed: the file cannot be put into the output folder, or has been removed.
        """
        until = time.monotonic() + max(wait_seconds, self._delivery_seconds)
        takes = await self._poller.follow(request_id, wait_seconds, on_update)
        whole = as_one(takes)
        completed = [take for take in takes if take.status is Status.COMPLETED]
        if not completed:
            return reports.not_delivered(whole, self._vocabulary)
        if target is not None and len(completed) > 1 and not await asyncio.to_thread(target.is_dir):
            raise InvalidRequest(f"{target.name} is one file's name; name a folder for several takes.")

        async def deliver(some: list[RequestRecord]) -> Delivered:
            left = max(0.0, until - time.monotonic())
            return await self._exporter.deliver(
                some, options, target=target, wait_seconds=left, on_update=on_update
            )

        delivered = await deliver(completed)
        if len(completed) > 1 and all(isinstance(each, DeliveryFailed) for each in delivered.values()):
            # All were thrown away: what is asked for all the same is written again.
            for take in completed:
                delivered |= await deliver([take])
        ready = {each: found for each, found in delivered.items() if isinstance(found, Delivery)}
        if None in delivered.values():
            return reports.being_written(whole, self._vocabulary, options)
        if not ready:
            raise next(each for each in delivered.values() if isinstance(each, OutpaintError))
        missing = {each: why for each, why in delivered.items() if isinstance(why, OutpaintError)}
        return reports.delivered(whole, self._vocabulary, takes, ready, missing, options)

    async def cancel(self, request_id: str) -> Cancellation:
        """Stop a request that has not ended, with all its takes.

        Raises:
            RequestNotFound: there is no such request.
        """
        takes = await self._poller.takes(request_id)
        outcomes = await asyncio.gather(
            *(self._cancel_take(take) for take in takes if not take.status.is_final)
        )
        takes = await self._poller.takes(request_id)
        is_cancelled = bool(outcomes) and all(each is CancelOutcome.CANCELLED for each in outcomes)
        outcome = CancelOutcome.CANCELLED if is_cancelled else CancelOutcome.NOT_CANCELLABLE
        return reports.cancellation(as_one(takes), self._vocabulary, outcome, takes)

    async def _cancel_take(self, take: RequestRecord) -> CancelOutcome:
        """Have one take stopped; what is not known to be cancelled is not called so, as it may be carried out."""
        queue, request_id = self._store.queue, take.request_id
        if not await asyncio.to_thread(queue.cancel, request_id):
            return CancelOutcome.NOT_CANCELLABLE
        if self._dispatcher is not None:
            self._dispatcher.ring()
        loop = asyncio.get_running_loop()
        until = loop.time() + self._cancel_seconds
        while not (await self._record(request_id)).status.is_final:
            if await asyncio.to_thread(queue.cancel_wish, request_id) is CancelWish.REFUSED:
                return CancelOutcome.NOT_CANCELLABLE
            if loop.time() >= until:
                await asyncio.to_thread(queue.cancel_without_its_server, request_id)
                break
            await self._signal.wait(request_id, _GLANCE_SECONDS)
        if (await self._record(request_id)).status is not Status.CANCELLED:
            return CancelOutcome.NOT_CANCELLABLE
        folder = self._jobs_folder / request_id
        await asyncio.to_thread(self._providers[take.provider].stop, folder)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        return CancelOutcome.CANCELLED

    async def _record(self, request_id: str) -> RequestRecord:
        return await asyncio.to_thread(self._store.journal.get, request_id)

    async def list(self, *, limit: int = 20, status: Status | None = None) -> RequestList:
        """Return requests of every server and every day, newest first.

        Raises:
            InvalidRequest: `limit` is below 1 or beyond all measure.
        """
        if not 1 <= limit <= _MOST_LISTED:
            raise InvalidRequest(f"It is {limit}; use 1 to {_MOST_LISTED}.", field="limit")
        families = await asyncio.to_thread(self._store.journal.newest, limit=limit, status=status)
        spent, open_estimate = await asyncio.to_thread(self._store.ledger.spent_usd)
        return RequestList(
            requests=[reports.summary(as_one(takes), self._vocabulary) for takes in families],
            spent_usd=round(spent, 6),
            open_estimate_usd=round(open_estimate, 6),
        )

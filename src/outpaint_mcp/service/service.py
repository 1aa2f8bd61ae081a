"""The service: one request from submission to delivery; the tools and the command line both come here."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING

from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.reports import requests as reports
from outpaint_mcp.reports.submissions import naming
from outpaint_mcp.service.admission import Admission
from outpaint_mcp.service.agreements import Agreements
from outpaint_mcp.service.analyses import reported
from outpaint_mcp.service.caller_files import CallerFiles
from outpaint_mcp.service.cancelling import Canceller
from outpaint_mcp.service.delivery import ResultDesk
from outpaint_mcp.service.exporter import Exporter
from outpaint_mcp.service.forecast import foresee, paid_plan
from outpaint_mcp.service.history import newest_requests
from outpaint_mcp.service.housekeeping import Housekeeper
from outpaint_mcp.service.output_folder import OutputFolder
from outpaint_mcp.service.poller import StatusPoller
from outpaint_mcp.service.previews import Previews
from outpaint_mcp.service.result_links import ResultLinks
from outpaint_mcp.service.rooms import Rooms
from outpaint_mcp.service.standings import Standings
from outpaint_mcp.service.submission import Submitter
from outpaint_mcp.service.takes import as_one
from outpaint_mcp.workers.forms import FormReader

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.jobs.dispatcher import Dispatcher
    from outpaint_mcp.jobs.signal import UpdateSignal
    from outpaint_mcp.models import Status, SubmitRequest
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.providers.base import Provider
    from outpaint_mcp.reports.models import (
        AnalysisReport,
        AudioList,
        Cancellation,
        DryRun,
        RequestList,
        ResultReport,
        StatusReport,
        Submission,
    )
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.service.lifespan import Surroundings
    from outpaint_mcp.service.poller import OnUpdate
    from outpaint_mcp.service.rooms import Room
    from outpaint_mcp.storage.store import Store
    from outpaint_mcp.workers.pool import WorkerPool

_DEFAULT = ExportOptions()


class OutpaintService:
    """Takes requests on, follows them, and delivers their results.

    Attributes:
        housekeeper: deletes what is not needed any more, and knows what there is.
        agreements: asks the person where a request costs more than was expected.
        previews: shows results to a page.
        standings: says where requests stand.
        files: what callers send and fetch.
    """

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        settings: Settings,
        store: Store,
        providers: Mapping[str, Provider],
        pool: WorkerPool,
        scratch: Path,
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
            scratch: holds audio that is no file yet.
            signal: says when something happens to a request.
            dispatcher: carries requests out; None where that is left to other processes.
            vocabulary: the words of the surface that opens it.
            surroundings: the network, and how long calls wait.
        """
        self._store = store
        self._providers = providers
        self._pool = pool
        self._dispatcher = dispatcher
        self._vocabulary = vocabulary
        jobs_folder = settings.data_dir / "jobs"
        output_folder = OutputFolder(store.journal, settings)
        self._exporter = Exporter(output_folder, settings.data_dir / "exports", pool)
        self._poller = StatusPoller(store.journal, signal)
        self._desk = ResultDesk(
            self._poller,
            self._exporter,
            FormReader(pool),
            store.lineage,
            vocabulary,
            ResultLinks(settings, surroundings.links),
            delivery_seconds=surroundings.delivery_seconds,
        )
        self._rooms = Rooms(settings, store, pool, surroundings, scratch, self._poller, self._exporter)
        self.previews = Previews(settings, store.journal, pool, self._poller, self._exporter, self._rooms)
        self.agreements = Agreements(store)
        self.standings = Standings(self._poller, vocabulary, self._enter)
        ring = None if dispatcher is None else dispatcher.ring
        self._canceller = Canceller(
            store, providers, signal, jobs_folder, ring=ring, cancel_seconds=surroundings.cancel_seconds
        )
        self.files = CallerFiles(settings, store, self._poller, self._canceller, self._exporter)
        self.housekeeper = Housekeeper(store, settings, self._exporter, output_folder, self.files)
        self._admission = Admission()
        self._submitter = Submitter(
            store.journal,
            signal,
            providers,
            jobs_folder,
            vocabulary,
            provider=settings.provider,
            ring=ring,
            accept_seconds=surroundings.accept_seconds,
        )

    def stop_waiting(self) -> None:
        """Answer all who wait with where their requests are now, as the server is about to leave."""
        for each in (self._poller, self._exporter, self.previews, self._rooms):
            each.stop_waiting()

    async def close(self, *, outlive: bool = False) -> None:
        """End what goes on here; `outlive` lets workers of local jobs finish, for the next server to take up."""
        if self._dispatcher is not None:
            self._dispatcher.leave()
        await self._pool.close(outlive=outlive)
        for each in (self._poller, self._exporter, self.previews, self._rooms):
            await each.close()

    def _enter(self, principal: Principal) -> Room:
        """Open a caller's room; what waits for the credentials that they bring along goes on."""
        news = [each.recognize(principal) for each in self._providers.values()]
        if any(news) and self._dispatcher is not None:
            self._dispatcher.ring()
        return self._rooms.of(principal)

    async def analyze(  # noqa: PLR0913 - what can be asked of an analysis
        self,
        principal: Principal,
        audio: str,
        *,
        wait_seconds: float = inf,
        details: bool = False,
        picture: bool = False,
        on_update: OnUpdate | None = None,
    ) -> tuple[AnalysisReport, bytes | None]:
        """Measure a recording, or the extended file of an earlier request.

        Args:
            principal: who asks.
            audio: as `submit` takes it.
            wait_seconds: how long to wait for the analysis, which goes on when the wait is over or cancelled.
            details: whether to report everything that was measured.
            picture: whether to draw it, too, as PNG.
            on_update: receives the progress.

        Raises:
            InvalidRequest, SourceError: it cannot be measured.
        """
        room = self._enter(principal)
        found = await room.references.resolve_for_analysis(audio)
        done = await room.analyses.follow(
            found, picture=picture, wait_seconds=wait_seconds, on_update=on_update
        )
        return reported(found, done, self._vocabulary, details=details)

    async def submit(self, principal: Principal, request: SubmitRequest, *, provider: str = "") -> Submission:
        """Take a request on; see `Submitter.submit`.

        Raises:
            ServerBusy: too many others are being taken on.
        """
        async with self._admission.turn(principal):
            room = self._enter(principal)
            if principal.is_remote:
                await asyncio.to_thread(self.files.uploads.check_room, principal)
            resolved = await room.references.resolve(request.audio)
            submission = await self._submitter.submit(room, request, resolved, provider=provider)
            return naming(resolved.taken, submission)

    async def foresee(self, principal: Principal, request: SubmitRequest, *, provider: str = "") -> DryRun:
        """Say what would become of a request; see `forecast.foresee`."""
        chosen = self._submitter.provider(provider)
        async with self._admission.turn(principal):
            room = self._enter(principal)
            resolved = await room.references.resolve(request.audio)
            found = await foresee(room, self._vocabulary, request, resolved, chosen)
            return naming(resolved.taken, found)

    async def paid_plan(self, principal: Principal, request: SubmitRequest, *, provider: str = "") -> str:
        """Say what a request of several paid steps costs, for the person to agree to; see `forecast.paid_plan`."""
        chosen = self._submitter.provider(provider)
        if not chosen.description.is_paid:
            return ""
        async with self._admission.turn(principal):
            room = self._enter(principal)
            return await paid_plan(room, request, await room.references.resolve(request.audio), chosen)

    async def files_meant(self, principal: Principal, audio: str) -> tuple[str, ...]:
        """Return the names of the files that an `audio` argument fits, where there are several."""
        return await self._enter(principal).references.files_meant(audio)

    async def status(
        self,
        principal: Principal,
        request_id: str,
        *,
        wait_seconds: float = 0,
        on_update: OnUpdate | None = None,
    ) -> StatusReport:
        """Report where a request is; with `wait_seconds`, as soon as it has ended.

        Raises:
            RequestNotFound: they have no such request.
        """
        self._enter(principal)
        takes = await self._poller.follow(principal, request_id, wait_seconds, on_update)
        return reports.status(as_one(takes), self._vocabulary, takes)

    async def result(  # noqa: PLR0913 - what can be asked of a result
        self,
        principal: Principal,
        request_id: str,
        *,
        wait_seconds: float = 0,
        options: ExportOptions = _DEFAULT,
        on_update: OnUpdate | None = None,
        save_as: str = "",
        target: Path | None = None,
        details: bool = False,
    ) -> ResultReport:
        """Deliver the extended file and report where it is, or where the request is instead.

        Args:
            principal: who asks.
            request_id: as `submit` returned it.
            wait_seconds: how long to wait for the request to end.
            options: in which form to deliver it.
            on_update: receives the progress while waiting.
            save_as: a name in the output folder, or a path in the folders that results may be put into.
            target: where a person at this machine wants the file, its suffix left to the format, or an existing
                folder to put it into; the output folder where there is neither.
            details: whether to report the file's digest and size.

        Raises:
            RequestNotFound: they have no such request.
            InvalidRequest: it cannot be delivered in this form, or at this place.
            DeliveryFailed: the file cannot be put into the output folder, or has been removed.
        """
        return await self._desk.result(
            self._enter(principal),
            request_id,
            wait_seconds=wait_seconds,
            options=options,
            on_update=on_update,
            save_as=save_as,
            target=target,
            details=details,
        )

    async def cancel(self, principal: Principal, request_id: str) -> Cancellation:
        """Stop a request that has not ended, with its takes; by a take's own id, that one alone; raises as `status`."""
        self._enter(principal)
        outcome = await self._canceller.cancel(await self._poller.takes(principal, request_id))
        takes = await self._poller.takes(principal, request_id)
        return reports.cancellation(as_one(takes), self._vocabulary, outcome, takes)

    async def list_audio(
        self, principal: Principal, *, folder: str = "", query: str = "", limit: int = 20
    ) -> AudioList:
        """List what can be extended; see `AudioLister.list`."""
        return await self._enter(principal).lister.list(folder=folder, query=query, limit=limit)

    async def list(
        self, principal: Principal, *, limit: int = 20, status: Status | None = None
    ) -> RequestList:
        """Return a caller's requests; see `newest_requests`."""
        self._enter(principal)
        return await newest_requests(self._store, self._vocabulary, principal, limit=limit, status=status)

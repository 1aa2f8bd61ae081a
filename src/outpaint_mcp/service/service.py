"""The desk: one request from intake to delivery; the tools and the command line both come here."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from outpaint_mcp.errors import InvalidRequest, OutpaintError, RequestNotFound
from outpaint_mcp.models import CancelOutcome, Status, SubmitRequest
from outpaint_mcp.providers.base import ProviderStatus
from outpaint_mcp.reports import analysis as analyses
from outpaint_mcp.reports import requests as reports
from outpaint_mcp.reports.models import (
    AnalysisReport,
    Cancellation,
    RequestList,
    ResultReport,
    StatusReport,
    Submission,
)
from outpaint_mcp.results import ExportOptions
from outpaint_mcp.service.exporter import KEPT_DAYS, Exporter
from outpaint_mcp.service.output_folder import OutputFolder
from outpaint_mcp.service.poller import StatusPoller
from outpaint_mcp.service.references import ReferenceResolver
from outpaint_mcp.service.submission import Submitter
from outpaint_mcp.service.takes import as_one, seen_as_one
from outpaint_mcp.storage.records import Delivery
from outpaint_mcp.workers.listening import Listener

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.providers.base import Provider
    from outpaint_mcp.service.poller import OnUpdate
    from outpaint_mcp.storage.costs import Ledger
    from outpaint_mcp.storage.journal import Journal
    from outpaint_mcp.storage.records import RequestRecord

_MOST_LISTED = 1_000_000
_WHOLE = ExportOptions()
_DAY_SECONDS = 86_400.0

# Agents' frameworks give up on a call after five seconds at the earliest; coding four minutes as MP3 takes ten.
_DELIVERY_SECONDS = 3.5
_NEWS_SECONDS = 1.0


class OutpaintService:
    """Takes requests in, follows them, and delivers what was made."""

    def __init__(
        self, settings: Settings, journal: Journal, ledger: Ledger, providers: Mapping[str, Provider]
    ) -> None:
        """Open a desk.

        Args:
            settings: where things are, and who takes new requests.
            journal: every request ever made.
            ledger: what they cost.
            providers: by name, since old requests stay with the one that took them.
        """
        self._settings = settings
        self._journal = journal
        self._ledger = ledger
        self._providers = providers
        self._results = OutputFolder(journal, settings.output_dir, settings.data_dir / "locks")
        self._editions = Exporter(self._results, providers, settings.data_dir / "exporter")
        self._watch = StatusPoller(journal, providers)
        self._naming = ReferenceResolver(settings.input_dirs, self._watch, self._editions, providers)
        self._intake = Submitter(journal, self._watch, providers, settings.provider)
        self._listener = Listener()

    async def tidy(self) -> None:
        """Throw away files that the providers keep of requests that are over, or were delivered long ago."""
        await asyncio.to_thread(self._results.tidy)
        await asyncio.to_thread(self._editions.tidy)
        for provider in self._providers.values():
            for request_id in await provider.kept():
                with suppress(RequestNotFound):
                    record = await self._watch.look(request_id)
                    ended = record.status.is_final and record.status is not Status.COMPLETED
                    if ended or self._journal.is_stale(record, KEPT_DAYS * _DAY_SECONDS):
                        await provider.discard(request_id)

    async def analyze(
        self, audio: str, *, details: bool = False, picture: bool = False, on_update: OnUpdate | None = None
    ) -> tuple[AnalysisReport, bytes | None]:
        """Listen to a recording, or to the longer file of an earlier request.

        Args:
            audio: as `submit` takes it.
            details: whether to tell all that was measured.
            picture: whether to draw it, too, as PNG.
            on_update: told how far it is.

        Raises:
            InvalidRequest, SourceError: it cannot be listened to.
        """
        source, title, seams = await self._naming.heard(audio)
        news: list[ProviderStatus] = []
        listening = asyncio.create_task(
            self._listener.hear(
                source,
                picture=picture,
                seams_seconds=seams,
                on_progress=lambda share, step: news.append(
                    ProviderStatus(status=Status.IN_PROGRESS, progress=share, step=step)
                ),
            )
        )
        try:
            while not listening.done():
                await asyncio.wait({listening}, timeout=_NEWS_SECONDS)
                if news and on_update is not None:
                    await on_update(news[-1])
            heard, drawn = listening.result()
        finally:
            listening.cancel()
            await asyncio.wait({listening})
        return analyses.report(heard, title=title, details=details), drawn

    async def submit(self, request: SubmitRequest, *, caller: str = "") -> Submission:
        """Take a request in; see `Submitter.submit`."""
        return await self._intake.submit(request, await self._naming.named(request.audio), caller=caller)

    async def status(
        self, request_id: str, *, wait_seconds: float = 0, on_update: OnUpdate | None = None
    ) -> StatusReport:
        """Say where a request stands; with `wait_seconds`, as soon as it has ended.

        Raises:
            RequestNotFound: no such request was ever made.
        """
        takes = await self._follow(request_id, wait_seconds, on_update)
        return reports.standing(as_one(takes), self._seen(takes), takes)

    async def result(
        self,
        request_id: str,
        *,
        wait_seconds: float = 0,
        options: ExportOptions = _WHOLE,
        on_update: OnUpdate | None = None,
        target: Path | None = None,
    ) -> ResultReport:
        """Deliver the longer file and say where it is; or say where the request stands instead.

        Args:
            request_id: as `submit` gave it.
            wait_seconds: how long to wait for the request to end.
            options: in which form to deliver it.
            on_update: told where it stands while waiting.
            target: where to put the file, its suffix left to the format, or an existing folder to put it
                into; the output folder where there is none.

        Raises:
            RequestNotFound: no such request was ever made.
            InvalidRequest: there is no such options of it.
            DeliveryFailed: the file cannot be put into the output folder, or has been taken away.
        """
        until = time.monotonic() + max(wait_seconds, _DELIVERY_SECONDS)
        takes = await self._follow(request_id, wait_seconds, on_update)
        whole = as_one(takes)
        made = [take for take in takes if take.status is Status.COMPLETED]
        if not made:
            return reports.not_delivered(whole, self._seen(takes))
        if target is not None and len(made) > 1 and not await asyncio.to_thread(target.is_dir):
            raise InvalidRequest(f"{target.name} is one file's name; name a folder for several takes.")
        delivered = await self._editions.deliver(
            made, options, target=target, wait_seconds=max(0.0, until - time.monotonic()), on_update=on_update
        )
        ready = {each: take for each, take in delivered.items() if isinstance(take, Delivery)}
        if None in delivered.values():
            return reports.being_written(whole, options)
        if not ready:
            raise next(each for each in delivered.values() if isinstance(each, OutpaintError))
        if target is not None:  # they may have been delivered before, and elsewhere
            for each, delivery in ready.items():
                ready[each] = await asyncio.to_thread(self._results.copy, each, delivery, target)
        missing = {each: str(why) for each, why in delivered.items() if isinstance(why, OutpaintError)}
        return reports.delivered(whole, takes, ready, missing, options)

    async def _follow(
        self, request_id: str, wait_seconds: float, on_update: OnUpdate | None
    ) -> list[RequestRecord]:
        """Look at all takes of a request until they have ended or the wait is over."""
        until = time.monotonic() + wait_seconds
        takes = await self._watch.look_at_all(request_id)

        async def tell(_seen: ProviderStatus) -> None:
            seen = self._seen(takes)
            if on_update is not None and seen is not None:
                await on_update(seen)

        for place, take in enumerate(takes):
            left = max(0.0, until - time.monotonic())
            takes[place] = await self._watch.follow(take.request_id, left, tell)
        return takes

    def _seen(self, takes: Sequence[RequestRecord]) -> ProviderStatus | None:
        return seen_as_one(takes, [self._watch.seen(take.request_id) for take in takes])

    async def cancel(self, request_id: str) -> Cancellation:
        """Stop a request that has not ended, with all its takes.

        Raises:
            RequestNotFound: no such request was ever made.
        """
        takes = await self._watch.look_at_all(request_id)
        going_on = [take for take in takes if not take.status.is_final]
        outcomes = await asyncio.gather(*map(self._cancel_take, going_on))
        takes = await self._watch.look_at_all(request_id)
        is_cancelled = bool(outcomes) and all(each is CancelOutcome.CANCELLED for each in outcomes)
        outcome = CancelOutcome.CANCELLED if is_cancelled else CancelOutcome.NOT_CANCELLABLE
        return reports.cancellation(as_one(takes), outcome, takes)

    async def _cancel_take(self, take: RequestRecord) -> CancelOutcome:
        provider = self._providers[take.provider]
        try:
            return await provider.cancel(take.request_id)
        except RequestNotFound:  # its server died, or is slow, before it handed it over
            await provider.give_up(take.request_id)
            return CancelOutcome.CANCELLED

    async def list(self, *, limit: int = 20, status: Status | None = None) -> RequestList:
        """Return requests of every server and every day, newest first.

        Raises:
            InvalidRequest: `limit` is below 1 or beyond all measure.
        """
        if not 1 <= limit <= _MOST_LISTED:
            raise InvalidRequest(f"limit is {limit}; give 1 to {_MOST_LISTED}.")
        for record in await asyncio.to_thread(self._journal.open_requests):
            await self._watch.look(record.request_id)
        records = await asyncio.to_thread(self._listed, limit, status)
        spent, open_estimate = await asyncio.to_thread(self._ledger.spent_usd)
        return RequestList(
            requests=[reports.summary(record) for record in records],
            spent_usd=round(spent, 6),
            open_estimate_usd=round(open_estimate, 6),
        )

    def _listed(self, limit: int, status: Status | None) -> Sequence[RequestRecord]:
        families = (
            self._journal.takes(each.request_id) if each.takes > 1 else [each]
            for each in self._journal.newest()
        )
        wanted = (
            as_one(takes)
            for takes in families
            if status in {None, as_one(takes).status, *(take.status for take in takes)}
        )
        return [*itertools.islice(wanted, limit)]

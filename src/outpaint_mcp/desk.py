"""The desk: one request from intake to delivery; the tools and the command line both come here."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp import reports, sources
from outpaint_mcp.errors import InvalidRequest, OutpaintError, RequestNotFound
from outpaint_mcp.journal import Delivery, Entry, Journal, is_request_id
from outpaint_mcp.models import (
    Cancellation,
    CancelOutcome,
    OutpaintRequest,
    RequestList,
    ResultReport,
    Status,
    StatusReport,
    Submission,
)
from outpaint_mcp.results import Results
from outpaint_mcp.sources import InlineAudio, LocalFile, RemoteUrl, Source
from outpaint_mcp.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outpaint_mcp.config import Settings
    from outpaint_mcp.ledger import Ledger
    from outpaint_mcp.provider import Provider
    from outpaint_mcp.watch import OnUpdate

_MOST_LISTED = 1_000_000


class Desk:
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
        self._results = Results(journal, settings.output_dir, settings.data_dir / "locks")
        self._watch = Watch(journal, providers)
        self._deliveries: dict[str, asyncio.Task[Delivery]] = {}

    async def tidy(self) -> None:
        """Throw away what a killed server could not: files the provider keeps of requests that are over."""
        await asyncio.to_thread(self._results.tidy)
        for provider in self._providers.values():
            for request_id in await provider.kept():
                with suppress(RequestNotFound):
                    entry = await self._watch.look(request_id)
                    ended = entry.status.is_final and entry.status is not Status.COMPLETED
                    if ended or entry.delivery is not None:
                        await provider.discard(request_id)

    async def submit(self, request: OutpaintRequest, *, caller: str = "") -> Submission:
        """Take a request in: look at its source, write it down, hand it to the provider.

        The same request by the same caller within ten minutes is the first one over again.

        Args:
            request: what is asked.
            caller: who asks, where several people share the server.

        Raises:
            InvalidRequest, SourceError, ProviderError: nothing was started, and nothing is paid.
        """
        audio = request.audio.strip()
        parent: Entry | None = None
        folders = self._settings.input_dirs
        if is_request_id(audio):
            parent, delivery = await self._earlier(audio)
            audio = delivery.path
            folders = (Path(audio).parent,)  # ours to read, wherever it was put at the time
        source = await asyncio.to_thread(sources.resolve_source, audio, input_dirs=folders)
        provider = self._providers[self._settings.provider]
        source_seconds = await provider.source_seconds(source)
        likeness = await asyncio.to_thread(_likeness, request, source, provider.name, caller)

        def add() -> tuple[Entry, bool]:
            return self._journal.add(
                request,
                provider=provider.name,
                shown_audio=sources.redact(audio),
                title=parent.title if parent else sources.title_of(audio),
                parent_request_id=parent.request_id if parent else None,
                expected_duration_seconds=None
                if source_seconds is None
                else source_seconds + request.extend_before_duration + request.extend_after_duration,
                likeness=likeness,
                caller=caller,
            )

        entry, is_new = await asyncio.to_thread(add)
        if not is_new:
            entry = await self._watch.look(entry.request_id)
            if entry.status in {Status.FAILED, Status.CANCELLED}:
                entry, is_new = await asyncio.to_thread(add)  # it had ended, and nobody had looked
        if not is_new:
            return reports.taken_on_before(entry, self._journal.age_seconds(entry))
        return await self._hand_over(entry, request, source)

    async def _hand_over(self, entry: Entry, request: OutpaintRequest, source: Source) -> Submission:
        """Give a request that is written down to its provider."""
        try:
            receipt = await self._providers[entry.provider].submit(entry.request_id, request, source)
        except OutpaintError as exc:
            await asyncio.to_thread(
                self._journal.note, entry.request_id, Status.FAILED, str(exc), cost_usd=0.0
            )
            raise
        entry = await asyncio.to_thread(self._journal.get, entry.request_id)
        if receipt.status is not entry.status:
            entry = await self._watch.look(entry.request_id)
        if receipt.failure is not None:
            raise receipt.failure
        return reports.taken_on(entry, receipt)

    async def _earlier(self, request_id: str) -> tuple[Entry, Delivery]:
        """Find an earlier request whose longer file is the new source, delivering it if need be."""
        entry = await self._watch.look(request_id)
        if entry.status is not Status.COMPLETED:
            raise InvalidRequest(
                f"Request {request_id} is {entry.status}, so it has no result to extend."
                f" {'Give another source.' if entry.status.is_final else 'Wait until it is completed.'}"
            )
        return entry, await self._deliver(entry)

    async def status(
        self, request_id: str, *, wait_seconds: float = 0, on_update: OnUpdate | None = None
    ) -> StatusReport:
        """Say where a request stands; with `wait_seconds`, as soon as it has ended.

        Raises:
            RequestNotFound: no such request was ever made.
        """
        entry = await self._watch.follow(request_id, wait_seconds, on_update)
        return reports.standing(entry, self._watch.seen(request_id))

    async def result(
        self,
        request_id: str,
        *,
        wait_seconds: float = 0,
        on_update: OnUpdate | None = None,
        target: Path | None = None,
    ) -> ResultReport:
        """Deliver the longer file and say where it is; or say where the request stands instead.

        Args:
            request_id: as `submit` gave it.
            wait_seconds: how long to wait for the request to end.
            on_update: told where it stands while waiting.
            target: where to put the file, its suffix left to the format, or an existing folder to put it
                into; the output folder where there is none.

        Raises:
            RequestNotFound: no such request was ever made.
            DeliveryFailed: the file cannot be put into the output folder, or has been taken away.
        """
        entry = await self._watch.follow(request_id, wait_seconds, on_update)
        if entry.status is not Status.COMPLETED:
            return reports.not_delivered(entry, self._watch.seen(request_id))
        delivery = await self._deliver(entry, target)
        if target is not None:  # it may have been delivered before, and elsewhere
            delivery = await asyncio.to_thread(self._results.copy, request_id, delivery, target)
        return reports.delivered(entry, delivery)

    async def cancel(self, request_id: str) -> Cancellation:
        """Stop a request that has not ended.

        Raises:
            RequestNotFound: no such request was ever made.
        """
        entry = await self._watch.look(request_id)
        outcome = CancelOutcome.NOT_CANCELLABLE
        if not entry.status.is_final:
            outcome = await self._providers[entry.provider].cancel(request_id)
            entry = await self._watch.look(request_id)
        return reports.cancellation(entry, outcome)

    async def list(self, *, limit: int = 20, status: Status | None = None) -> RequestList:
        """Return requests of every server and every day, newest first.

        Raises:
            InvalidRequest: `limit` is below 1 or beyond all measure.
        """
        if not 1 <= limit <= _MOST_LISTED:
            raise InvalidRequest(f"limit is {limit}; give 1 to {_MOST_LISTED}.")
        for entry in await asyncio.to_thread(self._journal.open_requests):
            await self._watch.look(entry.request_id)
        entries = await asyncio.to_thread(self._journal.newest, limit=limit, status=status)
        spent, open_estimate = await asyncio.to_thread(self._ledger.spent_usd)
        return RequestList(
            requests=[reports.summary(entry) for entry in entries],
            spent_usd=round(spent, 6),
            open_estimate_usd=round(open_estimate, 6),
        )

    async def _deliver(self, entry: Entry, target: Path | None = None) -> Delivery:
        """Put a completed request's file into the output folder, once, and find it there ever after."""
        delivery = entry.delivery
        if delivery is None:
            # Shared by all who ask for this request; one who leaves must not end it.
            delivery = await asyncio.shield(self._delivering(entry, target))
        await asyncio.to_thread(self._results.find, delivery, is_paid=entry.estimated_cost_usd is not None)
        return delivery

    def _delivering(self, entry: Entry, target: Path | None) -> asyncio.Task[Delivery]:
        task = self._deliveries.get(entry.request_id)
        if task is None:
            task = self._deliveries[entry.request_id] = asyncio.create_task(self._deliver_now(entry, target))
            task.add_done_callback(lambda _: self._deliveries.pop(entry.request_id))
        return task

    async def _deliver_now(self, entry: Entry, target: Path | None) -> Delivery:
        provider = self._providers[entry.provider]
        outcome = await provider.result(entry.request_id)
        delivery = await asyncio.to_thread(self._results.deliver, entry.request_id, outcome, target)
        await provider.discard(entry.request_id)
        return delivery


def _likeness(request: OutpaintRequest, source: Source, provider: str, caller: str) -> str:
    """A digest that is the same for the same request on the same audio, and tells nothing of it."""
    heard: object = None
    match source:
        case LocalFile(path=path):
            with suppress(OSError):  # taken away this moment: whoever opens it next says so
                seen = path.stat()
                heard = (str(path), seen.st_size, seen.st_mtime_ns)
        case RemoteUrl(url=url):
            heard = url
        case InlineAudio(content=content):
            heard = hashlib.sha256(content).hexdigest()
    asked = request.model_dump_json(exclude={"audio"})
    return hashlib.sha256(repr((provider, caller, heard, asked)).encode()).hexdigest()

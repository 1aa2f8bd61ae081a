"""Taking requests in: what the source is, whether the same was asked a moment ago, and who carries it out."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

from outpaint_mcp import sources
from outpaint_mcp.errors import OutpaintError
from outpaint_mcp.models import OutpaintRequest, Status
from outpaint_mcp.providers.base import Receipt
from outpaint_mcp.reports import requests as reports
from outpaint_mcp.service.takes import as_one
from outpaint_mcp.sources import InlineAudio, LocalFile, RemoteUrl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outpaint_mcp.models import SubmitRequest
    from outpaint_mcp.providers.base import Provider
    from outpaint_mcp.reports.models import Submission
    from outpaint_mcp.service.poller import StatusPoller
    from outpaint_mcp.service.references import ResolvedSource
    from outpaint_mcp.sources import Source
    from outpaint_mcp.storage.journal import Journal
    from outpaint_mcp.storage.records import RequestRecord


class Submitter:
    """Writes requests down and hands them over."""

    def __init__(
        self, journal: Journal, watch: StatusPoller, providers: Mapping[str, Provider], provider: str
    ) -> None:
        """Open it; new requests go to the provider of this name."""
        self._journal = journal
        self._watch = watch
        self._providers = providers
        self._provider = providers[provider]

    async def submit(self, request: SubmitRequest, named: ResolvedSource, *, caller: str) -> Submission:
        """Take a request in: look at its source, write it down, hand it to the provider.

        The same request by the same caller within ten minutes is the first one over again.

        Args:
            request: what is asked.
            named: its source.
            caller: who asks, where several people share the server.

        Raises:
            InvalidRequest, SourceError, ProviderError: nothing was started, and nothing is paid.
        """
        source, provider, parent = named.source, self._provider, named.parent
        source_seconds = await provider.source_seconds(source)
        if source_seconds is not None:
            source_seconds = request.used_seconds(source_seconds)
        dedup_key = await asyncio.to_thread(_dedup_key, request, source, provider.name, caller)

        def add() -> tuple[RequestRecord, bool]:
            return self._journal.add(
                request,
                provider=provider.name,
                shown_audio=sources.redact(named.shown),
                title=parent.title if parent else sources.title_of(named.shown),
                parent_request_id=parent.request_id if parent else None,
                expected_duration_seconds=None
                if source_seconds is None
                else source_seconds + request.extend_before_duration + request.extend_after_duration,
                dedup_key=dedup_key,
                caller=caller,
            )

        record, is_new = await asyncio.to_thread(add)
        if not is_new:
            record = as_one(await self._watch.look_at_all(record.request_id))
            if record.status in {Status.FAILED, Status.CANCELLED}:
                record, is_new = await asyncio.to_thread(add)  # it had ended, and nobody had looked
        if not is_new:
            return reports.taken_on_before(record, self._journal.age_seconds(record))
        return await self._hand_over(record.request_id, request, source)

    async def _hand_over(self, request_id: str, request: SubmitRequest, source: Source) -> Submission:
        """Give the takes of a request that is written down to its provider, all at once.

        One that is not taken on does not keep the others from being made.
        """
        takes = await asyncio.to_thread(self._journal.takes, request_id)
        answers = await asyncio.gather(
            *(
                self._hand_over_take(take, request.take(number), source)
                for number, take in enumerate(takes, 1)
            ),
            return_exceptions=True,
        )
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        unforeseen = [each for each in failures if not isinstance(each, OutpaintError)]
        if len(failures) == len(takes) or unforeseen:
            raise (unforeseen or failures)[0]
        receipts = [answer for answer in answers if isinstance(answer, Receipt)]
        waits_for = next((each.waits_for for each in receipts if each.waits_for), "")
        record = as_one(await asyncio.to_thread(self._journal.takes, request_id))
        return reports.taken_on(record, waits_for=waits_for, refused=failures)

    async def _hand_over_take(self, record: RequestRecord, request: SubmitRequest, source: Source) -> Receipt:
        try:
            receipt = await self._providers[record.provider].submit(record.request_id, request, source)
        except OutpaintError as exc:
            await asyncio.to_thread(
                self._journal.note, record.request_id, Status.FAILED, str(exc), cost_usd=0.0
            )
            raise
        if receipt.status is not record.status:
            await self._watch.look(record.request_id)
        if receipt.failure is not None:
            raise receipt.failure
        return receipt


def _dedup_key(request: SubmitRequest, source: Source, provider: str, caller: str) -> str:
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
    asked = request.model_dump_json(include=OutpaintRequest.model_fields.keys() - {"audio"})
    # Told only where they are no defaults: requests that were made before there were any have no other digest.
    is_more = request.is_cut or request.takes > 1
    more = (request.source_start_seconds, request.source_end_seconds, request.takes)
    told = (provider, caller, heard, asked, *(more if is_more else ()))
    return hashlib.sha256(repr(told).encode()).hexdigest()

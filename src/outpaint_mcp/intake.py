"""Taking requests in: what the source is, whether the same was asked a moment ago, and who carries it out."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

from outpaint_mcp import reports, sources
from outpaint_mcp.errors import OutpaintError
from outpaint_mcp.models import OutpaintRequest, Status
from outpaint_mcp.provider import Receipt
from outpaint_mcp.sources import InlineAudio, LocalFile, RemoteUrl
from outpaint_mcp.takes import as_one

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outpaint_mcp.answers import Submission
    from outpaint_mcp.entries import Entry
    from outpaint_mcp.journal import Journal
    from outpaint_mcp.models import Commission
    from outpaint_mcp.naming import Named
    from outpaint_mcp.provider import Provider
    from outpaint_mcp.sources import Source
    from outpaint_mcp.watch import Watch


class Intake:
    """Writes requests down and hands them over."""

    def __init__(
        self, journal: Journal, watch: Watch, providers: Mapping[str, Provider], provider: str
    ) -> None:
        """Open it; new requests go to the provider of this name."""
        self._journal = journal
        self._watch = watch
        self._providers = providers
        self._provider = providers[provider]

    async def submit(self, commission: Commission, named: Named, *, caller: str) -> Submission:
        """Take a request in: look at its source, write it down, hand it to the provider.

        The same request by the same caller within ten minutes is the first one over again.

        Args:
            commission: what is asked.
            named: its source.
            caller: who asks, where several people share the server.

        Raises:
            InvalidRequest, SourceError, ProviderError: nothing was started, and nothing is paid.
        """
        source, provider, parent = named.source, self._provider, named.parent
        source_seconds = await provider.source_seconds(source)
        if source_seconds is not None:
            source_seconds = commission.used_seconds(source_seconds)
        likeness = await asyncio.to_thread(_likeness, commission, source, provider.name, caller)

        def add() -> tuple[Entry, bool]:
            return self._journal.add(
                commission,
                provider=provider.name,
                shown_audio=sources.redact(named.shown),
                title=parent.title if parent else sources.title_of(named.shown),
                parent_request_id=parent.request_id if parent else None,
                expected_duration_seconds=None
                if source_seconds is None
                else source_seconds + commission.extend_before_duration + commission.extend_after_duration,
                likeness=likeness,
                caller=caller,
            )

        entry, is_new = await asyncio.to_thread(add)
        if not is_new:
            entry = as_one(await self._watch.look_at_all(entry.request_id))
            if entry.status in {Status.FAILED, Status.CANCELLED}:
                entry, is_new = await asyncio.to_thread(add)  # it had ended, and nobody had looked
        if not is_new:
            return reports.taken_on_before(entry, self._journal.age_seconds(entry))
        return await self._hand_over(entry.request_id, commission, source)

    async def _hand_over(self, request_id: str, commission: Commission, source: Source) -> Submission:
        """Give the takes of a request that is written down to its provider, all at once.

        One that is not taken on does not keep the others from being made.
        """
        takes = await asyncio.to_thread(self._journal.takes, request_id)
        answers = await asyncio.gather(
            *(
                self._hand_over_take(take, commission.take(number), source)
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
        entry = as_one(await asyncio.to_thread(self._journal.takes, request_id))
        return reports.taken_on(entry, waits_for=waits_for, refused=failures)

    async def _hand_over_take(self, entry: Entry, commission: Commission, source: Source) -> Receipt:
        try:
            receipt = await self._providers[entry.provider].submit(entry.request_id, commission, source)
        except OutpaintError as exc:
            await asyncio.to_thread(
                self._journal.note, entry.request_id, Status.FAILED, str(exc), cost_usd=0.0
            )
            raise
        if receipt.status is not entry.status:
            await self._watch.look(entry.request_id)
        if receipt.failure is not None:
            raise receipt.failure
        return receipt


def _likeness(commission: Commission, source: Source, provider: str, caller: str) -> str:
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
    asked = commission.model_dump_json(include=OutpaintRequest.model_fields.keys() - {"audio"})
    # Told only where they are no defaults: requests that were made before there were any have no other digest.
    is_more = commission.is_cut or commission.takes > 1
    more = (commission.source_start_seconds, commission.source_end_seconds, commission.takes)
    told = (provider, caller, heard, asked, *(more if is_more else ()))
    return hashlib.sha256(repr(told).encode()).hexdigest()

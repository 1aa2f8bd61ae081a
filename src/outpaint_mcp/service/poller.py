"""Where requests stand: one look at a time per request, however many wait for it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from outpaint_mcp.errors import RequestNotFound
from outpaint_mcp.providers.base import ProviderStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from outpaint_mcp.providers.base import Provider
    from outpaint_mcp.storage.journal import Journal
    from outpaint_mcp.storage.records import RequestRecord

    OnUpdate = Callable[[ProviderStatus], Awaitable[None]]

# A request is handed to its provider moments after it was written down. One that its provider does not
# know after this long was lost with the server that took it, or comes too late.
_HANDOVER_SECONDS = 30.0


class StatusPoller:
    """Asks each request's provider where it stands and keeps the journal up to date with it."""

    def __init__(self, journal: Journal, providers: Mapping[str, Provider]) -> None:
        self._journal = journal
        self._providers = providers
        self._looks: dict[str, asyncio.Task[RequestRecord]] = {}
        self._seen: dict[str, ProviderStatus] = {}

    def seen(self, request_id: str) -> ProviderStatus | None:
        """Return what the last look found; None once the request has ended."""
        return self._seen.get(request_id)

    async def follow(self, request_id: str, wait_seconds: float, on_update: OnUpdate | None) -> RequestRecord:
        """Look at a request until it has ended or the wait is over.

        Raises:
            RequestNotFound: no such request was ever made.
        """
        deadline = time.monotonic() + wait_seconds
        record = await self.look(request_id)
        while not record.status.is_final and time.monotonic() < deadline:
            seen = self._seen.get(request_id)
            if on_update is not None and seen is not None:
                await on_update(seen)
            # The look is shared by all who wait for this request, so one who leaves must not end it.
            record = await asyncio.shield(self._next_look(record))
        return record

    async def look_at_all(self, request_id: str) -> list[RequestRecord]:
        """Look at all takes of a request; raises as `look` does."""
        takes = await asyncio.to_thread(self._journal.takes, request_id)
        return [await self.look(take.request_id) for take in takes]

    def _next_look(self, record: RequestRecord) -> asyncio.Task[RequestRecord]:
        request_id = record.request_id
        task = self._looks.get(request_id)
        if task is None:
            task = self._looks[request_id] = asyncio.create_task(self._look_later(record))
            task.add_done_callback(lambda _: self._looks.pop(request_id))
        return task

    async def _look_later(self, record: RequestRecord) -> RequestRecord:
        await self._providers[record.provider].news(record.request_id)
        return await self.look(record.request_id)

    async def look(self, request_id: str) -> RequestRecord:
        """Read the journal, ask the provider if the request has not ended, and write down what it says.

        Raises:
            RequestNotFound: no such request was ever made.
        """
        record = await asyncio.to_thread(self._journal.get, request_id)
        if record.status.is_final:
            self._seen.pop(request_id, None)
            return record
        provider = self._providers[record.provider]
        try:
            seen = await provider.status(request_id)
        except RequestNotFound:
            # A clock that was set back makes ages negative: no request waits until it is right again.
            if abs(self._journal.age_seconds(record)) < _HANDOVER_SECONDS:
                seen = ProviderStatus(status=record.status)
            else:
                await provider.give_up(request_id)
                seen = await provider.status(request_id)
        if seen.status is not record.status:
            cost = seen.cost_usd if seen.status.is_final else None  # until then, more may come
            record = await asyncio.to_thread(
                self._journal.note, request_id, seen.status, seen.error, cost_usd=cost
            )
        if record.status.is_final:
            self._seen.pop(request_id, None)
        else:
            self._seen[request_id] = seen
        return record

"""Having takes of a request stopped, whoever carries them out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from outpaint_mcp.disk.writing import remove
from outpaint_mcp.models import CancelOutcome, Status
from outpaint_mcp.storage.records import CancelWish

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from outpaint_mcp.jobs.signal import UpdateSignal
    from outpaint_mcp.providers.base import Provider
    from outpaint_mcp.storage.records import RequestRecord
    from outpaint_mcp.storage.store import Store

_GLANCE_SECONDS = 0.25


class Canceller:
    """Has takes stopped, and deletes what they leave behind.

    Args:
        store: where the wish is written.
        providers: by name.
        signal: says when something happens to a request.
        jobs_folder: holds one folder per job.
        ring: tells the dispatcher of this process; None where there is none.
        cancel_seconds: how long to wait for whoever carries the take out.
    """

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        store: Store,
        providers: Mapping[str, Provider],
        signal: UpdateSignal,
        jobs_folder: Path,
        *,
        ring: Callable[[], None] | None,
        cancel_seconds: float,
    ) -> None:
        self._store = store
        self._providers = providers
        self._signal = signal
        self._jobs_folder = jobs_folder
        self._ring = ring
        self._cancel_seconds = cancel_seconds

    async def cancel(self, takes: Sequence[RequestRecord]) -> CancelOutcome:
        """Have takes stopped that have not ended; says whether all of these are cancelled."""
        outcomes = await asyncio.gather(*(self._cancel(take) for take in takes if not take.status.is_final))
        is_cancelled = bool(outcomes) and all(each is CancelOutcome.CANCELLED for each in outcomes)
        return CancelOutcome.CANCELLED if is_cancelled else CancelOutcome.NOT_CANCELLABLE

    async def _cancel(self, take: RequestRecord) -> CancelOutcome:
        """Have one take stopped; what is not known to be cancelled is not called so, as it may be carried out."""
        queue, request_id = self._store.queue, take.request_id
        if not await asyncio.to_thread(queue.cancel, request_id):
            return CancelOutcome.NOT_CANCELLABLE
        if self._ring is not None:
            self._ring()
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
        await asyncio.to_thread(remove, folder)
        return CancelOutcome.CANCELLED

    async def _record(self, request_id: str) -> RequestRecord:
        return await asyncio.to_thread(self._store.journal.get, request_id)

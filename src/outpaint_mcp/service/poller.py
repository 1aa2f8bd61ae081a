"""Waiting for requests: one look at a time per request, however many wait for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from outpaint_mcp.errors import Hint, ServerStopping
from outpaint_mcp.service.takes import as_one
from outpaint_mcp.storage.records import RequestProgress

if TYPE_CHECKING:
    from outpaint_mcp.jobs.signal import UpdateSignal
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.storage.journal import Journal
    from outpaint_mcp.storage.records import RequestRecord

OnUpdate = Callable[[RequestProgress], Awaitable[None]]

# Another process may be the one that works on it, and wakes nobody here.
_LOOK_SECONDS = 0.25


class StatusPoller:
    """Reads the journal for those who wait."""

    def __init__(self, journal: Journal, signal: UpdateSignal) -> None:
        self._journal = journal
        self._signal = signal
        self._looks: dict[tuple[Principal, str], asyncio.Task[list[RequestRecord]]] = {}
        self._is_closed = False

    async def close(self) -> None:
        """End all waiting; whoever waits gets `ServerStopping`."""
        self._is_closed = True
        looks = [*self._looks.values()]
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    async def takes(self, principal: Principal, request_id: str) -> list[RequestRecord]:
        """Return all takes of a request as they are now.

        Raises:
            RequestNotFound: whoever asks has no such request.
        """
        return await asyncio.to_thread(self._journal.takes_of, principal, request_id)

    async def follow(
        self, principal: Principal, request_id: str, wait_seconds: float, on_update: OnUpdate | None = None
    ) -> list[RequestRecord]:
        """Look at all takes of a request until they have ended, wait for the person, or the wait is over.

        Args:
            principal: who asks.
            request_id: of the request, or of one of its takes.
            wait_seconds: how long to wait.
            on_update: receives the progress while waiting.

        Raises:
            RequestNotFound: they have no such request.
            ServerStopping: the poller was closed before the wait was over.
        """
        deadline = time.monotonic() + wait_seconds
        takes = await self.takes(principal, request_id)
        while (progress := as_one(takes).live) is not None and time.monotonic() < deadline:
            if progress.awaits_agreement:
                break
            if on_update is not None:
                await on_update(progress)
            takes = await self._next_look(principal, request_id, takes)
        return takes

    async def _next_look(
        self, principal: Principal, request_id: str, takes: list[RequestRecord]
    ) -> list[RequestRecord]:
        if self._is_closed:
            raise _stopping(request_id)
        look = self._look(principal, request_id, takes)
        await asyncio.wait(
            {look}
        )  # it is shared by all who wait for this request: one who leaves does not end it
        if look.cancelled():
            raise _stopping(request_id)
        return look.result()

    def _look(
        self, principal: Principal, request_id: str, takes: list[RequestRecord]
    ) -> asyncio.Task[list[RequestRecord]]:
        key = (principal, request_id)
        task = self._looks.get(key)
        if task is None:
            first_open = next(take.request_id for take in takes if not take.status.is_final)
            task = self._looks[key] = asyncio.create_task(self._look_later(*key, first_open))
            task.add_done_callback(lambda _: self._looks.pop(key))
        return task

    async def _look_later(
        self, principal: Principal, request_id: str, waited_for: str
    ) -> list[RequestRecord]:
        await self._signal.wait(waited_for, _LOOK_SECONDS)
        return await self.takes(principal, request_id)


def _stopping(request_id: str) -> ServerStopping:
    return ServerStopping(
        "This server is stopping, so it waits no longer. Nothing is lost.",
        hint=Hint.GET_RESULT,
        request_id=request_id,
    )

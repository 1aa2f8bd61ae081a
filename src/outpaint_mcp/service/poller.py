"""Waiting for requests: one look at a time, at all that are waited for, however many wait for each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from outpaint_mcp.service.takes import as_one
from outpaint_mcp.storage.records import RequestProgress

if TYPE_CHECKING:
    from outpaint_mcp.jobs.signal import UpdateSignal
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.storage.journal import Journal
    from outpaint_mcp.storage.records import RequestRecord

OnUpdate = Callable[[RequestProgress], Awaitable[None]]

_Round = asyncio.Task[dict[str, "list[RequestRecord]"]]

# Another process may be the one that works on it, and wakes nobody here.
_LOOK_SECONDS = 0.25


class StatusPoller:
    """Reads the journal for those who wait."""

    def __init__(self, journal: Journal, signal: UpdateSignal) -> None:
        self._journal = journal
        self._signal = signal
        self._looks: dict[str, asyncio.Task[list[RequestRecord]]] = {}
        self._due: set[str] = set()
        self._next_round: _Round | None = None
        self._rounds: set[_Round] = set()
        self._waits_no_longer = False

    def stop_waiting(self) -> None:
        """Let nobody wait any longer: whoever does gets where the request is."""
        self._waits_no_longer = True
        for look in self._looks.values():
            look.cancel()

    async def close(self) -> None:
        """End all waiting, and every look that is under way."""
        self.stop_waiting()
        for each in self._rounds:
            each.cancel()
        await asyncio.gather(*self._looks.values(), *self._rounds, return_exceptions=True)

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
        """
        deadline = time.monotonic() + wait_seconds
        takes = await self.takes(principal, request_id)
        while (
            (progress := as_one(takes).live) is not None
            and not self._waits_no_longer
            and time.monotonic() < deadline
        ):
            if progress.awaits_agreement:
                break
            if on_update is not None:
                await on_update(progress)
            takes = await self._next_look(request_id, takes)  # theirs, as was seen above
        return takes

    async def _next_look(self, request_id: str, takes: list[RequestRecord]) -> list[RequestRecord]:
        look = self._looks.get(request_id)
        if look is None:
            first_open = next(take.request_id for take in takes if not take.status.is_final)
            look = self._looks[request_id] = asyncio.create_task(self._look_later(request_id, first_open))
            look.add_done_callback(lambda _: self._looks.pop(request_id))
        # It is shared by all who wait for this request: one who leaves does not end it.
        await asyncio.wait({look})
        return takes if look.cancelled() else look.result()

    async def _look_later(self, request_id: str, waited_for: str) -> list[RequestRecord]:
        await self._signal.wait(waited_for, _LOOK_SECONDS)
        self._due.add(request_id)
        if self._next_round is None:
            self._next_round = asyncio.create_task(self._look_at_all_due())
            self._rounds.add(self._next_round)
            self._next_round.add_done_callback(self._rounds.discard)
        # Shared, too: requests that came back together are due together again.
        looking = self._next_round
        await asyncio.wait({looking})
        found = looking.result()[request_id]
        return found or await asyncio.to_thread(self._journal.takes, request_id)  # which says that it is gone

    async def _look_at_all_due(self) -> dict[str, list[RequestRecord]]:
        await asyncio.sleep(0)  # until all have come that are due in this turn of the loop
        due, self._due, self._next_round = [*self._due], set(), None
        return await asyncio.to_thread(self._journal.takes_of_all, due)

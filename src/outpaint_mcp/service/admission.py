"""How many submissions are looked at by one process at a time, and how many may wait for that."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from outpaint_mcp.errors import ServerBusy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from outpaint_mcp.principals import Principal

MOST_SUBMISSIONS = 64
MOST_WAITING = 512
MOST_OF_ONE_CALLER = 64

# Until one has been measured; and how much each new one counts.
_USUAL_SECONDS = 1.0
_WEIGHT = 0.1


class Admission:
    """Lets submissions in, a limited number at a time, and refuses those that would wait for too long.

    Requests that were accepted wait in the queue on disk instead, which has no limit.

    Args:
        most_submissions: how many are looked at at a time.
        most_waiting: how many wait for that.
        most_of_one_caller: how many of both may be one remote caller's.
    """

    def __init__(
        self,
        *,
        most_submissions: int = MOST_SUBMISSIONS,
        most_waiting: int = MOST_WAITING,
        most_of_one_caller: int = MOST_OF_ONE_CALLER,
    ) -> None:
        self._most_submissions = most_submissions
        self._most_waiting = most_waiting
        self._places = asyncio.Semaphore(most_submissions)
        self._waiting = 0
        self._most_of_one_caller = most_of_one_caller
        self._of_callers: Counter[str] = Counter()
        self._usual_seconds = _USUAL_SECONDS

    @asynccontextmanager
    async def turn(self, principal: Principal) -> AsyncIterator[None]:
        """Wait for a place, and have it for as long as the block lasts.

        Raises:
            ServerBusy: too many wait already, or too many of this caller's.
        """
        owner = principal.owner
        if self._waiting >= self._most_waiting or (
            owner and self._of_callers[owner] >= self._most_of_one_caller
        ):
            raise self._busy()
        self._of_callers[owner] += 1
        try:
            await self._wait()
            clock = asyncio.get_running_loop().time
            begun_at = clock()
            try:
                yield
            finally:
                self._places.release()
                self._usual_seconds += _WEIGHT * (clock() - begun_at - self._usual_seconds)
        finally:
            self._of_callers[owner] -= 1
            if not self._of_callers[owner]:
                del self._of_callers[owner]

    async def _wait(self) -> None:
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1

    def _busy(self) -> ServerBusy:
        seconds = math.ceil(self._usual_seconds * (1 + self._waiting / self._most_submissions))
        return ServerBusy(f"This server is busy, and nothing was started. Try again in {seconds} s.")

"""How many workers run at once, and who is next."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from outpaint_mcp.errors import ServerStopping

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Slots:
    """Places for workers, in the order of asking: short tasks first, and one place that long ones never take."""

    def __init__(self, total: int) -> None:
        self._total = total
        self.long = max(1, total - 1)
        self.busy = 0
        self._busy_long = 0
        self._short_queue: deque[asyncio.Future[None]] = deque()
        self._long_queue: deque[asyncio.Future[None]] = deque()
        self._is_closed = False

    @asynccontextmanager
    async def take(self, *, is_short: bool) -> AsyncIterator[None]:
        """Wait for a place, and hold it for as long as the block lasts.

        Raises:
            ServerStopping: no place is given any more.
        """
        if self._is_closed:
            raise stopping()
        queue = self._short_queue if is_short else self._long_queue
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._give()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with suppress(ValueError):  # passed over already
                    queue.remove(turn)
            elif turn.exception() is None:
                self._return(is_short=is_short)
            raise
        try:
            yield
        finally:
            self._return(is_short=is_short)

    def close(self) -> None:
        """Send away whoever waits, and whoever comes."""
        self._is_closed = True
        for turn in (*self._short_queue, *self._long_queue):
            if not turn.done():
                turn.set_exception(stopping())
        self._short_queue.clear()
        self._long_queue.clear()

    def _give(self) -> None:
        while self._short_queue and self.busy < self._total:
            self._hand_to(self._short_queue)
        while self._long_queue and self.busy < self._total and self._busy_long < self.long:
            self._busy_long += self._hand_to(self._long_queue)

    def _hand_to(self, queue: deque[asyncio.Future[None]]) -> int:
        """Give a place to the first in a queue; returns how many were given."""
        turn = queue.popleft()
        if turn.cancelled():
            return 0
        turn.set_result(None)
        self.busy += 1
        return 1

    def _return(self, *, is_short: bool) -> None:
        self.busy -= 1
        self._busy_long -= not is_short
        self._give()


def stopping() -> ServerStopping:
    """Return the error for work that a server which is leaving does not begin or finish."""
    return ServerStopping("This server is shutting down. Try again in a moment.")


def count_cores() -> int:
    """Return how many cores this process may run on; a limit of its processor time is not seen."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

"""How often a service is asked: each request less often as it ages, all of them never too often."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# The vendor's own clients ask every 2 s, or every 5 s.
FIRST_SECONDS, LAST_SECONDS = 2.0, 10.0
_SLOWER_AFTER_SECONDS = 30.0

CALLS_PER_SECOND = 5.0
"""Looks at all requests of one process together; a look that failed is repeated at its own, growing pauses."""


@dataclass(slots=True, kw_only=True)
class PollSchedule:
    """When to ask next.

    Attributes:
        first_seconds: between two looks at a young request.
        last_seconds: between two looks at an old one.
        calls_per_second: of all requests together.
        submit_seconds: how long a submission is tried that the service provably did not take.
        retry_seconds: longest pause between two tries at what money was spent on.
        unheard_of_seconds: how long a service may not know everywhere what it has taken on.
        sleep: pauses.
        clock: monotonic seconds.
    """

    first_seconds: float = FIRST_SECONDS
    last_seconds: float = LAST_SECONDS
    calls_per_second: float = CALLS_PER_SECOND
    submit_seconds: float = 30.0
    retry_seconds: float = 60.0
    unheard_of_seconds: float = 60.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    _next: float = field(default=0.0, init=False)

    def pause_seconds(self, age_seconds: float) -> float:
        """How long to leave a request of this age alone."""
        grown = self.first_seconds * age_seconds / _SLOWER_AFTER_SECONDS
        return min(self.last_seconds, max(self.first_seconds, grown))

    def retry_pause_seconds(self, attempt: int) -> float:
        """How long to wait after a try that failed, 0 being the first."""
        return min(self.retry_seconds, self.first_seconds * 2.0 ** min(attempt, 16))

    async def turn(self) -> None:
        """Wait for one's turn among all who ask."""
        now = self.clock()
        turn, self._next = self._next, max(now, self._next) + 1 / self.calls_per_second
        if turn > now:
            await self.sleep(turn - now)


class Absence:
    """How long a service has not known what it accepted, or whose it is; one such answer alone means little.

    It counts from the first of these answers: how long ago the service was last asked, or could be, does not matter.
    """

    def __init__(self, schedule: PollSchedule) -> None:
        self._schedule = schedule
        self._since: float | None = None

    def lasts(self) -> bool:
        """Take note of such an answer; returns whether they have gone on for long enough to be believed."""
        now = self._schedule.clock()
        self._since = now if self._since is None else self._since
        return now - self._since >= self._schedule.unheard_of_seconds

    def ends(self) -> None:
        """Take note of another answer."""
        self._since = None

"""Repeating what was not carried out, with growing pauses, for as long as somebody waits for it."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from outpaint_mcp.errors import ProviderUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

_Answer = TypeVar("_Answer")

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0


class RetryPolicy(NamedTuple):
    """How to wait.

    Attributes:
        sleep: pauses.
        rng: draws the jitter, so that many who were turned away together do not come back together.
        clock: monotonic seconds.
    """

    sleep: Callable[[float], Awaitable[None]]
    rng: Random
    clock: Callable[[], float]

    async def run(self, call: Callable[[float], Awaitable[_Answer]], within_seconds: float) -> _Answer:
        """Make a call until it is carried out; it receives how many seconds are left.

        Raises:
            ProviderUnavailable: the last one's, once another pause would end too late.
        """
        until = self.clock() + within_seconds
        for attempt in count():
            try:
                return await call(until - self.clock())
            except ProviderUnavailable as exc:
                ceiling = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt)
                asked = min(exc.retry_after_seconds or 0.0, _LONGEST_PAUSE_SECONDS)
                pause = asked + self.rng.uniform(ceiling / 2, ceiling)
                if self.clock() + pause >= until:
                    raise
                await self.sleep(pause)
        raise AssertionError("counting does not end")

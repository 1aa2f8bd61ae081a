"""Time in tests: a clock that is set by hand, and waiting for what happens elsewhere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_SECONDS = 60.0


class Clock:
    """Time that passes only while somebody sleeps, or when it is set.

    Attributes:
        now: in Unix seconds.
        pauses: seconds, one after the other.
        on_pause: called before each pause with the number of pauses so far.
    """

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now
        self.pauses: list[float] = []
        self.on_pause: Callable[[int], object] = lambda _: None

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.on_pause(len(self.pauses))
        self.pauses.append(seconds)
        self.now += seconds


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that happens elsewhere.

    Raises:
        TimeoutError: it did not happen in time.
    """
    with anyio.fail_after(PATIENCE_SECONDS):
        while not is_so():  # noqa: ASYNC110 - what others do is looked for
            await asyncio.sleep(0.01)

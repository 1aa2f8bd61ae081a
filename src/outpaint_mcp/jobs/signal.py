"""Whoever waits for something to happen to a request is woken when it does."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from weakref import WeakValueDictionary


class UpdateSignal:
    """One event per request, for as long as somebody waits for it; other processes' updates wake nobody."""

    def __init__(self) -> None:
        self._events: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()

    def notify(self, request_id: str) -> None:
        """Wake all who wait for this request."""
        event = self._events.pop(request_id, None)
        if event is not None:
            event.set()

    async def wait(self, request_id: str, seconds: float) -> None:
        """Return when something happens, or when the time is over."""
        event = self._events.get(request_id)
        if event is None:
            event = self._events[request_id] = asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

"""Who waits for something to happen to a request is woken when it does."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from weakref import WeakValueDictionary


class UpdateSignal:
    """One bell a request, for as long as somebody listens."""

    def __init__(self) -> None:
        self._bells: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()

    def tell(self, request_id: str) -> None:
        """Wake all who wait for this request."""
        bell = self._bells.pop(request_id, None)
        if bell is not None:
            bell.set()

    async def wait(self, request_id: str, seconds: float) -> None:
        """Return when something happens, or when the time is over."""
        bell = self._bells.get(request_id)
        if bell is None:
            bell = self._bells[request_id] = asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await bell.wait()

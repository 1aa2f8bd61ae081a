"""A model's price, read again every ten minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from outpaint_mcp.providers.remote.model import ModelClient, Price

_FRESH_SECONDS = 600.0


class PriceCache:
    """Reads the price from the service, and remembers it for a while."""

    def __init__(self, client: Callable[[], ModelClient], clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._price: Price | None = None
        self._read_at = 0.0

    async def price(self, *, within_seconds: float) -> Price:
        """Return the price; raises as `ModelClient.price` does."""
        if self._price is None or self._clock() - self._read_at > _FRESH_SECONDS:
            self._price = await self._client().price(within_seconds=within_seconds)
            self._read_at = self._clock()
        return self._price

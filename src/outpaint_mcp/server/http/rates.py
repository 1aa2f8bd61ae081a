"""How often each caller may ask, and each address that shows no key: counted before anything of a body is read."""

from __future__ import annotations

import math
import time
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from outpaint_mcp.server.http.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Scope

_MINUTE_SECONDS = 60.0
_MOST_BUCKETS = 10_000
# Whoever has one address of IPv6 has this many of its bits' worth of them.
_NETWORK_BITS = 64


class Rates:
    """A token bucket for each who asks: a minute's requests at once, then one after the other.

    A bucket that is full again is as good as none, so that the table stays small; of too many, the one that was not
    used for longest goes.
    """

    def __init__(
        self,
        per_minute: int,
        *,
        most_buckets: int = _MOST_BUCKETS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set the rate.

        Args:
            per_minute: how many requests each may send in a minute.
            most_buckets: how many of those who ask are counted at a time.
            clock: seconds.
        """
        self._per_minute = per_minute
        self._most_buckets = most_buckets
        self._clock = clock
        self._full_at: dict[str, float] = {}  # the one that was used last is the last

    def take(self, who: str) -> Refusal | None:
        """Count a request; return why it is not let in, where it is one too many."""
        now = self._clock()
        each_seconds = _MINUTE_SECONDS / self._per_minute
        full_at = max(now, self._full_at.pop(who, now)) + each_seconds
        early_seconds = full_at - now - _MINUTE_SECONDS
        is_refused = early_seconds > each_seconds / 1000  # sums of floats
        self._full_at[who] = full_at - each_seconds if is_refused else full_at
        while len(self._full_at) > self._most_buckets or next(iter(self._full_at.values())) <= now:
            del self._full_at[next(iter(self._full_at))]
        return self._refusal(early_seconds) if is_refused else None

    def _refusal(self, seconds: float) -> Refusal:
        pause = max(1, math.ceil(seconds))
        return Refusal(
            status=429,
            message=(
                f"This is more than {self._per_minute} requests in a minute, which is the most for one caller."
                f" Nothing was done. Try again in {pause} s, and wait for results with wait_seconds instead of asking"
                " again and again."
            ),
            headers=((b"retry-after", str(pause).encode()),),
        )


def address_of(scope: Scope) -> str:
    """Return where a request comes from; of IPv6 addresses, the network that is one customer's."""
    host = (scope.get("client") or ("", 0))[0]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return str(host)
    if address.version == 6:  # noqa: PLR2004 - the protocol's number
        return str(address.ipv4_mapped or ip_network((int(address), _NETWORK_BITS), strict=False))
    return str(address)

"""The one rule by which a source's link is asked again: where its host was busy, and for about a minute at most."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from outpaint_mcp.errors import SourceBusy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path

PAUSES_SECONDS = (1.0, 4.0, 15.0)
"""Between tries; longer where the host asks for more."""

LONGEST_PAUSE_SECONDS = 20.0
"""A host that asks for more than this is not asked again."""

_TRYING_SECONDS = 75.0
"""What breaks off after that is not begun anew."""


async def fetch_patiently(
    fetch: Callable[..., Coroutine[object, object, str | None]],
    url: str,
    destination: Path,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    **options: Any,  # noqa: ANN401 - those of `fetch`
) -> str | None:
    """Fetch a source, again after a pause where its host is busy.

    Args:
        fetch: as `sources.fetch`.
        url: see there, as for the destination, the options, what is returned and the other errors.
        destination: see there.
        sleep: pauses.
        options: see there.

    Raises:
        SourceBusy: the host was busy every time, or wants to be left alone for longer.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + _TRYING_SECONDS
    for least_seconds in PAUSES_SECONDS:
        try:
            return await fetch(url, destination, **options)
        except SourceBusy as exc:
            pause_seconds = max(least_seconds, exc.retry_after_seconds or 0.0)
            if pause_seconds > LONGEST_PAUSE_SECONDS or clock() + pause_seconds > until:
                raise
            await sleep(pause_seconds)
    return await fetch(url, destination, **options)

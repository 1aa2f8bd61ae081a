"""A link becomes a file: from public addresses only, bounded in size and time, whole or not at all."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from outpaint_mcp.errors import SourceUnreachable
from outpaint_mcp.sources.links import ANYWHERE, DownloadPolicy, is_public_address, parse_link
from outpaint_mcp.sources.names import quoted

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv6Address
    from pathlib import Path

MAX_BYTES = 2 * 1024**3
"""More than the longest source there is: an hour of 24-bit stereo at 96 kHz, 2.07 GB."""

TIMEOUT_SECONDS = 600.0


def _unwatched(_received: int, _total: int | None, /) -> None:
    """Progress that nobody follows."""


async def fetch(  # noqa: PLR0913  three limits and four seams, all keyword-only
    url: str,
    destination: Path,
    *,
    policy: DownloadPolicy = ANYWHERE,
    max_bytes: int = MAX_BYTES,
    timeout_seconds: float = TIMEOUT_SECONDS,
    is_public: Callable[[IPv4Address | IPv6Address], bool] = is_public_address,
    tls: ssl.SSLContext | None = None,
    on_progress: Callable[[int, int | None], None] = _unwatched,
    clock: Callable[[], float] = time.monotonic,
) -> str | None:
    """Fetch `url` into `destination`, which appears only when all of it is there.

    Every host on the way is resolved once, all its addresses have to be public, and the connection goes to
    the address that was checked, so that DNS cannot change its answer in between. No proxy, cookie or
    credential is used.

    Args:
        url: https.
        destination: replaced atomically; a `.part` of this process beside it is in use meanwhile, and then removed.
        policy: where it may lead, redirects included.
        max_bytes: the most that is read.
        timeout_seconds: for all of it.
        is_public: whether an address may be connected to.
        tls: whom to trust; by default the authorities of certifi, or of `SSL_CERT_FILE`.
        on_progress: called with the bytes received and, where the host says so, the bytes in all.
        clock: monotonic seconds, for how fast the host sends.

    Returns:
        The title that the host gives the file, fit for a file's name; None where it gives none.

    Raises:
        InvalidRequest: the link is malformed.
        SourceNotAllowed: plain http, a user name in the link, an address that is not public, or a host that
            the policy does not admit.
        SourceUnreachable: no such host, no connection, no trust, no success, or too slow; SourceBusy where another
            try may do.
        SourceTooLarge: more than `max_bytes`.
        UnsupportedAudio: empty, compressed, or a text such as a web page.
        SourceError: this machine could not write the file.
    """
    from outpaint_mcp.sources.transfer import Transfer  # noqa: PLC0415  loads httpx, a quarter of a second

    link = parse_link(url, policy)
    transfer = Transfer(quoted(url), destination, policy, max_bytes, is_public, tls, on_progress, clock)
    try:
        async with asyncio.timeout(timeout_seconds):
            return await transfer.run(link)
    except TimeoutError as exc:
        raise SourceUnreachable(
            f"{quoted(url)} took longer than {timeout_seconds:g} s to download: try again later, or save the file "
            "and give its path."
        ) from exc

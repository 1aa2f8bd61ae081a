"""One download over httpx, redirect by redirect; imported at first need, because httpx is slow to load."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import socket
import threading
from contextlib import aclosing, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, BinaryIO, TypeVar
from urllib.parse import urljoin

import httpx

from outpaint_mcp.errors import (
    InvalidRequest,
    SourceError,
    SourceNotAllowed,
    SourceTooLarge,
    SourceUnreachable,
    UnsupportedAudio,
)
from outpaint_mcp.sources.disposition import title_in
from outpaint_mcp.sources.http_errors import announced_bytes, refuse_failure, refuse_no_audio, unreachable
from outpaint_mcp.sources.links import DownloadPolicy, Link, parse_link

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

STALL_SECONDS = 30.0
"""The longest silence of a host that has taken the connection."""

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
"""The longest time until a host's answer begins: what it sends before that could go on for ever."""

LEAST_BYTES_A_SECOND = 1_000
RATE_SECONDS = 20.0
"""A host that sends less than this in so much time is not waited for."""

MAX_REDIRECTS = 5
MAX_ADDRESSES = 4
"""How many of a host's addresses are tried in turn."""

CHUNK_BYTES = 256 * 1024

for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # below, they log whole links and headers: secrets

_Done = TypeVar("_Done")

_HEADERS = {
    "Accept": "audio/*, application/octet-stream;q=0.9, */*;q=0.5",
    "Accept-Encoding": "identity",  # an encoded answer could grow without bound when decoded
    "User-Agent": "outpaint-mcp",
}


@dataclass(frozen=True, slots=True)
class Transfer:
    """What `fetch` was asked for; `shown` is the link as messages have it."""

    shown: str
    destination: Path
    policy: DownloadPolicy
    max_bytes: int
    is_public: Callable[[IPv4Address | IPv6Address], bool]
    tls: ssl.SSLContext | None
    on_progress: Callable[[int, int | None], None]
    clock: Callable[[], float]

    async def run(self, link: Link) -> str | None:
        """Follow the link to the file and save it; returns the title that its host gives it."""
        try:
            tls = self.tls if self.tls is not None else await asyncio.to_thread(_default_tls)
            for _ in range(MAX_REDIRECTS + 1):
                location, title = await self._hop(link, tls)
                if location is None:
                    return title
                link = self._next(link, location)
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise unreachable(exc, self.shown) from exc
        raise SourceUnreachable(
            f"{self.shown} redirects more than {MAX_REDIRECTS} times: give a direct link to the audio file."
        )

    async def _hop(self, link: Link, tls: ssl.SSLContext) -> tuple[str | None, str | None]:
        """Ask one host; where it redirects to, or None when the file is saved, and then the file's title.

        Each hop has a client of its own: a pooled connection belongs to an address, and may have been
        verified for another host's name.
        """
        if not self.policy.admit(link):
            raise SourceNotAllowed(
                f"{self.shown} leads to {link.host}, from which this may not be downloaded."
            )
        addresses = await self._addresses(link)
        timeout = httpx.Timeout(STALL_SECONDS, connect=CONNECT_SECONDS)
        async with (
            httpx.AsyncClient(verify=tls, trust_env=False, timeout=timeout) as client,
            aclosing(await _connect(client, link, addresses, self._too_slow(link))) as response,
        ):
            if response.has_redirect_location:
                return response.headers["location"], None
            refuse_failure(response, self.shown)
            await self._save(response, link)
            return None, title_in(response.headers.get("content-disposition", ""))

    def _too_slow(self, link: Link) -> SourceUnreachable:
        return SourceUnreachable(
            f"{self.shown}: the host {link.host} is too slow; try again later, or save the file and give its path."
        )

    def _next(self, link: Link, location: str) -> Link:
        try:
            return parse_link(urljoin(link.url, location), self.policy)
        except (InvalidRequest, ValueError) as exc:
            raise SourceUnreachable(
                f"{self.shown} redirects to something other than an https link: give a direct link to the audio."
            ) from exc

    async def _addresses(self, link: Link) -> list[IPv4Address | IPv6Address]:
        """The host's addresses, each of them public, or the operator's own choice."""
        try:
            answers = await _look_up(link.host, link.port)
        except (OSError, UnicodeError) as exc:
            raise SourceUnreachable(
                f"{self.shown}: the host {link.host} cannot be found; check the link and the network connection."
            ) from exc
        addresses = list(map(ip_address, answers))
        is_public = self.policy.trust(link) or all(map(self.is_public, addresses))
        if not addresses or not is_public:
            raise SourceNotAllowed(
                f"{self.shown} leads to {link.host}, which belongs to a private network, from which nothing is "
                "downloaded: give a link on the public internet, or save the file and give its path."
            )
        return list(dict.fromkeys(addresses))[:MAX_ADDRESSES]

    async def _pieces(self, response: httpx.Response, link: Link) -> AsyncGenerator[bytes]:
        """The body in pieces that are worth writing, for as long as its host is fast enough; writing does not count."""
        pending, waited_seconds, received, asked_at = bytearray(), 0.0, 0, self.clock()
        async for some in response.aiter_raw():
            waited_seconds += self.clock() - asked_at
            received += len(some)
            if waited_seconds >= RATE_SECONDS:
                if received < waited_seconds * LEAST_BYTES_A_SECOND:
                    raise self._too_slow(link)
                waited_seconds, received = 0.0, 0
            pending += some
            while len(pending) >= CHUNK_BYTES:
                yield bytes(pending[:CHUNK_BYTES])
                del pending[:CHUNK_BYTES]
            asked_at = self.clock()
        if pending:
            yield bytes(pending)

    async def _save(self, response: httpx.Response, link: Link) -> None:
        """Stream the body into the destination."""
        total = announced_bytes(response)
        self._refuse_excess(total or 0)
        received = 0
        part = _Part(self.destination)
        try:
            async with aclosing(self._pieces(response, link)) as pieces:
                async for piece in pieces:
                    if received == 0:
                        refuse_no_audio(piece, response, self.shown)
                    received += len(piece)
                    self._refuse_excess(received)
                    await _beside(functools.partial(part.add, piece))
                    self.on_progress(received, total)
            if received == 0:
                raise UnsupportedAudio(f"{self.shown} is an empty file: check the link.")
            await _beside(part.keep)
        except OSError as exc:
            raise SourceError(
                f"{self.shown} could not be written on this machine ({exc.strerror}): free some space or fix the "
                "permissions of the data folder, then try again."
            ) from exc
        finally:
            await _beside(part.drop)

    def _refuse_excess(self, size_bytes: int) -> None:
        if size_bytes > self.max_bytes:
            raise SourceTooLarge(
                f"{self.shown} exceeds the limit of {self.max_bytes:,} bytes: give a shorter file, or a compressed "
                "one such as FLAC."
            )


@functools.cache
def _default_tls() -> ssl.SSLContext:
    """Read once: it takes as long as it would keep everybody else waiting."""
    return httpx.create_ssl_context()


async def _connect(
    client: httpx.AsyncClient,
    link: Link,
    addresses: list[IPv4Address | IPv6Address],
    too_slow: SourceUnreachable,
) -> httpx.Response:
    """The answer, body unread, of the first address that takes the connection; TLS verifies the name."""
    *others, last = addresses
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            for address in others:
                with suppress(httpx.ConnectError, httpx.ConnectTimeout):
                    return await _ask(client, link, address)
            return await _ask(client, link, last)
    except TimeoutError as exc:
        raise too_slow from exc


async def _ask(client: httpx.AsyncClient, link: Link, address: IPv4Address | IPv6Address) -> httpx.Response:
    request = client.build_request(
        "GET",
        link.at(address),
        headers=_HEADERS | {"Host": link.authority},
        extensions={"sni_hostname": link.host},
    )
    return await client.send(request, stream=True)


async def _look_up(host: str, port: int) -> list[str]:
    """A host's addresses; a lookup that hangs keeps neither the wait nor the process from ending."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def settle(addresses: list[str], failure: Exception | None) -> None:
        if found.done():
            return
        if failure is None:
            found.set_result(addresses)
        else:
            found.set_exception(failure)

    def look() -> None:
        addresses: list[str] = []
        failure: Exception | None = None
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = [str(answer[4][0]) for answer in answers]
        except (OSError, UnicodeError) as exc:
            failure = exc
        with suppress(RuntimeError):  # nobody waits any more: the loop has been closed
            loop.call_soon_threadsafe(settle, addresses, failure)

    threading.Thread(target=look, name="lookup", daemon=True).start()
    return await found


async def _beside(work: Callable[[], _Done]) -> _Done:
    """Do what may block in a thread beside the event loop; to its end, even if the waiting is cancelled."""
    doing = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait({doing})
        raise


class _Part:
    """A file that becomes `destination` once it is whole; all its methods may block."""

    def __init__(self, destination: Path) -> None:
        self._destination = destination
        self._path = destination.with_name(
            f"{destination.name}.{os.getpid()}.part"
        )  # others may fetch it, too
        self._file: BinaryIO | None = None

    def add(self, chunk: bytes) -> None:
        """Write the next bytes; the file is there from the first on."""
        if self._file is None:
            self._file = self._path.open("wb")
        self._file.write(chunk)

    def keep(self) -> None:
        """Put what was written to disk and into its place."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._path.replace(self._destination)

    def drop(self) -> None:
        """Leave nothing behind, unless it was kept."""
        with suppress(OSError):
            if self._file is not None:
                self._file.close()
        with suppress(OSError):
            self._path.unlink()

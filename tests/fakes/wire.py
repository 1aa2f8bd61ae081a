"""HTTP/1.1 by hand over asyncio's streams, in a thread of its own, so that an answer can be broken anywhere."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

_MAX_HEAD_BYTES = 64 * 1024
_BUFFER_BYTES = 1024 * 1024


def reason(status: int) -> str:
    """Return the phrase that goes with an HTTP status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


class MalformedError(Exception):
    """What came over the wire is no HTTP/1.1 request that a careful client sends."""


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request and the way to answer it.

    Attributes:
        target: path and query as they were sent.
        headers: names in lower case.
        is_open: whether the connection can carry another request after this one.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    method: str
    target: str
    headers: dict[str, str]
    is_open: bool = True

    async def body(self, max_bytes: int) -> bytes | None:
        """Read the body; None, and the rest discarded, where it is larger than allowed.

        Raises:
            MalformedError: it does not say how long it is.
        """
        if "transfer-encoding" in self.headers:
            self.is_open = False
            raise MalformedError("a body without Content-Length")
        announced = self.headers.get("content-length", "0")
        if not (announced.isascii() and announced.isdigit()):
            self.is_open = False
            raise MalformedError("Content-Length is not a number")
        length = int(announced)
        if length <= max_bytes:
            return await self.reader.readexactly(length)
        # Unread bytes would turn the answer into a connection reset.
        while length > 0 and (piece := await self.reader.read(min(length, _BUFFER_BYTES))):
            length -= len(piece)
        return None

    async def answer(
        self, status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a whole answer."""
        self.begin(status, len(body), content_type, headers)
        await self.send(body)

    def begin(
        self, status: int, length: int, content_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send an answer's head, which may announce a length that will turn out to be a lie."""
        lines = {"Content-Type": content_type, "Content-Length": str(length), "Server": "fake"}
        lines |= {"Connection": "keep-alive" if self.is_open else "close"} | dict(headers or {})
        head = "\r\n".join([f"HTTP/1.1 {status} {reason(status)}", *map(": ".join, lines.items()), "", ""])
        self.writer.write(head.encode("latin-1"))

    async def send(self, piece: bytes | memoryview) -> None:
        """Send a piece of a body, and return when it has left this process."""
        self.writer.write(piece)
        await self.writer.drain()

    def drop(self) -> None:
        """Close the connection now, whatever is unsent or unread."""
        self.is_open = False
        self.writer.transport.abort()

    async def hang(self) -> None:
        """Say nothing until the client leaves."""
        self.is_open = False
        while await self.reader.read(_BUFFER_BYTES):
            pass

    async def is_gone(self) -> bool:
        """Whether the client has closed its end by now."""
        for _ in range(3):  # the loop hears of a closed socket one turn late
            await asyncio.sleep(0)
        return self.reader.at_eof() or self.reader.exception() is not None


def _parse(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or parts[2] != "HTTP/1.1" or not parts[1].startswith("/"):
        raise MalformedError("a request line that is not METHOD /path HTTP/1.1, or whose path is not quoted")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip() or name.lower() in headers:
            raise MalformedError("a broken or repeated header")
        headers[name.lower()] = value.strip()
    if "host" not in headers:
        raise MalformedError("no Host header")
    return parts[0], parts[1], headers


class Wire:
    """A listening socket on the loopback whose connections are served in a thread of their own."""

    def __init__(
        self, serve: Callable[[Exchange], Awaitable[None]], *, port: int, on_malformed: Callable[[str], None]
    ) -> None:
        self.port = port
        self._serve = serve
        self._on_malformed = on_malformed
        self._connections: set[asyncio.Task[None]] = set()
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], object] = lambda: None

    def start(self) -> None:
        """Listen; afterwards `port` is the real one.

        Raises:
            OSError: the port is taken.
        """
        listening: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(listening)), name="fake-runcomfy", daemon=True
        )
        self._thread.start()
        listening.result()

    def stop(self) -> None:
        """Close every connection, those that hang too, and end the thread."""
        self._stop()
        if self._thread is not None:
            self._thread.join()

    async def _run(self, listening: Future[None]) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        try:
            server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, limit=_BUFFER_BYTES)
        except OSError as exc:
            listening.set_exception(exc)
            return
        self.port = server.sockets[0].getsockname()[1]
        self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
        listening.set_result(None)
        await stopped.wait()
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await asyncio.sleep(0)  # aborted transports close a turn later

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        writer.transport.set_write_buffer_limits(high=0)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._one_exchange(reader, writer):
                    pass
            if not writer.transport.is_closing():
                writer.close()
                with suppress(ConnectionError, asyncio.CancelledError):
                    await writer.wait_closed()
        finally:
            writer.transport.abort()
            self._connections.discard(connection)

    async def _one_exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if len(head) > _MAX_HEAD_BYTES:
                raise MalformedError("a head over 64 KiB")  # noqa: TRY301 - told like the others
            method, target, headers = _parse(head)
        except (MalformedError, asyncio.LimitOverrunError) as exc:
            self._on_malformed(str(exc))
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return False
        exchange = Exchange(reader=reader, writer=writer, method=method, target=target, headers=headers)
        exchange.is_open = headers.get("connection", "").lower() != "close"
        await self._serve(exchange)
        return exchange.is_open

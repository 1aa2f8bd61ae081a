"""Answers without end, in every dimension there is: the client reads a bounded part of each, over a real socket."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import asynccontextmanager, suppress
from itertools import chain, repeat
from typing import TYPE_CHECKING

import pytest
from tests.fakes.asking import SONG_URL
from tests.fakes.runcomfy import TOKEN

from outpaint_mcp import OutpaintRequest, RunComfyClient
from outpaint_mcp.errors import ProviderUnavailable, SubmissionUnknown, UnexpectedReply
from outpaint_mcp.providers.runcomfy.api import client as client_module

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

pytestmark = pytest.mark.anyio

REQUEST = OutpaintRequest(audio=SONG_URL, tags="lofi", extend_after_duration=1, seed=7)
OK = b"HTTP/1.1 200 OK\r\n"
_PIECE_BYTES = 2**16

# What the client takes, and what lies in the two sockets' buffers.
_MOST_SENT_BYTES = 32 * 2**20

GETS: dict[str, Callable[[RunComfyClient], Awaitable[object]]] = {
    "status": lambda runcomfy: runcomfy.status("r", within_seconds=30),
    "result": lambda runcomfy: runcomfy.result("r", within_seconds=30),
    "cancel": lambda runcomfy: runcomfy.cancel("r", within_seconds=30),
    "price": lambda runcomfy: runcomfy.price(within_seconds=30),
    "balance": lambda runcomfy: runcomfy.balance_usd(within_seconds=30),
}


def plain(body: bytes, *, status: bytes = OK) -> list[bytes]:
    return [status, b"Content-Length: %d\r\n\r\n" % len(body), body]


def bomb() -> list[bytes]:
    packed = gzip.compress(b'{"status": "in_queue", "request_id": "r", "x": "' + b"a" * 50_000_000 + b'"}', 1)
    return [OK, b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed), packed]


def deep(levels: int) -> bytes:
    return b'{"request_id": "r", "status": "completed", "x": ' + b"[" * levels + b"]" * levels + b"}"


A_PIECE = b" " * _PIECE_BYTES
A_CHUNK = b"%x\r\n%s\r\n" % (_PIECE_BYTES, A_PIECE)

# Each would be a good answer in the end.
FLOODS: dict[str, Callable[[], Iterable[bytes]]] = {
    "a gzip bomb": bomb,
    "an endless body": lambda: chain([OK, b"\r\n"], repeat(A_PIECE)),
    "endless chunks": lambda: chain([OK, b"Transfer-Encoding: chunked\r\n\r\n"], repeat(A_CHUNK)),
    "500 MB": lambda: chain([OK, b"Content-Length: 500000000\r\n\r\n"], repeat(A_PIECE, 500_000_000 >> 16)),
    "500 MB of an error": lambda: chain(
        [b"HTTP/1.1 400 No\r\nContent-Length: 500000000\r\n\r\n"], repeat(A_PIECE, 500_000_000 >> 16)
    ),
    "1 MiB and a byte": lambda: plain(b'{"request_id": "r", "status": "in_queue"}'.ljust(2**20 + 1)),
    "deep beyond recursion": lambda: plain(deep(100_000)),
    "deep": lambda: plain(deep(100)),
    "deep in a refusal": lambda: plain(deep(100), status=b"HTTP/1.1 422 No\r\n"),
}
HEADS: dict[str, Callable[[], Iterable[bytes]]] = {
    "1e6 headers": lambda: chain([OK], repeat(b"X-Header: of no use\r\n" * 1_000, 1_000), plain(b"{}")[1:]),
    "an endless header": lambda: chain([OK, b"X: "], repeat(A_PIECE)),
    "a line of 500 MB": lambda: repeat(b"H" * _PIECE_BYTES, 500_000_000 >> 16),
}


class Flood:
    """A server that answers whatever it is asked with these pieces, for as long as somebody takes them.

    Attributes:
        sent_bytes: what was taken.
        heads: what it was asked.
    """

    def __init__(self, pieces: Callable[[], Iterable[bytes]], *, pause_seconds: float = 0.0) -> None:
        self._pieces = pieces
        self._pause_seconds = pause_seconds
        self.sent_bytes = 0
        self.heads: list[str] = []
        self.base = ""
        self._connections: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Flood]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with server:
            yield self
            for connection in [*self._connections]:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            with suppress(asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            writer.transport.abort()
            self._connections.discard(connection)
            await asyncio.sleep(0)  # an aborted transport closes a turn later

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=0)
        with suppress(ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            lengths = [line.split(":")[1] for line in head.lower().split("\r\n") if "content-length" in line]
            await reader.readexactly(int(lengths[0]) if lengths else 0)
            for piece in self._pieces():
                writer.write(piece)
                await writer.drain()
                self.sent_bytes += len(piece)
                if self._pause_seconds:
                    await asyncio.sleep(self._pause_seconds)
            writer.close()
            await writer.wait_closed()


def client(base: str) -> RunComfyClient:
    return RunComfyClient(TOKEN, base_url=base)


@pytest.mark.parametrize("name", [*FLOODS, *HEADS])
async def test_a_submission_with_an_answer_beyond_all_measure_is_of_unknown_fate(name: str) -> None:
    async with Flood((FLOODS | HEADS)[name]).open() as flood, client(flood.base) as runcomfy:
        with pytest.raises(SubmissionUnknown, match="may have been carried out and billed"):
            await runcomfy.submit(REQUEST)
        assert len(flood.heads) == 1
        assert flood.sent_bytes < _MOST_SENT_BYTES


@pytest.mark.parametrize("call", GETS)
@pytest.mark.parametrize("name", FLOODS)
async def test_another_answer_beyond_all_measure_is_refused_once_a_bounded_part_was_read(
    name: str, call: str
) -> None:
    async with Flood(FLOODS[name]).open() as flood, client(flood.base) as runcomfy:
        with pytest.raises(UnexpectedReply, match="RunComfy's answer cannot be used: it is"):
            await GETS[call](runcomfy)
        assert len(flood.heads) == 1
        assert flood.sent_bytes < _MOST_SENT_BYTES


@pytest.mark.parametrize("name", HEADS)
async def test_a_head_beyond_all_measure_is_taken_for_an_outage(name: str) -> None:
    async with Flood(HEADS[name]).open() as flood, client(flood.base) as runcomfy:
        with pytest.raises(ProviderUnavailable):
            await runcomfy.status("r", within_seconds=0)
        assert flood.sent_bytes < _MOST_SENT_BYTES


DRIPS: dict[str, Callable[[], Iterable[bytes]]] = {
    "body": lambda: chain([OK, b"\r\n"], repeat(b" ")),
    "head": lambda: chain([OK, b"X: "], repeat(b" ")),
    "interim answers": lambda: repeat(b"HTTP/1.1 102 Processing\r\n\r\n"),
}


@pytest.mark.parametrize("name", DRIPS)
async def test_an_answer_that_drips_for_ever_is_given_up(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_POST_SECONDS", 0.3)
    async with Flood(DRIPS[name], pause_seconds=0.01).open() as flood, client(flood.base) as runcomfy:
        with pytest.raises(SubmissionUnknown, match="none within"):
            await runcomfy.submit(REQUEST)
        with pytest.raises(ProviderUnavailable, match="in time"):
            await runcomfy.status("r", within_seconds=0.3)
        assert len(flood.heads) == 2


async def test_identity_is_asked_for_and_an_answer_of_1_mib_is_read() -> None:
    body = b'{"request_id": "r", "status": "in_queue"}'.ljust(2**20)
    named = [OK, b"Content-Encoding: Identity\r\n", *plain(body)[1:]]
    async with Flood(lambda: named).open() as flood, client(flood.base) as runcomfy:
        assert await runcomfy.submit(REQUEST) == "r"
        assert (await runcomfy.status("r")).status == "in_queue"
        assert all("\naccept-encoding: identity\r\n" in head.lower() for head in flood.heads)

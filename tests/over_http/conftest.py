"""The real server over a real socket in this process, with limits that are small enough to be reached at once."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import pytest
from tests.e2e.over_http import INITIALIZE
from tests.waiting import PATIENCE_SECONDS
from tests.warm import around

from outpaint_mcp.cli.serving import listen
from outpaint_mcp.server.app import build_server
from outpaint_mcp.server.http.limits import Limits
from outpaint_mcp.server.http.serving import http_server
from outpaint_mcp.server.http.settings import HttpSettings
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.file_links import FileLinks
from outpaint_mcp.service.on_demand import ServiceOnDemand

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    import uvicorn
    from mcp.server import MCPServer
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from outpaint_mcp.config import Settings
    from outpaint_mcp.server.content import Lifespan

KEY = "k" * 43
LINK_KEY = b"l" * 32
PERSONAL = HttpSettings(secret=KEY)
"""One person's server, as it is on loopback."""

HEADERS = {
    "Accept": "application/json, text/event-stream",
    "Content-Type": "application/json",
    "Authorization": f"Bearer {KEY}",
}


class Wire:
    """A connection on which a test sends what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._reader = reader

    async def send(self, data: bytes) -> None:
        """Send some bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, piece: bytes) -> None:
        """Send the same again and again until the server closes the connection."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            with suppress(ConnectionError):
                while not self._reader.at_eof():
                    await self.send(piece)
                    await asyncio.sleep(0.005)

    async def post(self, body: bytes, *, size: int | None = None, key: str = KEY, more: str = "") -> None:
        """Send a request, of whose body there is more to come where `size` says so; `more` is a header."""
        lines = [
            "POST /mcp HTTP/1.1",
            f"Host: {self.host}",
            *(f"{name}: {value}" for name, value in HEADERS.items() if name != "Authorization"),
            f"Authorization: Bearer {key}",
            f"Content-Length: {len(body) if size is None else size}",
            *([more] if more else []),
        ]
        await self.send("\r\n".join([*lines, "", ""]).encode() + body)

    async def status(self) -> int:
        """Return the status of the next answer."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return int((await self._reader.readline()).split()[1])

    async def rest(self) -> bytes:
        """Return what comes until the server closes the connection; a reset is an end, too."""
        got = b""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                while more := await self._reader.read(65_536):
                    got += more
            except ConnectionError:
                pass
        return got

    @property
    def host(self) -> str:
        """Where it leads to."""
        return "{}:{}".format(*self.writer.get_extra_info("peername")[:2])


@dataclass(frozen=True, slots=True)
class Door:
    """A server that runs.

    Attributes:
        server: uvicorn's.
        manager: the SDK's, of sessions.
        mcp: ours.
        service: what the tools work with.
        origin: its address without a path.
        http: a client with the key.
        links: those to files.
        wires: all connections that were opened besides.
    """

    server: uvicorn.Server
    manager: StreamableHTTPSessionManager
    mcp: MCPServer[Lifespan]
    service: ServiceOnDemand
    origin: str
    http: httpx.AsyncClient
    links: FileLinks
    wires: list[Wire] = field(default_factory=list)

    async def connect(self, *, receive_buffer: int = 0) -> Wire:
        """Open a connection, which the test need not close."""
        host, port = self.origin.removeprefix("http://").split(":")
        connection = socket.socket()
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.connect((host, int(port)))
        self.wires.append(Wire(*await asyncio.open_connection(sock=connection)))
        return self.wires[-1]

    async def initialize(self) -> httpx.Response:
        """Open a session of the older kind."""
        return await self.http.post("/mcp", json=INITIALIZE)

    async def ping(self, session: str) -> int:
        """Use a session; return the status of the answer."""
        answer = await self.http.post(
            "/mcp", json={"jsonrpc": "2.0", "id": 2, "method": "ping"}, headers={"Mcp-Session-Id": session}
        )
        return answer.status_code


class Serve(Protocol):
    """Runs a server; takes the limits by name."""

    def __call__(
        self,
        *,
        http: HttpSettings = ...,
        settings: Settings | None = ...,
        send_buffer: int = ...,
        port: int = ...,
        **limits: float,
    ) -> AbstractAsyncContextManager[Door]: ...


@pytest.fixture
def serve(settings: Settings) -> Serve:
    """See `Serve`."""
    usual = settings

    @asynccontextmanager
    async def run(
        *,
        http: HttpSettings = PERSONAL,
        settings: Settings | None = None,
        send_buffer: int = 0,
        port: int = 0,
        **limits: Any,  # noqa: ANN401 - as declared there
    ) -> AsyncIterator[Door]:
        (listening,) = listen("127.0.0.1", port)
        if send_buffer:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        origin = "http://{}:{}".format(*listening.getsockname())
        links = FileLinks(LINK_KEY, origin)
        service = ServiceOnDemand(settings or usual, TOOLS, around(), links)
        mcp = build_server(settings or usual, service=service, has_callers=http.knows_callers)
        server = http_server(mcp, service, links, http, Limits(**limits))
        serving = asyncio.create_task(server.serve([listening]))
        try:
            async with httpx.AsyncClient(
                base_url=origin, headers=HEADERS, timeout=PATIENCE_SECONDS
            ) as client:
                door = Door(server, mcp.session_manager, mcp, service, origin, client, links)
                yield door
                for wire in door.wires:
                    wire.writer.transport.abort()
        finally:
            server.should_exit = True
            await serving

    return run

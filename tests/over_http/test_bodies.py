"""Bodies: each in time and within its size, all of them within the memory that is theirs."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from tests.e2e.over_http import INITIALIZE, key_entries
from tests.over_http.conftest import KEY
from tests.waiting import until

from outpaint_mcp.server.http.api_keys import ApiKeys
from outpaint_mcp.server.http.bodies import Bodies
from outpaint_mcp.server.http.limits import Limits
from outpaint_mcp.server.http.settings import HttpSettings

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send
    from tests.over_http.conftest import Serve

pytestmark = pytest.mark.anyio

BODY = json.dumps(INITIALIZE).encode()


def call(audio: str, **more: Any) -> bytes:  # noqa: ANN401 - JSON
    params = {"name": "analyze_audio", "arguments": {"audio": audio}}
    return json.dumps({"jsonrpc": "2.0", **more, "method": "tools/call", "params": params}).encode()


@pytest.mark.parametrize("sent", [b"", BODY[:-1]], ids=["nothing", "nearly all"])
async def test_one_that_does_not_come_in_time_is_given_up(serve: Serve, sent: bytes) -> None:
    async with serve(body_seconds=0.2) as door:
        wire = await door.connect()
        await wire.post(sent, size=len(BODY))
        assert await wire.status() == 408
        assert b"Send it again" in await wire.rest()


async def test_one_that_comes_drop_by_drop_is_given_up(serve: Serve) -> None:
    async with serve(body_seconds=0.2, body_bytes_per_second=1_000_000) as door:
        wire = await door.connect()
        await wire.post(b"", size=1_000_000)
        await wire.drip(b"x")
        await until(lambda: not door.server.server_state.connections)


async def test_one_that_comes_steadily_gets_the_time_it_takes(serve: Serve) -> None:
    async with serve(body_seconds=0.2, body_bytes_per_second=1) as door:
        wire, silent = await door.connect(), await door.connect()
        await wire.post(BODY[:-1], size=len(BODY))  # earns minutes
        await silent.post(b"", size=len(BODY))
        assert await silent.status() == 408
        await wire.send(BODY[-1:])
        assert await wire.status() == 200


LONG = "data:audio/wav;base64," + "A" * 5000
TOO_LARGE = [
    (call(LONG, id=7), 7),
    (call(LONG, id="seven"), "seven"),
    (call(LONG, id=None), None),
    (call(LONG, id=True), None),
    (call(LONG, id=[1]), None),
    (call(LONG), None),
    (b'{"id": "' + b"i" * 5000 + b'"}', None),  # cut off
    (b'{"id": ' + b"7" * 5000 + b"}", None),
    (b'{"params": "' + b"A" * 5000 + b'", "id": 7}', None),  # beyond the limit
    (b"[" * 5000, None),
    (b'[{"id": 7, "params": "' + b"A" * 5000, None),
    (b"\xff" * 5000, None),
    (b'{"id": 7, "params": "\\ud83d' + b"A" * 5000, None),
]


async def test_one_that_is_too_large_is_answered_with_the_limit_and_its_id(serve: Serve) -> None:
    async with serve(body_bytes=4096) as door:
        answers = [await door.http.post("/mcp", content=body) for body, _ in TOO_LARGE]
        again = await door.initialize()
    assert {answer.status_code for answer in answers} == {413}
    messages = [answer.json() for answer in answers]
    assert [message["id"] for message in messages] == [request_id for _, request_id in TOO_LARGE]
    for message in messages:
        assert message["jsonrpc"] == "2.0"
        assert "0.00391 MiB" in message["error"]["message"]
        assert "https link" in message["error"]["message"]
    assert again.status_code == 200


async def test_a_client_hears_the_limit(serve: Serve, era: str) -> None:
    async with serve() as door, Client(f"{door.origin}/mcp/{KEY}", mode=era) as client:
        with pytest.raises(MCPError, match="larger than 4 MiB"):
            await client.call_tool("analyze_audio", {"audio": "data:audio/wav;base64," + "A" * 4_200_000})
        assert (await client.list_tools()).tools


async def test_the_limit_is_the_usual_one(serve: Serve) -> None:
    async with serve() as door:
        most = 4 * 1024 * 1024
        fits = await door.http.post("/mcp", content=b" " * (most - len(BODY)) + BODY)
        exceeds = await door.http.post("/mcp", content=b" " * (most + 1 - len(BODY)) + BODY)
        pieces = (each for each in [b"[", *[b" " * 65_536] * 65])
        unannounced = await door.http.post("/mcp", content=_stream(pieces))
    assert (fits.status_code, exceeds.status_code, unannounced.status_code) == (200, 413, 413)
    assert "larger than 4 MiB" in exceeds.json()["error"]["message"]


async def _stream(pieces: Any) -> Any:  # noqa: ANN401 - an asynchronous generator of bytes
    for piece in pieces:
        yield piece


async def test_those_that_arrive_slowly_make_room_for_those_that_arrive(serve: Serve) -> None:
    async with serve(bodies_bytes=100_000, small_body_bytes=1000) as door:
        slow = [await door.connect() for _ in range(12)]
        for wire in slow:
            await wire.post(b" " * 31_000, size=4_000_000)
        for wire in slow[:9]:
            assert await wire.status() == 503
            assert b"Retry-After: 5" in (await wire.rest()).title()
        large = await door.http.post("/mcp", content=b" " * 90_000 + BODY)
        assert large.status_code == 200
        assert [await wire.status() for wire in slow[9:]] == [503, 503, 503]
        # All that they took is free again.
        assert (await door.http.post("/mcp", content=b" " * 99_000 + BODY)).status_code == 200


class Works:
    """An application that works on its requests until it is let go."""

    def __init__(self) -> None:
        self.bodies: list[int] = []
        self.go = asyncio.Event()

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        self.bodies.append(len((await receive())["body"]))
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})


async def test_what_is_worked_on_takes_memory_too_but_small_requests_are_always_taken() -> None:
    works = Works()
    bodies = Bodies(works, Limits(bodies_bytes=100_000, small_body_bytes=1000))
    statuses: list[int] = []

    async def request(size: int) -> None:
        async def receive() -> Message:
            return {"type": "http.request", "body": b" " * size}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await bodies({"type": "http"}, receive, send)

    async with asyncio.TaskGroup() as tasks:
        for size in (60_000, 60_000, 30_000, *[900] * 200):
            tasks.create_task(request(size))
        await until(lambda: len(works.bodies) == 202)
        assert statuses == [503]
        works.go.set()
    assert statuses == [503] + [200] * 202
    await request(60_000)
    assert statuses[-1] == 200


async def test_one_caller_who_fills_the_memory_makes_room_and_nobody_else(serve: Serve) -> None:
    secrets = {name: name * 20 for name in ("ann", "ben")}
    http = HttpSettings(keys=ApiKeys(key_entries(**secrets)))
    async with serve(http=http, bodies_bytes=100_000, small_body_bytes=1000) as door:
        slow = await door.connect()
        await slow.post(BODY + b" " * 30_000, size=len(BODY) + 30_001, key=secrets["ben"])
        greedy = [await door.connect() for _ in range(6)]
        for wire in greedy:
            await wire.post(b" " * 31_000, size=4_000_000, key=secrets["ann"])
        assert [await wire.status() for wire in greedy[:4]] == [503] * 4
        await slow.send(b" ")
        assert await slow.status() == 200

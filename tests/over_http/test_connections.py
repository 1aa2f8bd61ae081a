"""Connections: bounded, and none waits for its client without an end; whoever has something to ask gets through."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from tests.e2e.over_http import INITIALIZE
from tests.waiting import until

from outpaint_mcp.server.http.serving import LoopErrors

if TYPE_CHECKING:
    from tests.over_http.conftest import Door, Serve

pytestmark = pytest.mark.anyio

HALF = b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n"
BODY = json.dumps(INITIALIZE).encode()


def open_connections(door: Door) -> int:
    return len(door.server.server_state.connections)


@pytest.mark.parametrize("sent", [b"", b"P", HALF], ids=repr)
async def test_one_that_sends_no_whole_header_is_closed(serve: Serve, sent: bytes) -> None:
    async with serve(header_seconds=0.2) as door:
        wire = await door.connect()
        await wire.send(sent)
        assert await wire.rest() == b""


async def test_one_that_goes_on_sending_a_header_without_an_end_is_closed(serve: Serve) -> None:
    async with serve(header_seconds=0.2) as door:
        wire = await door.connect()
        await wire.send(HALF)
        await wire.drip(b"X")
        await until(lambda: open_connections(door) == 0)


async def test_one_whose_header_is_too_large_is_closed_before_it_takes_up_much(serve: Serve) -> None:
    async with serve() as door:
        wire = await door.connect()
        await wire.send(HALF + b"X: " + b"x" * 20_000)
        assert await wire.status() == 400
        await wire.rest()


async def test_the_second_header_of_a_connection_has_to_come_in_time_as_well(serve: Serve) -> None:
    async with serve(header_seconds=2) as door:
        wire = await door.connect()
        await wire.post(b"", key="wrong")
        assert await wire.status() == 401
        await wire.send(HALF)
        await wire.rest()
        await until(lambda: open_connections(door) == 0)


async def test_one_that_is_in_a_request_stays_however_long_that_takes(serve: Serve) -> None:
    async with serve(header_seconds=2) as door:
        wire, silent = await door.connect(), await door.connect()
        await wire.post(BODY[:-1], size=len(BODY))
        await silent.rest()
        await wire.send(BODY[-1:])
        assert await wire.status() == 200


async def test_half_open_ones_give_their_places_to_those_who_ask(serve: Serve) -> None:
    async with serve(connections=8) as door:
        wires = [await door.connect() for _ in range(40)]
        for wire in wires[:4]:
            await wire.rest()
        for wire in wires[-7:]:
            await wire.send(HALF)
        for _ in range(3):
            assert (await door.initialize()).status_code == 200
        assert open_connections(door) <= 8
        for wire in wires[:-8]:
            assert await wire.rest() == b""


async def test_a_request_under_way_keeps_its_place(serve: Serve) -> None:
    async with serve(connections=3) as door:
        working = [await door.connect() for _ in range(3)]
        for wire in working:
            await wire.post(BODY[:-1], size=len(BODY))
        await until(lambda: len(door.server.server_state.tasks) == 3)
        assert await (await door.connect()).rest() == b""
        for wire in working:
            await wire.send(BODY[-1:])
            assert await wire.status() == 200
        assert (await door.initialize()).status_code == 200


async def test_one_that_does_not_read_its_answers_is_closed(serve: Serve) -> None:
    async with serve(stall_seconds=0.2, send_buffer=4096) as door:
        wire = await door.connect(receive_buffer=4096)
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads
        with suppress(ConnectionError):
            while True:
                await wire.post(b"", key="wrong")
        await until(lambda: open_connections(door) == 0)


@pytest.mark.parametrize("last", ["", "Connection: close"])
async def test_one_that_does_not_read_the_last_few_is_closed_as_well(serve: Serve, last: str) -> None:
    async with serve(header_seconds=2, send_buffer=4096) as door:
        wire = await door.connect(receive_buffer=4096)
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads
        for _ in range(80):  # more than the system takes, less than the server
            await wire.post(b"", key="wrong")
        await wire.post(b"", key="wrong", more=last)
        await until(lambda: open_connections(door) == 1)
        await until(lambda: open_connections(door) == 0)


def test_a_lack_of_descriptors_is_reported_once_and_other_faults_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    report, loop = LoopErrors(), asyncio.new_event_loop()
    for _ in range(1000):
        report(loop, {"message": "no more", "exception": OSError(errno.EMFILE, "Too many open files")})
    for _ in range(2):
        report(loop, {"message": "odd", "exception": ValueError("a bug")})
    loop.close()
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR", "ERROR"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [(1024, 20_000, "4096 4288"), (256, 1024, "832 1024"), (256, 256, "64 256"), (80, 80, "32 80")],
)
def test_the_limit_of_open_files_is_raised_and_some_are_left_for_the_work(
    soft: int, hard: int, expected: str
) -> None:
    program = (
        f"import resource as r; r.setrlimit(r.RLIMIT_NOFILE, ({soft}, {hard}));"
        "from outpaint_mcp.server.http.limits import most_connections;"
        "print(most_connections(), r.getrlimit(r.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


async def test_answers_leave_at_once(serve: Serve) -> None:
    async with serve() as door:
        await door.initialize()
        (connection,) = door.server.server_state.connections
        opened = connection.transport.get_extra_info("socket")
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_what_is_no_http_is_refused_without_a_word_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as door:
        for _ in range(3):
            wire = await door.connect()
            await wire.send(b"\x16\x03\x01 no HTTP\r\n\r\n")
            assert await wire.status() == 400
            await wire.rest()
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]

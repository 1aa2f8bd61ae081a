"""Streamable HTTP over a real socket: who may call, and that many callers share one service."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from tests.e2e.over_http import INITIALIZE, START, http_server, key_entries
from tests.e2e.rpc import PATIENCE_SECONDS
from tests.e2e.sound import check_longer_file
from tests.fakes.runcomfy import TOKEN
from tests.task_client import ERA, TakesTasks, create

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.conftest import MakeSong
    from tests.e2e.over_http import HttpServer
    from tests.e2e.rpc import Server

pytestmark = pytest.mark.anyio

ACCEPT = {"Accept": "application/json, text/event-stream"}
CLIENTS = 6


@pytest.fixture
def server(environment: dict[str, str]) -> Iterator[HttpServer]:
    """A server of this test's own."""
    with http_server(environment) as started:
        yield started
        assert started.process.poll() is None, "the server is to outlive its clients"


@pytest.fixture
def url(server: HttpServer) -> str:
    """What its clients are given."""
    return server.url


async def _tool(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    structure: dict[str, Any] = answer.structured_content or {}
    return structure


@pytest.mark.smoke
async def test_a_client_of_either_era_walks_from_submit_to_the_file(url: str, song: Path, era: str) -> None:
    async with Client(url, mode=era) as client:
        submission = await _tool(
            client, "submit_outpaint", audio=str(song), tags="", extend_before_duration=1
        )
        result = await _tool(
            client, "get_outpaint_result", request_id=submission["request_id"], wait_seconds=45
        )
    check_longer_file(result, song)


async def test_many_clients_at_once_see_one_anothers_requests(url: str, song: Path) -> None:
    async def submit_and_leave(seed: int) -> str:
        async with Client(url, mode=("legacy", "auto")[seed % 2]) as client:
            submission = await _tool(
                client, "submit_outpaint", audio=str(song), tags="", extend_after_duration=1, seed=seed
            )
            return str(submission["request_id"])

    made = await asyncio.gather(*(submit_and_leave(seed) for seed in range(CLIENTS)))
    async with Client(url) as client:
        listed = (await _tool(client, "list_outpaints"))["requests"]
        results = await asyncio.gather(
            *(
                _tool(client, "get_outpaint_result", request_id=request_id, wait_seconds=45)
                for request_id in made
            )
        )
    assert {each["request_id"] for each in listed} == set(made)
    assert [each["seed"] for each in results] == list(range(CLIENTS))
    assert len({each["path"] for each in results}) == CLIENTS


async def test_other_hosts_and_origins_are_refused(url: str) -> None:
    async with httpx.AsyncClient(headers=ACCEPT, timeout=PATIENCE_SECONDS) as http:
        rebound = await http.post(url, json=INITIALIZE, headers={"Host": "evil.example"})
        foreign = await http.post(url, json=INITIALIZE, headers={"Origin": "https://evil.example"})
        own = await http.post(url, json=INITIALIZE, headers={"Origin": url.split("/mcp", maxsplit=1)[0]})
    assert (rebound.status_code, foreign.status_code, own.status_code) == (421, 403, 200)


HALF = b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def _open(server: HttpServer, sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)
    connection.sendall(sent)
    return connection


def _unfinished(server: HttpServer) -> bytes:
    """A request but for its last byte."""
    body = json.dumps(INITIALIZE)
    lines = [
        f"POST /mcp/{server.key} HTTP/1.1",
        "Host: 127.0.0.1:80",
        "Content-Type: application/json",
        f"Accept: {ACCEPT['Accept']}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", body[:-1]]).encode()


@pytest.mark.skipif(os.name == "nt", reason="the limit of open files is POSIX")
async def test_half_open_headers_stop_neither_the_tools_nor_those_who_come(
    environment: dict[str, str], song: Path
) -> None:
    few = ("sh", "-c", 'ulimit -n 256; exec "$@"', "sh", *START)
    with http_server(environment, start=few) as server, ExitStack() as stack:
        async with Client(server.url) as client:
            for _ in range(400):
                stack.enter_context(_open(server, HALF))
            submission = await _tool(
                client, "submit_outpaint", audio=str(song), tags="", extend_after_duration=1
            )
        async with Client(server.url, mode="legacy") as late:
            for _ in range(400):
                stack.enter_context(_open(server, HALF))
            result = await _tool(
                late, "get_outpaint_result", request_id=submission["request_id"], wait_seconds=45
            )
        check_longer_file(result, song)
        assert "Traceback" not in server.words
        assert len(server.words) < 2000


@pytest.mark.skipif(os.name == "nt", reason="the limit of open files is POSIX")
async def test_two_thousand_requests_at_once_are_taken_and_answered(server: HttpServer) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2500:
        pytest.skip("this machine does not let a process open 2,500 files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2500), hard))
    try:
        with ExitStack() as stack:
            asked = [stack.enter_context(_open(server, _unfinished(server))) for _ in range(2000)]
            async with Client(server.url) as client:
                await _tool(client, "list_outpaints")
            for connection in asked:
                connection.sendall(b"}")
            assert {connection.recv(16) for connection in asked} == {b"HTTP/1.1 200 OK\r"}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_the_key_is_in_no_log_and_stays_the_same(environment: dict[str, str]) -> None:
    environment["OUTPAINT_LOG_LEVEL"] = "DEBUG"
    with http_server(environment) as first:
        assert first.words.count(first.key) == 1
        async with Client(first.url) as client:
            await _tool(client, "list_outpaints")
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as http:
            for path in ("", "/x", "?a=b"):
                await http.post(first.url + path, content=b"nonsense")
            await http.post(first.url, json=INITIALIZE, headers=ACCEPT | {"Host": "evil.example"})
        _open(first, f"GET /mcp/{first.key} HTTP/1.1\r\nbroken\r\n\r\n".encode()).close()
    assert first.words_at_the_end.count(first.key) == 1
    with http_server(environment) as second:
        assert second.key == first.key
        async with Client(second.url) as client:
            await _tool(client, "list_outpaints")
    assert second.key not in second.words_at_the_end


async def test_without_a_key_it_says_who_can_call(environment: dict[str, str]) -> None:
    with http_server(environment, "--no-key") as server:
        assert "without a key: every user and program of this machine can call" in server.words
        async with Client(server.url) as client:
            await _tool(client, "list_outpaints")


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
async def test_a_signal_ends_it_in_good_order_whoever_is_connected(
    environment: dict[str, str],
    start_server: Callable[..., Server],
    make_song: MakeSong,
    number: signal.Signals,
    code: int,
) -> None:
    song = make_song(seconds=20)
    with http_server(environment) as server, ExitStack() as stack:
        stack.enter_context(_open(server, b""))
        stack.enter_context(_open(server, HALF))
        stack.enter_context(_open(server, _unfinished(server)))
        async with httpx.AsyncClient(headers=ACCEPT, timeout=PATIENCE_SECONDS) as http:
            opened = await http.post(server.url, json=INITIALIZE)
            session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
            async with http.stream("GET", server.url, headers=session) as stream:
                assert stream.status_code == 200
                async with Client(server.url) as client:
                    submission = await _tool(
                        client, "submit_outpaint", audio=str(song), tags="", total_seconds=60
                    )
                server.process.send_signal(number)
                assert await asyncio.to_thread(server.process.wait, PATIENCE_SECONDS) == code
    assert "Traceback" not in server.words_at_the_end
    check_longer_file(start_server().finished(submission["request_id"]), song)


ALICE, BOB = "outpaint_alices", "outpaint_bobs"
KEYS = {"OUTPAINT_API_KEYS": key_entries(alice=ALICE, bob=BOB)}
ALLOWED = ["--allow-host", "127.0.0.1", "--allow-origin", "https://outpaint.example.org"]


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1"])
async def test_a_team_calls_by_keys_and_each_has_requests_of_their_own(
    environment: dict[str, str], song: Path, address: str, era: str
) -> None:
    options = ["--host", address, *ALLOWED]
    environment["OUTPAINT_LOG_LEVEL"] = "DEBUG"
    with http_server(environment | KEYS, *options) as server:
        url = f"http://127.0.0.1:{server.port}/mcp"
        assert "for those with an API key" in server.words
        assert ("not encrypted" in server.words) == (address == "0.0.0.0")

        @asynccontextmanager
        async def caller(key: str) -> AsyncIterator[Client]:
            headers = {"Authorization": f"Bearer {key}"}
            async with (
                httpx2.AsyncClient(headers=headers, timeout=PATIENCE_SECONDS) as http,
                Client(streamable_http_client(url, http_client=http), mode=era) as client,
            ):
                yield client

        async with caller(ALICE) as alice, caller(BOB) as bob:
            asked = {"audio": str(song), "tags": "", "extend_after_duration": 1}
            request_id = (await _tool(alice, "submit_outpaint", **asked))["request_id"]
            foreign, unknown = [
                (await bob.call_tool("get_outpaint_status", {"request_id": each})).content[0]
                for each in (request_id, "op_" + "0" * 20)
            ]
            assert foreign.text == unknown.text.replace("op_" + "0" * 20, request_id)  # type: ignore[union-attr]  # both are texts
            listed = [(await _tool(each, "list_outpaints"))["requests"] for each in (alice, bob)]
            assert [[each["request_id"] for each in theirs] for theirs in listed] == [[request_id], []]
        async with httpx.AsyncClient(headers=ACCEPT, timeout=PATIENCE_SECONDS) as http:
            statuses = [
                (await http.post(url + path, json=INITIALIZE, headers=headers)).status_code
                for path, headers in (
                    ("", {}),
                    ("", {"Authorization": "Bearer alice"}),
                    (f"/{ALICE}", {}),
                    ("", {"Authorization": f"Bearer {BOB}"}),
                    ("", {"Authorization": f"Bearer {BOB}", "Host": "localhost"}),
                    ("", {"Authorization": f"Bearer {BOB}", "Origin": "https://evil.example"}),
                )
            ]
    assert statuses == [401, 401, 401, 200, 421, 403]
    assert ALICE not in server.words_at_the_end
    assert BOB not in server.words_at_the_end
    assert not await asyncio.to_thread(Path(environment["OUTPAINT_DATA_DIR"], "http-key").exists)


MONEY = {"RUNCOMFY_API_TOKEN": TOKEN}
LIMIT = {"OUTPAINT_MAX_COST_USD": "0.25"}


@pytest.mark.parametrize(
    ("options", "more", "words"),
    [
        ([], MONEY, "Set OUTPAINT_MAX_COST_USD"),
        ([], MONEY | {"OUTPAINT_PROVIDER": "local"}, "Set OUTPAINT_MAX_COST_USD"),
        (["--no-key"], MONEY, "Leave out --no-key"),
        (["--no-key"], MONEY | LIMIT, "Leave out --no-key"),
        (["--host", "0.0.0.0"], {}, "--host 0.0.0.0 is not allowed"),
        (["--host", "example.org"], {}, "loopback"),
        (["--host", "0.0.0.0"], KEYS, "--allow-host"),
        (["--host", "0.0.0.0", "--allow-host", "x.example"], KEYS, "--allow-origin"),
        (["--host", "0.0.0.0", *ALLOWED], {}, "OUTPAINT_API_KEYS"),
        (["--host", "192.0.2.1", *ALLOWED], KEYS, "Cannot listen on 192.0.2.1"),
        (["--no-key"], KEYS, "Leave out --no-key"),
        ([], {"OUTPAINT_API_KEYS": "alice=secret"}, "NAME=SHA256"),
        ([], {"OUTPAINT_API_KEYS": "@/nowhere"}, "/nowhere cannot be read"),
        (
            ["--host", "0.0.0.0", *ALLOWED],
            {"OUTPAINT_OAUTH_ISSUER": "https://i.example"},
            "OUTPAINT_PUBLIC_URL",
        ),
        (["--port", "65536"], {}, "another --port"),
    ],
)
def test_what_would_let_others_in_or_spend_is_refused_with_the_reason(
    environment: dict[str, str], options: list[str], more: dict[str, str], words: str
) -> None:
    done = subprocess.run(
        [*START, *options],
        env={**os.environ, **environment, **more},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 8
    assert words in done.stderr
    assert done.stdout == ""
    assert "secret" not in done.stderr
    assert not Path(environment["OUTPAINT_DATA_DIR"]).exists()


def test_with_a_token_and_a_limit_it_starts(environment: dict[str, str]) -> None:
    with http_server(environment | MONEY | LIMIT) as server:
        assert server.key


async def test_a_task_outlives_the_server_that_took_it(environment: dict[str, str], song: Path) -> None:
    takes = TakesTasks(follows=False)
    with http_server(environment) as first:
        async with Client(first.url, mode=ERA, extensions=[takes]) as client:
            created = await create(client, takes, audio=str(song), total_seconds=60)
        first.process.kill()
        first.process.wait()
    with http_server(environment) as second:
        async with Client(second.url, mode=ERA, extensions=[takes]) as client:
            answer = await takes.follow(client.session, created["taskId"])
    assert takes.seen[-1]["createdAt"] == created["createdAt"]
    check_longer_file(answer.structured_content, song)

"""Streamable HTTP over a real socket: who may call, and that many callers share one service."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from mcp.client import Client
from tests.e2e.processes import until
from tests.e2e.rpc import PATIENCE_SECONDS
from tests.e2e.sound import check_longer_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "bare", "version": "1"},
    },
}
ACCEPT = {"Accept": "application/json, text/event-stream"}
CLIENTS = 6


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "outpaint_mcp", "serve", "--http", *arguments]


def _is_listening(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def url(environment: dict[str, str]) -> Iterator[str]:
    """The address of a server of this test's own."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    process = subprocess.Popen(_command("--port", str(port)), env=dict(os.environ) | environment)
    try:
        until(lambda: _is_listening(port) or process.poll() is not None)
        yield f"http://127.0.0.1:{port}/mcp"
        assert process.poll() is None, "the server is to outlive its clients"
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


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
    async with httpx.AsyncClient(headers=ACCEPT) as http:
        rebound = await http.post(url, json=INITIALIZE, headers={"Host": "evil.example"})
        foreign = await http.post(url, json=INITIALIZE, headers={"Origin": "https://evil.example"})
        own = await http.post(url, json=INITIALIZE, headers={"Origin": url.removesuffix("/mcp")})
    assert (rebound.status_code, foreign.status_code, own.status_code) == (421, 403, 200)


@pytest.mark.parametrize("host", ["0.0.0.0", "example.org"])
def test_an_address_that_others_can_reach_is_refused_with_the_reason(
    environment: dict[str, str], host: str
) -> None:
    done = subprocess.run(
        _command("--host", host),
        env=dict(os.environ) | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 8
    assert host in done.stderr
    assert "loopback" in done.stderr
    assert done.stdout == ""

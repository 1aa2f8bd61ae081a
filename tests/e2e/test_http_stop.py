"""A real server over HTTP is told to stop: whoever waits gets an answer, and what is open goes on elsewhere."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mcp.client import Client
from tests.e2e.over_http import http_server
from tests.e2e.processes import HAS_PROC, kill, until, workers_at_work
from tests.e2e.rpc import PATIENCE_SECONDS
from tests.e2e.sound import check_longer_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import MakeSong
    from tests.e2e.rpc import Server

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(not HAS_PROC, reason="workers are found in /proc")]

WAIT_SECONDS = 45


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    structure: dict[str, Any] = answer.structured_content or {}
    return structure


async def put_to_sleep(environment: dict[str, str]) -> None:
    """Stop the worker that has something in hand, so that it takes as long as a test likes."""
    (worker, *_) = await asyncio.to_thread(
        until, lambda: workers_at_work(Path(environment["OUTPAINT_DATA_DIR"]))
    )
    kill(worker, signal.SIGSTOP)


@pytest.mark.parametrize("tool", ["get_outpaint_result", "get_outpaint_status"])
async def test_whoever_waits_when_the_server_is_told_to_stop_hears_that_the_request_goes_on(
    environment: dict[str, str], start_server: Callable[..., Server], make_song: MakeSong, era: str, tool: str
) -> None:
    song = make_song(seconds=20)
    with http_server(environment) as server:
        async with Client(server.url, mode=era) as client:
            submission = await call(client, "submit_outpaint", audio=str(song), tags="", total_seconds=60)
            await put_to_sleep(environment)
            waits = [
                asyncio.create_task(
                    call(client, tool, request_id=submission["request_id"], wait_seconds=WAIT_SECONDS)
                )
                for _ in range(5)
            ]
            await asyncio.sleep(0.5)
            assert not any(each.done() for each in waits)
            signalled_at = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            answers = await asyncio.gather(*waits)
            assert time.monotonic() - signalled_at < WAIT_SECONDS / 2
        assert {(each["status"], each["request_id"]) for each in answers} == {
            ("in_progress", submission["request_id"])
        }
        assert await asyncio.to_thread(server.process.wait, PATIENCE_SECONDS) == -signal.SIGTERM
    assert "Traceback" not in server.words_at_the_end
    check_longer_file(start_server().finished(submission["request_id"]), song)


async def test_an_analysis_that_is_waited_for_is_answered_with_how_far_it_is(
    environment: dict[str, str], make_song: MakeSong
) -> None:
    song = make_song(seconds=20)
    with http_server(environment) as server:
        async with Client(server.url) as client:
            await client.list_tools()  # by which it checks the answer
            wait = asyncio.create_task(
                call(client, "analyze_audio", audio=str(song), wait_seconds=WAIT_SECONDS)
            )
            await put_to_sleep(environment)
            server.process.send_signal(signal.SIGTERM)
            assert (await wait)["status"] == "in_progress"
        assert await asyncio.to_thread(server.process.wait, PATIENCE_SECONDS) == -signal.SIGTERM
    assert "Traceback" not in server.words_at_the_end

"""Sessions of older clients: too many end the oldest that nobody uses, never the newcomer's chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.waiting import until

if TYPE_CHECKING:
    from tests.over_http.conftest import Door, Serve

pytestmark = pytest.mark.anyio


async def open_session(door: Door) -> str:
    answer = await door.initialize()
    assert answer.status_code == 200
    return str(answer.headers["mcp-session-id"])


async def test_the_oldest_idle_ones_end_and_nobody_is_locked_out(serve: Serve) -> None:
    async with serve(sessions=3) as door:
        opened = [await open_session(door) for _ in range(8)]
        assert [await door.ping(each) for each in opened] == [404] * 5 + [200] * 3


async def test_one_that_is_used_again_is_not_the_oldest(serve: Serve) -> None:
    async with serve(sessions=2) as door:
        first, second = await open_session(door), await open_session(door)
        assert await door.ping(first) == 200
        third = await open_session(door)
        assert [await door.ping(each) for each in (first, second, third)] == [200, 404, 200]


async def test_one_in_use_does_not_end(serve: Serve) -> None:
    async with serve(sessions=2) as door:
        listening = await open_session(door)
        async with door.http.stream("GET", "/mcp", headers={"Mcp-Session-Id": listening}) as stream:
            assert stream.status_code == 200
            for _ in range(6):
                await open_session(door)
            assert await door.ping(listening) == 200


async def test_what_nobody_uses_ends_by_itself(serve: Serve) -> None:
    async with serve(session_seconds=0.1) as door:
        session = await open_session(door)
        sessions = door.manager._server_instances
        await until(lambda: not sessions)
        assert await door.ping(session) == 404


async def test_ended_ones_are_really_gone(serve: Serve) -> None:
    async with serve(sessions=2) as door:
        for _ in range(10):
            await open_session(door)
        sessions = door.manager._server_instances
        await until(lambda: len(sessions) <= 2)


@pytest.mark.parametrize("how", ["ended by its client", "unknown", "refused"])
async def test_what_does_not_exist_takes_nobodys_place(serve: Serve, how: str) -> None:
    async with serve(sessions=1) as door:
        session = await open_session(door)
        for number in range(3):
            if how == "unknown":
                assert await door.ping(f"never-opened-{number}") == 404
            elif how == "refused":
                assert (await door.http.post("/mcp", json={"jsonrpc": "2.0", "id": 1})).status_code == 400
            else:
                async with door.http.stream("GET", "/mcp", headers={"Mcp-Session-Id": session}):
                    other = await open_session(door)
                    gone = await door.http.delete("/mcp", headers={"Mcp-Session-Id": other})
                    assert gone.status_code == 200
        assert await door.ping(session) == 200

"""No caller can take up what all of them share: connections, and room on the disk."""

from __future__ import annotations

import dataclasses
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from tests.e2e.over_http import INITIALIZE
from tests.over_http.callers import ALICE, BOB, SHARED, asking, calling, files_of
from tests.over_http.conftest import HEADERS
from tests.test_tools import ask, extend, refusal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.over_http.conftest import Serve

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

ACCEPT = {name: value for name, value in HEADERS.items() if name != "Authorization"}


async def test_one_caller_has_a_quarter_of_the_connections_at_most(serve: Serve) -> None:
    async with (
        serve(http=SHARED, connections=16) as door,
        calling(door, ALICE) as alice,
        calling(door, BOB) as bob,
        AsyncExitStack() as streams,
    ):
        session = (await alice.post("/mcp", json=INITIALIZE, headers=ACCEPT)).headers["mcp-session-id"]
        more = [
            (await alice.post("/mcp", json=INITIALIZE, headers=ACCEPT)).headers["mcp-session-id"]
            for _ in range(3)
        ]
        for each in (session, *more):
            stream = alice.stream("GET", "/mcp", headers=ACCEPT | {"Mcp-Session-Id": each})
            assert (await streams.enter_async_context(stream)).status_code == 200
        refused = await alice.post("/mcp", json=INITIALIZE, headers=ACCEPT)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        assert "open at once" in refused.json()["error"]["message"]
        assert (await bob.post("/mcp", json=INITIALIZE, headers=ACCEPT)).status_code == 200
        await streams.aclose()
        again = await alice.post("/mcp", json=INITIALIZE, headers=ACCEPT)
        assert again.status_code == 200, "what was closed is theirs again"


async def test_results_count_towards_a_callers_room(serve: Serve, settings: Settings, song: Path) -> None:
    tight = dataclasses.replace(settings, upload_quota_bytes=400_000)
    async with (
        serve(http=SHARED, settings=tight) as door,
        asking(door, ALICE) as alice,
        asking(door, BOB) as bob,
    ):
        first = await extend(alice, song.name, extend_after_duration=1)
        assert first["status"] == "completed"
        second = await ask(alice, "submit_outpaint", audio=song.name, tags="", extend_after_duration=1.5)
        said = await refusal(
            alice, "get_outpaint_result", request_id=second["request_id"], wait_seconds=45, format="wav_float"
        )
        assert "no room for it" in said
        assert len(files_of(settings, ALICE)) == 1
        assert (await extend(bob, song.name, extend_after_duration=1))["status"] == "completed"
        await ask(alice, "get_outpaint_result", request_id=first["request_id"])


async def test_who_has_no_room_left_submits_nothing(serve: Serve, settings: Settings, song: Path) -> None:
    full = dataclasses.replace(settings, upload_quota_bytes=0)
    async with serve(http=SHARED, settings=full) as door, asking(door, ALICE) as alice:
        said = await refusal(alice, "submit_outpaint", audio=song.name, tags="")
        assert "no room for more files" in said
        assert "Delete requests or files" in said

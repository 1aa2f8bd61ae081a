"""Files of callers: sent, extended, downloaded, deleted; each caller's own, by links that open one thing."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from tests.waiting import PATIENCE_SECONDS

from outpaint_mcp.principals import Principal
from outpaint_mcp.server.http.api_keys import ApiKeys
from outpaint_mcp.server.http.settings import HttpSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import MakeSong
    from tests.over_http.conftest import Door, Serve

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

ALICE, BOB = Principal(client="alice"), Principal(client="bob")
SECRETS = {ALICE.client: "a" * 43, BOB.client: "b" * 43}
SHARED = HttpSettings(
    keys=ApiKeys(
        ",".join(f"{name}={hashlib.sha256(key.encode()).hexdigest()}" for name, key in SECRETS.items())
    )
)
"""A server that knows two callers."""


def bearer(caller: Principal) -> dict[str, str]:
    return {"Authorization": f"Bearer {SECRETS[caller.client]}"}


@asynccontextmanager
async def calling(door: Door, caller: Principal | None) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a caller's key, or with none."""
    async with httpx.AsyncClient(
        base_url=door.origin, headers=bearer(caller) if caller else {}, timeout=PATIENCE_SECONDS
    ) as client:
        yield client


@asynccontextmanager
async def asking(door: Door, caller: Principal) -> AsyncIterator[Client]:
    """An MCP client with a caller's key."""
    async with (
        httpx2.AsyncClient(headers=bearer(caller), timeout=PATIENCE_SECONDS) as http,
        Client(streamable_http_client(f"{door.origin}/mcp", http_client=http)) as client,
    ):
        yield client


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    return dict(answer.structured_content or {})


async def fails(client: Client, tool: str, **arguments: Any) -> str:  # noqa: ANN401 - JSON
    answer = await client.call_tool(tool, arguments)
    assert answer.is_error
    return str(getattr(answer.content[0], "text", ""))


async def extended(client: Client, audio: str) -> dict[str, Any]:
    submission = await call(client, "submit_outpaint", audio=audio, tags="", extend_after_duration=2)
    return await call(client, "get_outpaint_result", request_id=submission["request_id"], wait_seconds=45)


def stored(settings: Settings, caller: Principal) -> dict[str, int]:
    """Return the names and sizes of what lies in a caller's upload folder, hidden files included."""
    folder = settings.reach_of(caller).upload_dir
    return {each.name: each.stat().st_size for each in folder.glob("*")} if folder.exists() else {}


async def test_a_caller_sends_a_track_extends_it_and_downloads_the_result(
    serve: Serve, make_song: MakeSong, settings: Settings
) -> None:
    song = make_song("My Song.flac")
    content = song.read_bytes()
    song.unlink()
    async with serve(http=SHARED) as door, calling(door, ALICE) as http, asking(door, ALICE) as client:
        sent = await http.post("/files", params={"name": "My Song.flac"}, content=content)
        assert sent.status_code == 201
        assert sent.json()["audio"] == "My Song.flac"
        assert sent.json()["size_bytes"] == len(content)
        assert "30 days" in sent.json()["message"]
        listed = await call(client, "list_audio")
        assert [each["name"] for each in listed["files"]] == ["My Song.flac"]
        result = await extended(client, "My Song.flac")
        assert "path" not in result
        assert result["url"].startswith(f"{door.origin}/files/")
        assert "24 hours" in result["message"]
        assert "30 days" in result["message"]
        assert str(settings.data_dir) not in str(result)
        async with calling(door, None) as anybody:
            file = await anybody.get(result["url"])
    assert file.status_code == 200
    assert file.headers["content-type"] == "audio/flac"
    assert file.headers["x-content-type-options"] == "nosniff"
    assert file.headers["cache-control"] == "private"
    assert file.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert file.headers["access-control-allow-origin"] == "*"
    assert file.headers["content-disposition"].startswith("attachment; ")
    assert "filename*=UTF-8''My%20Song" in file.headers["content-disposition"]
    [result_file] = settings.reach_of(ALICE).output_dir.iterdir()
    assert file.content == result_file.read_bytes()

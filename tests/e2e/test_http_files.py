"""A server of its own and a caller who has nothing but its address and a key: files go round, restarts in between."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from tests.e2e.over_http import http_server, key_entries
from tests.e2e.rpc import PATIENCE_SECONDS

if TYPE_CHECKING:
    from tests.conftest import MakeSong
    from tests.e2e.over_http import HttpServer

pytestmark = pytest.mark.anyio

KEY = "a" * 43
KEYS = {"OUTPAINT_API_KEYS": key_entries(alice=KEY)}
BEARER = {"Authorization": f"Bearer {KEY}"}
LINK = re.compile(r"http://[\d.:]+(/\S+)")


async def call(server: HttpServer, tool: str, **arguments: Any) -> tuple[str, dict[str, Any]]:  # noqa: ANN401 - JSON
    """Call a tool as a client that comes and goes; returns its text and its structure."""
    async with (
        httpx2.AsyncClient(headers=BEARER, timeout=PATIENCE_SECONDS) as http,
        Client(streamable_http_client(server.address, http_client=http)) as client,
    ):
        answer = await client.call_tool(tool, arguments)
    return str(getattr(answer.content[0], "text", "")), dict(answer.structured_content or {})


async def test_a_track_goes_round_though_the_server_is_restarted_at_every_step(
    environment: dict[str, str], make_song: MakeSong
) -> None:
    path = make_song("My Song.flac")
    content = path.read_bytes()
    path.unlink()
    named = "/Users/alice/Music/My Song.flac"
    words = []
    environment |= {"OUTPAINT_LOG_LEVEL": "INFO"}
    with http_server(environment | KEYS) as server:
        said, _ = await call(server, "analyze_audio", audio=named)
        [place, *_] = LINK.findall(said)
    words.append(server.words_at_the_end)
    with http_server(environment | KEYS) as server:
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as http:
            origin = server.address.removesuffix("/mcp")
            assert (await http.get(origin + place)).status_code == 200
            upload = origin + place.replace("/drop/", "/files/")
            assert (
                await http.put(upload, params={"name": "My Song.flac"}, content=content)
            ).status_code == 201
            assert (
                await http.put(upload, params={"name": "My Song.flac"}, content=content)
            ).status_code == 404
            _, submission = await call(
                server, "submit_outpaint", audio=named, tags="", extend_after_duration=2
            )
            request_id = submission["request_id"]
            _, result = await call(server, "get_outpaint_result", request_id=request_id, wait_seconds=45)
    words.append(server.words_at_the_end)
    with http_server(environment | KEYS) as server:
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as http:
            origin = server.address.removesuffix("/mcp")
            [place] = LINK.findall(result["url"])
            whole = await http.get(origin + place)
            rest = await http.get(
                origin + place, headers={"Range": "bytes=1000-", "If-Range": whole.headers["etag"]}
            )
            assert (await http.delete(f"{origin}/requests/{request_id}", headers=BEARER)).status_code == 200
            assert (await http.get(origin + place)).status_code == 404
    words.append(server.words_at_the_end)
    assert whole.content.startswith(b"fLaC")
    assert (rest.status_code, rest.content) == (206, whole.content[1000:])
    assert hashlib.sha256(whole.content).hexdigest() in whole.headers["etag"]
    for each in ("/drop/", "/files/", KEY):
        assert each not in "".join(words)

"""Who may call: whoever has the key, in the header or in the URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from tests.e2e.over_http import INITIALIZE
from tests.over_http.conftest import KEY, PERSONAL
from tests.waiting import PATIENCE_SECONDS

from outpaint_mcp.server.http.gate import Gate
from outpaint_mcp.server.http.settings import HttpSettings

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send
    from tests.over_http.conftest import Door, Serve

pytestmark = pytest.mark.anyio

ACCEPT = {"Accept": "application/json, text/event-stream"}


def bare(door: Door) -> httpx.AsyncClient:
    """A client without the key."""
    return httpx.AsyncClient(base_url=door.origin, headers=ACCEPT, timeout=PATIENCE_SECONDS)


RIGHT = [
    ("/mcp", f"Bearer {KEY}"),
    ("/mcp", f"bearer  {KEY}"),
    ("/mcp/", f"BEARER {KEY}"),
    (f"/mcp/{KEY}", ""),
    (f"/mcp/{KEY}/", ""),
    (f"/mcp/{KEY}", "Bearer of.something.else"),
]
WRONG = [
    ("/mcp", ""),
    ("/mcp", "Bearer"),
    ("/mcp", f"Basic {KEY}"),
    ("/mcp", f"Bearer {KEY}x"),
    ("/mcp", f"Bearer {KEY[:-1]}"),
    ("/mcp", "Bearer \u00e9"),
    (f"/mcp?key={KEY}", ""),
    (f"/mcp/{KEY[:-1]}", ""),
    (f"/mcp/{KEY}/more", ""),
    ("/mcp/%C3%A9", ""),
    ("/mcp//", ""),
]


def header(value: str) -> dict[bytes, bytes]:
    return {b"Authorization": value.encode("latin-1")} if value else {}


async def test_the_key_opens_in_the_header_and_in_the_url(serve: Serve) -> None:
    async with serve() as door, bare(door) as http:
        answers = {
            (path, value): (await http.post(path, json=INITIALIZE, headers=header(value))).status_code
            for path, value in RIGHT
        }
    assert answers == dict.fromkeys(RIGHT, 200)


async def test_nothing_else_does_whatever_the_method(serve: Serve) -> None:
    methods = ["POST", "GET", "DELETE", "PUT", "OPTIONS", "HEAD"]
    async with serve() as door, bare(door) as http:
        answers = [
            await http.request(method, path, headers=header(value), content=b"{}")
            for method in methods
            for path, value in WRONG
        ]
    assert {answer.status_code for answer in answers} == {401}
    assert all(answer.headers["www-authenticate"].startswith("Bearer") for answer in answers)
    error = answers[0].json()["error"]["message"]
    assert "http-key" in error
    assert "Authorization: Bearer KEY" in error
    assert KEY not in error


async def test_whoever_lacks_it_is_refused_before_any_of_the_body_is_there(serve: Serve) -> None:
    async with serve() as door:
        wire = await door.connect()
        await wire.post(b"", size=1_000_000, key="wrong")
        assert await wire.status() == 401


async def test_what_follows_a_refused_header_does_not_spoil_the_connection(serve: Serve) -> None:
    async with serve() as door, bare(door) as http:
        large = b"a" * 1_000_000
        statuses = [(await http.post("/mcp", content=large)).status_code for _ in range(3)]
        connections = len(door.server.server_state.connections)
    assert statuses == [401, 401, 401]
    assert connections == 1


async def test_there_is_nothing_at_any_other_address(serve: Serve) -> None:
    paths = [
        "/",
        f"/{KEY}",
        "/mcpx",
        f"/mcpx/{KEY}",
        "/.well-known/oauth-protected-resource",
        "/health",
        "//mcp",
    ]
    async with serve() as door, bare(door) as http:
        without = {path: (await http.get(door.origin + path)).status_code for path in paths}
        having = {path: (await door.http.get(door.origin + path)).status_code for path in paths}
    assert without == having == dict.fromkeys(paths, 404)


async def test_host_and_origin_are_checked_besides(serve: Serve) -> None:
    async with serve() as door:
        foreign = {"Host": "evil.example"}, {"Origin": "https://evil.example"}
        answers = [await door.http.post("/mcp", json=INITIALIZE, headers=headers) for headers in foreign]
        loose = await door.http.post(f"/mcp/{KEY}", json=INITIALIZE, headers=foreign[0])
    assert [answer.status_code for answer in answers] == [421, 403]
    assert loose.status_code == 421


@pytest.mark.parametrize("path", ["/mcp", f"/mcp/{KEY}"])
async def test_without_a_key_everybody_is_let_in(serve: Serve, path: str) -> None:
    async with serve(http=HttpSettings()) as door, bare(door) as http:
        assert (await http.post(path, json=INITIALIZE)).status_code == 200


async def test_a_client_is_told_what_to_do(serve: Serve, era: str) -> None:
    async with serve() as door:
        async with Client(f"{door.origin}/mcp/{KEY}", mode=era) as client:
            assert (await client.list_tools()).tools
        refused = pytest.RaisesExc(MCPError, match="http-key")
        with pytest.RaisesGroup(refused, flatten_subgroups=True):
            async with Client(f"{door.origin}/mcp", mode=era):
                pass


async def test_what_is_let_in_does_not_see_the_key_in_its_address() -> None:
    seen: list[Scope] = []

    async def look(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope)

    async def never(*_: Any) -> Any:  # noqa: ANN401 - not called
        raise AssertionError

    path = f"/mcp/{KEY}"
    scope = {
        "type": "http",
        "headers": [(b"host", b"localhost")],
        "path": path,
        "raw_path": path.encode(),
        "method": "GET",
    }
    await Gate(look, PERSONAL)(scope, never, never)
    assert KEY not in repr(seen)
    assert [each["path"] for each in seen] == ["/mcp"]

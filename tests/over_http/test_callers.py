"""Callers who share a server: each is known by a key or a token, and nobody has anything of another's."""

from __future__ import annotations

import dataclasses
import hashlib
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest
from mcp.client import Client
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from tests.e2e.over_http import INITIALIZE
from tests.fakes.issuer import AUDIENCE, FakeIssuer
from tests.over_http.conftest import KEY
from tests.waiting import PATIENCE_SECONDS, until

from outpaint_mcp.principals import Principal
from outpaint_mcp.server import content
from outpaint_mcp.server.http.api_keys import PREFIX, ApiKeys
from outpaint_mcp.server.http.gate import Gate
from outpaint_mcp.server.http.settings import HttpSettings, OAuth

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcp.shared.auth import OAuthToken
    from starlette.types import Receive, Scope, Send
    from tests.over_http.conftest import Door, Serve

pytestmark = pytest.mark.anyio

ACCEPT = {"Accept": "application/json, text/event-stream"}
ALICE, BOB, LATE = (PREFIX + letter * 43 for letter in "abc")
YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)


def entry(name: str, key: str, more: str = "") -> str:
    return f"{name}={hashlib.sha256(key.encode()).hexdigest()}{more}"


KEYS = ApiKeys(
    ",".join([entry("alice", ALICE), entry("bob", BOB), entry("late", LATE, f";expires={YESTERDAY}")])
)
TEAM = HttpSettings(
    hosts=("127.0.0.1", "outpaint.example.org"),
    origins=("https://outpaint.example.org",),
    public_url="https://outpaint.example.org",
    keys=KEYS,
)


@pytest.fixture
def issuer() -> Iterator[FakeIssuer]:
    with FakeIssuer() as running:
        yield running
    assert running.violations == []


def with_oauth(issuer: FakeIssuer, *scopes: str) -> HttpSettings:
    return dataclasses.replace(TEAM, oauth=OAuth(issuer=issuer.url, scopes=scopes))


def bare(door: Door) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=door.origin, headers=ACCEPT, timeout=PATIENCE_SECONDS)


def bearer(given: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {given}"}


async def post(http: httpx.AsyncClient, headers: Any, path: str = "/mcp") -> httpx.Response:  # noqa: ANN401 - as httpx takes them
    return await http.post(path, json=INITIALIZE, headers=headers)


async def test_a_key_lets_its_holder_in_and_nothing_else_does(serve: Serve) -> None:
    wrong: list[Any] = [
        {},
        {"Authorization": "Bearer"},
        bearer(KEY),
        bearer(ALICE[:-1]),
        bearer(ALICE + "x"),
        bearer(ALICE.upper()),
        bearer(hashlib.sha256(ALICE.encode()).hexdigest()),
        bearer("alice"),
        bearer(f"{ALICE} {BOB}"),
        bearer(f"{ALICE},{BOB}"),
        bearer(LATE),
        bearer("a.b.c"),
        {"Authorization": ALICE},
        {"Authorization": f"Basic {ALICE}"},
        {"Authorization": f"Digest {ALICE}"},
        {"X-API-Key": ALICE},
        {"Cookie": f"key={ALICE}"},
        [("Authorization", f"Bearer {ALICE}"), ("Authorization", f"Bearer {BOB}")],
        [("Authorization", f"Bearer {ALICE}"), ("Authorization", f"Bearer {ALICE}")],
        [("Authorization", "Basic x"), ("Authorization", f"Bearer {ALICE}")],
    ]
    async with serve(http=TEAM) as door, bare(door) as http:
        right = [
            await post(http, bearer(ALICE)),
            await post(http, {"authorization": f"bearer  {BOB}"}),
            await post(http, bearer(ALICE), "/mcp/"),
        ]
        refused = [await post(http, headers) for headers in wrong]
        in_address = [
            await post(http, {}, path) for path in (f"/mcp/{ALICE}", f"/mcp?key={ALICE}", f"/mcp/{KEY}")
        ]
    assert [answer.status_code for answer in right] == [200] * 3
    assert [answer.status_code for answer in refused] == [401] * len(wrong)
    assert [answer.status_code for answer in in_address] == [401] * 3
    for answer in refused + in_address:
        challenge = answer.headers["www-authenticate"]
        assert challenge.startswith('Bearer realm="outpaint-mcp"')
        assert "resource_metadata" not in challenge
        assert "Authorization: Bearer" in answer.json()["error"]["message"]
        assert not any(key in answer.text for key in (ALICE, BOB, LATE, KEY))
    assert "error=" not in refused[0].headers["www-authenticate"]
    assert 'error="invalid_token"' in refused[2].headers["www-authenticate"]


async def test_an_expired_key_says_so_to_its_holder_alone(serve: Serve) -> None:
    async with serve(http=TEAM) as door, bare(door) as http:
        assert str(YESTERDAY) in (await post(http, bearer(LATE))).text
        assert str(YESTERDAY) not in (await post(http, bearer(LATE[:-1]))).text


async def test_whoever_lacks_a_key_is_refused_before_any_of_the_body_is_there(serve: Serve) -> None:
    async with serve(http=TEAM) as door:
        wire = await door.connect()
        await wire.post(b"", size=1_000_000, key=LATE)
        assert await wire.status() == 401


async def test_a_key_that_is_taken_away_lets_nobody_in_any_more(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{entry('alice', ALICE)}\n")
    file.chmod(0o600)
    async with serve(http=dataclasses.replace(TEAM, keys=ApiKeys(f"@{file}"))) as door, bare(door) as http:
        before = [(await post(http, bearer(key))).status_code for key in (ALICE, BOB)]
        file.write_text(f"{entry('bob', BOB)}\n")
        after = [(await post(http, bearer(key))).status_code for key in (ALICE, BOB)]
    assert (before, after) == ([200, 401], [401, 200])


HOSTS = {
    "127.0.0.1": True,
    "127.0.0.1:8000": True,
    "outpaint.example.org": True,
    "OUTPAINT.example.org:443": True,
    "evil.example": False,
    "outpaint.example.org.evil.example": False,
    "evil.example:outpaint.example.org": False,
    "outpaint.example.org:80@evil.example": False,
    "outpaint.example.org:": False,
    "outpaint.example.org:x": False,
    "outpaint.example.org:443:443": False,
    "outpaint.example.org.": False,
    "localhost": False,
    "[::1]": False,
    "": False,
}
ORIGINS = {
    "https://outpaint.example.org": True,
    "HTTPS://Outpaint.Example.org": True,
    "http://outpaint.example.org": False,
    "https://outpaint.example.org:8443": False,
    "https://outpaint.example.org.evil.example": False,
    "https://evil.example": False,
    "http://127.0.0.1:8000": False,
    "null": False,
    "": False,
}
PATHS = ["/mcp", "/mcp/", "/", "/healthz", "/requests/x", "/.well-known/oauth-protected-resource", "/nothing"]


@pytest.mark.parametrize("path", PATHS)
async def test_evil_hosts_and_origins_are_refused_at_every_address(
    serve: Serve, issuer: FakeIssuer, path: str
) -> None:
    async with serve(http=with_oauth(issuer)) as door, bare(door) as http:
        hosts = {host: (await post(http, bearer(ALICE) | {"Host": host}, path)).status_code for host in HOSTS}
        origins = {
            origin: (await post(http, bearer(ALICE) | {"Origin": origin}, path)).status_code
            for origin in ORIGINS
        }
        unknown = await post(http, {"Host": "evil.example"}, path)
        preflight = await http.options(path, headers={"Origin": "https://evil.example"})
        two = await post(
            http,
            [*bearer(ALICE).items(), ("Origin", "https://outpaint.example.org"), ("Origin", "null")],
            path,
        )
    assert {host: status not in {400, 421} for host, status in hosts.items()} == HOSTS
    assert {origin: status != 403 for origin, status in origins.items()} == ORIGINS
    assert (unknown.status_code, preflight.status_code, two.status_code) == (421, 403, 403)


@pytest.mark.parametrize("path", ["/files/x", "/drop/x", "/delete/x"])
async def test_a_link_is_good_in_any_page_but_under_no_other_name(serve: Serve, path: str) -> None:
    async with serve(http=TEAM) as door, bare(door) as http:
        hosts = {host: (await http.get(path, headers={"Host": host})).status_code for host in HOSTS}
        in_pages = {(await http.get(path, headers={"Origin": origin})).status_code for origin in ORIGINS}
        alone = (await http.get(path)).status_code
    assert {host: status not in {400, 421} for host, status in hosts.items()} == HOSTS
    assert in_pages == {alone}


async def test_files_are_sent_from_pages_that_may_alone(serve: Serve) -> None:
    evil = {"Host": "evil.example"}, {"Origin": "https://evil.example"}
    async with serve(http=TEAM) as door, bare(door) as http:
        answers = [
            await http.post("/files?name=a.wav", content=b"x", headers=bearer(ALICE) | each) for each in evil
        ]
    assert [answer.status_code for answer in answers] == [421, 403]


async def test_pages_that_were_named_may_read_the_answers_and_no_others(serve: Serve) -> None:
    origin = {"Origin": "https://outpaint.example.org"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    async with serve(http=TEAM) as door, bare(door) as http:
        preflight = await http.options("/mcp", headers=origin | asked)
        called = await post(http, bearer(ALICE) | origin)
        refused = await post(http, origin)
        evil = await http.options("/mcp", headers={"Origin": "https://evil.example"} | asked)
    assert preflight.status_code == 200
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    for answer in (preflight, called, refused):
        assert answer.headers["access-control-allow-origin"] == "https://outpaint.example.org"
        assert "access-control-allow-credentials" not in answer.headers
    assert (called.status_code, refused.status_code, evil.status_code) == (200, 401, 403)
    assert "access-control-allow-origin" not in evil.headers


async def test_on_loopback_no_page_reads_anything(serve: Serve) -> None:
    origin = {"Origin": "http://localhost:6274"}
    async with serve() as door:
        answer = await door.http.post("/mcp", json=INITIALIZE, headers=origin)
        preflight = await door.http.options(
            "/mcp", headers=origin | {"Access-Control-Request-Method": "POST"}
        )
    assert answer.status_code == 200
    assert not [name for each in (answer, preflight) for name in each.headers if name.startswith("access-")]


async def test_a_request_without_a_host_is_refused(serve: Serve) -> None:
    async with serve(http=TEAM) as door:
        wire = await door.connect()
        await wire.send(f"POST /mcp HTTP/1.0\r\nAuthorization: Bearer {ALICE}\r\n\r\n".encode())
        assert await wire.status() == 421


@pytest.mark.parametrize(
    "target",
    [
        "/./mcp",
        "//mcp",
        "/MCP",
        "/mcp%00",
        "/mcpx",
        "/%6dcp/../files",
        "/x/../mcp",
        "/healthz/../mcp",
        "http://outpaint.example.org/mcp",
        "\\mcp",
    ],
)
async def test_odd_spellings_of_the_address_lead_nowhere(serve: Serve, target: str) -> None:
    async with serve(http=TEAM) as door:
        wire = await door.connect()
        await wire.send(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert await wire.status() in {400, 401, 404}


class Seen:
    """An application that looks at what it is given."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        self.scopes.append(scope)


@pytest.mark.parametrize("path", ["/mcp", "/mcp/anything", "/mcp/../files", "/mcp/\n"])
async def test_what_is_let_in_sees_one_address_and_nothing_that_was_shown(path: str) -> None:
    seen, sent = Seen(), []

    async def send(message: Any) -> None:  # noqa: ANN401 - ASGI's
        sent.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {ALICE}".encode()), (b"x-other", b"1")]
    scope = {"type": "http", "path": path, "raw_path": path.encode(), "headers": headers, "method": "GET"}
    await Gate(seen, TEAM)(scope, send, send)  # type: ignore[arg-type]  # nothing is received
    [let_in] = seen.scopes
    assert (let_in["path"], let_in["raw_path"]) == ("/mcp", b"/mcp")
    await Gate(seen, TEAM)(scope | {"path": "/healthz"}, send, send)  # type: ignore[arg-type]  # likewise
    for each in seen.scopes:
        assert [name for name, _ in each["headers"]] == [b"host", b"x-other"]
    assert ALICE not in repr(let_in)
    assert sent == []


def test_nobody_is_the_person_at_this_machine_by_the_name_of_a_key() -> None:
    assert all(ApiKeys(entry(name, ALICE)).find(ALICE.encode()) for name in ("0", "person", "operator"))
    assert Principal(client="0").is_remote


async def test_each_session_is_its_callers_and_somebody_elses_does_not_exist(serve: Serve) -> None:
    async with serve(http=TEAM, sessions=3) as door, bare(door) as http:
        opened = {
            name: (await post(http, bearer(key))).headers["mcp-session-id"]
            for name, key in (("alice", ALICE), ("bob", BOB))
        }
        foreign, unknown = (bearer(BOB) | {"Mcp-Session-Id": each} for each in (opened["alice"], "0" * 32))
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        answers = [
            [
                await http.post("/mcp", json=ping, headers=headers),
                await http.get("/mcp", headers=headers),
                await http.delete("/mcp", headers=headers),
            ]
            for headers in (foreign, unknown)
        ]
        own = await http.post("/mcp", json=ping, headers=bearer(ALICE) | {"Mcp-Session-Id": opened["alice"]})
    assert [answer.status_code for answer in answers[0]] == [404] * 3
    assert [answer.content for answer in answers[0]] == [answer.content for answer in answers[1]]
    assert own.status_code == 200


async def test_whoever_opens_many_sessions_loses_their_own(serve: Serve) -> None:
    async with serve(http=TEAM, sessions=4) as door, bare(door) as http:

        async def ping(key: str, session: str) -> int:
            headers = bearer(key) | {"Mcp-Session-Id": session}
            answer = await http.post(
                "/mcp", json={"jsonrpc": "2.0", "id": 2, "method": "ping"}, headers=headers
            )
            return answer.status_code

        alices = (await post(http, bearer(ALICE))).headers["mcp-session-id"]
        bobs = [(await post(http, bearer(BOB))).headers["mcp-session-id"] for _ in range(8)]
        # Whose request it is that makes the oldest of them end does not matter.
        alices_second = (await post(http, bearer(ALICE))).headers["mcp-session-id"]
        assert [await ping(ALICE, each) for each in (alices, alices_second)] == [200, 200]
        assert [await ping(BOB, each) for each in bobs] == [404] * 6 + [200] * 2


async def test_asking_for_somebody_elses_session_does_not_let_it_live_for_ever(serve: Serve) -> None:
    async with serve(http=TEAM, sessions=1) as door, bare(door) as http:
        alices = (await post(http, bearer(ALICE))).headers["mcp-session-id"]
        await http.post("/mcp", json=INITIALIZE, headers=bearer(BOB) | {"Mcp-Session-Id": alices})
        for _ in range(3):
            await post(http, bearer(ALICE))
        await until(lambda: len(door.manager._server_instances) == 1)


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


async def asked_by(door: Door, given: str, era: str) -> None:
    async with (
        httpx2.AsyncClient(headers=bearer(given), timeout=PATIENCE_SECONDS) as http,
        Client(streamable_http_client(f"{door.origin}/mcp", http_client=http), mode=era) as client,
    ):
        answer = await client.call_tool("list_outpaints", {})
        assert not answer.is_error, answer.content


async def test_tools_see_who_calls_in_both_eras(
    serve: Serve, issuer: FakeIssuer, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Principal] = []
    real = content.principal

    def look() -> Principal:
        seen.append(real())
        return seen[-1]

    monkeypatch.setattr("outpaint_mcp.server.tools.principal", look)
    async with serve(http=with_oauth(issuer)) as door:
        for given in (ALICE, BOB, issuer.token()):
            await asked_by(door, given, era)
    token_holder = Principal(client="editor", issuer=issuer.url, subject="user-7")
    assert list(dict.fromkeys(seen)) == [Principal(client="alice"), Principal(client="bob"), token_holder]


async def test_a_token_for_a_provider_is_that_of_the_call_in_both_eras(
    serve: Serve, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Principal] = []
    real = content.principal

    def look() -> Principal:
        seen.append(real())
        return seen[-1]

    monkeypatch.setattr("outpaint_mcp.server.tools.principal", look)
    async with (
        serve(http=TEAM) as door,
        httpx2.AsyncClient(headers=bearer(ALICE), timeout=PATIENCE_SECONDS) as http,
        Client(streamable_http_client(f"{door.origin}/mcp", http_client=http), mode=era) as client,
    ):
        for given in ({}, {"X-RunComfy-Token": "first"}, {"X-RunComfy-Token": "second"}):
            http.headers.update(given)
            await client.call_tool("list_outpaints", {})
    assert [each.token_for("runcomfy") for each in seen] == ["", "first", "second"]


async def test_a_client_reads_what_is_wrong(serve: Serve, era: str) -> None:
    async with serve(http=TEAM) as door:
        refused = pytest.RaisesExc(
            MCPError, match="ask whoever runs this server|Ask whoever runs this server"
        )
        with pytest.RaisesGroup(refused, flatten_subgroups=True):
            await asked_by(door, LATE, era)


async def test_a_client_without_a_token_learns_where_to_get_one(serve: Serve, issuer: FakeIssuer) -> None:
    async with serve(http=with_oauth(issuer, "music", "read")) as door, bare(door) as http:
        refused = await post(http, {})
        rejected = await post(http, bearer(issuer.token(aud="https://other.example/mcp")))
        lacking = await post(http, bearer(issuer.token(scope="music")))
        good = await post(http, bearer(issuer.token()))
        key = await post(http, bearer(BOB))
        well_known = "/.well-known/oauth-protected-resource"
        documents = [await http.get(path) for path in (well_known, f"{well_known}/mcp")]
        others = [await http.get(f"{well_known}/other"), await http.post(well_known)]
    where = f'scope="music read", resource_metadata="https://outpaint.example.org{well_known}/mcp"'
    realm = 'Bearer realm="outpaint-mcp"'
    assert [each.status_code for each in (refused, rejected, lacking, good, key)] == [401, 401, 403, 200, 200]
    assert refused.headers["www-authenticate"] == f"{realm}, {where}"
    assert rejected.headers["www-authenticate"] == f'{realm}, error="invalid_token", {where}'
    assert lacking.headers["www-authenticate"] == f'{realm}, error="insufficient_scope", {where}'
    assert issuer.url in refused.json()["error"]["message"]
    assert "music read" in lacking.json()["error"]["message"]
    for document in documents:
        assert document.json() == {
            "resource": AUDIENCE,
            "authorization_servers": [issuer.url],
            "scopes_supported": ["music", "read"],
            "bearer_methods_supported": ["header"],
            "resource_name": "outpaint-mcp",
        }
    assert [answer.status_code for answer in others] == [404, 405]


class Memory:
    """Where a client has its tokens."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> None:
        return None

    async def set_client_info(self, _: object) -> None:
        pass


async def test_the_official_client_finds_its_way_to_a_token_by_itself(
    serve: Serve, issuer: FakeIssuer, era: str
) -> None:
    port = free_port()
    here = f"http://127.0.0.1:{port}"
    settings = dataclasses.replace(with_oauth(issuer, "music", "read"), public_url=here)
    provider = ClientCredentialsOAuthProvider(
        f"{here}/mcp", Memory(), "editor", "its-secret", issuer=issuer.url
    )
    async with (
        serve(http=settings, port=port),
        httpx2.AsyncClient(auth=provider, timeout=PATIENCE_SECONDS) as http,
        Client(streamable_http_client(f"{here}/mcp", http_client=http), mode=era) as client,
    ):
        assert not (await client.call_tool("list_outpaints", {})).is_error
    [granted] = issuer.granted
    assert granted["resource"] == f"{here}/mcp"
    assert set(granted["scope"].split()) == {"music", "read"}


async def test_a_server_behind_a_path_names_itself_by_it(serve: Serve, issuer: FakeIssuer) -> None:
    settings = dataclasses.replace(with_oauth(issuer), public_url="https://outpaint.example.org/music")
    metadata = "/.well-known/oauth-protected-resource/music/mcp"
    async with serve(http=settings) as door, bare(door) as http:
        refused = await post(http, bearer(issuer.token()))
        good = await post(http, bearer(issuer.token(aud=f"{settings.public_url}/mcp")))
        document = await http.get(metadata)
    assert (
        f'resource_metadata="https://outpaint.example.org{metadata}"' in refused.headers["www-authenticate"]
    )
    assert (refused.status_code, good.status_code) == (401, 200)
    assert document.json()["resource"] == "https://outpaint.example.org/music/mcp"


async def test_where_the_issuer_is_down_a_token_is_not_called_wrong_and_keys_are_good(
    serve: Serve, issuer: FakeIssuer
) -> None:
    issuer.mood = "failing"
    async with serve(http=with_oauth(issuer)) as door, bare(door) as http:
        answers = [await post(http, bearer(given)) for given in (issuer.token(), ALICE, LATE)]
    assert [answer.status_code for answer in answers] == [503, 200, 401]
    assert int(answers[0].headers["retry-after"]) > 0
    assert "www-authenticate" not in answers[0].headers


async def test_without_oauth_there_is_no_metadata(serve: Serve) -> None:
    async with serve(http=TEAM) as door, bare(door) as http:
        assert (await http.get("/.well-known/oauth-protected-resource/mcp")).status_code == 404


async def test_no_key_and_no_token_is_in_a_log(
    serve: Serve, issuer: FakeIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    token = issuer.token()
    async with serve(http=with_oauth(issuer)) as door, bare(door) as http:
        for given in (ALICE, LATE, token, token + "x", issuer.token(aud="other")):
            for path in ("/mcp", f"/mcp/{given}", f"/nothing/{given}"):
                await post(http, bearer(given), path)
                await post(http, bearer(given) | {"Host": "evil.example"}, path)
    ours = "\n".join(
        record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))
    )
    assert ours
    for secret in (ALICE, LATE, token.split(".")[1], token.split(".")[2]):
        assert secret not in ours

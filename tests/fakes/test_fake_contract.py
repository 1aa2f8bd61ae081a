"""The fake takes exactly what the reference allows, and writes down everything else."""

from __future__ import annotations

import base64
import socket
from typing import TYPE_CHECKING, Any

import pytest
from tests.fakes.asking import GOOD, MODEL, SONG, SONG_URL, finished, url_of
from tests.fakes.runcomfy import TOKEN

if TYPE_CHECKING:
    import httpx
    from tests.fakes.runcomfy import FakeRunComfy


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"audio": 7},
        {"audio": None},
        {"audio": "/home/me/song.wav"},
        {"audio": "http://music.example/a.wav"},
        {"audio": "https://music.example/a song.wav"},
        {"audio": "https://user:word@music.example/a.wav"},
        {"audio": "data:audio/ogg;base64,T2dnUw=="},
        {"audio": "data:audio/flac;base64," + base64.b64encode(SONG).decode()},
        {"audio": "data:audio/wav;base64,????"},
        {"tags": None},
        {"lyrics": None},
        {"extend_before_duration": -1},
        {"extend_after_duration": 240.5},
        {"extend_after_duration": "30"},
        {"extend_after_duration": True},
        {"seed": 1.0},
        {"seed": 2**31},
        {"seed": False},
    ],
    ids=str,
)
def test_an_input_that_the_schema_does_not_allow_is_a_violation(
    change: dict[str, Any], fake: FakeRunComfy, client: httpx.Client
) -> None:
    answer = client.post(MODEL, json=GOOD | change)
    assert answer.status_code == 422, answer.text
    assert len(fake.violations) == 1
    assert not fake.jobs
    with pytest.raises(AssertionError, match="contract was broken"):
        fake.check()


@pytest.mark.parametrize(
    ("call", "options", "expected"),
    [
        (f"POST {MODEL}", {"json": {"audio": SONG_URL}}, 422),
        (f"POST {MODEL}", {"json": [GOOD]}, 422),
        (f"POST {MODEL}", {"content": b"{", "headers": JSON}, 400),
        (f"POST {MODEL}", {"content": b'{"audio": NaN, "tags": ""}', "headers": JSON}, 400),
        (f"POST {MODEL}", {"content": b'{"tags": "a", "tags": "b"}', "headers": JSON}, 400),
        (f"POST {MODEL}", {"content": rb'{"audio": "", "tags": "\ud800"}', "headers": JSON}, 422),
        (f"POST {MODEL}", {"content": iter([b"{}"]), "headers": JSON}, 411),
        (f"POST {MODEL}", {"data": {"audio": SONG_URL}}, 415),
        (f"POST {MODEL}", {"json": GOOD | {"tags": TOKEN}}, 400),
        ("POST /models/another/model", {"json": GOOD}, 404),
        ("GET /requests/..%2F..%2Fx/other", {}, 404),
        ("GET /requests/../x/status", {}, 404),
        ("GET /requests/../status", {}, 404),
        ("GET /requests/a@b/status", {}, 404),
        ("GET /requests/x/status?wait=1", {}, 400),
        ("GET /requests/x/status", {"content": b"{}"}, 400),
        ("GET /requests/x/result?include_cost=1", {}, 400),
        ("POST /requests/x/status", {}, 405),
        ("POST /requests/x/cancel", {"json": {"why": "because"}}, 400),
        (f"GET {MODEL}", {"headers": {"Authorization": "Basic abc"}}, 401),
        (f"GET {MODEL}", {"headers": {"X-Key": TOKEN}}, 400),
        (f"GET /requests/{TOKEN}/status", {}, 400),
    ],
)
def test_a_request_that_breaks_the_contract_is_a_violation(
    call: str, options: dict[str, Any], expected: int, fake: FakeRunComfy, client: httpx.Client
) -> None:
    method, path = call.split()
    assert client.request(method, path, **options).status_code == expected
    assert len(fake.violations) == 1
    assert TOKEN not in fake.violations[0]
    assert fake.calls[-1].status == expected


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /v1/requests/a b/status HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://x/v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
    ids=lambda sent: sent[:40].decode(),
)
def test_what_is_hardly_http_is_a_violation(sent: bytes, fake: FakeRunComfy) -> None:
    port = int(fake.base.split(":")[2].removesuffix("/v1"))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")
    assert len(fake.violations) == 1


def test_what_is_too_large_is_a_violation(fake: FakeRunComfy, client: httpx.Client) -> None:
    assert client.post(MODEL, content=bytes(64 * 1024 * 1024 + 1), headers=JSON).status_code == 413
    uri = "data:audio/wav;base64," + base64.b64encode(SONG[:44] + bytes(16 * 1024 * 1024)).decode()
    assert client.post(MODEL, json=GOOD | {"audio": uri}).status_code == 413
    assert len(fake.violations) == 2


def test_a_missing_bearer_is_a_violation_and_a_wrong_one_is_not(
    fake: FakeRunComfy, bare: httpx.Client
) -> None:
    wrong = bare.get(fake.base + MODEL, headers={"Authorization": "Bearer expired"})
    assert (wrong.status_code, wrong.json()["error_code"]) == (401, 400004)
    assert not fake.violations
    assert bare.get(fake.base + MODEL).status_code == 401
    assert len(fake.violations) == 1


def test_a_bearer_on_a_download_is_a_violation(fake: FakeRunComfy, client: httpx.Client) -> None:
    assert client.get(url_of(finished(fake, client))).status_code == 400
    assert "bearer" in fake.violations[0]

"""Where the fake breaks off, and what has happened by then."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.fakes.asking import BEARER, GOOD, MODEL, finished, result, status, submit, switch, url_of
from tests.fakes.runcomfy import TOKEN, FakeRunComfy, Fault, Flaky

if TYPE_CHECKING:
    from tests.fakes.switches import Endpoint, Event


def test_a_flaky_service_fails_as_often_as_it_is_told(fake: FakeRunComfy, client: httpx.Client) -> None:
    fake.hold()
    seen: list[int] = []
    for seed in (1, 1):
        switch(fake, flaky=Flaky(server_error=0.2, too_many=0.1, dropped=0.2, seed=seed))
        first = len(fake.calls)
        for _ in range(60):
            try:
                client.post(MODEL, json=GOOD)
            except httpx.RemoteProtocolError:
                continue
        seen.append(sum(call.status == 200 for call in fake.calls[first:]))
        assert {call.status for call in fake.calls[first:]} >= {0, 200, 429, 502}
    assert seen[0] == seen[1]
    assert sum(seen) < len(fake.jobs) < 120
    switch(fake, flaky=Flaky(hang=1.0))
    with pytest.raises(httpx.ReadTimeout):
        client.get(MODEL, timeout=0.1)


def test_a_fault_may_say_anything(fake: FakeRunComfy, client: httpx.Client) -> None:
    fake.fail(
        "status",
        Fault(status=503, retry_after="3"),
        Fault(status=502, body="<html>"),
        Fault(body={"error_code": 400002, "error_message": "no balance"}),
    )
    request_id = submit(client)
    first, second, third = (client.get(f"/requests/{request_id}/status") for _ in range(3))
    assert (first.status_code, first.headers["retry-after"]) == (503, "3")
    assert first.json() == {"error_message": "Service Unavailable"}
    assert (second.status_code, second.headers["content-type"]) == (502, "text/html; charset=utf-8")
    assert (third.status_code, third.json()["error_code"]) == (200, 400002)
    assert fake.count("status") == 3
    assert fake.jobs[request_id].polls == 0
    assert status(client, request_id)["status"] == "in_queue"


@pytest.mark.parametrize(
    ("fault", "error", "accepted"),
    [
        (Fault(kind="refuse"), httpx.TransportError, 0),
        (Fault(kind="drop"), httpx.TransportError, 1),
        (Fault(kind="hang"), httpx.ReadTimeout, 0),
        (Fault(kind="hang", accepts=True), httpx.ReadTimeout, 1),
        (Fault(status=503), None, 0),
        (Fault(status=503, accepts=True), None, 1),
        (Fault(body={}, accepts=True), None, 1),
    ],
    ids=str,
)
def test_a_submission_may_be_accepted_or_not_behind_the_same_fault(
    fault: Fault, error: type[Exception] | None, accepted: int, fake: FakeRunComfy, client: httpx.Client
) -> None:
    fake.fail("submit", fault)
    if error is None:
        assert client.post(MODEL, json=GOOD).status_code == (fault.status or 200)
    else:
        with pytest.raises(error):
            client.post(MODEL, json=GOOD, timeout=0.2)
    assert len(fake.jobs) == accepted
    assert fake.count("submit") == 1
    submit(client)
    assert len(fake.jobs) == accepted + 1
    fake.check()


def test_a_cancellation_may_be_carried_out_and_its_answer_lost(
    fake: FakeRunComfy, client: httpx.Client
) -> None:
    request_id = submit(client)
    fake.fail("cancel", Fault(status=502), Fault(kind="drop"))
    assert client.post(f"/requests/{request_id}/cancel").status_code == 502
    assert fake.jobs[request_id].status == "in_queue"
    with pytest.raises(httpx.TransportError):
        client.post(f"/requests/{request_id}/cancel")
    assert fake.jobs[request_id].status == "cancelled"


@pytest.mark.parametrize("endpoint", ["status", "result", "model", "balance", "download"])
@pytest.mark.parametrize("kind", ["drop", "refuse", "hang"])
def test_a_get_may_never_be_answered(
    endpoint: Endpoint, kind: str, fake: FakeRunComfy, client: httpx.Client, bare: httpx.Client
) -> None:
    request_id = submit(client)
    origin = fake.base.removesuffix("/v1")
    url = {
        "model": fake.base + MODEL,
        "balance": f"{origin}/prod/v2/balance",
        "download": f"{origin}/outputs/{request_id}.wav",
    }.get(endpoint, f"{fake.base}/requests/{request_id}/{endpoint}")
    headers = BEARER if endpoint != "download" else {}
    fake.fail(endpoint, Fault(kind=kind))  # type: ignore[arg-type]
    with pytest.raises(httpx.ReadTimeout if kind == "hang" else httpx.TransportError):
        bare.get(url, headers=headers, timeout=0.1)
    assert bare.get(url, headers=headers).status_code == (404 if endpoint == "download" else 200)
    assert [call.status for call in fake.calls[1:]] == [0, fake.calls[-1].status]
    fake.check()


@pytest.mark.parametrize("content", ["empty", "html", "truncated", "excess"])
def test_an_output_may_be_anything_but_whole(
    content: str, fake: FakeRunComfy, client: httpx.Client, bare: httpx.Client
) -> None:
    url = url_of(finished(fake, client))
    whole = bare.get(url).content
    switch(fake, content=content)
    if content == "truncated":
        with pytest.raises(httpx.RemoteProtocolError):
            bare.get(url)
    else:
        got = bare.get(url).content
        assert got == {"empty": b"", "excess": whole[: len(whole) // 2]}.get(content, got)
        assert (b"<html" in got) == (content == "html")
    switch(fake, content="audio")
    assert bare.get(url).content == whole


def test_an_output_url_expires_leads_astray_or_is_slow(
    fake: FakeRunComfy, client: httpx.Client, bare: httpx.Client
) -> None:
    url = url_of(finished(fake, client))
    assert bare.get(url.partition("?")[0]).status_code == 403
    assert bare.get(url + "0").status_code == 403
    switch(fake, download="expired")
    assert "AccessDenied" in bare.get(url).text
    switch(fake, download="private_redirect")
    astray = bare.get(url)
    assert (astray.status_code, astray.headers["location"]) == (302, "http://169.254.169.254/x")
    switch(fake, download="slow")
    start = time.perf_counter()
    assert len(bare.get(url).content) > 1000
    assert time.perf_counter() - start > 0.5
    request_id = next(iter(fake.jobs))
    fake.expire(request_id)
    assert bare.get(url).status_code == 404
    fake.check()


@pytest.mark.parametrize(
    ("event", "request_ids"),
    [
        ("submit_read", [""]),
        ("submit_accepted", ["job"]),
        ("status", ["job"]),
        ("result", ["job"]),
        ("cancel", ["job"]),
        ("download", ["job"]),
        ("download_half", ["job"]),
        ("model", [""]),
        ("balance", [""]),
    ],
)
def test_every_event_is_told_once_before_its_answer(
    event: Event, request_ids: list[str], fake: FakeRunComfy, client: httpx.Client, bare: httpx.Client
) -> None:
    told: list[str] = []
    in_thread: set[str] = set()

    def hear(request_id: str) -> None:
        told.append(request_id)
        in_thread.add(threading.current_thread().name)
        assert event == "download_half" or fake.calls[-1].status == 0

    fake.on(event, hear)
    request_id = submit(client)
    status(client, request_id)
    fake.finish_all()
    url = url_of(result(client, request_id))
    client.post(f"/requests/{request_id}/cancel")
    bare.get(url)
    client.get(MODEL)
    client.get(fake.base.removesuffix("/v1") + "/prod/v2/balance")
    assert told == [{"job": request_id}.get(each, each) for each in request_ids]
    assert in_thread == {"fake-runcomfy"}
    fake.check()


def test_what_a_callback_raises_is_a_violation(fake: FakeRunComfy, client: httpx.Client) -> None:
    def fail(_: str) -> None:
        raise ValueError("wrong")

    fake.on("model", fail)
    assert client.get(MODEL).status_code == 200
    assert "ValueError: wrong" in fake.violations[0]


POST = """
import json, os, sys
import httpx
httpx.post(os.environ["URL"], headers={"Authorization": "Bearer " + os.environ["TOKEN"]}, json=json.loads(sys.argv[1]))
"""


@pytest.mark.parametrize(("event", "accepted"), [("submit_read", 0), ("submit_accepted", 1)])
def test_a_client_that_is_killed_has_submitted_or_not(
    event: Event, accepted: int, fake: FakeRunComfy, bare: httpx.Client
) -> None:
    started = threading.Event()

    def kill(_: str) -> None:
        started.wait(10)
        process.kill()
        process.wait()

    fake.on(event, kill)
    body = '{"audio": "https://music.example/song.wav", "tags": "a"}'
    environment = {"URL": fake.base + MODEL, "TOKEN": TOKEN}
    process = subprocess.Popen([sys.executable, "-c", POST, body], env=environment)
    started.set()
    process.wait(30)
    bare.get(fake.base + MODEL, headers=BEARER)
    assert len(fake.jobs) == accepted
    fake.check()


def test_it_stops_while_clients_hang(client: httpx.Client) -> None:
    with FakeRunComfy() as other:
        other.fail("model", Fault(kind="hang"))
        failed: list[Exception] = []

        def ask() -> None:
            try:
                client.get(other.base + MODEL, timeout=30)
            except httpx.TransportError as exc:
                failed.append(exc)

        asking = threading.Thread(target=ask)
        asking.start()
        while not other.count("model"):
            time.sleep(0.01)
    asking.join(10)
    assert failed


def test_a_port_that_is_taken_is_told(fake: FakeRunComfy) -> None:
    with pytest.raises(OSError, match="in use"), FakeRunComfy(port=int(fake.base.split(":")[2][:-3])):
        pass

"""The fake keeps to the reference, says so when a client does not, and has every switch that it promises."""

from __future__ import annotations

import base64
import http.server
import io
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import httpx
import pytest
import soundfile
from tests.fakes.asking import (
    GOOD,
    MODEL,
    SONG,
    SONG_URL,
    finished,
    result,
    song,
    status,
    submit,
    switch,
    url_of,
)

if TYPE_CHECKING:
    from tests.fakes.runcomfy import FakeRunComfy


def test_a_request_goes_from_the_queue_to_a_file(
    fake: FakeRunComfy, client: httpx.Client, bare: httpx.Client
) -> None:
    switch(fake, queue_polls=2)
    answer = client.post(MODEL, json=GOOD).json()
    request_id = answer["request_id"]
    assert answer["cancel_url"] == f"{fake.base}/requests/{request_id}/cancel"
    assert client.get(answer["result_url"]).json()["status"] == "in_queue"
    seen = [client.get(answer["status_url"]).json() for _ in range(4)]
    assert [(each["status"], each.get("queue_position")) for each in seen] == [
        ("in_queue", 2),
        ("in_queue", 1),
        ("in_progress", None),
        ("completed", None),
    ]
    done = client.get(answer["result_url"]).json()
    assert done["status"] == "succeeded"
    file = bare.get(url_of(done))
    assert file.headers["content-type"] == "audio/wav"
    assert soundfile.info(io.BytesIO(file.content)).duration == 3.0
    assert fake.jobs[request_id].inputs == GOOD
    assert fake.jobs[request_id].seconds == 3.0
    assert [call.endpoint for call in fake.calls] == ["submit", "result"] + ["status"] * 4 + [
        "result",
        "download",
    ]
    assert {call.status for call in fake.calls} == {200}
    fake.check()


def test_an_unknown_and_an_expired_request_are_not_found(fake: FakeRunComfy, client: httpx.Client) -> None:
    request_id = submit(client)
    fake.expire(request_id)
    for each in (request_id, "never-was", "..%2Fx"):
        for answer in (
            client.get(f"/requests/{each}/status"),
            client.get(f"/requests/{each}/result"),
            client.post(f"/requests/{each}/cancel"),
        ):
            assert (answer.status_code, answer.json()["error_code"]) == (404, 404001)
    fake.check()


@pytest.mark.parametrize("container", ["wav", "flac", "mp3"])
def test_a_data_uri_is_decoded_or_refused(container: str, fake: FakeRunComfy, client: httpx.Client) -> None:
    media_type = {"mp3": "mpeg"}.get(container, container)
    uri = f"data:audio/{media_type};base64," + base64.b64encode(song(container.upper())).decode()
    assert finished(fake, client, audio=uri)["status"] == "succeeded"
    switch(fake, data_uris=False)
    assert client.post(MODEL, json=GOOD | {"audio": uri}).status_code == 422
    fake.check()


def test_a_source_is_fetched_from_the_loopback_and_nowhere_else(
    fake: FakeRunComfy, client: httpx.Client
) -> None:
    class Bucket(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert "Authorization" not in self.headers
            self.send_response(200 if self.path == "/song.wav?sig=1" else 403)
            self.end_headers()
            self.wfile.write(SONG)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as bucket:
        threading.Thread(target=bucket.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{bucket.server_port}/song.wav"
        assert finished(fake, client, audio=f"{url}?sig=1")["status"] == "succeeded"
        for unreachable in (f"{url}?sig=2", "https://elsewhere.example/song.wav", "http://127.0.0.1:9/a.wav"):
            failed = finished(fake, client, audio=unreachable)
            assert (failed["status"], failed["error"]) == ("failed", f"could not download {unreachable}")
        bucket.shutdown()
    fake.web[SONG_URL] = b"<html>"
    assert "could not decode" in finished(fake, client)["error"]
    fake.check()


def test_every_shape_of_output(fake: FakeRunComfy, client: httpx.Client) -> None:
    request_id = submit(client)
    fake.finish_all()
    outputs = {}
    for shape in ("audio", "audios", "both", "string", "list", "nested"):
        switch(fake, output=shape, signed=False, success="completed")
        answer = result(client, request_id)
        assert answer["status"] == "completed"
        outputs[shape] = answer["output"]
    url = outputs["string"]
    assert url == f"{fake.base.removesuffix('/v1')}/outputs/{request_id}.wav"
    assert outputs == {
        "audio": {"audio": url},
        "audios": {"audios": [url]},
        "both": {"audio": url, "audios": [url]},
        "string": url,
        "list": [url],
        "nested": {"audios": [{"url": url}]},
    }
    switch(fake, echoes_inputs=True, output="list")
    assert result(client, request_id)["output"] == [SONG_URL, url]
    assert result(client, request_id)["input"] == GOOD


@pytest.mark.parametrize(
    ("how", "error"),
    [("string", "The model failed"), ("object", {"code": "MODEL_ERROR", "message": "The model failed"})],
)
def test_a_job_may_be_completed_on_status_and_failed_on_result(
    how: str, error: object, fake: FakeRunComfy, client: httpx.Client
) -> None:
    switch(fake, result_fails=how, queue_polls=0, running_polls=0)
    request_id = submit(client)
    assert status(client, request_id)["status"] == "completed"
    answer = result(client, request_id)
    assert (answer["status"], answer["error"], "output" in answer) == ("failed", error, False)
    switch(fake, result_fails="absent")
    assert "error" not in result(client, request_id)


def test_other_words_while_it_waits(fake: FakeRunComfy, client: httpx.Client) -> None:
    words = ("pending", "starting", "warming_up")
    switch(fake, status_words=words)
    request_id = submit(client)
    assert [status(client, request_id)["status"] for _ in range(4)] == [*words, "completed"]


def test_held_jobs_stay_until_they_are_released(fake: FakeRunComfy, client: httpx.Client) -> None:
    fake.hold()
    request_id = submit(client)
    assert {status(client, request_id)["status"] for _ in range(9)} == {"in_queue"}
    fake.release()
    assert [status(client, request_id)["status"] for _ in range(3)] == [
        "in_queue",
        "in_progress",
        "completed",
    ]


def test_only_the_queue_can_be_left(fake: FakeRunComfy, client: httpx.Client) -> None:
    def cancel(request_id: str) -> tuple[int, str, str]:
        answer = client.post(f"/requests/{request_id}/cancel")
        return answer.status_code, answer.json()["outcome"], answer.json()["status"]

    queued, running, done = submit(client), submit(client), submit(client)
    assert cancel(queued) == (202, "cancelled", "cancelled")
    assert cancel(queued) == (202, "not_cancellable", "cancelled")
    assert status(client, queued)["status"] == result(client, queued)["status"] == "cancelled"
    status(client, running)
    status(client, running)
    assert cancel(running) == (202, "not_cancellable", "in_progress")
    fake.finish_all()
    assert cancel(done) == (202, "not_cancellable", "completed")
    switch(fake, cancel="never")
    assert cancel(submit(client)) == (202, "not_cancellable", "in_queue")
    switch(fake, cancel="race")
    assert cancel(submit(client)) == (202, "not_cancellable", "completed")
    fake.check()


def test_costs_and_the_balance(fake: FakeRunComfy, client: httpx.Client) -> None:
    balance_url = fake.base.removesuffix("/v1") + "/prod/v2/balance"
    record = client.get(MODEL).json()
    assert (record["base_price_usd"], record["price_unit"]) == (0.0002, "second")
    assert record["input_schema"]["required"] == ["audio", "tags"]
    assert client.get(balance_url).json() == {"balance_usd": 10.0}
    assert finished(fake, client, "?include_cost=true")["cost"] == 0.0006
    assert "cost" not in finished(fake, client)
    switch(fake, billed_source=False)
    assert finished(fake, client, "?include_cost=true")["cost"] == 0.0002
    switch(fake, price_unit="output", price_usd=0.5)
    assert finished(fake, client, "?include_cost=true")["cost"] == 0.5
    switch(fake, includes_cost=False)
    assert "cost" not in finished(fake, client, "?include_cost=true")
    assert client.get(balance_url).json() == {"balance_usd": pytest.approx(10 - 1.0014)}
    switch(fake, balance_usd=0.5)
    poor = client.post(MODEL, json=GOOD)
    assert (poor.status_code, poor.json()["error_code"]) == (402, 400002)
    fake.check()


def test_the_command_says_what_to_set() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.runcomfy", "--port", "0", "--switch", "queue_polls=0"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        base, token = (process.stdout.readline().strip().partition("=")[2] for _ in range(2))
        with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}) as client:
            assert client.get(MODEL).status_code == 200
        process.kill()

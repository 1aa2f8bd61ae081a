"""What the service gives is fetched until it is here, from its own hosts only, and told as it is."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
from tests.fakes.runcomfy import Fault
from tests.hosting import AS_MADE, fetch_nothing, open_house

from outpaint_mcp.models import Status
from outpaint_mcp.principals import PERSON
from outpaint_mcp.sources import fetch

if TYPE_CHECKING:
    from tests.fakes.runcomfy import FakeRunComfy
    from tests.hosting import House

    from outpaint_mcp.config import Settings
    from outpaint_mcp.reports.models import ResultReport
    from outpaint_mcp.sources import DownloadPolicy

pytestmark = pytest.mark.anyio


def switch(fake: FakeRunComfy, **switches: Any) -> None:  # noqa: ANN401 - any of them
    fake.switches = replace(fake.switches, **switches)


def check_as_it_came(house: House, result: ResultReport) -> None:
    """Check that the delivered file is the very one that the service keeps, and that all that is said of it is true."""
    assert result.path
    assert result.url
    path, job = Path(result.path), house.jobs()[-1]
    content = path.read_bytes()
    assert content == job.output(Path(house.fake._folder.name))
    assert (path.parent, path.suffix) == (house.settings.output_dir, f".{job.container}")
    assert (result.size_bytes, result.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert soundfile.info(path).duration == pytest.approx(result.duration_seconds, abs=1e-3)
    address = urlsplit(result.url)
    assert address.path == f"/outputs/{job.request_id}.{job.container}"
    assert address.query in job.signatures


@pytest.mark.parametrize(
    ("container", "sample_rate", "success", "output"),
    [
        ("wav", 48_000, "succeeded", "audios"),
        ("wav", 44_100, "completed", "audio"),
        ("flac", 16_000, "succeeded", "nested"),
        ("mp3", 44_100, "completed", "string"),
    ],
)
async def test_the_services_own_file_is_delivered_untouched_whatever_it_is(  # noqa: PLR0913 - one argument each switch
    house: House, song: Path, container: str, sample_rate: int, success: str, output: str
) -> None:
    switch(house.fake, container=container, sample_rate=sample_rate, success=success, output=output)
    result = await house.extend_as_made(song)
    check_as_it_came(house, result)
    assert (result.before_seconds, result.after_seconds) == pytest.approx((0, 1.25), abs=0.1)
    assert result.seed == 7
    assert f"RunComfy's file as it came ({container.upper()}, {sample_rate} Hz)" in result.message


async def test_music_before_the_source_is_told_as_such(house: House, song: Path) -> None:
    result = await house.extend_as_made(song, extend_before_duration=1, extend_after_duration=0)
    check_as_it_came(house, result)
    assert (result.before_seconds, result.after_seconds) == pytest.approx((1.25, 0))


async def test_a_file_that_came_out_shorter_is_delivered_as_it_is_and_that_is_told(
    house: House, song: Path
) -> None:
    switch(house.fake, seconds_off=-0.85)
    result = await house.extend(song, extend_after_duration=2)
    assert result.after_seconds == pytest.approx(1.4)
    assert result.duration_seconds == pytest.approx(4.4)
    assert "0.6 s" in (result.verdict or "")


@pytest.mark.parametrize(
    "switches", [{"seconds_off": 1.5}, {"seconds_off": -0.2}, {"quantised": True}], ids=str
)
@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_file_that_came_out_longer_or_in_steps_of_the_models_is_cut_to_the_frame(
    house: House, song: Path, switches: dict[str, Any], side: str
) -> None:
    switch(house.fake, **switches)
    asked = {"extend_before_duration": 0, "extend_after_duration": 0, f"extend_{side}_duration": 2}
    result = await house.extend(song, **asked)
    longer, rate = soundfile.read(result.path, dtype="int16")
    assert len(longer) == 5 * rate
    source, _ = soundfile.read(song, dtype="int16")
    start = 2 * rate if side == "before" else 0
    assert np.array_equal(longer[start : start + len(source)], source)
    own = await house.result(result.request_id, AS_MADE)
    assert own.duration_seconds == pytest.approx(5.25, abs=1.6)
    assert own.duration_seconds != 5


async def test_a_result_without_anything_new_is_a_failure_in_words(house: House, song: Path) -> None:
    switch(house.fake, seconds_off=-1.25)
    error = await house.failed(song)
    assert "has nothing new: it lasts 3.0 s, but 3.0 s were sent and 1.25 s more were asked" in error
    assert "another seed" in error
    assert not house.settings.output_dir.exists()


@pytest.mark.parametrize("content", ["empty", "html"])
async def test_what_is_no_audio_five_times_over_is_a_failure_in_words(
    house: House, song: Path, content: str
) -> None:
    switch(house.fake, content=content)
    error = await house.failed(song)
    assert "The file that RunComfy returned cannot be used: it is not audio." in error
    assert house.jobs()[0].request_id in error
    assert house.fake.count("download") == 5
    assert house.fake.count("submit") == 1


async def test_a_file_longer_than_announced_is_never_taken_for_the_result(house: House, song: Path) -> None:
    switch(house.fake, content="excess")
    assert "has nothing new" in await house.failed(song)


async def test_what_went_wrong_on_the_way_is_fetched_again(house: House, song: Path) -> None:
    house.fake.fail(
        "download",
        Fault(status=500),
        Fault(kind="drop"),
        Fault(status=403),
        Fault(status=200, body="<html>Just a moment…</html>"),
        Fault(status=404),
    )
    check_as_it_came(house, await house.extend_as_made(song))
    assert house.fake.count("download") == 6


async def test_a_file_that_broke_off_is_fetched_again(house: House, song: Path) -> None:
    switch(house.fake, content="truncated")
    house.fake.on("download_half", lambda _: switch(house.fake, content="audio"))
    check_as_it_came(house, await house.extend_as_made(song))
    assert house.fake.count("download") == 2


async def test_a_file_that_always_breaks_off_is_fetched_for_as_long_as_it_is_there(
    house: House, song: Path
) -> None:
    switch(house.fake, content="truncated")
    request_id = (await house.submit(song)).request_id
    seen = await house.status_once(request_id, lambda _: house.fake.count("download") >= 5)
    assert seen.status is Status.IN_PROGRESS
    await house.status_once(
        request_id, lambda seen: "cannot be fetched: the transfer broke off" in seen.message
    )
    house.fake.expire(house.jobs()[0].request_id)
    result = await house.result(request_id)
    assert result.status is Status.FAILED
    assert "the file could not be fetched before it expired" in (result.error or "")
    assert house.fake.count("submit") == 1


async def test_an_expired_link_is_asked_for_anew(house: House, song: Path) -> None:
    switch(house.fake, download="expired")
    request_id = (await house.submit(song)).request_id
    await house.status_once(request_id, lambda seen: "cannot be fetched: HTTP 403" in seen.message)
    house.jobs()[0].signatures.clear()  # no link that was given so far opens it any more
    switch(house.fake, download="ok")
    check_as_it_came(house, await house.result(request_id, AS_MADE))
    assert house.fake.count("submit") == 1


async def test_a_slow_download_is_waited_for(house: House, song: Path) -> None:
    switch(house.fake, download="slow")
    check_as_it_came(house, await house.extend_as_made(song))
    assert house.fake.count("download") == 1


@pytest.fixture
def connected_to(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts that this process connects to."""
    hosts: list[str] = []
    connect = socket.socket.connect

    def note(self: socket.socket, address: Any) -> None:  # noqa: ANN401 - of any family
        hosts.append(str(address[0]))
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", note)
    return hosts


async def test_a_redirect_into_a_private_network_is_not_followed(
    house: House, song: Path, connected_to: list[str]
) -> None:
    switch(house.fake, download="private_redirect")
    assert "cannot be used" in await house.failed(song)
    assert house.fake.count("download") == 5
    assert set(connected_to) == {"127.0.0.1"}


@pytest.mark.parametrize(
    "url",
    [
        "https://files.example/out.wav?X-Amz-Signature=abc",
        "https://runcomfy.net.files.example/out.wav",
        "https://127.0.0.1\\@x.runcomfy.net/out.wav",
        "https://x@127.0.0.1/out.wav",
        "http://files.runcomfy.net/out.wav",
        "http://169.254.169.254/latest/meta-data",
    ],
)
async def test_a_result_that_lies_on_a_foreign_host_is_not_fetched(
    house: House, song: Path, connected_to: list[str], url: str
) -> None:
    foreign = Fault(status=200, body={"status": "succeeded", "output": {"audios": [url]}})
    house.fake.fail("result", *[foreign] * 5)
    error = await house.failed(song)
    assert "cannot be used" in error
    assert "X-Amz-Signature" not in error
    assert set(connected_to) == {"127.0.0.1"}
    assert house.fake.count("download") == 0


async def test_a_success_that_names_no_audio_is_a_failure_in_words(house: House, song: Path) -> None:
    house.fake.fail("result", *[Fault(status=200, body={"status": "succeeded", "output": {}})] * 5)
    assert "The file that RunComfy returned cannot be used" in await house.failed(song)


@pytest.mark.parametrize(
    ("result_fails", "words"),
    [("string", "The model failed"), ("object", "The model failed"), ("absent", "RunComfy gives no reason")],
)
async def test_a_failure_that_only_shows_on_the_result_is_told_with_its_reason(
    house: House, song: Path, result_fails: str, words: str
) -> None:
    switch(house.fake, result_fails=result_fails)
    error = await house.failed(song)
    assert (
        f"RunComfy could not carry it out (1.25 s after): {words}. It was billed at $0.0008. Other tags"
        in error
    )


async def test_a_signed_link_stands_in_the_results_url_and_nowhere_else(house: House, song: Path) -> None:
    result = await house.extend_as_made(song)
    answers = [
        result.model_copy(update={"url": ""}),
        await house.service.status(PERSON, result.request_id),
        await house.service.list(PERSON),
        await house.submit(song),
        await house.service.cancel(PERSON, result.request_id),
    ]
    assert "X-Amz-Signature" in (result.url or "")
    assert not any("X-Amz" in answer.model_dump_json() for answer in answers)
    assert (await house.result(result.request_id, AS_MADE)).url == result.url  # also the second time


async def test_a_file_that_has_arrived_is_used_though_the_service_has_forgotten_it(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    has_arrived = asyncio.Event()

    async def fetch_and_hang(url: str, destination: Path, *, policy: DownloadPolicy) -> None:
        await fetch(url, destination, policy=policy)
        has_arrived.set()
        await asyncio.Event().wait()

    async with open_house(fake, settings, fetch_link=fetch_and_hang) as house:
        request_id = (await house.submit(song)).request_id
        await has_arrived.wait()
    fake.expire(next(iter(fake.jobs)))
    async with open_house(fake, settings) as house:
        assert (await house.result(request_id)).status is Status.COMPLETED
    assert fake.count("submit") == 1


async def test_a_link_that_leads_nowhere_expires_though_other_answers_fail_in_between(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    def forget(request_id: str) -> None:
        fake.expire(request_id)
        fake.fail("result", *[Fault(status=404, body={"error_code": 404001}), Fault(status=400)] * 1_000)

    async with open_house(fake, settings, fetch_link=fetch_nothing) as house:
        request_id = (await house.submit(song)).request_id
        await house.status_once(request_id, lambda seen: "Trying again" in seen.message)
        forget(house.jobs()[0].request_id)
        result = await house.result(request_id)
    assert result.status is Status.FAILED
    assert "before it expired" in (result.error or "")


async def test_a_result_that_is_unheard_of_for_a_moment_while_it_is_fetched_is_not_given_up(
    house: House, song: Path
) -> None:
    gone = iter([Fault(status=404, body={"error_code": 404001, "error_message": "not found"})])
    switch(house.fake, content="truncated")

    def break_off(_: str) -> None:
        house.fake.fail("result", *itertools.islice(gone, 1))
        switch(house.fake, content="audio")

    house.fake.on("download_half", break_off)
    check_as_it_came(house, await house.extend_as_made(song))
    assert [call.status for call in house.fake.calls if call.endpoint == "result"] == [200, 404]
    assert (house.fake.count("submit"), house.fake.count("download")) == (1, 2)

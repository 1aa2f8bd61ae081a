"""How the service gets to hear a source: inside of the request, from a bucket, or from where it is anyway."""

# ruff: noqa: ASYNC240 - small files in a folder of the test's own

from __future__ import annotations

import asyncio
import base64
import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pytest
import soundfile
from tests.audio.encoding import as_integers, encode, music, write_flac
from tests.fakes.bucket import LoopbackBucket
from tests.fakes.runcomfy import Fault
from tests.hosting import Parts, Web, open_house, open_house_around
from tests.waiting import until

from outpaint_mcp.errors import ProviderRejected, ServerStopping, SourceNotHosted, SourceUnreachable
from outpaint_mcp.jobs.liveness import Presence
from outpaint_mcp.models import Status
from outpaint_mcp.principals import PERSON
from outpaint_mcp.providers.remote.bucket import Bucket
from outpaint_mcp.storage.job_queue import JobQueue
from outpaint_mcp.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import MakeSong
    from tests.fakes.runcomfy import FakeRunComfy
    from tests.hosting import House

    from outpaint_mcp.config import Settings
    from outpaint_mcp.sources import DownloadPolicy
    from outpaint_mcp.storage.records import Lease

pytestmark = pytest.mark.anyio

LINK = "https://music.example/My%20Songs/song.wav?token=hunter2&X-Amz-Expires=60"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackBucket]:
    with LoopbackBucket() as opened:
        for name, value in opened.environment.items():
            monkeypatch.setenv(name, value)
        yield opened


def sent(house: House) -> tuple[str, bytes]:
    """What came inside of the last submission: its type and its bytes."""
    head, _, text = str(house.jobs()[-1].inputs["audio"]).partition(",")
    return head, base64.b64decode(text)


@pytest.mark.parametrize(
    ("name", "media_type"), [("a.wav", "audio/wav"), ("a.flac", "audio/flac"), ("a.mp3", "audio/mpeg")]
)
async def test_a_local_file_goes_inside_of_the_request_as_it_is(
    house: House, make_song: MakeSong, name: str, media_type: str
) -> None:
    song = make_song(name)
    house.fake.hold()
    await house.submit(song)
    assert sent(house) == (f"data:{media_type};base64", song.read_bytes())


async def test_audio_that_came_inside_of_the_request_is_passed_on(house: House, song: Path) -> None:
    house.fake.hold()
    content = song.read_bytes()
    await house.submit(f"data:audio/x-wav;base64,{base64.b64encode(content).decode()}")
    assert sent(house) == ("data:audio/wav;base64", content)


@pytest.mark.parametrize("kind", ["ogg", "float", "surround"])
async def test_what_the_service_may_not_take_is_coded_anew(
    house: House, settings: Settings, kind: str
) -> None:
    house.fake.hold()
    song = settings.input_dirs[0] / f"song.{'ogg' if kind == 'ogg' else 'wav'}"
    channels = 6 if kind == "surround" else 2
    noise = np.random.default_rng(1).normal(0, 0.1, (48_000, channels))
    soundfile.write(song, noise, 16_000, subtype="FLOAT" if kind == "float" else None)
    await house.submit(song)
    media_type, content = sent(house)
    assert media_type == "data:audio/flac;base64"
    found = soundfile.info(io.BytesIO(content))
    assert (found.duration, found.samplerate, found.channels) == (3, 16_000, 2)


@pytest.mark.parametrize("kind", ["no total", "a third", "20 bits", "in OGG", "two MP3s", "M4A"])
async def test_what_others_might_cut_short_is_sent_whole(house: House, settings: Settings, kind: str) -> None:
    house.fake.hold()
    song = settings.input_dirs[0] / "song"
    samples = music(3, 44_100)
    if kind == "M4A":
        encode(song, samples, "aac", "ipod")
    elif kind == "in OGG":
        encode(song, as_integers(samples, 16), "flac", "ogg")
    elif kind == "two MP3s":
        for half, channels in enumerate((1, 2)):
            soundfile.write(
                settings.input_dirs[0] / f"{half}.mp3", samples[: len(samples) // 2, :channels], 44_100
            )
        song.write_bytes(b"".join((settings.input_dirs[0] / f"{half}.mp3").read_bytes() for half in range(2)))
    else:
        write_flac(
            song, as_integers(samples, 20 if kind == "20 bits" else 16), 20 if kind == "20 bits" else 16
        )
        whole = bytearray(song.read_bytes())
        whole[22:26] = {"no total": 0, "a third": 44_100}.get(kind, len(samples)).to_bytes(4, "big")
        song.write_bytes(whole)
    await house.submit(song)
    media_type, content = sent(house)
    assert media_type == "data:audio/flac;base64"
    assert soundfile.info(io.BytesIO(content)).duration == pytest.approx(3, abs=0.05)


async def test_a_file_over_16_mib_is_sent_smaller(house: House, make_song: MakeSong) -> None:
    house.fake.hold()
    song = make_song(seconds=180, sample_rate=48_000, channels=1)
    assert song.stat().st_size > 16 * 1024**2
    await house.submit(song)
    _, content = sent(house)
    assert len(content) <= 16 * 1024**2
    assert soundfile.info(io.BytesIO(content)).duration == pytest.approx(180, abs=0.1)


async def test_a_local_file_lies_in_the_bucket_for_as_long_as_the_service_works_on_it(
    fake: FakeRunComfy, settings: Settings, song: Path, bucket: LoopbackBucket
) -> None:
    fake.hold()
    async with open_house(fake, settings, upload=bucket.url) as house:
        request_id = (await house.submit(song)).request_id
        [job] = house.jobs()
        assert str(job.inputs["audio"]).startswith(bucket.environment["AWS_ENDPOINT_URL"])
        assert bucket.names() == [f"outpaint/sources/{request_id}-1-1.wav"]
        fake.release()  # and the service fetches it, or fails
        result = await house.result(request_id)
        assert result.status is Status.COMPLETED
        assert result.after_seconds == pytest.approx(1)
        assert bucket.names() == []


async def test_every_step_has_its_own_file_in_the_bucket_and_none_stays(
    fake: FakeRunComfy, settings: Settings, song: Path, bucket: LoopbackBucket
) -> None:
    seen: list[list[str]] = []
    fake.on("submit_accepted", lambda _: seen.append(bucket.names()))
    fake.switches = replace(fake.switches, echoes_inputs=True)
    async with open_house(fake, settings, upload=bucket.url) as house:
        result = await house.extend(song, extend_before_duration=1)
    assert seen == [[f"outpaint/sources/{result.request_id}-{step}-1.wav"] for step in (1, 2)]
    assert bucket.names() == []


async def test_a_request_cancelled_while_its_source_is_uploaded_leaves_nothing_in_the_bucket(
    fake: FakeRunComfy, settings: Settings, song: Path, bucket: LoopbackBucket
) -> None:
    others = Store(settings.data_dir)

    def want_it_cancelled(_: str) -> None:  # another server is told, and this one looks once in a while
        [[request]] = others.journal.newest(PERSON, limit=2)
        others.queue.cancel(request.request_id)

    fake.on("model", want_it_cancelled)
    async with open_house(fake, settings, upload=bucket.url) as house:
        submission = await house.submit(song)
        assert submission.status is Status.CANCELLED
    others.close()
    assert (fake.count("submit"), bucket.names()) == (0, [])


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
async def test_what_ends_otherwise_leaves_nothing_in_the_bucket_either(
    fake: FakeRunComfy, settings: Settings, song: Path, bucket: LoopbackBucket, status: Status
) -> None:
    fake.hold()
    async with open_house(fake, settings, upload=bucket.url) as house:
        request_id = (await house.submit(song)).request_id
        if status is Status.CANCELLED:
            await house.service.cancel(PERSON, request_id)
        else:
            fake.switches = replace(fake.switches, result_fails="absent")
            fake.release()
        assert (await house.result(request_id)).status is status
    assert bucket.names() == []


async def test_what_may_still_be_read_stays_in_the_bucket(
    fake: FakeRunComfy, settings: Settings, song: Path, bucket: LoopbackBucket
) -> None:
    fake.fail("submit", Fault(kind="drop"))
    async with open_house(fake, settings, upload=bucket.url) as house:
        assert (await house.submit(song)).status is Status.UNKNOWN
    assert len(bucket.names()) == 1


async def test_who_loses_a_request_before_it_is_sent_takes_nothing_but_its_own_file_out_of_the_bucket(
    fake: FakeRunComfy, settings: Settings, song: Path, bucket: LoopbackBucket
) -> None:
    upload = Bucket(bucket.url)
    winner = Presence(settings.data_dir / "servers")  # alive, so that nobody takes the request back

    class Robbed(JobQueue):
        """Loses the lease to a server that has put its own file there."""

        def begin_sending(self, lease: Lease, *step: Any, **options: Any) -> Any:  # noqa: ANN401 - passed on
            theirs = f"{lease.request_id}-1-{lease.attempt + 1}.wav"
            asyncio.run(upload.put(song, theirs, media_type="audio/wav"))
            assert len(bucket.names()) == 2
            with self._database.write("queue") as connection:
                connection.execute(
                    "UPDATE jobs SET server_id = ?, attempt = attempt + 1", (winner.server_id,)
                )
            return super().begin_sending(lease, *step, **options)

    async with open_house_around(
        Parts(queue=Robbed), fake, settings, accept_seconds=0, upload=bucket.url
    ) as house:
        request_id = (await house.submit(song)).request_id
        await until(lambda: bucket.names() == [f"outpaint/sources/{request_id}-1-2.wav"])
    winner.close()
    assert fake.count("submit") == 0


async def test_what_a_server_that_left_had_put_into_the_bucket_but_not_sent_is_replaced(
    fake: FakeRunComfy, settings: Settings, song: Path, bucket: LoopbackBucket
) -> None:
    class Leaves(JobQueue):
        """Is closed in the last moment."""

        def begin_sending(self, *_: Any, **__: Any) -> NoReturn:  # noqa: ANN401 - whatever it is
            raise ServerStopping("now")

    async with open_house_around(
        Parts(queue=Leaves), fake, settings, accept_seconds=0, upload=bucket.url
    ) as house:
        request_id = (await house.submit(song)).request_id
        await until(lambda: bucket.names() == [f"outpaint/sources/{request_id}-1-1.wav"])
    fake.hold()
    async with open_house(fake, settings, upload=bucket.url) as house:
        await until(lambda: bool(house.jobs()))
        assert bucket.names() == [f"outpaint/sources/{request_id}-1-2.wav"]
        fake.release()
        assert (await house.result(request_id)).status is Status.COMPLETED
    assert bucket.names() == []


async def test_a_bucket_that_does_not_take_the_file_fails_the_request_before_anything_is_paid(
    fake: FakeRunComfy, settings: Settings, song: Path, bucket: LoopbackBucket
) -> None:
    async with open_house(fake, settings, upload=f"{bucket.url[: -len('/outpaint/sources')]}-not") as house:
        with pytest.raises(SourceNotHosted, match="OUTPAINT_UPLOAD"):
            await house.submit(song)
        assert (await house.listed())[0].cost_usd == 0
    assert fake.count("submit") == 0


async def test_a_service_that_takes_no_audio_inside_of_requests_is_told_with_the_ways_out(
    house: House, song: Path
) -> None:
    house.fake.switches = replace(house.fake.switches, data_uris=False)
    with pytest.raises(ProviderRejected, match=r"public https link.*OUTPAINT_UPLOAD.*s3://"):
        await house.submit(song)


async def test_a_service_that_could_not_read_the_audio_is_told_with_the_ways_out(
    house: House, song: Path
) -> None:
    house.fake.switches = replace(house.fake.switches, result_fails="object")
    assert "If it could not read the audio: Put the file where a public https link" in await house.failed(
        song
    )


async def test_a_link_is_passed_through_and_its_query_is_written_nowhere(
    fake: FakeRunComfy, settings: Settings, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    fake.web[LINK] = song.read_bytes()
    fake.switches = replace(fake.switches, echoes_inputs=True, output="list")
    async with open_house(fake, settings, fetch_link=Web(fake.web)) as house:
        submission = await house.submit(LINK)
        result = await house.result(submission.request_id)
        answers = [
            submission,
            result,
            await house.service.status(PERSON, result.request_id),
            await house.service.list(PERSON),
        ]
        [job] = house.jobs()
        rows = house.dump()
    assert job.inputs["audio"] == LINK
    assert result.after_seconds == pytest.approx(1)  # of the file that was made, not of the one that was sent
    assert "https://music.example/My%20Songs/song.wav" in rows
    for words in (rows, caplog.text, *map(str, answers)):
        assert "hunter2" not in words


async def test_a_link_to_more_than_the_canvas_is_not_passed_on_but_cut(
    fake: FakeRunComfy, settings: Settings, make_song: MakeSong
) -> None:
    fake.hold()
    fake.web[LINK] = make_song(seconds=250, sample_rate=8_000, channels=1).read_bytes()
    async with open_house(fake, settings, fetch_link=Web(fake.web)) as house:
        await house.submit(LINK)
        media_type, content = sent(house)
    assert media_type == "data:audio/flac;base64"
    assert soundfile.info(io.BytesIO(content)).duration == pytest.approx(120)


async def test_a_link_that_cannot_be_fetched_fails_before_anything_is_paid(house: House) -> None:
    with pytest.raises(SourceUnreachable, match=r"nothing\.invalid") as failure:
        await house.submit("https://nothing.invalid/song.mp3?token=hunter2")
    assert "hunter2" not in str(failure.value)
    [listed] = await house.listed()
    assert (listed.status, listed.cost_usd) == (Status.FAILED, 0)
    assert house.fake.count("submit") == 0


async def test_what_is_extended_is_called_as_its_host_calls_the_file(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.web[LINK] = song.read_bytes()
    web = Web(fake.web)

    async def fetch_named(url: str, destination: Path, *, policy: DownloadPolicy | None = None) -> str:
        await web(url, destination, policy=policy)
        return "My Song"

    async with open_house(fake, settings, fetch_link=fetch_named) as house:
        result = await house.extend(LINK)
    assert Path(result.path or "").name.startswith("My Song, extended")


async def test_an_earlier_requests_longer_file_is_the_next_ones_source(house: House, song: Path) -> None:
    first = await house.extend(song)
    assert first.path
    second = await house.extend(first.request_id)
    assert second.duration_seconds == pytest.approx(5)
    assert sent(house)[1] == Path(first.path).read_bytes()
    assert [each.parent_request_id for each in await house.listed()] == [first.request_id, None]


async def test_what_becomes_of_the_persons_file_after_submission_is_no_matter(
    house: House, song: Path
) -> None:
    house.fake.hold()
    request_id = (await house.submit(song, extend_before_duration=1)).request_id
    await until(lambda: bool(house.jobs()))
    song.unlink()
    house.fake.release()
    assert (await house.result(request_id)).status is Status.COMPLETED

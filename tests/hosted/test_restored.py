"""The person's own samples are put back into what the service made; takes are paid, limited and cancelled as one."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mutagen
import numpy as np
import pytest
import soundfile
from tests.fakes.runcomfy import Fault
from tests.hosting import AS_MADE, Parts, open_house, open_house_around
from tests.waiting import until

from outpaint_mcp.errors import DeliveryFailed, NothingNew, OutpaintError, OverBudget, WorkerDied
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.models import CancelOutcome, Status
from outpaint_mcp.principals import PERSON
from outpaint_mcp.sources import DownloadPolicy, fetch
from outpaint_mcp.workers.orders import Finish
from outpaint_mcp.workers.pool import WorkerPool

if TYPE_CHECKING:
    from tests.conftest import MakeSong
    from tests.fakes.runcomfy import FakeRunComfy
    from tests.hosting import House
    from tests.waiting import Clock

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio


def switch(fake: FakeRunComfy, **switches: Any) -> None:  # noqa: ANN401 - any of them
    fake.switches = replace(fake.switches, **switches)


@pytest.mark.parametrize(
    ("container", "sample_rate"), [("wav", 48_000), ("mp3", 44_100), ("flac", 16_000)], ids=str
)
@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 0)])
async def test_the_source_is_in_the_delivered_file_bit_for_bit_whatever_came_back(  # noqa: PLR0913
    house: House, song: Path, container: str, sample_rate: int, before: float, after: float
) -> None:
    switch(house.fake, container=container, sample_rate=sample_rate)
    result = await house.extend(song, extend_before_duration=before, extend_after_duration=after)
    assert result.path
    assert Path(result.path).suffix == ".wav"
    source, rate = soundfile.read(song, dtype="int16")
    longer, longer_rate = soundfile.read(result.path, dtype="int16")
    assert (longer_rate, longer.shape[1]) == (rate, source.shape[1])
    start = round((result.before_seconds or 0) * rate)
    assert np.array_equal(longer[start : start + len(source)], source)
    assert result.measured is not None
    assert result.measured["source"]["bit_exact"] is True
    assert result.url == Path(result.path).as_uri()  # nobody else keeps this very file
    assert house.fake.count("submit") == 1


async def test_the_services_own_file_stays_to_be_had_and_nothing_is_asked_again(
    house: House, song: Path
) -> None:
    restored = await house.extend(song)
    own = await house.result(restored.request_id, AS_MADE)
    assert own.path != restored.path
    assert (own.path or "").endswith(", as made.wav")
    assert own.measured != restored.measured
    assert "not preserved bit for bit" in own.message
    assert (await house.result(restored.request_id)).path == restored.path
    assert (house.fake.count("submit"), house.fake.count("download")) == (1, 1)


async def test_what_cannot_be_matched_is_delivered_as_it_came_and_said_so(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async def fetch_other_music(url: str, destination: Path, *, policy: DownloadPolicy | None = None) -> None:
        await fetch(url, destination, policy=policy or DownloadPolicy())
        rate = 48_000
        noise = np.random.default_rng(5).normal(0, 0.1, (4 * rate, 2))
        soundfile.write(destination, noise, rate, format="WAV")

    async with open_house(fake, settings, fetch_link=fetch_other_music) as house:
        result = await house.extend(song)
        assert "not put back" in result.message
        assert soundfile.info(result.path).samplerate == 48_000
        assert result.measured is not None
        assert "source_not_found" in result.measured["faults"]
        assert (await house.result(result.request_id, AS_MADE)).path == result.path


async def test_the_comment_says_what_was_done_and_the_title_is_carried_over(
    house: House, make_song: MakeSong
) -> None:
    song = make_song("song.flac")
    tags = mutagen.File(song)
    tags["title"] = "Nocturne"
    tags.save()
    result = await house.extend(song)
    written = mutagen.File(result.path)
    assert written["title"] == ["Nocturne"]
    assert "1 s after; provider runcomfy, seed 7" in " ".join(written["comment"])


async def test_only_the_part_that_is_extended_is_sent_and_paid_for(house: House, make_song: MakeSong) -> None:
    song = make_song(seconds=10)
    submission = await house.submit(song, source_start_seconds=2, source_end_seconds=5)
    assert submission.expected_duration_seconds == 4
    assert submission.estimated_cost_usd == pytest.approx(0.00085)
    result = await house.result(submission.request_id)
    source, rate = soundfile.read(song, dtype="int16")
    longer, _ = soundfile.read(result.path, dtype="int16")
    used = source[2 * rate : 5 * rate]
    assert np.array_equal(longer[: len(used)], used)
    assert result.duration_seconds == pytest.approx(4)


async def test_takes_are_sent_once_each_and_their_costs_are_told_together(house: House, song: Path) -> None:
    submission = await house.submit(song, seed=5, takes=3)
    assert submission.estimated_cost_usd == pytest.approx(0.00255)
    result = await house.result(submission.request_id)
    assert {job.inputs["seed"] for job in house.jobs()} == {5, 6, 7}
    assert result.cost_usd == pytest.approx(0.00255)
    assert result.takes is not None
    assert len({take.path for take in result.takes}) == 3
    (listed,) = await house.listed()
    assert [take.path for take in listed.takes or ()] == sorted(take.path or "" for take in result.takes)
    assert listed.cost_usd == pytest.approx(0.00255)
    mp3 = await house.result(submission.request_id, ExportOptions(format="mp3"))
    assert [Path(take.path or "").suffix for take in mp3.takes or []] == [".mp3"] * 3


async def test_takes_share_one_copy_of_their_source_and_each_can_do_without_the_others(
    fake: FakeRunComfy, house: House, song: Path
) -> None:
    fake.hold()
    submission = await house.submit(song, seed=5, takes=3)
    await until(lambda: fake.count("submit") == 3)
    names = house.rows(f"SELECT request_id FROM requests WHERE take_of = '{submission.request_id}'")
    sources = [house.settings.data_dir / "jobs" / name / "source" for (name,) in names]
    content = await asyncio.to_thread(song.read_bytes)
    assert len({each.stat().st_ino for each in sources}) == 1
    assert sources[0].stat().st_nlink == len(sources) == 3, "the person's own file is none of them"
    shutil.rmtree(sources[0].parent)
    assert [each.read_bytes() for each in sources[1:]] == [content] * 2


async def test_the_limit_is_held_against_all_takes_before_any_of_them_is_sent(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house(fake, settings, max_cost_usd=0.0025) as house:
        with pytest.raises(OverBudget, match=r"\$0\.0026 \(3 takes\).*fewer takes"):
            await house.submit(song, takes=3)
        assert fake.count("submit") == 0
        assert [each.status for each in await house.listed()] == [Status.FAILED]
        fake.hold()
        await house.submit(song, takes=2)
    assert fake.count("submit") == 2


async def test_takes_that_are_reserved_count_against_a_caller_although_only_one_was_sent_yet(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.hold()
    async with open_house(fake, settings, max_day_usd=0.0024) as house:
        answers = await asyncio.gather(
            house.submit(song, caller="ann", seed=1, takes=2),
            house.submit(song, caller="ann", seed=9, takes=2),
            return_exceptions=True,
        )
    assert sum(isinstance(answer, OverBudget) for answer in answers) == 1
    assert fake.count("submit") == 2


async def test_a_take_that_fails_does_not_take_the_others_along(house: House, song: Path) -> None:
    house.fake.fail("result", Fault(status=200, body={"status": "failed", "error": "no luck"}))
    submission = await house.submit(song, seed=5, takes=2)
    result = await house.result(submission.request_id)
    assert result.status is Status.COMPLETED
    assert result.takes is not None
    made, failed = result.takes
    assert (made.status, made.path) == (Status.COMPLETED, result.path)
    assert (failed.status, failed.path) == (Status.FAILED, None)
    assert "no luck" in (failed.error or "")
    assert "of 2 was generated" in result.message


async def test_takes_are_cancelled_together(house: House, song: Path) -> None:
    house.fake.hold()
    submission = await house.submit(song, takes=2)
    cancellation = await house.service.cancel(PERSON, submission.request_id)
    assert cancellation.outcome is CancelOutcome.CANCELLED
    assert (await house.result(submission.request_id)).status is Status.CANCELLED


async def test_cancelling_takes_of_which_one_is_carried_out_says_that_it_is_billed(
    house: House, song: Path
) -> None:
    switch(house.fake, cancel="never")
    house.fake.hold()
    submission = await house.submit(song, seed=5, takes=2)
    cancellation = await house.service.cancel(PERSON, submission.request_id)
    assert cancellation.outcome is CancelOutcome.NOT_CANCELLABLE
    assert "will finish, and is billed" in cancellation.message
    house.fake.release()
    assert (await house.result(submission.request_id)).status is Status.COMPLETED


async def test_a_take_whose_answer_was_lost_is_told_at_once_and_found_by_its_state(
    house: House, song: Path
) -> None:
    house.fake.fail("submit", Fault(kind="drop"))
    submission = await house.submit(song, seed=5, takes=2)
    assert "never" in submission.message or "lost" in submission.message
    await house.result(submission.request_id)
    found = await house.service.list(PERSON, status=Status.UNKNOWN)
    assert [each.request_id for each in found.requests] == [submission.request_id]


async def test_a_week_after_it_was_delivered_what_was_delivered_is_found_and_the_rest_told_as_gone(
    fake: FakeRunComfy, settings: Settings, song: Path, clock: Clock
) -> None:
    async with open_house(fake, settings, now=clock) as house:
        restored = await house.extend(song)
        own = await house.result(restored.request_id, AS_MADE)
    clock.now += 8 * 86_400
    async with open_house(fake, settings, now=clock) as house:
        await house.service.housekeeper.tidy()
        assert (await house.result(restored.request_id)).path == restored.path
        assert (await house.result(restored.request_id, AS_MADE)).path == own.path
        with pytest.raises(DeliveryFailed, match="7 days"):
            await house.result(restored.request_id, ExportOptions(format="mp3"))


class FaultyPool(WorkerPool):
    """Runs workers, but fails to finish some jobs."""

    def __init__(self, kind: type[OutpaintError], times: int) -> None:
        super().__init__()
        self.left = times
        self._kind = kind

    async def run(self, order: Any, **options: Any) -> Any:  # noqa: ANN401 - passed on
        if isinstance(order, Finish) and self.left:
            self.left -= 1
            raise self._kind("It broke.")
        return await super().run(order, **options)


@pytest.mark.parametrize(("before", "words"), [(0, "this failed several times"), (1, "joined to the source")])
async def test_what_was_paid_for_does_not_hang_on_what_is_done_with_it(
    fake: FakeRunComfy, settings: Settings, song: Path, before: float, words: str
) -> None:
    async with open_house_around(Parts(pool=FaultyPool(WorkerDied, 3)), fake, settings) as house:
        result = await house.extend(song, extend_before_duration=before)
    assert words in result.message
    assert soundfile.info(result.path).duration == pytest.approx(4 + before, abs=0.3)
    assert result.verdict is None


async def test_nothing_new_ends_a_request_with_its_bill(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house_around(Parts(pool=FaultyPool(NothingNew, 99)), fake, settings) as house:
        error = await house.failed(song, extend_before_duration=1)
    assert "It broke." in error
    assert "which may be billed" in error


def _with_a_broken_tag(song: Path) -> None:
    content = song.read_bytes() + b"id3 " + (5).to_bytes(4, "little") + b"ID3\x04\x00\x00"
    song.write_bytes(content[:4] + (len(content) - 8).to_bytes(4, "little") + content[8:])


@pytest.mark.parametrize("task", ["restore", "local"])
async def test_broken_tags_of_a_source_cost_nobody_the_longer_file(
    fake: FakeRunComfy, settings: Settings, song: Path, task: str
) -> None:
    _with_a_broken_tag(song)
    provider = "local" if task == "local" else "runcomfy"
    async with open_house(fake, settings, provider=provider) as house:
        result = await house.extend(song)
    assert result.verdict is not None


async def test_listening_to_a_result_delivers_nothing(house: House, song: Path) -> None:
    submission = await house.submit(song)
    await house.status_once(submission.request_id, lambda seen: seen.status is Status.COMPLETED)
    report, _ = await house.service.analyze(PERSON, submission.request_id)
    assert report.duration_seconds == pytest.approx(4, abs=0.05)
    assert not house.settings.output_dir.exists()


async def test_the_services_own_file_is_copied_where_its_own_format_is_asked_for(
    house: House, song: Path
) -> None:
    switch(house.fake, container="mp3", sample_rate=44_100)
    restored = await house.extend(song)
    own = await house.result(restored.request_id, AS_MADE)
    mp3 = await house.result(restored.request_id, ExportOptions(format="mp3", restore_source=False))
    rendered, _ = soundfile.read(own.path)
    copied, _ = soundfile.read(mp3.path)
    assert np.array_equal(copied, rendered)


async def test_a_cut_of_a_lossy_source_is_not_called_bit_for_bit(house: House, make_song: MakeSong) -> None:
    song = make_song("song.mp3", seconds=6)
    result = await house.extend(song, source_start_seconds=2)
    assert "as it decodes, at 24 bits" in result.message

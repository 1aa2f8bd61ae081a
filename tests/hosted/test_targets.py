"""Where new music goes, how long the whole becomes and how it ends, with a model that is paid."""

# ruff: noqa: ASYNC240 - small files in a folder of the test's own

from __future__ import annotations

import base64
import io
import itertools
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from tests.hosting import AS_MADE, House, Web, open_house

from outpaint_mcp.audio.layout import PartKind
from outpaint_mcp.errors import InvalidRequest, OverBudget
from outpaint_mcp.models import Status, SubmitRequest
from outpaint_mcp.principals import PERSON

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from tests.conftest import MakeSong
    from tests.fakes.runcomfy import FakeRunComfy, Job

    from outpaint_mcp.audio.layout import Layout
    from outpaint_mcp.config import Settings
    from outpaint_mcp.reports.models import ResultReport

pytestmark = pytest.mark.anyio

RATE = 16_000
FADE_SECONDS = 8


@pytest.fixture
def fading(make_song: MakeSong) -> Path:
    """Twenty-four seconds, the last eight of which fade away."""
    return fade(make_song(seconds=24), "after")


def fade(song: Path, side: str) -> Path:
    samples, rate = soundfile.read(song, always_2d=True)
    falling = np.geomspace(1, 1e-3, FADE_SECONDS * rate)[:, None]
    if side == "after":
        samples[-len(falling) :] *= falling
    else:
        samples[: len(falling)] *= falling[::-1]
    soundfile.write(song, samples, rate)
    return song


def read(path: Path | str | None) -> npt.NDArray[np.int16]:
    assert path
    samples, _ = soundfile.read(path, dtype="int16", always_2d=True)
    return np.asarray(samples)


def sent_seconds(job: Job) -> float:
    _, _, text = str(job.inputs["audio"]).partition(",")
    return float(soundfile.info(io.BytesIO(base64.b64decode(text))).duration)


def layout_of(house: House, result: ResultReport) -> Layout:
    outcome = house.record(result.request_id).outcome
    assert outcome is not None
    assert outcome.layout is not None
    assert outcome.layout.frames == len(read(result.path))
    return outcome.layout


def level_db(samples: npt.NDArray[np.int16]) -> float:
    return float(10 * np.log10((samples.astype(np.float64) ** 2).mean() + 1e-9))


def softest_db(samples: npt.NDArray[np.int16]) -> float:
    """Level of the softest half of a second, which is a beat of the song's."""
    size = RATE // 2
    return min(level_db(samples[at : at + size]) for at in range(0, len(samples) - size + 1, size))


async def test_music_carries_on_before_a_fade_and_the_whole_is_as_long_as_was_asked(
    house: House, fading: Path
) -> None:
    submission = await house.submit(fading, extend_after_duration=6)
    assert submission.expected_duration_seconds == 30
    assert "The source fades out from 0:1" in submission.message
    assert "its fade ends the longer file" not in submission.message
    result = await house.result(submission.request_id)
    [job] = house.jobs()
    sent = sent_seconds(job)
    assert 12 < sent < 18
    assert job.inputs["extend_after_duration"] == pytest.approx(24 - sent + 6.25)
    assert submission.estimated_cost_usd == pytest.approx(30.25 * 0.0002, abs=1e-4)
    longer, source, cut = read(result.path), read(fading), round(sent * RATE)
    assert len(longer) == 30 * RATE
    assert np.array_equal(longer[:cut], source[:cut])
    assert softest_db(longer) > softest_db(source[: 12 * RATE]) - 3
    outcome = house.record(result.request_id).outcome
    assert outcome is not None
    assert [(each.start, each.stop, each.at_frame) for each in outcome.preserved] == [(0, cut, 0)]
    assert [part.kind for part in layout_of(house, result).parts] == [PartKind.SOURCE, PartKind.NEW]
    assert (outcome.before_seconds, outcome.after_seconds) == (0, 6)
    assert f"from 0:00 to 0:{round(sent)} put back bit for bit" in result.message
    own = await house.result(result.request_id, AS_MADE)
    assert own.duration_seconds == pytest.approx(30.25, abs=1e-3)


async def test_outside_leaves_a_fade_where_it_is(house: House, fading: Path) -> None:
    result = await house.extend(fading, extend_after_duration=6, placement="outside")
    [job] = house.jobs()
    assert sent_seconds(job) == 24
    longer = read(result.path)
    assert len(longer) == 30 * RATE
    assert np.array_equal(longer[: 24 * RATE], read(fading))


async def test_music_leads_to_the_end_of_a_fade_in(house: House, make_song: MakeSong) -> None:
    song = fade(make_song(seconds=24), "before")
    result = await house.extend(song, extend_before_duration=4, extend_after_duration=2)
    longer, source = read(result.path), read(song)
    assert len(longer) == 30 * RATE
    layout = layout_of(house, result)
    assert [part.kind for part in layout.parts] == [PartKind.NEW, PartKind.SOURCE, PartKind.NEW]
    [placed] = [each for each in layout.placed() if each.part.kind is PartKind.SOURCE]
    start = placed.part.source_frame
    assert start
    assert placed.start == start + 4 * RATE
    assert np.array_equal(longer[placed.start : placed.stop], source[start:])


@pytest.mark.parametrize(
    ("field", "wish", "words"),
    [
        ("placement", "inside", "cannot put any inside"),
        ("ending", "loop", "repeats seamlessly"),
        ("ending", "breakdown", "layer by layer"),
        ("beginning", "build", "layer by layer"),
    ],
)
async def test_what_only_the_local_provider_can_do_is_refused_before_anything_is_written(
    house: House, song: Path, field: str, wish: str, words: str
) -> None:
    inputs: dict[str, Any] = {field: wish}
    with pytest.raises(InvalidRequest, match=f"{words}.*local provider can") as refused:
        await house.submit(song, **inputs)
    assert refused.value.field == field
    asked = SubmitRequest.of(audio=str(song), tags="", **inputs)
    with pytest.raises(InvalidRequest, match=words):
        await house.service.foresee(PERSON, asked)
    assert await house.listed() == []
    assert house.fake.calls == []


@pytest.mark.parametrize(("ending", "fades"), [("natural", False), ("cut", False), ("fade", True)])
async def test_the_file_ends_as_asked(house: House, make_song: MakeSong, ending: str, *, fades: bool) -> None:
    song = make_song(seconds=16)
    result = await house.extend(song, extend_after_duration=14, ending=ending)
    longer = read(result.path)
    assert len(longer) == 30 * RATE
    assert (level_db(longer[-RATE // 2 :]) < level_db(longer[: 16 * RATE]) - 20) is fades
    parts = layout_of(house, result).parts
    assert [part.kind for part in parts] == [PartKind.SOURCE, PartKind.NEW, *[PartKind.RING_OUT] * fades]
    assert 5 <= (parts[-1].frames / RATE) <= 10 or not fades
    assert np.array_equal(longer[: 16 * RATE], read(song))


async def test_a_beginning_fades_in_where_that_is_asked(house: House, make_song: MakeSong) -> None:
    song = make_song(seconds=16)
    result = await house.extend(
        song, extend_before_duration=14, extend_after_duration=0, beginning="fade", ending="fade"
    )
    longer = read(result.path)
    assert level_db(longer[: RATE // 2]) < level_db(longer[-16 * RATE :]) - 20
    kinds = [part.kind for part in layout_of(house, result).parts]
    assert kinds == [PartKind.LEAD_IN, PartKind.NEW, PartKind.SOURCE]
    assert np.array_equal(longer[-16 * RATE :], read(song))


@pytest.mark.parametrize("off_seconds", [0.0, -0.1, 0.3])
async def test_the_whole_is_as_long_as_asked_to_the_frame(
    house: House, make_song: MakeSong, off_seconds: float
) -> None:
    house.fake.switches = replace(house.fake.switches, quantised=True, seconds_off=off_seconds)
    song = make_song(seconds=3.3333)
    result = await house.extend(song, total_seconds=17.77, extend_before_duration=2)
    assert len(read(result.path)) == round(17.77 * RATE)
    assert len(house.jobs()) == 4
    kinds = [part.kind for part in layout_of(house, result).parts]
    assert kinds == [PartKind.NEW, PartKind.SOURCE, *[PartKind.NEW] * 3]  # a seam at every join


async def test_less_than_the_model_makes_can_be_what_a_total_leaves(house: House, song: Path) -> None:
    result = await house.extend(song, total_seconds=3.25)
    assert len(read(result.path)) == 3.25 * RATE
    [job] = house.jobs()
    assert job.inputs["extend_after_duration"] == 0.75


async def test_more_than_one_request_can_hold_is_estimated_and_told_before_anything_is_sent(
    house: House, make_song: MakeSong
) -> None:
    house.fake.hold()
    song = make_song(seconds=120, sample_rate=8_000, channels=1)
    asked = SubmitRequest.of(audio=str(song), tags="lofi", total_seconds=3_600)
    found = await house.service.foresee(PERSON, asked)
    assert house.jobs() == []
    submission = await house.submit(song, total_seconds=3_600)
    assert "In 30 paid steps" in submission.message
    assert submission.expected_duration_seconds == found.expected_duration_seconds == 3_600
    assert submission.estimated_cost_usd == found.estimated_cost_usd
    assert submission.estimated_cost_usd == pytest.approx((30 * 120 + 3_480 + 30 * 0.25) * 0.0002, abs=0.01)
    await house.service.cancel(PERSON, submission.request_id)


async def test_the_sum_of_many_steps_is_held_against_the_limit(
    fake: FakeRunComfy, settings: Settings, make_song: MakeSong
) -> None:
    song = make_song(seconds=120, sample_rate=8_000, channels=1)
    async with open_house(fake, settings, max_cost_usd=1.0) as house:
        with pytest.raises(OverBudget, match=r"up to \$1\.4"):
            await house.submit(song, total_seconds=3_600)
    assert fake.count("submit") == 0


async def test_a_dry_run_counts_what_is_cut_off_a_fade_as_the_submission_does(
    house: House, fading: Path
) -> None:
    asked = SubmitRequest.of(audio=str(fading), tags="lofi", extend_after_duration=6)
    found = await house.service.foresee(PERSON, asked)
    assert (
        found.estimated_cost_usd == (await house.submit(fading, extend_after_duration=6)).estimated_cost_usd
    )


async def test_a_source_longer_than_the_total_is_refused_beforehand(house: House, song: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"already lasts 3\.00 s") as refused:
        await house.submit(song, total_seconds=2.5)
    assert refused.value.field == "total_seconds"
    assert await house.listed() == []


async def test_a_link_that_turns_out_longer_than_the_total_is_refused_before_anything_is_sent(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    link = "https://music.invalid/song.wav"
    async with open_house(fake, settings, fetch_link=Web({link: song.read_bytes()})) as house:
        with pytest.raises(InvalidRequest, match=r"already lasts 3\.00 s.*end at 2 s"):
            await house.submit(link, total_seconds=2.5)
        [listed] = await house.listed()
        assert (listed.status, listed.cost_usd) == (Status.FAILED, 0)
    assert fake.count("submit") == 0


@pytest.mark.parametrize("lost", [(), ("music",), ("music", "full-music.json")], ids=str)
async def test_a_job_that_is_begun_again_goes_on_from_the_same_cut_and_sends_nothing_twice(
    fake: FakeRunComfy, settings: Settings, fading: Path, lost: tuple[str, ...]
) -> None:
    plan = "SELECT number, side, seconds, context_seconds FROM steps ORDER BY number"
    whole = read(fading)
    fake.hold()
    async with open_house(fake, settings) as house:
        submission = await house.submit(fading, extend_before_duration=2, extend_after_duration=6)
        planned = house.rows(plan)
    fading.unlink()
    for name in lost:
        (settings.data_dir / "jobs" / submission.request_id / name).unlink()
    fake.release()
    async with open_house(fake, settings) as house:
        result = await house.result(submission.request_id)
        assert result.status is Status.COMPLETED, result.error
        assert house.rows(plan) == planned
        [placed] = [each for each in layout_of(house, result).placed() if each.part.kind is PartKind.SOURCE]
    assert len(fake.jobs) == 2
    longer = read(result.path)
    assert len(longer) == 32 * RATE
    assert np.array_equal(longer[placed.start : placed.stop], whole[: placed.stop - placed.start])


async def test_what_was_found_stays_so_although_another_version_might_find_something_else(
    fake: FakeRunComfy, settings: Settings, fading: Path
) -> None:
    fake.hold()
    async with open_house(fake, settings) as house:
        submission = await house.submit(fading, extend_before_duration=2, extend_after_duration=6)
    folder = settings.data_dir / "jobs" / submission.request_id
    found = json.loads((folder / "full-music.json").read_text())
    elsewhere = found | {"stop": found["stop"] - 100}
    (folder / "full-music.json").write_text(json.dumps(elsewhere))
    (folder / "music").unlink()
    fake.release()
    async with open_house(fake, settings) as house:
        result = await house.result(submission.request_id)
        outcome = house.record(result.request_id).outcome
    assert outcome is not None
    assert [each.stop for each in outcome.preserved] == [elsewhere["stop"]]
    assert len(read(result.path)) == 32 * RATE


async def chain(
    house: House,
    song: Path,
    *providers: str,
    side: str = "after",
    **inputs: Any,  # noqa: ANN401 - inputs
) -> list[ResultReport]:
    """Extend a song and each of its results by twelve seconds, and check what must always hold."""
    results: list[ResultReport] = []
    lengths = {"extend_before_duration": 0, "extend_after_duration": 0, f"extend_{side}_duration": 12}
    for provider in providers:
        audio = results[-1].request_id if results else str(song)
        asked = SubmitRequest.of(audio=audio, tags="lofi", seed=3, **lengths, **inputs)
        submission = await house.service.submit(PERSON, asked, provider=provider)
        result = await house.result(submission.request_id)
        assert result.status is Status.COMPLETED, result.error
        results.append(result)
    source, last = read(song), read(results[-1].path)
    added = 12 * RATE * len(providers)
    assert len(last) == len(source) + added
    assert np.array_equal(last[added:] if side == "before" else last[: len(source)], source)
    return results


@pytest.mark.parametrize(
    "providers", [("local", "runcomfy"), ("runcomfy", "local"), ("runcomfy",) * 3], ids="+".join
)
async def test_a_chain_has_no_hole_where_an_earlier_result_faded_out(
    house: House, make_song: MakeSong, providers: tuple[str, ...]
) -> None:
    song = make_song(seconds=16)
    results = await chain(house, song, *providers, ending="fade")
    last, layout = read(results[-1].path), layout_of(house, results[-1])
    assert [part.kind for part in layout.parts].count(PartKind.RING_OUT) == 1
    assert layout.parts[0] == layout_of(house, results[0]).parts[0]  # the person's own, at the bottom of it
    assert softest_db(last[: layout.full_to]) > softest_db(read(song)) - 6
    for earlier, later in itertools.pairwise(results):
        cut = layout_of(house, earlier).full_to
        assert np.array_equal(read(later.path)[:cut], read(earlier.path)[:cut])


@pytest.mark.parametrize("providers", [("local", "runcomfy"), ("runcomfy", "local")], ids="+".join)
async def test_a_chain_has_no_hole_where_an_earlier_result_faded_in(
    house: House, make_song: MakeSong, providers: tuple[str, ...]
) -> None:
    song = make_song(seconds=16)
    results = await chain(house, song, *providers, side="before", beginning="fade")
    last, layout = read(results[-1].path), layout_of(house, results[-1])
    assert [part.kind for part in layout.parts].count(PartKind.LEAD_IN) == 1
    assert softest_db(last[layout.full_from :]) > softest_db(read(song)) - 6
    first = layout_of(house, results[0]).full_from
    assert np.array_equal(last[12 * RATE + first :], read(results[0].path)[first:])


async def test_a_part_of_an_earlier_result_is_extended_from_what_it_consists_of(
    house: House, make_song: MakeSong
) -> None:
    song = make_song(seconds=16)
    [first] = await chain(house, song, "runcomfy", ending="fade")
    later = await house.extend(first.request_id, source_start_seconds=4, extend_after_duration=5)
    assert len(read(later.path)) == (28 - 4 + 5) * RATE
    layout = layout_of(house, later)
    assert [part.kind for part in layout.parts] == [PartKind.SOURCE, PartKind.NEW, PartKind.NEW]
    assert (layout.parts[0].frames, layout.parts[0].source_frame) == (12 * RATE, 4 * RATE)

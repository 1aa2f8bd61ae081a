"""What the model gets wrong in one request is made in several, and joined to the source as it was."""

from __future__ import annotations

import base64
import io
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from tests.fakes.runcomfy import Fault, Switches

from outpaint_mcp.models import Status
from outpaint_mcp.principals import PERSON

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from tests.conftest import MakeSong
    from tests.fakes.runcomfy import Job
    from tests.hosting import House

    from outpaint_mcp.reports.models import ResultReport

pytestmark = pytest.mark.anyio

FADE_SECONDS = 0.05


def sent_seconds(job: Job) -> float:
    """How long the audio is that came inside of a submission."""
    _, _, text = str(job.inputs["audio"]).partition(",")
    return float(soundfile.info(io.BytesIO(base64.b64decode(text))).duration)


def asked(job: Job) -> tuple[object, object]:
    return job.inputs["extend_before_duration"], job.inputs["extend_after_duration"]


def check_source_inside(song: Path, result: ResultReport) -> npt.NDArray[np.int16]:
    """Check that the source is where the answer says, bit for bit but for the crossfades; returns it all."""
    assert result.path
    source, rate = soundfile.read(song, dtype="int16", always_2d=True)
    longer, longer_rate = soundfile.read(result.path, dtype="int16", always_2d=True)
    assert (longer_rate, longer.shape[1]) == (rate, source.shape[1])
    assert len(longer) / rate == pytest.approx(result.duration_seconds, abs=1e-3)
    head = round(FADE_SECONDS * rate) if result.before_seconds else 0
    tail = round(FADE_SECONDS * rate) if result.after_seconds else 0
    unfaded = source[head : len(source) - tail]
    told = round((result.before_seconds or 0) * rate)
    to_the_millisecond = range(told - rate // 1000 - 1, told + rate // 1000 + 2)
    assert any(
        np.array_equal(longer[start + head : start + head + len(unfaded)], unfaded)
        for start in to_the_millisecond
    )
    return np.asarray(longer)


async def test_both_sides_are_made_one_after_the_other_and_the_source_stays_as_it_is(
    house: House, song: Path
) -> None:
    result = await house.extend(song, extend_before_duration=1, extend_after_duration=1.5, lyrics="la")
    assert [asked(job) for job in house.jobs()] == [(1.25, 0), (0, 1.75)]
    assert {(job.inputs["tags"], job.inputs["lyrics"], job.inputs["seed"]) for job in house.jobs()} == {
        ("lofi", "la", 7)
    }
    calls = [call.endpoint for call in house.fake.calls if call.endpoint in {"submit", "download"}]
    assert calls == ["submit", "download", "submit", "download"]
    assert (result.before_seconds, result.after_seconds) == (1, 1.5)
    longer = check_source_inside(song, result)
    assert np.abs(longer[:16_000]).max() > 1_000 < np.abs(longer[-24_000:]).max()
    assert "joined to the source, which is preserved bit for bit" in result.message
    assert result.url
    assert result.url.startswith("file:")  # nobody else keeps the very same file


async def test_a_recording_longer_than_the_canvas_is_extended_from_its_edge_and_delivered_whole(
    house: House, make_song: MakeSong
) -> None:
    house.fake.switches = replace(house.fake.switches, sample_rate=8_000)
    song = make_song(seconds=300, sample_rate=8_000, channels=1)
    submission = await house.submit(song, extend_after_duration=60)
    assert submission.expected_duration_seconds == 360
    assert (
        "the model handles 240 s in all; the rest of the recording is joined on again" in submission.message
    )
    result = await house.result(submission.request_id)
    [job] = house.jobs()
    assert sent_seconds(job) == pytest.approx(120)  # two minutes, which are paid for too
    assert result.duration_seconds == 360
    check_source_inside(song, result)


async def test_an_extension_longer_than_its_source_is_grown_step_by_step(house: House, song: Path) -> None:
    house.fake.switches = replace(house.fake.switches, quantised=True)
    submission = await house.submit(song, extend_before_duration=1, extend_after_duration=8)
    assert "In 3 paid steps" in submission.message
    assert "in stages, since no extension may be longer than what it is built on" in submission.message
    result = await house.result(submission.request_id)
    before, first, second = house.jobs()
    assert [asked(before), asked(first)] == [(1.25, 0), (0, 3)]
    assert asked(second)[1] == pytest.approx(5.5, abs=0.2)
    assert [sent_seconds(job) for job in (before, first, second)] == pytest.approx([3, 3, 6], abs=0.2)
    assert (result.before_seconds, result.after_seconds) == (1, 8)
    assert result.cost_usd == pytest.approx(sum(job.cost_usd for job in house.jobs()))
    check_source_inside(song, result)


async def test_the_step_that_is_under_way_is_told(house: House, song: Path) -> None:
    house.fake.on("submit_accepted", lambda _: house.fake.hold() if len(house.jobs()) == 2 else None)
    request_id = (await house.submit(song, extend_before_duration=1, extend_after_duration=4)).request_id
    seen = await house.status_once(request_id, lambda seen: "RunComfy's queue" in seen.message)
    assert seen.message.startswith(
        "In progress (step 2 of 3, 2.25 s after, place 1 in RunComfy's queue), 33% done"
    )
    assert (seen.status, seen.queue_position) == (Status.IN_PROGRESS, None)
    assert seen.progress == pytest.approx(1 / 3)
    assert seen.cost_usd is None  # of step 2 it is not known yet
    await house.service.cancel(PERSON, request_id)


async def test_a_failure_in_the_second_step_fails_the_whole_and_sends_no_third(
    house: House, song: Path
) -> None:
    def fail_the_next(_: str) -> None:
        house.fake.switches = Switches(result_fails="string")

    house.fake.on("download", fail_the_next)
    error = await house.failed(song, extend_before_duration=1, extend_after_duration=4)
    assert "(step 2 of 3, 2.25 s after): The model failed" in error
    [listed] = await house.listed()
    assert listed.cost_usd == pytest.approx(sum(job.cost_usd for job in house.jobs()))
    assert house.fake.count("submit") == 2


@pytest.mark.parametrize("status", [401, 402, 429])
async def test_a_second_step_that_cannot_be_paid_now_waits_until_it_can_and_loses_nothing(
    house: House, song: Path, status: int
) -> None:
    faults = iter([Fault(status=status)])
    house.fake.on("download", lambda _: house.fake.fail("submit", *itertools.islice(faults, 1)))
    result = await house.extend(song, extend_before_duration=1)
    assert result.cost_usd == pytest.approx(sum(job.cost_usd for job in house.jobs()))
    assert (house.fake.count("submit"), len(house.jobs())) == (3, 2)


async def test_a_second_step_that_is_refused_for_good_leaves_the_first_ones_cost(
    house: House, song: Path
) -> None:
    house.fake.on("download", lambda _: house.fake.fail("submit", Fault(status=422)))
    error = await house.failed(song, extend_before_duration=1)
    assert "RunComfy has carried out 1 of 2 steps, which may be billed (its request" in error
    assert house.jobs()[0].request_id in error
    [listed] = await house.listed()
    assert listed.cost_usd == pytest.approx(house.jobs()[0].cost_usd)
    assert (house.fake.count("submit"), len(house.jobs())) == (2, 1)


async def test_a_second_step_whose_answer_was_lost_is_unknown_and_says_which_it_was(
    house: House, song: Path
) -> None:
    house.fake.on("download", lambda _: house.fake.fail("submit", Fault(kind="drop")))
    result = await house.result((await house.submit(song, extend_before_duration=1)).request_id)
    assert result.status is Status.UNKNOWN
    assert "step 2 of 2, 1.25 s after" in (result.error or "")
    listed = await house.service.list(PERSON)
    assert (listed.spent_usd, listed.open_estimate_usd) == pytest.approx((0, 0.0017))
    assert house.fake.count("submit") == 2


async def test_steps_that_came_out_shorter_are_told_side_by_side(house: House, song: Path) -> None:
    house.fake.switches = replace(house.fake.switches, seconds_off=-0.75)
    result = await house.extend(song, extend_before_duration=1, extend_after_duration=1.5)
    assert "0.5 s of 1.5 are missing after" in (result.verdict or "")
    check_source_inside(song, result)


async def test_a_gateways_page_between_steps_loses_nothing(house: House, song: Path) -> None:
    faults = iter([Fault(status=404, body="<html>no such backend</html>")])
    house.fake.on("download", lambda _: house.fake.fail("submit", *itertools.islice(faults, 1)))
    await house.extend(song, extend_before_duration=1)
    assert (house.fake.count("submit"), len(house.jobs())) == (3, 2)

"""A file that is to loop has whole bars, ends where its beginning is due, and leads back without a step."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.audio.composing import sequenced

from outpaint_mcp.audio.engine.analysis import Material, analyse
from outpaint_mcp.audio.engine.bars import find_bars
from outpaint_mcp.audio.engine.loop_end import (
    bar_lines,
    close_loop,
    find_landings,
    frames_until,
    loop_length,
    loop_length_of,
)
from outpaint_mcp.audio.engine.outpaint import outpaint_file
from outpaint_mcp.audio.engine.periods import Period
from outpaint_mcp.audio.types import Segment
from outpaint_mcp.wishes import Wishes

RATE = 11_025


@cache
def song(bpm: float, meter: int, first_beat: float) -> Material:
    samples, _ = sequenced(bpm=bpm, meter=meter, beats=72, sample_rate=RATE)
    return analyse(samples[round(first_beat * 60 / bpm * RATE) :], RATE)


@pytest.mark.parametrize("first_beat", [0.0, 1.0, 2.5])
@pytest.mark.parametrize(("bpm", "meter"), [(120.0, 4), (97.3, 4), (140.0, 3)])
def test_its_length_is_the_nearest_one_of_whole_bars(bpm: float, meter: int, first_beat: float) -> None:
    material = song(bpm, meter, first_beat)
    assert material.music is not None
    bar = meter * 60 / bpm * RATE
    made = loop_length(180 * RATE, len(material.samples), material.music, find_bars(material.music))
    assert made.unit == "bars"
    assert abs(made.frames - made.count * bar) < 0.02 * RATE
    assert abs(made.frames - 180 * RATE) <= 0.52 * bar


def test_it_is_always_longer_than_the_source() -> None:
    material = song(120.0, 4, 0.0)
    made = loop_length(10 * RATE, len(material.samples), material.music, None)
    assert made.unit == "beats"
    assert made.frames > len(material.samples)
    whole = len(material.samples) + RATE
    assert (
        loop_length(10 * RATE, len(material.samples), material.music, None, longer_than=whole).frames > whole
    )


def test_without_beats_any_length_can_loop() -> None:
    made = loop_length(1234, 1000, None, None)
    assert (made.frames, made.unit) == (1234, "frames")


@pytest.mark.parametrize("first_beat", [0.0, 1.0, 2.5])
@pytest.mark.parametrize(("bpm", "meter"), [(120.0, 4), (140.0, 3)])
def test_the_best_place_to_end_is_the_same_place_of_the_bar_that_the_file_begins_with(
    bpm: float, meter: int, first_beat: float
) -> None:
    material = song(bpm, meter, first_beat)
    assert material.music is not None
    landings = find_landings(material, material.music)
    finish = landings.finish(len(material.music.units))
    best = int(finish.argmin())
    bars = landings.leave_frame(best) / RATE * bpm / 60 / meter
    assert np.isfinite(finish[best])
    assert abs(bars - round(bars)) * meter * 60 / bpm < 0.005


def test_the_last_frames_lead_into_the_first_ones_without_a_step() -> None:
    time = np.arange(20 * RATE) / RATE
    swell = 0.6 + 0.3 * np.sin(2 * np.pi * 0.5 * time)
    wave = (0.3 * swell * np.sin(2 * np.pi * 110.3 * time + 1))[:, None].astype(np.float32)
    material = analyse(wave, RATE)
    assert material.music is not None
    landings = find_landings(material, material.music)
    unit = int(landings.finish(len(material.music.units)).argmin())
    leave = landings.leave_frame(unit) + RATE // 220  # half a cycle off
    extension = wave[max(0, leave - 5 * RATE) : leave].copy()
    untouched = wave.copy()
    landings.lead_back(extension, unit)
    wrap = np.concatenate([extension[-50:], wave[:50]])
    assert np.abs(np.diff(wrap, axis=0)).max() < 3 * np.abs(np.diff(wave, axis=0)).max()
    assert np.array_equal(wave, untouched)


def test_frames_are_counted_up_to_where_the_last_run_reaches_a_place() -> None:
    runs = (Segment(0, 500, 100), Segment(100, 40, 200))
    assert frames_until(runs, 90) == 150
    assert frames_until(runs, 500) is None
    assert frames_until((), 5) is None


@pytest.mark.parametrize(
    ("asked", "frames", "bars"), [(1790, 1800, 9), (1750, 1800, 9), (801, 1000, 5), (1000, 1000, 5)]
)
def test_a_loop_ends_on_its_own_end_or_a_bar_line_that_its_beginning_can_follow(
    asked: int, frames: int, bars: int
) -> None:
    period = Period(0, 800, 16, 4)
    made = loop_length_of(period, asked, 800, leave_frames=[200])
    assert (made.frames, made.count, made.unit) == (frames, bars, "bars")


def test_a_loop_can_be_left_at_each_of_its_bar_lines() -> None:
    assert bar_lines(Period(10, 800, 16, 4)) == (210, 410, 610)
    assert bar_lines(Period(10, 800, 16, None)) == ()


def test_a_loop_that_is_left_inside_fades_into_what_precedes_its_beginning() -> None:
    material = song(120.0, 4, 0.0)
    assert material.music is not None
    extension = material.samples[: 2 * RATE].copy()
    close_loop(extension, material, material.music)
    changed = np.flatnonzero((extension != material.samples[: 2 * RATE]).any(axis=1))
    assert len(changed)
    assert changed[0] >= 2 * RATE - 0.06 * RATE
    step = np.abs(extension[-1] - material.samples[0]).max()
    assert step <= 2 * np.abs(np.diff(material.samples, axis=0)).max()


def test_music_that_grows_faster_still_leads_back_on_the_beat(tmp_path: Path) -> None:
    parts = [sequenced(bpm=bpm, beats=40, sample_rate=RATE, seed=1)[0] for bpm in (120.0, 124.0, 128.0)]
    source, longer = tmp_path / "song.wav", tmp_path / "longer.wav"
    soundfile.write(source, np.concatenate(parts), RATE, subtype="FLOAT")
    found = outpaint_file(
        source,
        longer,
        Wishes(after_seconds=20.0, ending="loop"),
        seed=1,
        max_source_seconds=600.0,
        on_progress=lambda _done, _step: None,
    )
    assert found.loop is not None
    assert soundfile.info(longer).frames == found.loop.frames
    assert abs(found.loop.frames - found.asked_frames) <= 4 * 0.5 * RATE

"""Loops are recognised and go on exactly: no drift, every bar, no click; what is cut from a song is no loop."""

from functools import cache

import numpy as np
import pytest
from tests.audio.composing import sequenced

from outpaint_mcp.audio.engine.analysis import analyse
from outpaint_mcp.audio.engine.periods import Period, find_period
from outpaint_mcp.audio.engine.tiling import tile
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.types import Samples

RATE = 11_025


@cache
def song(bpm: float = 120.0, meter: int = 4) -> Samples:
    samples, _ = sequenced(bpm=bpm, meter=meter, beats=24 * meter, sample_rate=RATE)
    return samples


def period_of(samples: Samples) -> Period | None:
    music = analyse(samples, RATE).music
    assert music is not None
    return find_period(samples, RATE, music.features, music.beats)


@pytest.mark.parametrize(
    ("bpm", "meter", "bars"), [(90.0, 4, 4), (97.3, 4, 4), (120.0, 4, 4), (140.0, 3, 8), (174.0, 4, 8)]
)
def test_whole_bars_are_a_loop_of_exactly_their_own_length(bpm: float, meter: int, bars: int) -> None:
    loop = song(bpm, meter)[: round(bars * meter * 60 / bpm * RATE)]
    period = period_of(loop)
    assert period is not None
    assert (period.first, period.frames) == (0, len(loop))
    assert period.beats is not None
    assert period.beats_per_bar == meter
    assert period.beats % (bars * meter) == 0


@pytest.mark.parametrize("missing_beats", [0.1, 0.5, 0.93])
def test_music_that_is_cut_in_the_middle_of_a_beat_is_no_loop(missing_beats: float) -> None:
    assert period_of(song()[: round((16 - missing_beats) * 0.5 * RATE)]) is None


def test_a_song_that_fades_out_is_no_loop_even_if_its_bars_are_whole() -> None:
    faded = song()[: 32 * RATE // 2].copy()
    faded[-3 * RATE :] *= np.linspace(1, 0, 3 * RATE, dtype=np.float32)[:, None] ** 2
    assert period_of(faded) is None


def test_silence_that_an_encoder_left_at_the_ends_does_not_count() -> None:
    loop = song()[: 8 * RATE]
    head, tail = round(0.025 * RATE), round(0.01 * RATE)
    padded = np.pad(loop, ((head, tail), (0, 0)))
    period = period_of(padded)
    assert period is not None
    assert abs(period.frames - len(loop)) <= 0.002 * RATE
    assert abs(period.first - head) <= 0.002 * RATE


@pytest.mark.parametrize("side", Side)
def test_a_loop_goes_on_frame_for_frame_for_three_minutes(side: Side) -> None:
    loop = song()[: 8 * RATE]
    made = tile(loop, Period(0, len(loop), 16, 4), side, 180 * RATE, RATE)
    at = np.arange(len(loop), len(loop) + 180 * RATE) if side is Side.AFTER else np.arange(-180 * RATE, 0)
    differs = np.abs(made.samples - loop[at % len(loop)]).max(axis=1) > 0
    far_from_wraps = (at % len(loop) >= 0.03 * RATE) & (at % len(loop) < 7.97 * RATE)
    assert not differs[far_from_wraps].any()
    assert {part.source_frame for part in made.segments[1:]} == {0}
    assert sum(part.frames for part in made.segments) == 180 * RATE
    assert len(made.seams) == len(made.segments) - 1
    assert made.method == "loop"
    assert made.tempo_bpm == pytest.approx(120)


def test_where_a_loop_leads_back_by_itself_nothing_is_changed() -> None:
    time = np.arange(4 * RATE) / RATE
    loop = (0.3 * np.sin(2 * np.pi * 110 * time))[:, None].astype(np.float32)
    made = tile(loop, Period(0, len(loop), None, None), Side.AFTER, 10 * RATE, RATE)
    assert np.array_equal(made.samples, loop[np.arange(10 * RATE) % len(loop)])


@pytest.mark.parametrize("side", Side)
def test_an_end_that_clicks_against_the_beginning_is_smoothed_on_the_new_side_only(side: Side) -> None:
    time = np.arange(round(3.9773 * RATE)) / RATE
    loop = (0.5 * np.cos(2 * np.pi * 110.3 * time + 1))[:, None].astype(np.float32)
    made = tile(loop, Period(0, len(loop), None, None), side, 10 * RATE, RATE)
    joined = np.concatenate([loop, made.samples] if side is Side.AFTER else [made.samples, loop])
    raw = np.tile(loop, (4, 1))
    assert np.abs(np.diff(raw, 4, axis=0)).max() > 0.05
    assert np.abs(np.diff(joined, 4, axis=0)).max() < 0.1 * np.abs(np.diff(raw, 4, axis=0)).max()


def test_a_loop_with_silent_ends_goes_on_in_time_behind_them() -> None:
    loop = np.random.default_rng(0).standard_normal((1000, 1)).astype(np.float32)
    source = np.pad(loop, ((30, 20), (0, 0)))
    made = tile(source, Period(30, 1000, None, None), Side.AFTER, 2500, 1000)
    at = np.arange(len(source), len(source) + 2500)
    assert np.array_equal(made.samples[50:900], loop[(at - 30) % 1000][50:900])


def test_no_frames_are_no_music() -> None:
    made = tile(song()[: 8 * RATE], Period(0, 8 * RATE, 16, 4), Side.AFTER, 0, RATE)
    assert made.samples.shape == (0, 2)
    assert not made.segments
    assert not made.seams


@pytest.mark.parametrize("bpm", [70, 80, 90, 97, 120, 174])
@pytest.mark.parametrize("meter", [3, 4])
def test_a_slow_loop_is_not_counted_twice(bpm: int, meter: int) -> None:
    beats = 8 * meter
    samples, _ = sequenced(bpm=bpm, beats=beats, meter=meter, sample_rate=RATE)
    music = analyse(samples, RATE).music
    assert music is not None
    period = find_period(samples, RATE, music.features, music.beats)
    assert period is not None
    assert (period.beats, period.beats_per_bar, period.bars) == (beats, meter, 8)

"""Bars are found where the composer put them, wherever a recording begins."""

import numpy as np
import pytest
from tests.audio.composing import sequenced

from outpaint_mcp.audio.engine.analysis import Music, analyse
from outpaint_mcp.audio.engine.bars import find_bars

RATE = 11_025


def music_from(beat: int, *, bpm: float, meter: int) -> Music:
    """Music that begins with a given beat of the first bar."""
    samples, _ = sequenced(bpm=bpm, meter=meter, beats=72, sample_rate=RATE)
    music = analyse(samples[round(beat * 60 / bpm * RATE) :], RATE).music
    assert music is not None
    return music


@pytest.mark.parametrize("beat", [0, 1, 2])
@pytest.mark.parametrize(("bpm", "meter"), [(120.0, 4), (97.3, 4), (140.0, 3)])
def test_bars_begin_where_they_do_whichever_beat_a_recording_begins_with(
    bpm: float, meter: int, beat: int
) -> None:
    music = music_from(beat, bpm=bpm, meter=meter)
    bars = find_bars(music)
    assert bars is not None
    assert music.beats is not None
    assert bars.beats_per_bar == meter
    assert bars.are_clear
    place = (bars.lines(music.beats) / RATE * bpm / 60 + beat + meter / 2) % meter - meter / 2
    assert np.median(np.abs(place)) < 0.05


def test_noise_has_no_bars() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((20 * RATE, 1)).astype(np.float32)
    music = analyse(noise, RATE).music
    assert music is not None
    assert find_bars(music) is None


def test_a_few_beats_are_too_few_for_bars() -> None:
    samples, _ = sequenced(beats=12, sample_rate=RATE)
    music = analyse(samples, RATE).music
    assert music is not None
    assert find_bars(music) is None

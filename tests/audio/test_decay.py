"""Music that rings out: nothing new is struck, nothing stops, nothing is bent."""

import numpy as np
import pytest
from tests.audio.composing import sequenced

from outpaint_mcp.audio.engine.decay import ring_on
from outpaint_mcp.audio.levels import level_db
from outpaint_mcp.audio.seams import strongest_click

RATE = 22_050


@pytest.mark.parametrize("bpm", [84, 120, 150])
@pytest.mark.parametrize("seconds", [1.5, 2.5, 4.0])
def test_the_last_beat_dies_away_without_a_click_or_a_step(bpm: int, seconds: float) -> None:
    samples, beats = sequenced(bpm=bpm, beats=32, sample_rate=RATE)
    at = int(beats[-12])
    music = samples[: at + round(seconds * RATE)].copy()
    before = music.copy()
    ring_on(music, at, round(60 / bpm * RATE), RATE)
    assert np.array_equal(music[:at], before[:at])
    assert np.abs(music[at:]).max() <= np.abs(before).max()
    clicks = [strongest_click(each.mean(axis=1).astype(np.float64)) for each in (music[at:], before)]
    assert clicks[0] <= 1.05 * clicks[1]
    size = RATE // 5
    levels = [level_db(music[first : first + size]) for first in range(at, len(music) - size, size)]
    assert levels[0] > level_db(before) - 6
    assert levels[-1] < levels[0] - 20
    assert np.diff(levels).min() > -25, "it does not stop"
    assert np.abs(music[-1]).max() < 1e-3


def test_silence_rings_out_as_silence() -> None:
    music = np.zeros((3 * RATE, 2), np.float32)
    ring_on(music, RATE, RATE // 2, RATE)
    assert not music.any()

"""Music with an exact number of frames: its pitch stays, and nothing steps."""

import numpy as np
import pytest
from tests.audio.composing import sequenced

from outpaint_mcp.audio.engine.fitting import fitted, nudged, stretched
from outpaint_mcp.audio.seams import strongest_click

RATE = 22_050


@pytest.mark.parametrize("share", [0.96, 0.99, 1.0, 1.005, 1.04])
def test_beats_that_are_nudged_do_not_click(share: float) -> None:
    samples, beats = sequenced(bpm=120, beats=32, sample_rate=RATE)
    wanted = round(len(samples) * share)
    found = nudged(samples, beats.tolist(), wanted, RATE)
    assert len(found) == wanted
    clicks = [strongest_click(each.mean(axis=1).astype(np.float64)) for each in (found, samples)]
    assert clicks[0] <= 1.1 * clicks[1]


@pytest.mark.parametrize("share", [0.96, 1.04])
def test_beats_that_are_nudged_keep_their_pitch(share: float) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(10 * RATE) / RATE).astype(np.float32)[:, None]
    found = nudged(tone, range(0, 10 * RATE, RATE // 2), round(share * len(tone)), RATE)[:, 0]
    spectrum = np.abs(np.fft.rfft(found))
    assert abs(spectrum.argmax() * RATE / len(found) - 440) < 1


@pytest.mark.parametrize("frames", [990, 1_000, 1_010])
def test_music_is_stretched_to_exactly_so_many_frames_and_its_ends_stay(frames: int) -> None:
    samples = np.sin(np.arange(1_000) / 9).astype(np.float32)[:, None]
    found = stretched(samples, frames, 8_000)
    assert len(found) == frames
    assert abs(found[0, 0] - samples[0, 0]) < 0.02
    assert abs(found[-1, 0] - samples[-1, 0]) < 0.02


def test_an_ending_that_is_too_long_closes_softly_and_one_that_is_too_short_is_followed_by_silence() -> None:
    coda = np.full((1_000, 2), 16_000, np.int16)
    assert fitted(coda, 900, 8_000)[-1].tolist() == [0, 0]
    longer = fitted(coda, 1_100, 8_000)
    assert (len(longer), longer[-1].tolist(), longer.dtype) == (1_100, [0, 0], np.dtype(np.int16))

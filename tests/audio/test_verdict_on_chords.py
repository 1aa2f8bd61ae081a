"""Faults that drums would cover: on held chords, each is found alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import soxr

from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.judge import judge
from outpaint_mcp.audio.verdict.records import Asked, FaultKind, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.types import Samples

RATE = 11_025
AFTER = 15
CADENCE = ((0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7))
C_HZ = 261.63


def chords(seconds: int, *, semitones: int = 0, seed: int = 0) -> Samples:
    """A cadence in C, a chord a second, that swells and fades into the next; higher by some semitones."""
    rng = np.random.default_rng(seed)
    time = np.arange(RATE + RATE // 4) / RATE
    swell = np.minimum(1, time / 0.25) * np.minimum(1, (time[-1] - time) / 0.25)
    wave = np.zeros((seconds + 1) * RATE)
    for second in range(seconds):
        for note in CADENCE[second % 4]:
            for harmonic in (1, 2, 3):
                hertz = C_HZ * 2 ** ((note + semitones) / 12) * harmonic
                partial = (
                    np.sin(2 * np.pi * hertz * time + rng.uniform(0, 6)) * rng.uniform(0.5, 1) / harmonic
                )
                wave[second * RATE : second * RATE + len(time)] += swell * partial
    return np.asarray(wave[: seconds * RATE, None] / 8, np.float32)


def judged(folder: Path, source: Samples, extended: Samples, *, rate: int = RATE) -> Verdict:
    soundfile.write(folder / "source.wav", source, RATE, "PCM_16")
    soundfile.write(folder / "extended.wav", extended, rate, "PCM_16")
    return judge(
        folder / "source.wav",
        folder / "extended.wav",
        Asked(before_seconds=0, after_seconds=AFTER),
        max_source_seconds=600,
    )


def amounts(verdict: Verdict) -> dict[FaultKind, float]:
    return {fault.kind: fault.amount for fault in verdict.real_faults}


@pytest.fixture(scope="module")
def music() -> Samples:
    return chords(30 + AFTER)


SEAM = 30 * RATE


def test_chords_that_go_on_have_no_fault(tmp_path: Path, music: Samples) -> None:
    assert amounts(judged(tmp_path, music[:SEAM], music)) == {}


def test_music_that_goes_on_in_another_key_is_told_with_the_fifths_between(
    tmp_path: Path, music: Samples
) -> None:
    extended = np.concatenate([music[:SEAM], chords(AFTER, semitones=6)])
    found = amounts(judged(tmp_path, music[:SEAM], extended))
    assert found[FaultKind.KEY_CHANGE] == 6


def test_a_sound_that_breaks_in_at_the_seam_is_told_as_a_change_of_the_spectrum(
    tmp_path: Path, music: Samples
) -> None:
    time = np.arange(AFTER * RATE) / RATE
    noise = (
        np.random.default_rng(1).normal(0, 0.01, len(time)) * np.minimum(1, time / 0.02) * np.exp(-2 * time)
    )
    extended = music.copy()
    extended[SEAM:, 0] += noise.astype(np.float32)
    verdict = judged(tmp_path, music[:SEAM], extended)
    assert amounts(verdict)[FaultKind.FLUX] > 2
    assert [fault.side for fault in verdict.faults if fault.kind is FaultKind.FLUX] == [Side.AFTER]


def test_another_instrument_is_told_as_a_change_of_timbre(tmp_path: Path, music: Samples) -> None:
    time = np.arange(AFTER * RATE) / RATE
    hiss = np.diff(np.random.default_rng(2).normal(0, 0.03, len(time) + 1)) * np.minimum(1, time / 0.3)
    extended = np.concatenate([music[:SEAM], hiss[:, None].astype(np.float32)])
    assert amounts(judged(tmp_path, music[:SEAM], extended))[FaultKind.TIMBRE_CHANGE] > 2.5


def test_a_source_that_is_other_music_next_to_the_seam_alone_is_told_as_lost_there(tmp_path: Path) -> None:
    music = chords(75 + AFTER)
    extended = music.copy()
    extended[65 * RATE : 75 * RATE] = chords(10, semitones=3, seed=9)
    rendered = np.asarray(soxr.resample(extended, RATE, 2 * RATE), np.float32)
    assert amounts(judged(tmp_path, music[: 75 * RATE], rendered, rate=2 * RATE))[FaultKind.SOURCE_LOST] == 10

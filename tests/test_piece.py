"""The demo's piece of music is short, sound, always the same, and meant to go on."""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING

import numpy as np
import pytest

from outpaint_mcp.cli.demo_music import BARS, BPM, SAMPLE_RATE, compose_piece

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt


@pytest.fixture(scope="module")
def piece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("piece") / "piece.wav"
    compose_piece(path)
    return path


def heard(path: Path) -> npt.NDArray[np.float64]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, SAMPLE_RATE)
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return pcm.reshape(-1, 2) / 2**15


def test_it_lasts_whole_bars(piece: Path) -> None:
    assert len(heard(piece)) == round(4 * BARS * 60 / BPM * SAMPLE_RATE)


def test_it_is_the_same_every_time(piece: Path, tmp_path: Path) -> None:
    compose_piece(tmp_path / "again.wav")
    assert (tmp_path / "again.wav").read_bytes() == piece.read_bytes()


def test_it_is_loud_enough_and_never_clips(piece: Path) -> None:
    samples = heard(piece)
    assert 0.75 < np.abs(samples).max() < 0.85
    assert np.sqrt(np.mean(samples**2)) > 0.1
    assert np.abs(samples.mean(axis=0)).max() < 0.01


def test_it_is_stereo_with_its_weight_in_the_middle(piece: Path) -> None:
    left, right = heard(piece).T
    assert 0.5 < np.corrcoef(left, right)[0, 1] < 0.98


def test_it_stops_in_full_swing_and_its_end_leads_into_its_beginning(piece: Path) -> None:
    samples = heard(piece)
    level = np.sqrt(np.mean(samples**2))
    assert np.sqrt(np.mean(samples[-SAMPLE_RATE // 10 :] ** 2)) > level / 4
    assert np.abs(samples[0] - samples[-1]).max() < np.abs(np.diff(samples, axis=0)).max()


def test_every_bar_is_different(piece: Path) -> None:
    bars = np.array_split(heard(piece), BARS)
    shortest = min(map(len, bars))
    for number, bar in enumerate(bars):
        for other in bars[:number]:
            assert np.abs(bar[:shortest] - other[:shortest]).max() > 0.05

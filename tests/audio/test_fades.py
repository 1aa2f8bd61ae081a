"""Crossfades keep the power, and the source's own ringing never steps, swells or sings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outpaint_mcp.audio.fades import burg, crossfade_gains, extrapolate

RATE = 8_000


@given(frames=st.integers(1, 500), correlation=st.floats(-1, 1))
def test_crossfades_keep_the_power_of_streams_that_correlate_so_much(frames: int, correlation: float) -> None:
    falling, rising = crossfade_gains(frames, correlation)
    power = falling**2 + rising**2 + 2 * max(correlation, 0) * falling * rising
    np.testing.assert_allclose(power, 1)
    assert (np.diff(rising) >= 0).all()
    np.testing.assert_allclose(falling, rising[::-1])


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32), frames=st.integers(1, 900), loudness=st.floats(0, 1))
def test_the_ringing_of_anything_stays_about_as_loud_as_its_edge(
    seed: int, frames: int, loudness: float
) -> None:
    past = loudness * np.random.default_rng(seed).uniform(-1, 1, (frames, 2)).astype(np.float32)
    tail = extrapolate(past.astype(np.float32), 300, RATE)
    assert tail.shape == (300, 2)
    assert np.isfinite(tail).all()
    assert (np.abs(tail).max(axis=0) <= 1.2 * np.abs(past).max(axis=0) + 1e-6).all()


def test_a_tone_rings_on_as_the_same_tone() -> None:
    wave = 0.5 * np.sin(2 * np.pi * 330 * np.arange(2_000) / RATE)
    tail = extrapolate(wave[:1_900, None].astype(np.float32), 100, RATE)[:, 0]
    np.testing.assert_allclose(tail[:40], wave[1_900:1_940], atol=0.05)


def test_silence_rings_on_as_silence() -> None:
    assert not extrapolate(np.zeros((500, 2), np.float32), 100, RATE).any()


def test_the_model_of_a_resonance_finds_its_poles() -> None:
    rng = np.random.default_rng(0)
    wave = np.zeros(8_000)
    for now in range(2, len(wave)):
        wave[now] = 1.6 * wave[now - 1] - 0.81 * wave[now - 2] + rng.standard_normal()
    assert burg(wave, 2) == pytest.approx([1, -1.6, 0.81], abs=0.03)

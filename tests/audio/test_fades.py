"""Crossfades keep the power, and the source's own ringing never steps, swells or sings."""

import io
from functools import cache

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from outpaint_mcp.audio.fades import blend, burg, crossfade_gains, extrapolate
from outpaint_mcp.audio.types import Samples

RATE = 8_000
CODED_RATE = 48_000


@given(frames=st.integers(1, 500), correlation=st.floats(-1, 1))
def test_crossfades_keep_the_power_of_streams_that_correlate_so_much(frames: int, correlation: float) -> None:
    falling, rising = crossfade_gains(frames, correlation)
    power = falling**2 + rising**2 + 2 * max(correlation, 0) * falling * rising
    np.testing.assert_allclose(power, 1)
    assert (np.diff(rising) >= 0).all()
    np.testing.assert_allclose(falling, rising[::-1])


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32), frames=st.integers(1, 900), loudness=st.floats(0, 1))
@example(seed=0, frames=337, loudness=1.0)
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


@cache
def lossy_signals() -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    rng = np.random.default_rng(0)
    time = np.arange(3 * CODED_RATE) / CODED_RATE
    noise = rng.standard_normal(len(time))
    smooth = np.convolve(noise, np.hanning(64), "same")
    return {
        "tone": 0.5 * np.sin(2 * np.pi * 220 * time),
        "chord": sum(
            (0.15 * np.sin(2 * np.pi * hertz * time) for hertz in (220, 277.2, 329.6, 440)), 0 * time
        ),
        "saw": 0.3 * (2 * ((110 * time) % 1) - 1),
        "noise": 0.2 * noise,
        "rumble": 0.5 * smooth / np.abs(smooth).max(),
    }


def decoded(wave: np.ndarray[tuple[int], np.dtype[np.float64]], container: str, subtype: str) -> Samples:
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", samplerate=CODED_RATE, channels=1, format=container, subtype=subtype
    ) as written:
        for start in range(0, len(wave), 65_536):  # libsndfile crashes on long Vorbis writes
            written.write(wave[start : start + 65_536])
    file.seek(0)
    samples: Samples = soundfile.read(file, dtype="float32", always_2d=True)[0]
    return samples


@pytest.mark.parametrize("direction", [1, -1], ids=["end", "beginning"])
@pytest.mark.parametrize(
    "coding",
    [("OGG", "OPUS"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("WAV", "FLOAT")],
    ids=lambda c: c[1],
)
@pytest.mark.parametrize("name", lossy_signals())
def test_the_ringing_of_a_decoded_source_adds_no_click_to_those_of_its_edge(
    name: str, coding: tuple[str, str], direction: int
) -> None:
    source = decoded(lossy_signals()[name], *coding)[::direction]
    tail = extrapolate(source[-5_760:], 2_160, CODED_RATE)
    wave = np.concatenate([source[-5_760:], tail])[:, 0].astype(np.float64)
    bends = np.abs(np.diff(wave, 4))
    edge = 5_760 - 4
    own = max(bends[edge - 240 : edge].max(), bends[: edge - 400].max())
    assert bends[edge : edge + 240].max() <= max(1.4 * own, 0.003)


@pytest.mark.parametrize(
    ("container", "subtype", "most"), [("OGG", "OPUS", 0.05), ("MP3", "MPEG_LAYER_III", 0.2)]
)
def test_a_decoder_s_ringing_above_all_hearing_does_not_bend_what_follows_it(
    container: str, subtype: str, most: float
) -> None:
    time = np.arange(3 * CODED_RATE) / CODED_RATE
    notes = enumerate((110, 220, 277, 330))
    wave = np.sum([0.12 * np.sin(2 * np.pi * hertz * time + phase) for phase, hertz in notes], axis=0)
    source = decoded(wave[1_000:], container, subtype)[::-1]
    tail = extrapolate(source[-5_760:], 2_160, CODED_RATE)[:12, 0]
    np.testing.assert_allclose(tail, wave[999:987:-1], atol=most)


def test_what_a_decoder_spoils_at_the_edge_does_not_ring_on() -> None:
    wave = 0.5 * np.sin(2 * np.pi * 220 * np.arange(8_000) / CODED_RATE)
    spoilt = wave[:5_760].copy()
    spoilt[-300:] -= 0.8 * np.linspace(0, 1, 300) ** 2  # 6 ms of droop, as Opus leaves it
    tail = extrapolate(spoilt[:, None].astype(np.float32), 480, CODED_RATE)[:, 0]
    assert abs(tail[0] - spoilt[-1]) < 0.03
    np.testing.assert_allclose(tail[300:480], wave[6_060:6_240], atol=0.06)


@settings(deadline=None, max_examples=25)
@given(sharp=st.integers(2, 1_400), seed=st.integers(0, 2**32))
def test_a_blend_begins_as_the_one_and_ends_as_the_other_in_all_bands(sharp: int, seed: int) -> None:
    leaving, entering = np.random.default_rng(seed).uniform(-1, 1, (2, 1_200, 2))
    mixed = blend(leaving, entering, sharp, RATE)
    np.testing.assert_allclose(mixed[:2], leaving[:2], atol=0.05)
    np.testing.assert_allclose(mixed[-2:], entering[-2:], atol=0.05)
    assert 0.5 < np.mean(mixed**2) / np.mean(leaving**2) < 1.5


def test_the_bass_of_a_blend_changes_over_longer_than_what_is_above_it() -> None:
    time = np.arange(3_200) / RATE
    low, high = np.sin(2 * np.pi * 80 * time), np.sin(2 * np.pi * 2_500 * time)
    silence = np.zeros(len(time))
    early = slice(1_000, 1_300)
    assert np.std(blend(low, silence, 200, RATE)[early]) < 0.97 * np.std(low[early])
    assert np.std(blend(high, silence, 200, RATE)[early]) == pytest.approx(np.std(high[early]), rel=0.01)


@pytest.mark.parametrize("rate", [1_000, 8_000, 11_025, 44_100, 192_000])
def test_a_past_of_any_length_rings_on_at_any_rate(rate: int) -> None:
    wave = np.random.default_rng(0).uniform(-1, 1, round(0.12 * rate))
    for frames in range(1, len(wave), max(1, len(wave) // 60)):
        assert np.isfinite(extrapolate(wave[:frames, None].astype(np.float32), 20, rate)).all()

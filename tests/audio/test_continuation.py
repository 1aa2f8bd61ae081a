"""What must hold for every extension, whatever the source."""

from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.audio.composing import sequenced

from outpaint_mcp.audio.engine.analysis import Material, analyse
from outpaint_mcp.audio.engine.continuation import extend
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.types import Extension, Samples

RATE = 8_000
SIDES = st.sampled_from(Side)


@cache
def song() -> Material:
    samples, _ = sequenced(sample_rate=RATE, beats=64)
    samples.flags.writeable = False
    return analyse(samples, RATE)


def tone(seconds: float, rate: int, channels: int = 1) -> Samples:
    wave = 0.5 * np.sin(2 * np.pi * 220 * np.arange(int(seconds * rate)) / rate)
    return np.tile(wave[:, None], (1, channels)).astype(np.float32)


def noise(seconds: float, rate: int, channels: int = 1) -> Samples:
    rng = np.random.default_rng(0)
    return (0.2 * rng.standard_normal((int(seconds * rate), channels))).astype(np.float32)


def antiphase(seconds: float) -> Samples:
    wave = noise(seconds, RATE)
    return np.concatenate([wave, -wave], axis=1)


def faded(seconds: float) -> Samples:
    wave = noise(seconds, RATE)
    return (wave * np.linspace(1, 0, len(wave), dtype=np.float32)[:, None] ** 3).astype(np.float32)


def half_silent(seconds: float) -> Samples:
    wave = noise(seconds, RATE)
    wave[len(wave) // 2 :] = 0
    return wave


def drone(seconds: float) -> Samples:
    time = np.arange(int(seconds * RATE)) / RATE
    wave = sum(0.1 * np.sin(2 * np.pi * hertz * time) * (1 + 0.3 * np.sin(time)) for hertz in (110, 165, 220))
    return np.asarray(wave, dtype=np.float32)[:, None]


ODD: dict[str, tuple[Samples, int]] = {
    "nothing": (np.zeros((0, 2), np.float32), RATE),
    "one frame": (np.full((1, 1), 0.5, np.float32), RATE),
    "ten milliseconds": (tone(0.01, 44_100), 44_100),
    "half a second": (noise(0.5, RATE, 2), RATE),
    "three seconds": (noise(3, RATE), RATE),
    "six channels": (noise(6, RATE, 6), RATE),
    "192 kHz": (tone(0.5, 192_000), 192_000),
    "silence": (np.zeros((5 * RATE, 2), np.float32), RATE),
    "nearly silence": (np.full((5 * RATE, 1), 1e-6, np.float32), RATE),
    "direct current": (np.full((5 * RATE, 1), 0.3, np.float32), RATE),
    "white noise": (noise(6, RATE), RATE),
    "a pure tone": (tone(6, RATE), RATE),
    "a drone": (drone(8), RATE),
    "antiphase": (antiphase(6), RATE),
    "clipped": (np.clip(8 * noise(6, RATE), -1, 1), RATE),
    "over full scale": (3 * tone(3, RATE), RATE),
    "a fade-out": (faded(6), RATE),
    "half silent": (half_silent(6), RATE),
    "leading silence": (np.concatenate([np.zeros((RATE, 1), np.float32), tone(4, RATE)]), RATE),
}


def check(made: Extension, material: Material, frames: int) -> None:
    """What holds for every extension."""
    assert made.samples.shape == (frames, material.samples.shape[1])
    assert made.samples.dtype == np.float32
    assert np.isfinite(made.samples).all()
    if frames:
        assert np.abs(made.samples).max() <= max(1.0, material.peak)
    assert list(made.seams) == sorted(made.seams)
    assert all(0 < seam < frames for seam in made.seams)
    reached = None
    for segment in made.segments:
        assert segment.frames > 0
        assert 0 <= segment.source_frame <= len(material.samples) - segment.frames
        assert reached in (None, segment.extension_frame)
        reached = segment.extension_frame + segment.frames
    if made.segments:
        assert made.segments[0].extension_frame >= 0
        assert reached is not None
        assert reached <= frames


@settings(max_examples=12, deadline=None)
@given(side=SIDES, frames=st.integers(0, 12 * RATE), seed=st.integers(-(2**63), 2**64))
@example(side=Side.AFTER, frames=1, seed=0)
@example(side=Side.BEFORE, frames=1, seed=0)
def test_exactly_the_asked_frames_come_back_finite_and_no_louder_than_allowed(
    side: Side, frames: int, seed: int
) -> None:
    check(extend(song(), side, frames, seed=seed), song(), frames)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("side", Side)
def test_odd_sources_go_on_without_an_error(name: str, side: Side) -> None:
    samples, rate = ODD[name]
    kept = samples.copy()
    material = analyse(samples, rate)
    for frames in (0, 1, rate):
        check(extend(material, side, frames, seed=1), material, frames)
    np.testing.assert_array_equal(samples, kept)


@settings(max_examples=10, deadline=None)
@given(
    frames=st.integers(0, 3 * RATE),
    channels=st.integers(1, 3),
    loudness=st.floats(0, 2),
    seed=st.integers(0, 2**32),
    side=SIDES,
)
def test_any_noise_of_any_length_goes_on(
    frames: int, channels: int, loudness: float, seed: int, side: Side
) -> None:
    samples = np.random.default_rng(seed).uniform(-loudness, loudness, (frames, channels)).astype(np.float32)
    material = analyse(samples, RATE)
    check(extend(material, side, RATE, seed=seed), material, RATE)


@pytest.mark.parametrize("side", Side)
def test_the_same_seed_makes_the_same_samples(side: Side) -> None:
    first, second = (extend(song(), side, 8 * RATE, seed=7) for _ in range(2))
    assert first.samples.tobytes() == second.samples.tobytes()
    assert first.segments == second.segments


@pytest.mark.parametrize("side", Side)
def test_seeds_make_different_takes(side: Side) -> None:
    takes = {extend(song(), side, 20 * RATE, seed=seed).samples.tobytes() for seed in range(6)}
    assert len(takes) > 1


@pytest.mark.parametrize("side", Side)
def test_silence_goes_on_as_silence(side: Side) -> None:
    made = extend(analyse(np.zeros((3 * RATE, 2), np.float32), RATE), side, RATE, seed=0)
    assert made.method == "silence"
    assert not made.samples.any()


@pytest.mark.parametrize("side", Side)
def test_music_with_a_beat_goes_on_in_beats_and_says_its_tempo(side: Side) -> None:
    made = extend(song(), side, 10 * RATE, seed=0)
    assert made.method == "beats"
    assert made.tempo_bpm == pytest.approx(120, abs=0.5)
    assert sum(segment.frames for segment in made.segments) == 10 * RATE


@pytest.mark.parametrize("side", Side)
def test_what_has_no_beat_goes_on_as_texture(side: Side) -> None:
    made = extend(analyse(drone(8), RATE), side, 4 * RATE, seed=0)
    assert made.method == "texture"
    assert made.tempo_bpm is None


@pytest.mark.parametrize("side", Side)
def test_the_outer_edge_fades_away(side: Side) -> None:
    made = extend(song(), side, 10 * RATE, seed=0).samples
    outward = made if side is Side.AFTER else made[::-1]
    assert np.abs(outward[-8:]).max() < 0.001
    assert np.abs(outward[: 4 * RATE]).max() > 0.1


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("cut", [0, 801, 2_345])
def test_a_tone_cut_anywhere_is_carried_on_without_a_step(side: Side, cut: int) -> None:
    source = tone(6, RATE)[cut:]
    made = extend(analyse(source, RATE), side, 2 * RATE, seed=0).samples
    parts = [source, made] if side is Side.AFTER else [made, source]
    joined = np.concatenate(parts)[:, 0].astype(np.float64)
    seam = len(parts[0])
    near = np.abs(np.diff(joined[seam - 40 : seam + 40], 2))
    usual = np.abs(np.diff(source[:, 0].astype(np.float64), 2)).max()
    assert near.max() < 1.5 * usual


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("seed", range(2))
def test_noise_goes_on_without_a_hole_at_the_seam(side: Side, seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = (0.2 * rng.standard_normal((6 * 44_100, 1))).astype(np.float32)
    new = extend(analyse(source, 44_100), side, 3 * 44_100, seed=1).samples
    near = (new if side is Side.AFTER else new[::-1])[: 50 * 88].reshape(-1, 5 * 88)
    assert (near.std(axis=1) > 0.5 * source.std()).all()


def test_a_rest_that_stops_just_off_zero_is_left_without_a_step() -> None:
    source = np.concatenate([noise(5, RATE), np.full((2_000, 1), 3e-4, np.float32)])
    made = extend(analyse(source, RATE), Side.AFTER, RATE, seed=0).samples
    assert made[0, 0] == pytest.approx(3e-4, abs=5e-5)


@pytest.mark.parametrize("side", Side)
def test_progress_only_grows_and_ends_at_one(side: Side) -> None:
    told: list[float] = []
    extend(song(), side, 6 * RATE, seed=0, on_progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) > 10


def test_what_progress_raises_stops_the_work() -> None:
    class Stopped(Exception):
        pass

    def stop(_done: float) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        extend(song(), Side.AFTER, 6 * RATE, seed=0, on_progress=stop)


def test_a_tiny_source_fills_four_minutes() -> None:
    material = analyse(noise(1.4, RATE), RATE)
    check(extend(material, Side.AFTER, 240 * RATE, seed=0), material, 240 * RATE)

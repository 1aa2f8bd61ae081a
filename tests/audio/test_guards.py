"""What each part of the choosing is there for: without it something can be heard."""

from functools import cache

import numpy as np
import pytest
from tests.audio.composing import sequenced

from outpaint_mcp.audio.engine.analysis import Material, analyse
from outpaint_mcp.audio.engine.beam_search import find_path
from outpaint_mcp.audio.engine.continuation import extend
from outpaint_mcp.audio.engine.leaps import Leaps
from outpaint_mcp.audio.files.decoder import Probe
from outpaint_mcp.audio.files.encode import delivery_format
from outpaint_mcp.audio.levels import level_db
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.types import Extension, Floats, Samples

RATE = 11_025


def untold(_done: float) -> None:
    """Nobody listens."""


def only(units: int, unit: int) -> Floats:
    """Costs that allow a single unit."""
    costs = np.full(units, np.inf)
    costs[unit] = 0.0
    return costs


@cache
def song() -> Material:
    samples, _ = sequenced(beats=72, sample_rate=RATE)
    return analyse(samples, RATE)


def outward(made: Extension, side: Side) -> Samples:
    return made.samples if side is Side.AFTER else made.samples[::-1]


def entered(made: Extension, side: Side) -> int:
    """The source frame that stands in for the source's edge."""
    near = made.segments[0] if side is Side.AFTER else made.segments[-1]
    return near.source_frame if side is Side.AFTER else near.source_frame + near.frames


def test_of_two_ways_on_the_one_further_from_the_edge_is_taken() -> None:
    nowhere = Leaps(np.zeros((100, 1), dtype=np.int64), np.full((100, 1), np.inf))
    start = np.minimum(only(100, 20) + 0.3, only(100, 80))
    path = find_path(nowhere, start, np.zeros(100), np.zeros((12, 100)), 8, untold)
    assert path is not None
    assert path.units[0] == 20


def test_of_two_leaps_the_one_to_what_was_not_yet_heard_is_taken() -> None:
    targets = np.tile(np.array([10, 60]), (200, 1))
    costs = np.full((200, 2), np.inf)
    costs[21] = 1.0, 1.05
    path = find_path(Leaps(targets, costs), only(200, 10), np.zeros(200), np.zeros((24, 200)), 8, untold)
    assert path is not None
    assert np.bincount(path.units).max() == 1


@pytest.mark.parametrize("side", Side)
def test_the_join_keeps_its_place_in_the_bar_where_the_last_beat_is_a_hair_longer(side: Side) -> None:
    samples, beats = sequenced(beats=72, sample_rate=RATE)
    bar = round(4 * 60 / 120 * RATE)
    first, last = int(beats[0]), int(beats[71])
    source = samples[first : last + 40] if side is Side.AFTER else samples[int(beats[1]) - 40 : last]
    made = extend(analyse(source, RATE), side, 8 * RATE, seed=0)
    expected = len(source) if side is Side.AFTER else 0
    slip = (entered(made, side) - expected + bar / 2) % bar - bar / 2
    assert abs(slip) / RATE <= 0.02


@pytest.mark.parametrize("beats", [8, 16])
@pytest.mark.parametrize("side", Side)
def test_a_clean_loop_of_a_few_bars_is_carried_on_in_time(beats: int, side: Side) -> None:
    samples, _ = sequenced(beats=beats, sample_rate=RATE)
    beat = RATE // 2 * 1.0
    source = samples[: round(beats * RATE / 2)]
    made = extend(analyse(source, RATE), side, 15 * RATE, seed=0)
    frames = [
        (one.source_frame + one.frames, two.source_frame)
        for one, two in zip(made.segments, made.segments[1:], strict=False)
    ]
    frames.append((len(source) if side is Side.AFTER else 0, entered(made, side)))
    slips = [(coming - leaving + beat / 2) % beat - beat / 2 for leaving, coming in frames]
    assert made.method == "beats"
    assert max(np.abs(slips)) / RATE <= 0.005


def chord(seconds: float) -> Samples:
    time = np.arange(int(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * hertz * time) for hertz in (220, 277, 330))
    return np.asarray(0.2 * wave * np.exp(-6 * time / seconds), dtype=np.float32)[:, None]


def test_a_short_chord_that_dies_away_fills_four_minutes() -> None:
    made = extend(analyse(chord(2.5), RATE), Side.AFTER, 240 * RATE, seed=0).samples
    sounding = np.flatnonzero(np.abs(made[:, 0]) > 1e-4)
    assert np.diff(sounding, prepend=0, append=len(made)).max() < 5 * RATE


@pytest.mark.parametrize("side", Side)
def test_music_that_dies_away_comes_to_the_same_ending_again(side: Side) -> None:
    samples, _ = sequenced(beats=72, sample_rate=RATE)
    fade = np.append(np.ones(len(samples) - 4 * RATE), np.linspace(1, 0, 4 * RATE) ** 2)[:, None]
    source = samples * (fade if side is Side.AFTER else fade[::-1]).astype(np.float32)
    made = extend(analyse(source, RATE), side, 24 * RATE, seed=0)
    far = made.segments[-1] if side is Side.AFTER else made.segments[0]
    edge = far.source_frame + far.frames if side is Side.AFTER else far.source_frame
    assert edge == (len(source) if side is Side.AFTER else 0)


@pytest.mark.parametrize("side", Side)
def test_the_level_is_carried_across_the_join_and_comes_back(side: Side) -> None:
    samples, _ = sequenced(beats=72, sample_rate=RATE)
    soft = np.append(np.ones(len(samples) - 6 * RATE), np.full(6 * RATE, 0.25))[:, None]
    source = samples * (soft if side is Side.AFTER else soft[::-1]).astype(np.float32)
    made = outward(extend(analyse(source, RATE), side, 12 * RATE, seed=0), side)
    near = source[-2 * RATE :] if side is Side.AFTER else source[: 2 * RATE]
    assert level_db(made[:RATE]) - level_db(near) < 6
    assert level_db(made[4 * RATE : 6 * RATE]) - level_db(near) > 8


@pytest.mark.parametrize("side", Side)
def test_the_extension_peaks_no_higher_than_the_source(side: Side) -> None:
    for seed in range(3):
        made = extend(song(), side, 12 * RATE, seed=seed).samples
        assert np.abs(made).max() <= np.float32(song().peak)


@pytest.mark.parametrize("side", Side)
def test_seeds_go_on_from_different_places(side: Side) -> None:
    wave = np.random.default_rng(0).standard_normal((12 * RATE, 1)).astype(np.float32)
    source = analyse(0.1 * wave, RATE)
    assert len({entered(extend(source, side, 3 * RATE, seed=seed), side) for seed in range(6)}) > 1


@pytest.mark.parametrize("side", Side)
def test_what_is_too_short_to_tell_settles_without_a_step(side: Side) -> None:
    source = np.full((20, 1), 0.5, np.float32)
    made = outward(extend(analyse(source, RATE), side, RATE, seed=0), side)[:, 0]
    assert made[0] == pytest.approx(0.5, abs=0.02)
    assert np.abs(np.diff(made)).max() < 0.02
    assert not made[RATE // 2 :].any()


@pytest.mark.parametrize(
    ("rate", "container"), [(44_100, "FLAC"), (88_200, "FLAC"), (65_537, "WAV"), (88_201, "WAV")]
)
def test_what_flac_cannot_carry_is_delivered_as_wav(rate: int, container: str) -> None:
    lossy = Probe("CAF", "VORBIS", rate, 2, 0)
    assert delivery_format(lossy)[:2] == (container, "PCM_24")

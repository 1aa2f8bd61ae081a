"""The key of music is found from its pitch classes, and none where there is none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outpaint_mcp.audio.features import extract_features
from outpaint_mcp.audio.keys import fifths_between, find_key
from outpaint_mcp.audio.tonality import Key, Mode
from outpaint_mcp.audio.types import Floats

MAJOR, MINOR = (0, 4, 7), (0, 3, 7)
CADENCES: dict[Mode, tuple[tuple[int, tuple[int, ...]], ...]] = {
    "major": ((0, MAJOR), (5, MAJOR), (7, MAJOR), (0, MAJOR)),
    "minor": ((0, MINOR), (5, MINOR), (7, MAJOR), (0, MINOR)),
}
PARTIALS = ((0, 1.0), (0, 0.5), (7, 0.33), (0, 0.25), (4, 0.2))
"""Pitch class above the fundamental's and strength of the first five."""


def cadence(tonic: int, mode: Mode) -> Floats:
    windows = np.full((4, 12), 0.05)
    for window, (root, chord) in zip(windows, CADENCES[mode], strict=True):
        for interval in chord:
            for above, strength in PARTIALS:
                window[(tonic + root + interval + above) % 12] += strength
    return windows


@pytest.mark.parametrize("mode", ["major", "minor"])
@pytest.mark.parametrize("tonic", range(12))
def test_a_cadence_tells_its_key(tonic: int, mode: Mode) -> None:
    found = find_key(cadence(tonic, mode))
    assert found
    assert (found.tonic, found.mode) == (tonic, mode)
    assert found.confidence >= 0.25


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=12, max_size=12), min_size=1, max_size=4), st.integers(0, 11)
)
def test_transposing_music_transposes_its_key_and_changes_nothing_else(
    windows: list[list[float]], up: int
) -> None:
    tones = np.array(windows)
    here, there = find_key(tones), find_key(np.roll(tones, up, axis=1))
    assert (here is None) == (there is None)
    if here and there and here.confidence > 0.05:
        assert there.mode == here.mode
        assert there.tonic == (here.tonic + up) % 12
        assert there.confidence == pytest.approx(here.confidence, abs=0.011)


@given(st.integers(0, 11), st.integers(1, 20), st.floats(0.1, 1000))
def test_neither_loudness_nor_steady_noise_changes_the_key(tonic: int, times: int, gain: float) -> None:
    tones = np.tile(cadence(tonic, "major"), (times, 1))
    quiet, noisy = find_key(tones * gain), find_key(tones * gain + 3 * gain)
    assert quiet
    assert noisy
    assert (quiet.tonic, quiet.mode) == (noisy.tonic, noisy.mode) == (tonic, "major")


@pytest.mark.parametrize(
    "tones",
    [
        np.zeros((0, 12)),
        np.zeros((5, 12)),
        np.ones((5, 12)),
        np.eye(12)[[9, 9, 9]],
        np.eye(12)[[9, 9]] + 3,
        np.eye(12),
    ],
    ids=["nothing", "silence", "all alike", "one note", "one note in noise", "chromatic"],
)
def test_what_has_no_key_is_given_none(tones: Floats) -> None:
    assert find_key(tones) is None


def test_noise_has_no_key() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, (5 * 22_050, 1)).astype(np.float32)
    assert find_key(extract_features(noise, 22_050, np.ones(1)).tones) is None


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (Key(9, "minor", 1), "A minor"),
        (Key(3, "major", 1), "Eb major"),
        (Key(6, "minor", 1), "F# minor"),
        (Key(1, "major", 1), "Db major"),
        (Key(8, "minor", 1), "G# minor"),
    ],
)
def test_keys_are_named_with_few_accidentals(key: Key, name: str) -> None:
    assert key.name == name


@pytest.mark.parametrize(
    ("one", "other", "fifths"),
    [
        (Key(0, "major", 1), Key(9, "minor", 1), 0),
        (Key(0, "major", 1), Key(7, "major", 1), 1),
        (Key(0, "major", 1), Key(5, "major", 1), 1),
        (Key(0, "major", 1), Key(0, "minor", 1), 3),
        (Key(0, "major", 1), Key(6, "major", 1), 6),
        (Key(9, "minor", 1), Key(4, "minor", 1), 1),
        (Key(0, "major", 1), Key(2, "major", 1), 2),
    ],
)
def test_the_distance_of_keys_is_counted_on_the_circle_of_fifths(one: Key, other: Key, fifths: int) -> None:
    assert fifths_between(one, other) == fifths_between(other, one) == fifths

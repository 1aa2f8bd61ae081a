"""Builds and breakdowns: layers enter or leave on bar lines, and nothing else changes."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.audio.composing import _hat, _kick, _note, sequenced

from outpaint_mcp.audio.engine.layers import Order, layer_gains, lines_in, shape_layers, shaping_bounds
from outpaint_mcp.audio.engine.outer_end import Lines
from outpaint_mcp.audio.engine.separation import LAYERS, find_layers, split_channel
from outpaint_mcp.audio.engine.shaping import layer_lines
from outpaint_mcp.audio.levels import downmix, level_db, peak
from outpaint_mcp.audio.seams import click_near
from outpaint_mcp.audio.types import Ints, Samples, Segment

RATE = 22_050
BAR = 2 * RATE
ORDERS = pytest.mark.parametrize("order", ["build", "breakdown"])


@cache
def stems() -> tuple[Samples, Samples, Samples]:
    """Eight bars of drums, of bass and of chords, each by itself."""
    rng = np.random.default_rng(0)
    drums, bass, chords = (np.zeros((8 * BAR, 1)) for _ in range(3))
    for beat in range(32):
        at = beat * BAR // 4
        for stem, wave in (
            (drums, 0.3 * _hat(RATE, rng, decay=0.03)),
            (drums, 0.4 * _kick(RATE) if beat % 2 == 0 else 0.2 * _hat(RATE, rng, decay=0.08)),
            (bass, 0.2 * _note(33, 0.48, RATE)),
        ):
            wave = wave[: len(stem) - at]  # noqa: PLW2901 - cut at the end
            stem[at : at + len(wave), 0] += wave
        if beat % 4 == 0:
            for pitch in (60, 64, 67):
                chords[at : at + BAR, 0] += 0.1 * _note(pitch, 2.0, RATE)
    return drums.astype(np.float32), bass.astype(np.float32), chords.astype(np.float32)


def mix() -> Samples:
    drums, bass, chords = stems()
    return drums + bass + chords


def lines() -> Ints:
    return np.arange(9) * BAR


def shares(shaped: Samples, stem: Samples) -> list[float]:
    """How much of a stem is left in each bar, by projection."""
    return [
        float((shaped[a:b] * stem[a:b]).sum() / (stem[a:b] ** 2).sum()) for a, b in pairwise(lines().tolist())
    ]


def test_the_layers_add_up_to_the_music() -> None:
    song, _ = sequenced(beats=16)
    masks = find_layers(song, RATE)
    for channel in song.T:
        parts = split_channel(channel, masks, RATE, LAYERS)
        assert np.abs(sum(parts.values()) - channel).max() < 1e-6


def test_drums_leave_the_breakdown_before_the_bass_and_chords_are_left() -> None:
    shaped = shape_layers(mix(), lines(), RATE, "breakdown")
    drums, bass, chords = (shares(shaped, stem) for stem in stems())
    assert min(drums[:2]) > 0.3
    assert max(drums[2:]) < 0.25
    assert min(bass[:4]) > 0.7
    assert max(bass[5:]) < 0.2
    assert min(chords[:7]) > 0.8


def test_a_build_begins_with_chords_and_ends_with_everything() -> None:
    song = mix()
    shaped = shape_layers(song, lines(), RATE, "build")
    drums, bass, chords = (shares(shaped, stem) for stem in stems())
    assert max(drums[:4]) < 0.25
    assert max(bass[:2]) < 0.2
    assert min(bass[2:]) > 0.7
    assert min(chords[1:]) > 0.8
    assert np.array_equal(shaped[6 * BAR :], song[6 * BAR :])
    assert level_db(shaped[: RATE // 100]) < level_db(song[: RATE // 100]) - 20


def test_the_last_bar_of_a_breakdown_rings_out() -> None:
    shaped = shape_layers(mix(), lines(), RATE, "breakdown")
    last = [level_db(part) for part in np.array_split(shaped[-BAR:], 4)]
    assert last == sorted(last, reverse=True)
    assert abs(float(shaped[-1, 0])) < 1e-4


@ORDERS
def test_nothing_clicks_on_the_lines_and_no_peak_grows(order: Order) -> None:
    song = mix()
    shaped = shape_layers(song, lines(), RATE, order)
    weights, _ = downmix(song)
    for line in lines()[1:-1].tolist():
        for near in (line, line - round(0.004 * RATE), line - round(0.034 * RATE)):
            assert (
                click_near(shaped, near, RATE, weights) <= 1.1 * click_near(song, near, RATE, weights) + 0.01
            )
    assert peak(shaped) <= peak(song)


@ORDERS
def test_a_high_tone_enters_and_leaves_without_a_sound_below_it(order: Order) -> None:
    time = np.arange(6 * BAR) / RATE
    tone = 0.5 * np.sin(2 * np.pi * 6_000 * time).astype(np.float32)[:, None]
    bounds = lines()[1:6] + 7
    shaped = shape_layers(tone, bounds, RATE, order)
    for line in (bounds[:-1] if order == "breakdown" else bounds[1:]).tolist():
        near = shaped[line - 1500 : line + 1000, 0] * np.hanning(2500)
        spectrum = np.abs(np.fft.rfft(near)) / (0.5 * 2500 / 4)
        assert spectrum[: 2500 * 4_000 // RATE].max() < 1e-4


@ORDERS
def test_music_outside_the_bars_is_untouched_or_silent(order: Order) -> None:
    song = mix()
    bounds = lines()[2:7] + 11
    shaped = shape_layers(song, bounds, RATE, order)
    before, after = slice(bounds[0] - round(0.035 * RATE)), slice(bounds[-1], None)
    untouched, silent = (before, after) if order == "breakdown" else (after, slice(bounds[0]))
    assert np.array_equal(shaped[untouched], song[untouched])
    assert not shaped[silent].any()


@ORDERS
@pytest.mark.parametrize("name", ["drums", "bass", "chords"])
def test_music_of_a_single_layer_stays_audible(order: Order, name: str) -> None:
    stem = stems()[("drums", "bass", "chords").index(name)]
    shaped = shape_layers(stem, lines(), RATE, order)
    inner = [level_db(shaped[a:b]) - level_db(stem[a:b]) for a, b in pairwise(lines()[1:-1].tolist())]
    assert min(inner) > -18


@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
def test_any_rate_and_any_number_of_channels_will_do(rate: int) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((2 * rate, 3)).astype(np.float32)
    shaped = shape_layers(noise, np.array([0, rate, 2 * rate]), rate, "breakdown")
    assert shaped.shape == noise.shape
    assert np.isfinite(shaped).all()


@ORDERS
def test_silence_stays_silent(order: Order) -> None:
    assert not shape_layers(np.zeros((4 * RATE, 2), np.float32), np.arange(3) * 2 * RATE, RATE, order).any()


def test_gains_move_only_just_before_the_lines() -> None:
    gains = layer_gains(np.array([0, RATE, 2 * RATE]), (frozenset(), frozenset({"drums"})), RATE)
    moving = np.flatnonzero(np.diff(gains[LAYERS.index("drums")]))
    assert RATE - 0.04 * RATE < moving.min() < moving.max() < RATE
    assert (gains[LAYERS.index("bass")] == 1).all()


@given(
    seconds=st.floats(0.5, 90),
    bar_seconds=st.floats(0.3, 12),
    first=st.floats(0, 1),
    order=st.sampled_from(["build", "breakdown"]),
    has_bars=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_the_bars_to_shape_reach_the_outer_end_and_are_neither_many_nor_long(
    seconds: float, bar_seconds: float, first: float, order: Order, *, has_bars: bool
) -> None:
    frames = round(seconds * 1000)
    found = np.rint(np.arange(first * bar_seconds, seconds, bar_seconds) * 1000).astype(np.int64)
    bounds = shaping_bounds(found if has_bars else found[:0], frames, 1000, order)
    if bounds is None:
        assert seconds < 3 * max(bar_seconds, 2.0)
        return
    assert (np.diff(bounds) > 0).all()
    assert (bounds[-1] == frames) if order == "breakdown" else (bounds[0] == 0)
    assert 2 <= len(bounds) - 1 <= 8
    assert bounds[-1] - bounds[0] <= max(
        20_000, 3.5 * max(bar_seconds, 2.0) * 1000 if bar_seconds <= 6 else 0
    )


def test_lines_of_the_source_are_found_where_they_are_played() -> None:
    segments = (Segment(0, 1000, 500), Segment(500, 200, 300))
    assert lines_in(segments, np.array([200, 450, 600, 1000, 1200, 1600])).tolist() == [0, 200, 500, 750]


def test_without_clear_bars_layers_enter_and_leave_at_beats() -> None:
    beats = np.arange(1, 40) * RATE // 2
    found = layer_lines(Lines(beats, beats[:0], RATE / 2), RATE)
    assert (np.diff(found) == 2 * RATE).all()
    assert found[-1] == beats[-1]
    assert np.isin(found, beats).all()
    assert layer_lines(Lines(beats, beats[3::3], RATE / 2), RATE).tolist() == beats[3::3].tolist()
    assert len(layer_lines(Lines(beats[:0], beats[:0], RATE / 2), RATE)) == 0

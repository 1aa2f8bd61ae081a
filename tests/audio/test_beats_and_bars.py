"""Rearranged music keeps its beat and its bar, measured where the composer put them."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from tests.audio.composing import sequenced

from outpaint_mcp.audio.engine.analysis import Material, analyse
from outpaint_mcp.audio.engine.continuation import extend
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.types import Extension

RATE = 11_025


def slips_seconds(made: Extension, sample_rate: int, period_frames: float) -> list[float]:
    """How far the beat slips at every seam inside, from what was played before and after it."""
    slips = []
    for left, right in pairwise(made.segments):
        moved = right.source_frame - (left.source_frame + left.frames)
        slips.append((moved + period_frames / 2) % period_frames - period_frames / 2)
    return [slip / sample_rate for slip in slips]


@cache
def song(bpm: float, meter: int) -> Material:
    samples, _ = sequenced(bpm=bpm, meter=meter, beats=72, sample_rate=RATE)
    return analyse(samples, RATE)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(("bpm", "meter"), [(120.0, 4), (97.3, 4), (140.0, 3)])
def test_jumps_in_sequenced_music_keep_the_beat_to_a_millisecond_and_the_bar(
    bpm: float, meter: int, side: Side
) -> None:
    beat = 60 / bpm * RATE
    made = extend(song(bpm, meter), side, 50 * RATE, seed=0)
    assert made.seams, "there must be seams to judge"
    assert max(np.abs(slips_seconds(made, RATE, beat))) <= 0.001
    assert max(np.abs(slips_seconds(made, RATE, meter * beat))) <= 0.001


@pytest.mark.parametrize("side", Side)
def test_the_beat_goes_on_across_the_join_with_the_source(side: Side) -> None:
    samples, _ = sequenced(beats=72, sample_rate=RATE)
    source = samples[2_500:-3_500]
    made = extend(analyse(source, RATE), side, 10 * RATE, seed=0)
    period = 0.5 * RATE
    near = made.segments[0] if side is Side.AFTER else made.segments[-1]
    expected = len(source) if side is Side.AFTER else 0
    heard = near.source_frame if side is Side.AFTER else near.source_frame + near.frames
    slip = (heard - expected + period / 2) % period - period / 2
    assert abs(slip) / RATE <= 0.005


@pytest.mark.parametrize(("bpm", "jitter_seconds"), [(120.0, 0.0), (97.3, 0.0), (112.0, 0.006)])
def test_beats_are_found_where_they_are(bpm: float, jitter_seconds: float) -> None:
    samples, truth = sequenced(bpm=bpm, beats=64, sample_rate=RATE, jitter_seconds=jitter_seconds)
    music = analyse(samples, RATE).music
    assert music is not None
    assert music.beats is not None
    assert music.beats.period_frames / RATE == pytest.approx(60 / bpm, rel=0.005)
    nearest = np.abs(music.beats.frames[:, None] - truth[None]).min(axis=1) / RATE
    assert np.median(nearest) <= 0.015


@pytest.mark.parametrize("meter", [3, 4])
def test_leaving_the_bar_costs_and_keeping_it_does_not(meter: int) -> None:
    music = song(120.0, meter).music
    assert music is not None
    off_bar = music.similarity.off_bar
    assert len(off_bar) > 1
    assert off_bar[0] == 0
    assert off_bar[1:].min() > 0
    on_bar = np.arange(len(off_bar)) % meter == 0
    assert off_bar[on_bar].mean() < off_bar[~on_bar].mean()

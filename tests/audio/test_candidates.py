"""Of several candidates the one whose seams strain least is kept, and where an extension enters, music goes on."""

from collections.abc import Callable
from dataclasses import astuple, replace
from functools import cache

import numpy as np
import pytest
from tests.audio.composing import sequenced

from outpaint_mcp.audio.engine.analysis import Material, analyse
from outpaint_mcp.audio.engine.candidates import best_candidate, candidate_count, seam_strains
from outpaint_mcp.audio.engine.continuation import extend
from outpaint_mcp.audio.engine.outward import OutwardView
from outpaint_mcp.audio.levels import level_db
from outpaint_mcp.audio.seams import timbre, timbre_distance
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.types import Extension

RATE = 22_050


@cache
def song() -> Material:
    samples, _ = sequenced(sample_rate=RATE, beats=96)
    samples.flags.writeable = False
    return analyse(samples, RATE)


def view_of(material: Material, side: Side) -> OutwardView:
    assert material.music is not None
    return OutwardView(material, material.music, side)


def spoilt(extension: Extension, seam: int) -> Extension:
    """The same with a click at a seam inside it."""
    samples = extension.samples.copy()
    samples[seam] += 0.9
    return replace(extension, samples=samples, seams=(seam,))


def in_turn(*candidates: Extension | None) -> Callable[[np.random.Generator], Extension | None]:
    turns = iter(candidates)
    return lambda _rng: next(turns)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("clicks_first", ["yes", "no"])
def test_a_candidate_without_a_click_goes_before_one_with_a_click(side: Side, clicks_first: str) -> None:
    view = view_of(song(), side)
    clean = extend(song(), side, 12 * RATE, seed=1)
    clicking = spoilt(clean, 6 * RATE)
    order = (clicking, clean) if clicks_first == "yes" else (clean, clicking)
    assert best_candidate(view, in_turn(*order), np.random.default_rng(0), 2) is clean


@pytest.mark.parametrize("side", Side)
def test_a_step_at_the_join_is_measured_there(side: Side) -> None:
    clean = extend(song(), side, 12 * RATE, seed=1)
    samples = clean.samples.copy()
    samples[0 if side is Side.AFTER else -1] += 0.9
    stepping = replace(clean, samples=samples)
    view = view_of(song(), side)
    assert seam_strains(view, clean)[0].click < 0.5 * seam_strains(view, stepping)[0].click


def test_a_seam_of_the_music_itself_strains_nothing() -> None:
    material = song()
    cut = 90 * RATE // 4
    before = analyse(material.samples[:cut], RATE)
    following = Extension(material.samples[cut : cut + 10 * RATE], (), (), "beats", None)
    join = seam_strains(view_of(before, Side.AFTER), following)[0]
    assert max(astuple(replace(join, click=0.0))) < 1.25  # an attack is sharp, and the edge's own


def test_the_same_generator_chooses_the_same_candidate() -> None:
    view = view_of(song(), Side.AFTER)

    def render(rng: np.random.Generator) -> Extension:
        return extend(song(), Side.AFTER, 8 * RATE, seed=int(rng.integers(1_000)))

    one, other = (best_candidate(view, render, np.random.default_rng(3), 3) for _ in range(2))
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one.samples, other.samples)


def test_nothing_is_kept_where_nothing_can_follow() -> None:
    assert best_candidate(view_of(song(), Side.AFTER), in_turn(None), np.random.default_rng(0), 3) is None


def test_long_extensions_get_fewer_candidates() -> None:
    counts = [candidate_count(seconds * RATE, RATE) for seconds in (0, 1, 30, 90, 135, 240, 3_600)]
    assert counts[:4] == [3, 3, 3, 3]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 1


def test_after_a_quiet_ending_no_silence_inside_the_source_is_entered() -> None:
    music, _ = sequenced(sample_rate=RATE, beats=48)
    gap, rest = np.zeros((8 * RATE, 2), np.float32), np.zeros((3 * RATE, 2), np.float32)
    material = analyse(np.concatenate([music, gap, music, rest]), RATE)
    for seed in range(3):
        extension = extend(material, Side.AFTER, 16 * RATE, seed=seed)
        assert level_db(extension.samples[4 * RATE : 7 * RATE]) > level_db(music) - 20


@pytest.mark.parametrize("side", Side)
def test_the_timbre_at_the_edge_goes_on(side: Side) -> None:
    dark, _ = sequenced(sample_rate=RATE, beats=64)
    bright = np.diff(dark, axis=0, prepend=np.zeros((1, 2), np.float32)) * 2
    samples = np.concatenate([dark, bright, dark, bright][:: 1 if side is Side.AFTER else -1])
    material = analyse(samples, RATE)
    for seed in range(3):
        view = view_of(material, side)
        join = seam_strains(view, extend(material, side, 10 * RATE, seed=seed))[0]
        assert join.novelty <= 1


def test_a_change_of_level_is_no_change_of_timbre() -> None:
    quiet = analyse((song().samples * np.float32(0.25)), RATE)
    assert quiet.music is not None
    assert song().music is not None
    spans = np.array([4 * RATE]), np.array([6 * RATE])
    one, other = (timbre(material.music.features, *spans) for material in (song(), quiet) if material.music)
    assert float(timbre_distance(one, other)[0]) < 0.5

"""Paths are the cheapest there are, and what is unusual at a seam shows."""

import numpy as np
import pytest
from tests.audio.composing import sequenced

from outpaint_mcp.audio.engine.analysis import analyse
from outpaint_mcp.audio.engine.beam_search import find_path
from outpaint_mcp.audio.engine.leaps import Leaps, cheapest_leaps
from outpaint_mcp.audio.levels import downmix, mono
from outpaint_mcp.audio.pulse import slip_seconds
from outpaint_mcp.audio.seams import flux_around, strongest_click

RATE = 11_025


def one_leap(units: int, start: int, target: int, cost: float) -> Leaps:
    """Leaps that are all forbidden but one."""
    targets = np.zeros((units, 1), dtype=np.int64)
    costs = np.full((units, 1), np.inf)
    targets[start], costs[start] = target, cost
    return Leaps(targets, costs)


def only(units: int, unit: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Costs that allow a single unit."""
    costs = np.full(units, np.inf)
    costs[unit] = 0.0
    return costs


def untold(_done: float) -> None:
    """Nobody listens."""


def test_music_plays_on_where_no_leap_is_worth_it() -> None:
    path = find_path(one_leap(40, 20, 5, 50.0), only(40, 10), np.zeros(40), np.zeros((12, 40)), 8, untold)
    assert path is not None
    assert path.units.tolist() == list(range(10, 22))


def test_the_only_way_is_found_even_when_it_is_dear() -> None:
    path = find_path(one_leap(40, 39, 5, 50.0), only(40, 30), np.zeros(40), np.zeros((15, 40)), 8, untold)
    assert path is not None
    assert path.units.tolist() == [*range(30, 40), *range(5, 10)]
    assert path.cost >= 50


def test_a_wanted_ending_is_reached() -> None:
    path = find_path(one_leap(40, 15, 33, 1.0), only(40, 8), only(40, 39), np.zeros((15, 40)), 8, untold)
    assert path is not None
    assert path.units.tolist() == [*range(8, 16), *range(33, 40)]


def test_what_was_just_played_is_not_played_again_where_other_music_costs_a_little_more() -> None:
    targets, costs = np.zeros((30, 2), dtype=np.int64), np.full((30, 2), np.inf)
    targets[29], costs[29] = (20, 0), (0.3, 1.7)
    path = find_path(Leaps(targets, costs), only(30, 20), np.zeros(30), np.zeros((20, 30)), 8, untold)
    assert path is not None
    assert path.units.tolist() == [*range(20, 30), *range(10)]


def test_where_nothing_leads_on_there_is_no_path() -> None:
    assert find_path(one_leap(10, 0, 5, 1.0), only(10, 8), np.zeros(10), np.zeros((5, 10)), 8, untold) is None


def test_noise_never_makes_a_leap_cheaper() -> None:
    costs = np.random.default_rng(1).uniform(0, 5, (30, 30))
    leaps = cheapest_leaps(costs, np.random.default_rng(0))
    assert (leaps.costs >= np.take_along_axis(costs, leaps.targets, axis=1) - 1e-4).all()


def test_a_click_shows_in_the_fourth_difference() -> None:
    wave = np.sin(np.arange(400) / 20)
    clicked = wave.copy()
    clicked[200] += 0.1
    assert strongest_click(clicked) > 100 * strongest_click(wave)


def test_an_attack_out_of_nothing_shows_in_the_flux() -> None:
    samples, _ = sequenced(beats=32, sample_rate=RATE)
    music = analyse(samples, RATE).music
    assert music is not None
    tone = 0.5 * np.sin(np.arange(RATE) / 10)
    attack = np.where(np.arange(RATE) < RATE // 2, 1e-4, 1.0) * tone
    assert flux_around(attack, RATE // 2, RATE, music.features) > 5 * flux_around(
        tone, RATE // 2, RATE, music.features
    )


@pytest.mark.parametrize("late_seconds", [-0.12, 0.0, 0.09])
def test_a_slip_of_the_beat_is_told_with_its_sign(late_seconds: float) -> None:
    samples, beats = sequenced(beats=48, sample_rate=RATE)
    music = analyse(samples, RATE).music
    assert music is not None
    assert music.beats is not None
    enter = int(beats[24]) - round(late_seconds * RATE)
    slip = slip_seconds(music.features, music.beats, int(beats[20]), enter)
    assert slip == pytest.approx(late_seconds, abs=0.02)


def test_antiphase_is_heard_by_one_channel() -> None:
    wave = np.random.default_rng(0).standard_normal((1_000, 1)).astype(np.float32)
    weights, level = downmix(np.concatenate([wave, -wave], axis=1))
    assert sorted(weights.tolist()) == [0, 1]
    assert level == pytest.approx(0, abs=0.5)
    assert mono(np.concatenate([wave, -wave], axis=1), weights).any()

"""Cost of leaving a unit's natural successor for another unit.

The weights were tuned together on 27 real recordings; only their proportions matter.
"""

from dataclasses import dataclass

import numpy as np

from outpaint_mcp.audio.engine.similarity import Matrix, Similarity
from outpaint_mcp.audio.engine.units import Units
from outpaint_mcp.audio.levels import percentile, running_mean
from outpaint_mcp.audio.types import Floats, Ints

SHORTEST_RUN_BEATS = 8
SHORTEST_RUN_GRAINS = 2

_ANY_LEAP = 0.60
"""Base cost of every leap."""
_TYPICAL_DISTANCE = 0.5
"""Context distance of a typical good match."""
_OFF_BAR = 1.5
_ABRUPT = 0.5
_STRANGE_HARMONY = 0.8
_TEMPO_MISMATCH = 8.0
"""Cost per unit of natural logarithm of the tempo ratio: about 0.8 for 10 %."""
_LOUDNESS_JUMP, _USUAL_PERCENT = 1.5, 99.0
"""Cost per 6 dB by which the loudness jumps more than it does at nearly all of the source's own bounds."""
_NOISE = 0.40
"""Mean of the random cost that makes takes differ."""
_LEAPS_PER_UNIT = 24


@dataclass(frozen=True, slots=True)
class Leaps:
    """The cheapest leaps out of every unit.

    Attributes:
        targets: `[units, leaps]` the unit to play instead of the natural successor.
        costs: `[units, leaps]`, infinite where there is no such leap.
    """

    targets: Ints
    costs: Floats


def shortest_run(units: Units) -> int:
    """Fewest units to play between leaps; half of all units where there are few beats."""
    return min(SHORTEST_RUN_BEATS, len(units) // 2) if units.metric else SHORTEST_RUN_GRAINS


def similarity_cost(distance: Matrix | Floats) -> Floats:
    """Cost of a context distance: quadratic, 1 for a typical good match."""
    return np.square(np.asarray(distance, dtype=np.float64) / _TYPICAL_DISTANCE)


def abruptness_cost(similarity: Similarity) -> Floats:
    """Cost of the change of sound and harmony between any two units `[units, units]`."""
    abrupt = _ABRUPT * np.clip(similarity.change - 1, 0, 4)
    return np.asarray(abrupt + _STRANGE_HARMONY * similarity.strange_harmony, dtype=np.float64)


def off_bar_cost(similarity: Similarity, shift: Ints) -> Floats:
    """Cost of the change of position in the bar, for shifts in units."""
    return _OFF_BAR * similarity.off_bar[shift % len(similarity.off_bar)]


def leap_costs(units: Units, similarity: Similarity) -> Floats:
    """Cost of playing unit q after unit i `[units, units]`; infinite where that is not an allowed leap."""
    count = len(units)
    index = np.arange(count)
    distance = similarity.context[1:, :count].astype(np.float64)
    distance[-1] = similarity.behind[count, :count]  # the last unit has no successor to compare with
    shift = index - (index[:, None] + 1)
    cost = (
        _ANY_LEAP + similarity_cost(distance) + off_bar_cost(similarity, shift) + abruptness_cost(similarity)
    )
    cost += _loudness_jump_cost(units)
    if units.metric:
        tempo = np.log(np.maximum(running_mean(np.diff(units.bounds).astype(np.float64), 9), 1))
        cost += _TEMPO_MISMATCH * np.abs(tempo[:, None] - tempo)
    cost[np.abs(shift) < shortest_run(units)] = np.inf
    cost[:, max(1, count - 2) :] = np.inf  # a leap there would leave nothing to play
    cost[:, 0] = np.inf  # the first unit may be a pickup, not a whole unit
    return cost


def _loudness_jump_cost(units: Units) -> Floats:
    """Cost of the jump in loudness from unit i to unit q `[units, units]`."""
    loudness_db = np.maximum(units.loudness_db, units.silence_db)
    usual_db = percentile(np.abs(np.diff(loudness_db)), _USUAL_PERCENT) if len(units) > 1 else 0.0
    jump_db = np.abs(loudness_db[:, None] - loudness_db)
    return np.asarray(_LOUDNESS_JUMP * np.maximum(jump_db - usual_db, 0) / 6)


def cheapest_leaps(costs: Floats, rng: np.random.Generator) -> Leaps:
    """Select the best leaps of every unit after adding noise, which never makes a leap cheaper."""
    noisy = costs + _NOISE * rng.exponential(size=costs.shape)
    count = min(_LEAPS_PER_UNIT, len(costs))
    best = np.argpartition(noisy, count - 1, axis=1)[:, :count]
    found = np.take_along_axis(noisy, best, axis=1)
    order = np.argsort(found, axis=1, kind="stable")
    return Leaps(np.take_along_axis(best, order, axis=1), np.take_along_axis(found, order, axis=1).round(4))

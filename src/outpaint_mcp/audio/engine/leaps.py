"""What it costs to leave a unit's natural successor for another one.

The costs were settled together on 27 real recordings; only their proportions matter.
"""

from dataclasses import dataclass

import numpy as np

from outpaint_mcp.audio.engine.likeness import Likeness, Matrix
from outpaint_mcp.audio.engine.units import Units
from outpaint_mcp.audio.shapes import Floats, Ints
from outpaint_mcp.audio.waves import running_mean

SHORTEST_RUN_BEATS = 8
SHORTEST_RUN_GRAINS = 2

_ANY_LEAP = 0.60
_TYPICAL_DISTANCE = 0.5
_OFF_BAR = 1.5
_ABRUPT = 0.5
_STRANGE_HARMONY = 0.8
_TEMPO_MISMATCH = 8.0
_NOISE = 0.40
_KEPT_PER_UNIT = 24


@dataclass(frozen=True, slots=True)
class Leaps:
    """The cheapest leaps out of every unit.

    Attributes:
        targets: `[units, kept]` the unit that is heard instead of the natural next one.
        costs: `[units, kept]`, infinite where there is no such leap.
    """

    targets: Ints
    costs: Floats


def shortest_run(units: Units) -> int:
    """Units that are played on at least before the next leap; half of all where there are few beats."""
    return min(SHORTEST_RUN_BEATS, len(units) // 2) if units.metric else SHORTEST_RUN_GRAINS


def similarity_cost(distance: Matrix | Floats) -> Floats:
    """Cost of a context distance: quadratic, 1 at a typical good match."""
    return np.square(np.asarray(distance, dtype=np.float64) / _TYPICAL_DISTANCE)


def abruptness_cost(likeness: Likeness) -> Floats:
    """Cost of the change of sound and harmony between any two units `[units, units]`."""
    abrupt = _ABRUPT * np.clip(likeness.change - 1, 0, 4)
    return np.asarray(abrupt + _STRANGE_HARMONY * likeness.strange_harmony, dtype=np.float64)


def off_bar_cost(likeness: Likeness, shift: Ints) -> Floats:
    """Cost of a shift by so many units for the place in the bar."""
    return _OFF_BAR * likeness.off_bar[shift % len(likeness.off_bar)]


def leap_costs(units: Units, likeness: Likeness) -> Floats:
    """Cost of playing unit q after unit i `[units, units]`; infinite where that is no leap or not allowed."""
    count = len(units)
    index = np.arange(count)
    distance = likeness.context[1:, :count].astype(np.float64)
    distance[-1] = likeness.behind[count, :count]  # nothing is expected after the last unit
    shift = index - (index[:, None] + 1)
    cost = _ANY_LEAP + similarity_cost(distance) + off_bar_cost(likeness, shift) + abruptness_cost(likeness)
    if units.metric:
        tempo = np.log(np.maximum(running_mean(np.diff(units.bounds).astype(np.float64), 9), 1))
        cost += _TEMPO_MISMATCH * np.abs(tempo[:, None] - tempo)
    cost[np.abs(shift) < shortest_run(units)] = np.inf
    cost[:, max(1, count - 2) :] = np.inf  # landing there would leave nothing to play
    cost[:, 0] = np.inf  # a pickup, not a whole unit
    return cost


def cheapest_leaps(costs: Floats, rng: np.random.Generator) -> Leaps:
    """Keep the best leaps of every unit after noise that never makes one cheaper: other seeds, other takes."""
    noisy = costs + _NOISE * rng.exponential(size=costs.shape)
    kept = min(_KEPT_PER_UNIT, len(costs))
    best = np.argpartition(noisy, kept - 1, axis=1)[:, :kept]
    found = np.take_along_axis(noisy, best, axis=1)
    order = np.argsort(found, axis=1, kind="stable")
    return Leaps(np.take_along_axis(best, order, axis=1), np.take_along_axis(found, order, axis=1).round(4))

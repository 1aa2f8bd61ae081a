"""The cheapest path through the units: exact costs-to-go, then a beam search that penalises repetition.

A single global optimisation, as in Wenner et al. 2013, with a repetition cost that depends on the path. Costs
are on the scale of `leaps`, memories are in units.
"""

from dataclasses import dataclass

import numpy as np

from outpaint_mcp.audio.engine.leaps import Leaps
from outpaint_mcp.audio.types import Floats, Ints, Progress

_BEAM = 96
_PER_UNIT = 3
"""Hypotheses per unit; without this bound, near-duplicates would fill the beam."""
_LEAPING_EARLY = 3.0
_LONG_RUN, _RUNNING_ON = 32, 0.05
"""Units after which each further one costs a little, so that the source is not just played through again."""
_REPEAT, _REPEAT_MEMORY, _ECHO_MEMORY = 0.12, 96.0, 12.0
"""Cost of repeating a unit, and the two time constants of its decay; an immediate echo costs three times as much."""
_RECENT, _RECENT_MEMORY = 0.25, 32.0
"""Cost of replaying the music next to the extension, and the time constant of its decay."""
_NEVER = -(10**6)


@dataclass(frozen=True, slots=True)
class UnitPath:
    """A path through the units.

    Attributes:
        units: in playing order, away from the source.
        cost: its total cost.
    """

    units: Ints
    cost: float


@dataclass(frozen=True, slots=True)
class Frontier:
    """The hypotheses of one step of the beam search, one row each.

    Attributes:
        unit: the current unit.
        cost: the cost so far.
        run: units since the last leap.
        played_at: `[rows, units]` the step at which each unit was last played.
        parent: the row of the previous step that it came from.
    """

    unit: Ints
    cost: Floats
    run: Ints
    played_at: Ints
    parent: Ints


def find_path(  # noqa: PLR0913 - the terms of one optimisation
    leaps: Leaps, start: Floats, finish: Floats, toll: Floats, shortest_run: int, on_progress: Progress
) -> UnitPath | None:
    """Find a low-cost path.

    Args:
        leaps: the allowed leaps.
        start: cost of each unit as the first one.
        finish: cost of each unit as the last one.
        toll: cost of playing each unit at each step `[steps, units]`.
        shortest_run: units to play before a leap is free of a surcharge.
        on_progress: called with the completed fraction.

    Returns:
        The path, or None where no finite one exists.
    """
    steps = len(toll)
    tolls = toll + _recency(len(start), np.arange(steps)[:, None])
    to_go = _costs_to_go(leaps, finish, tolls)
    frontier = _first_frontier(start + tolls[0], to_go[0])
    history = [frontier]
    for step in range(1, steps):
        if not len(frontier.unit):
            return None
        frontier = _advance(frontier, leaps, to_go[step], tolls[step], step, shortest_run)
        history.append(
            Frontier(frontier.unit, frontier.cost, frontier.run, frontier.played_at[:0], frontier.parent)
        )
        on_progress(step / steps)
    unfinished = _LEAPING_EARLY * np.clip(1 - frontier.run / shortest_run, 0, 1) * (frontier.run < steps)
    total = frontier.cost + finish[frontier.unit] + unfinished
    if not np.isfinite(total).any():
        return None
    return UnitPath(_trace(history, int(total.argmin())), float(total.min()))


def _recency(count: int, step: Ints) -> Floats:
    """Cost of replaying what the source plays next to the extension, decaying with distance and time."""
    return np.asarray(_RECENT * np.exp(-(count - np.arange(count) + step) / _RECENT_MEMORY))


def _costs_to_go(leaps: Leaps, finish: Floats, tolls: Floats) -> Floats:
    """Least cost from every unit at every step to the finish `[steps, units]`, ignoring repetition (Viterbi)."""
    to_go = np.empty_like(tolls)
    to_go[-1] = finish
    for step in range(len(tolls) - 2, -1, -1):
        ahead = to_go[step + 1] + tolls[step + 1]
        natural = np.append(ahead[1:], np.inf)
        to_go[step] = np.minimum(natural, (leaps.costs + ahead[leaps.targets]).min(axis=1))
    return to_go


def _first_frontier(start: Floats, to_go: Floats) -> Frontier:
    """The most promising units to begin with."""
    order = np.argsort(start + to_go, kind="stable")[:_BEAM]
    units = order[np.isfinite((start + to_go)[order])]
    played_at = np.full((len(units), len(start)), _NEVER)
    played_at[np.arange(len(units)), units] = 0
    return Frontier(units, start[units], np.ones(len(units), dtype=np.int64), played_at, units)


def _advance(  # noqa: PLR0913 - one step of the search
    frontier: Frontier, leaps: Leaps, to_go: Floats, toll: Floats, step: int, shortest_run: int
) -> Frontier:
    """Advance every hypothesis by one unit in all possible ways; return the best ones."""
    last = len(to_go) - 1
    at, run = frontier.unit, frontier.run
    natural = np.minimum(at + 1, last)
    unit = np.concatenate([natural[:, None], leaps.targets[at]], axis=1)
    cost = np.concatenate([np.where(at < last, 0, np.inf)[:, None], leaps.costs[at]], axis=1)
    cost[:, 1:] += np.where((run < shortest_run) & (at < last), _LEAPING_EARLY, 0)[:, None]
    cost[:, 0] += np.where(run >= _LONG_RUN, _RUNNING_ON, 0)
    ways = unit.shape[1]
    age = step - np.take_along_axis(frontier.played_at, unit, axis=1)
    again = _REPEAT * (np.exp(-age / _REPEAT_MEMORY) + 2 * np.exp(-age / _ECHO_MEMORY))
    cost += frontier.cost[:, None] + toll[unit] + again
    best = _diverse(cost.ravel() + to_go[unit.ravel()], unit.ravel())
    row = best // ways
    played_at = frontier.played_at[row]
    played_at[np.arange(len(best)), unit.ravel()[best]] = step
    new_run = np.where(best % ways == 0, run[row] + 1, 1)
    return Frontier(unit.ravel()[best], cost.ravel()[best], new_run, played_at, row)


def _diverse(promise: Floats, unit: Ints) -> Ints:
    """The most promising choices, at most three per unit."""
    order = np.argsort(promise, kind="stable")
    order = order[np.isfinite(promise[order])][: 8 * _BEAM]
    by_unit = np.argsort(unit[order], kind="stable")
    sorted_units = unit[order][by_unit]
    first = np.searchsorted(sorted_units, sorted_units)
    rank = np.empty(len(order), dtype=np.int64)
    rank[by_unit] = np.arange(len(order)) - first
    return order[rank < _PER_UNIT][:_BEAM]


def _trace(history: list[Frontier], row: int) -> Ints:
    """Follow the parents back from a row of the last step."""
    units = []
    for frontier in reversed(history):
        units.append(int(frontier.unit[row]))
        row = int(frontier.parent[row])
    return np.array(units[::-1])

"""Choosing which parts of the source to play, and in which order."""

from dataclasses import dataclass
from itertools import cycle
from math import ceil

import numpy as np

from outpaint_mcp.audio.engine.beam_search import UnitPath, find_path
from outpaint_mcp.audio.engine.edges import Edge, find_edges
from outpaint_mcp.audio.engine.leaps import Leaps, cheapest_leaps, leap_costs, shortest_run
from outpaint_mcp.audio.engine.outward import OutwardView
from outpaint_mcp.audio.engine.ringout import RingOut
from outpaint_mcp.audio.types import Floats, Ints, Progress

_MOST_UNITS = 1000
"""Longest path searched; longer extensions repeat it."""
_MANY_UNITS = 200
"""Longer paths are searched for a single number of units."""
_LEAST_UNITS_TO_LAND = 6
_NOT_LANDING = 4.5
"""Cost of not ending on the source's own ending, on the scale of `leaps`."""
_ENTRY_NOISE = 1.5
_LOST_SECONDS = 0.08  # the most that a leap without a beat is shifted to align the waveforms


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The spans of the source that make up an extension.

    Attributes:
        runs: spans of source frames (start, stop) in playing order.
        edge: how the music continues from the source's edge.
        landed: whether the end away from the source is the source's own ending (or beginning).
    """

    runs: tuple[tuple[int, int], ...]
    edge: Edge
    landed: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    """A candidate path.

    Attributes:
        units: the units, outward.
        frames: how many frames they fill.
        landed: whether the last one is the source's own ending.
        cost: the path's cost plus a penalty for a length that does not fit.
    """

    units: Ints
    frames: int
    landed: bool
    cost: float


def arrange(
    view: OutwardView, ringing: RingOut, frames: int, rng: np.random.Generator, on_progress: Progress
) -> Arrangement | None:
    """Choose what to play.

    Args:
        view: the material, seen outward.
        ringing: how the source rings out at its edge.
        frames: how many frames to fill.
        rng: random generator for variation between takes.
        on_progress: called with the completed fraction.

    Returns:
        None where nothing can follow the edge.
    """
    music = view.music
    leaps = cheapest_leaps(view.steps(leap_costs(music.units, music.similarity)), rng)
    edges = find_edges(view, ringing)
    start = _start_costs(edges, len(music.units), rng)
    plan = _best_plan(view, leaps, start, frames, on_progress)
    if plan is None:
        return None
    units = _long_enough(plan, view, frames)
    edge = edges[int(units[0])]
    return Arrangement(_runs(units, view, edge), edge, plan.landed)


def _start_costs(edges: dict[int, Edge], count: int, rng: np.random.Generator) -> Floats:
    """Cost of each unit as the first one; a different seed prefers a different one of the equally good edges."""
    start = np.full(count, np.inf)
    for share, (unit, edge) in zip(rng.random(len(edges)), edges.items(), strict=True):
        # a fault costs as much as the noise can add, so noise never prefers a faulty edge
        start[unit] = edge.cost + _ENTRY_NOISE * (edge.faults + share)
    return start


def _best_plan(
    view: OutwardView, leaps: Leaps, start: Floats, frames: int, on_progress: Progress
) -> _Plan | None:
    """Find the best path over the few numbers of units that may fit."""
    units, lengths = view.music.units, view.lengths
    wanted = (frames + lengths[-1]) / units.period_frames
    lands = view.ends_quietly() and _LEAST_UNITS_TO_LAND < wanted <= _MOST_UNITS
    finish = np.full(len(lengths), _NOT_LANDING if lands else 0.0)
    finish[-1] = 0.0
    about = round(wanted) if lands else min(ceil(wanted), _MOST_UNITS)
    tried = [about - 1, about, about + 1] if lands and about <= _MANY_UNITS else [about]
    plans = []
    for turn, steps in enumerate(tried):
        path = find_path(
            leaps, start, finish, steps, shortest_run(units), _part(on_progress, turn, len(tried))
        )
        if path is not None:
            plans.append(_assess(path, lengths, frames, units.period_frames, lands=lands))
    return min(plans, key=lambda plan: plan.cost) if plans else None


def _part(on_progress: Progress, turn: int, turns: int) -> Progress:
    """Progress callback for one of several equal turns."""
    return lambda done: on_progress((turn + done) / turns)


def _assess(path: UnitPath, lengths: Ints, frames: int, period: float, *, lands: bool) -> _Plan:
    """Penalise a path that ends too early or too late."""
    filled = int(lengths[path.units].sum() - lengths[-1])
    landed = lands and int(path.units[-1]) == len(lengths) - 1
    slack = (frames - filled) / period
    early, late = (0.3 * max(slack - 1, 0), 1.5) if landed else (4 * max(slack, 0), 0)
    return _Plan(path.units, filled, landed, path.cost + early + late * max(-slack, 0))


def _long_enough(plan: _Plan, view: OutwardView, frames: int) -> Ints:
    """Extend a path that is too short; one that lands on the source's ending stays as it is.

    It plays on to the last unit, then repeats the path from the source's edge.
    """
    if plan.landed:
        return plan.units
    units, lengths = plan.units.tolist(), view.lengths
    lost = 0 if view.music.units.metric else int(_LOST_SECONDS * view.sample_rate)
    filled = plan.frames - lost * int((np.diff(plan.units) != 1).sum())
    for unit in cycle([*range(units[-1] + 1, len(lengths)), *units[1:]]):
        if filled >= frames:
            break
        filled += int(lengths[unit]) - (0 if unit == units[-1] + 1 else lost)
        units.append(unit)
    return np.array(units)


def _runs(units: Ints, view: OutwardView, edge: Edge) -> tuple[tuple[int, int], ...]:
    """Merge consecutive units into spans of the source, in playing order."""
    bounds = view.bounds
    breaks = np.flatnonzero(np.diff(units) != 1) + 1
    spans = [(int(bounds[part[0]]), int(bounds[part[-1] + 1])) for part in np.split(units, breaks)]
    spans[0] = (edge.frame, spans[0][1])
    spans = [view.forward(*span) for span in spans if span[1] > span[0]]
    return tuple(reversed(spans) if view.backwards else spans)

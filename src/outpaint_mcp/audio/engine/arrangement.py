"""Choosing which parts of the source to play, and in which order."""

from dataclasses import dataclass
from itertools import cycle
from math import ceil

import numpy as np

from outpaint_mcp.audio.engine.beam_search import UnitPath, find_path
from outpaint_mcp.audio.engine.edges import Edge
from outpaint_mcp.audio.engine.leaps import Leaps, cheapest_leaps, leap_costs, shortest_run
from outpaint_mcp.audio.engine.outward import OutwardView
from outpaint_mcp.audio.types import Floats, Ints, Progress

_MOST_UNITS = 1000
"""Longest path searched; longer extensions repeat it."""
_MANY_UNITS = 200
"""Longer paths are searched for a single number of units."""
_LEAST_UNITS_TO_LAND = 6
_LEAST_UNITS_TO_RETURN = 3
_NOT_LANDING = 4.5
"""Cost of not ending on the source's own ending, on the scale of `leaps`."""
_NOT_RETURNING = 40.0
"""The same where the music has to lead back to its edge."""
_EXACTLY = 3.0
"""Cost of each beat too few or too many where the length matters most."""
_ENTRY_NOISE = 1.5
_LOST_SECONDS = 0.08  # the most that a leap without a beat is shifted to align the waveforms


@dataclass(frozen=True, slots=True)
class Course:
    """Where an arrangement is to lead.

    Attributes:
        returns: whether it has to lead back to the music at the edge, so that what lies behind it can follow; its
            length is then the nearest possible one.
        exactly: whether its length matters more than its bars.
        lands: whether to end on the source's own ending (or beginning) where that is quiet.
        preference: cost of playing each unit `[units]`, or each at each step `[steps, units]`, in playing order; None
            for none.
        finish: cost of each unit as the outermost `[units]`, in playing order, infinite for those that will not do;
            None for none. The length is then the nearest possible one, too.
    """

    returns: bool = False
    exactly: bool = False
    lands: bool = True
    preference: Floats | None = None
    finish: Floats | None = None


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The spans of the source that make up an extension.

    Attributes:
        runs: spans of source frames (start, stop) in playing order.
        edge: how the music continues from the source's edge.
        landed: whether the end away from the source is the source's own ending (or beginning), or another wanted one.
        last_unit: the outermost unit, in playing order.
    """

    runs: tuple[tuple[int, int], ...]
    edge: Edge
    landed: bool
    last_unit: int


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


def arrange(  # noqa: PLR0913 - one arrangement, each part of it named
    view: OutwardView,
    edges: dict[int, Edge],
    frames: int,
    course: Course,
    rng: np.random.Generator,
    on_progress: Progress,
) -> Arrangement | None:
    """Choose what to play.

    Args:
        view: the material, seen outward.
        edges: the ways to continue from the source's edge.
        frames: how many frames to fill.
        course: where it is to lead.
        rng: random generator for variation between takes.
        on_progress: called with the completed fraction.

    Returns:
        None where nothing can follow the edge.
    """
    music = view.music
    leaps = cheapest_leaps(view.steps(leap_costs(music.units, music.similarity)), rng)
    start = _start_costs(edges, len(music.units), rng)
    plan = _best_plan(view, leaps, start, frames, course, on_progress)
    if plan is None:
        return None
    units = _long_enough(plan, view, frames)
    edge = edges[int(units[0])]
    last = int(units[-1])
    runs = _runs(units, view, edge)
    if not runs:  # the only unit is entered where it ends
        return None
    return Arrangement(runs, edge, plan.landed, len(view.lengths) - 1 - last if view.backwards else last)


def _start_costs(edges: dict[int, Edge], count: int, rng: np.random.Generator) -> Floats:
    """Cost of each unit as the first one; a different seed prefers a different one of the equally good edges."""
    start = np.full(count, np.inf)
    for share, (unit, edge) in zip(rng.random(len(edges)), edges.items(), strict=True):
        # a fault costs as much as the noise can add, so noise never prefers a faulty edge
        start[unit] = edge.cost + _ENTRY_NOISE * (edge.faults + share)
    return start


def _best_plan(  # noqa: PLR0913 - the terms of one optimisation
    view: OutwardView, leaps: Leaps, start: Floats, frames: int, course: Course, on_progress: Progress
) -> _Plan | None:
    """Find the best path over the few numbers of units that may fit."""
    units, lengths = view.music.units, view.lengths
    wanted = (frames + lengths[-1]) / units.period_frames
    finish, lands = _finish(course, view, wanted)
    about = round(wanted) if lands else min(ceil(wanted), _MOST_UNITS)
    tried = [about - 1, about, about + 1] if lands and about <= _MANY_UNITS else [about]
    plans = []
    for turn, steps in enumerate(tried):
        path = find_path(
            leaps,
            start,
            finish,
            _toll(course, view, steps),
            shortest_run(units),
            _part(on_progress, turn, len(tried)),
        )
        if path is not None:
            plans.append(_assess(path, view, frames, course, lands=lands))
    return min(plans, key=lambda plan: plan.cost) if plans else None


def _toll(course: Course, view: OutwardView, steps: int) -> Floats:
    """The preference in outward order `[steps, units]`; one over time is stretched to the number of steps."""
    preference = course.preference
    if preference is None:
        return np.zeros((steps, len(view.lengths)))
    if preference.ndim == 1:
        return np.tile(preference[:: view.direction], (steps, 1))
    at = np.linspace(0, len(preference) - 1, steps).round().astype(int)
    return np.asarray(preference[at[:: view.direction]][:, :: view.direction])


def _part(on_progress: Progress, turn: int, turns: int) -> Progress:
    """Progress callback for one of several equal turns."""
    return lambda done: on_progress((turn + done) / turns)


def _finish(course: Course, view: OutwardView, wanted: float) -> tuple[Floats, bool]:
    """Cost of each outward unit as the outermost one, and whether it matters which one that is."""
    count = len(view.lengths)
    if course.finish is not None:
        return course.finish[:: view.direction], wanted <= _MOST_UNITS
    finish = np.zeros(count)
    least = _LEAST_UNITS_TO_RETURN if course.returns else _LEAST_UNITS_TO_LAND
    lands = (course.returns or (course.lands and view.ends_quietly())) and least < wanted <= _MOST_UNITS
    if lands:
        finish[:-1] = _NOT_RETURNING if course.returns else _NOT_LANDING
    return finish, lands


def _assess(path: UnitPath, view: OutwardView, frames: int, course: Course, *, lands: bool) -> _Plan:
    """Penalise a path that ends too early or too late."""
    lengths, last = view.lengths, int(path.units[-1])
    filled = int(lengths[path.units].sum() - lengths[-1])
    slack = (frames - filled) / view.music.units.period_frames
    landed = lands and (course.finish is not None or last == len(lengths) - 1)
    if landed and (course.returns or course.finish is not None):
        return _Plan(path.units, filled, landed, path.cost + abs(slack) * (_EXACTLY if course.exactly else 1))
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

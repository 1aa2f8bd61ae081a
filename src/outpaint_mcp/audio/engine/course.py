"""Which parts of the source are played, in which order."""

from dataclasses import dataclass
from itertools import cycle
from math import ceil

import numpy as np

from outpaint_mcp.audio.engine.edges import Edge, find_edges
from outpaint_mcp.audio.engine.leaps import Leaps, cheapest_leaps, leap_costs, shortest_run
from outpaint_mcp.audio.engine.meeting import Ringing
from outpaint_mcp.audio.engine.outlook import Outlook
from outpaint_mcp.audio.engine.paths import Path, find_path
from outpaint_mcp.audio.shapes import Floats, Ints, Progress

_MOST_UNITS = 1000
_MANY_UNITS = 200
_LEAST_UNITS_TO_LAND = 6
_NOT_LANDING = 4.5
_ENTRY_NOISE = 1.5
_LOST_SECONDS = 0.08  # as far as a leap without a beat may be moved to bring the waves together


@dataclass(frozen=True, slots=True)
class Course:
    """What an extension is made of.

    Attributes:
        runs: spans of source frames (start, stop) in playing order.
        edge: how the music is taken up at the source's edge.
        landed: whether the last thing away from the source is the source's own ending (or beginning).
    """

    runs: tuple[tuple[int, int], ...]
    edge: Edge
    landed: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    """A path with the frames that it fills and its cost, the misfit in length included."""

    units: Ints
    frames: int
    landed: bool
    cost: float


def chart(
    outlook: Outlook, ringing: Ringing, frames: int, rng: np.random.Generator, on_progress: Progress
) -> Course | None:
    """Choose what to play for that many frames; None where nothing can follow the edge."""
    music = outlook.music
    leaps = cheapest_leaps(outlook.steps(leap_costs(music.units, music.likeness)), rng)
    edges = find_edges(outlook, ringing)
    start = _start_costs(edges, len(music.units), rng)
    plan = _best_plan(outlook, leaps, start, frames, on_progress)
    if plan is None:
        return None
    units = _long_enough(plan, outlook, frames)
    edge = edges[int(units[0])]
    return Course(_runs(units, outlook, edge), edge, plan.landed)


def _start_costs(edges: dict[int, Edge], count: int, rng: np.random.Generator) -> Floats:
    """Cost of each unit as the first one; another seed prefers another edge of those that are as good."""
    start = np.full(count, np.inf)
    for share, (unit, edge) in zip(rng.random(len(edges)), edges.items(), strict=True):
        # what noise does to one is added for every fault: it favours none over a better one
        start[unit] = edge.cost + _ENTRY_NOISE * (edge.faults + share)
    return start


def _best_plan(
    outlook: Outlook, leaps: Leaps, start: Floats, frames: int, on_progress: Progress
) -> _Plan | None:
    """The best path over a few numbers of units that might fit."""
    units, lengths = outlook.music.units, outlook.lengths
    wanted = (frames + lengths[-1]) / units.period_frames
    lands = outlook.ends_quietly() and _LEAST_UNITS_TO_LAND < wanted <= _MOST_UNITS
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
    """Progress of one of several equal turns."""
    return lambda done: on_progress((turn + done) / turns)


def _assess(path: Path, lengths: Ints, frames: int, period: float, *, lands: bool) -> _Plan:
    """Charge a path for ending too early or too late."""
    filled = int(lengths[path.units].sum() - lengths[-1])
    landed = lands and int(path.units[-1]) == len(lengths) - 1
    slack = (frames - filled) / period
    early, late = (0.3 * max(slack - 1, 0), 1.5) if landed else (4 * max(slack, 0), 0)
    return _Plan(path.units, filled, landed, path.cost + early + late * max(-slack, 0))


def _long_enough(plan: _Plan, outlook: Outlook, frames: int) -> Ints:
    """Play on to the last unit, then again as from the source's edge, until enough; a landed ending stays the end."""
    if plan.landed:
        return plan.units
    units, lengths = plan.units.tolist(), outlook.lengths
    lost = 0 if outlook.music.units.metric else int(_LOST_SECONDS * outlook.sample_rate)
    filled = plan.frames - lost * int((np.diff(plan.units) != 1).sum())
    for unit in cycle([*range(units[-1] + 1, len(lengths)), *units[1:]]):
        if filled >= frames:
            break
        filled += int(lengths[unit]) - (0 if unit == units[-1] + 1 else lost)
        units.append(unit)
    return np.array(units)


def _runs(units: Ints, outlook: Outlook, edge: Edge) -> tuple[tuple[int, int], ...]:
    """Merge neighbouring units into spans of the source, turned back into playing order."""
    bounds = outlook.bounds
    breaks = np.flatnonzero(np.diff(units) != 1) + 1
    spans = [(int(bounds[part[0]]), int(bounds[part[-1] + 1])) for part in np.split(units, breaks)]
    spans[0] = (edge.frame, spans[0][1])
    spans = [outlook.forward(*span) for span in spans if span[1] > span[0]]
    return tuple(reversed(spans) if outlook.backwards else spans)

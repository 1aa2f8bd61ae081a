"""Which parts of the source are played, in which order."""

from dataclasses import dataclass

import numpy as np

from outpaint_mcp.audio.analysis import Material, Music
from outpaint_mcp.audio.edges import Edge, find_edges, outward_bounds
from outpaint_mcp.audio.leaps import Leaps, cheapest_leaps, leap_costs, noise, outward, shortest_run
from outpaint_mcp.audio.paths import Path, find_path
from outpaint_mcp.audio.shapes import Floats, Ints, Progress, Side
from outpaint_mcp.audio.waves import level_db

_MOST_UNITS = 1000
_MANY_UNITS = 200
_LEAST_UNITS_TO_LAND = 6
_NOT_LANDING = 4.5
_QUIET_EDGE_SECONDS, QUIET_EDGE_DB = 0.05, 18.0


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


def chart(  # noqa: PLR0913 - the whole request
    material: Material, music: Music, side: Side, frames: int, rng: np.random.Generator, on_progress: Progress
) -> Course | None:
    """Choose what to play for that many frames on one side; None where nothing can follow the edge."""
    costs = outward(leap_costs(music.units, music.likeness), backwards=side is Side.BEFORE)
    leaps = cheapest_leaps(costs, rng)
    edges = find_edges(material, music, side)
    start = np.full(len(music.units), np.inf)
    for unit, edge in edges.items():
        start[unit] = edge.cost
    start += noise(len(start), rng)
    lengths = np.diff(outward_bounds(music, side))
    lands = ends_quietly(material, side) and frames > _LEAST_UNITS_TO_LAND * music.units.period_frames
    plan = _best_plan(leaps, start, lengths, music, frames, lands=lands, on_progress=on_progress)
    if plan is None:
        return None
    units = _long_enough(plan, leaps, lengths, frames)
    edge = edges[int(units[0])]
    return Course(_runs(units, outward_bounds(music, side), edge, side), edge, plan.landed)


def ends_quietly(material: Material, side: Side) -> bool:
    """Whether the source dies away at that side (18 dB under its mean), and so can serve as an outer edge."""
    frames = max(1, int(_QUIET_EDGE_SECONDS * material.sample_rate))
    edge = material.samples[-frames:] if side is Side.AFTER else material.samples[:frames]
    return level_db(edge) < material.level_db - QUIET_EDGE_DB


def _best_plan(  # noqa: PLR0913 - the whole request
    leaps: Leaps,
    start: Floats,
    lengths: Ints,
    music: Music,
    frames: int,
    *,
    lands: bool,
    on_progress: Progress,
) -> _Plan | None:
    """The best path over a few numbers of units that might fit."""
    period, shortest = music.units.period_frames, shortest_run(music.units)
    finish = np.full(len(lengths), _NOT_LANDING if lands else 0.0)
    finish[-1] = 0.0
    about = min(max(1, round((frames + lengths[-1]) / period)), _MOST_UNITS)
    tried = [about] if about > _MANY_UNITS else sorted({max(1, about - 1), about, about + 1})
    plans = []
    for turn, steps in enumerate(tried):
        path = find_path(
            leaps,
            start,
            finish,
            steps,
            shortest,
            lambda done, turn=turn: on_progress((turn + done) / len(tried)),
        )
        if path is not None:
            plans.append(_assess(path, lengths, frames, period, lands=lands))
    return min(plans, key=lambda plan: plan.cost) if plans else None


def _assess(path: Path, lengths: Ints, frames: int, period: float, *, lands: bool) -> _Plan:
    """Charge a path for ending too early or too late."""
    filled = int(lengths[path.units].sum() - lengths[-1])
    landed = lands and int(path.units[-1]) == len(lengths) - 1
    slack = (frames - filled) / period
    if landed:
        misfit = 0.3 * (slack - 1) if slack > 1 else -1.5 * min(slack, 0)
    else:
        misfit = 4 * max(slack, 0)
    return _Plan(path.units, filled, landed, path.cost + misfit)


def _long_enough(plan: _Plan, leaps: Leaps, lengths: Ints, frames: int) -> Ints:
    """Play on, naturally where possible, until the asked frames are filled; a landed ending stays the end."""
    units, filled = list(plan.units.tolist()), plan.frames
    while not plan.landed and filled < frames:
        after = units[-1] + 1
        units.append(after if after < len(lengths) else int(leaps.targets[-1, 0]))
        filled += int(lengths[units[-1]])
    return np.array(units)


def _runs(units: Ints, bounds: Ints, edge: Edge, side: Side) -> tuple[tuple[int, int], ...]:
    """Merge neighbouring units into spans of the source, turned back into playing order."""
    breaks = np.flatnonzero(np.diff(units) != 1) + 1
    spans = [(int(bounds[part[0]]), int(bounds[part[-1] + 1])) for part in np.split(units, breaks)]
    spans[0] = (edge.frame, spans[0][1])
    spans = [span for span in spans if span[1] > span[0]]
    if side is Side.AFTER:
        return tuple(spans)
    total = int(bounds[-1])
    return tuple((total - stop, total - start) for start, stop in reversed(spans))

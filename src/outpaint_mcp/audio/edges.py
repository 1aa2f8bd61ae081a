"""Where the music is taken up at the source's edge.

Everything here looks outward: on a region whose last frame touches the extension. Before the source that is
the region turned round in time, so that one way of thinking serves both sides.
"""

from dataclasses import dataclass

import numpy as np

from outpaint_mcp.audio.alignment import BEAT_WAVE_SECONDS, GRAIN_WAVE_SECONDS, onset_match, wave_match
from outpaint_mcp.audio.analysis import Material, Music
from outpaint_mcp.audio.leaps import abruptness_cost, off_bar_cost, outward, shortest_run, similarity_cost
from outpaint_mcp.audio.shapes import Floats, Ints, Side

_TRIED = 24
_OFF_BAR_MORE, _HARMONY_MORE = 1.2, 1.5
_DISAGREEMENT = 0.8


@dataclass(frozen=True, slots=True)
class Edge:
    """One way to go on from the source's edge.

    Attributes:
        frame: outward frame of the region that follows its last one.
        agreement: how well the waves and the onsets before it agree with those before the edge, 0 to 1 each.
        cost: what it costs to start the path there.
    """

    frame: int
    agreement: float
    cost: float


def outward_bounds(music: Music, side: Side) -> Ints:
    """The units' bounds as seen outward."""
    bounds = music.units.bounds
    return bounds if side is Side.AFTER else bounds[-1] - bounds[::-1]


def find_edges(material: Material, music: Music, side: Side) -> dict[int, Edge]:
    """The best ways to go on, by the outward unit that takes the place of the last one."""
    costs = _stand_in_costs(music, side)
    best = np.argsort(costs, kind="stable")[:_TRIED]
    return {
        int(unit): _try_edge(material, music, side, int(unit), float(costs[unit]))
        for unit in best
        if np.isfinite(costs[unit])
    }


def _stand_in_costs(music: Music, side: Side) -> Floats:
    """Cost of each outward unit in the place of the last one; infinite too near the edge, or where it is shorter."""
    units, likeness = music.units, music.likeness
    count = len(units)
    backwards = side is Side.BEFORE
    context, apart = (likeness.ahead, likeness.apart) if backwards else (likeness.behind, likeness.apart)
    edge = 0 if backwards else count - 1
    turn = slice(None, None, -1 if backwards else 1)
    lengths = np.diff(units.bounds)[turn]
    part = 0.35 * min(lengths[-1] / max(units.period_frames, 1), 1)
    distance = ((1 - part) * context[edge, :count] + part * apart[edge, :count])[turn]
    index = np.arange(count)
    following = np.minimum(index + 1, count - 1)
    abrupt = outward(abruptness_cost(likeness), backwards=backwards)[-1, following]
    shift = (index - (count - 1)) * (-1 if backwards else 1)
    cost = similarity_cost(distance) + _OFF_BAR_MORE * off_bar_cost(likeness, shift) + abrupt
    near = index > count - 1 - shortest_run(units)
    barred = near | (lengths < lengths[-1])
    if barred.all():
        return np.where(near, np.inf, 0.0)
    return np.where(barred, np.inf, cost)


def _try_edge(material: Material, music: Music, side: Side, unit: int, cost: float) -> Edge:
    """Bring the waves before a unit together with those before the edge."""
    rate, total = material.sample_rate, len(material.samples)
    bounds = outward_bounds(music, side)
    frame = int(bounds[unit] + bounds[-1] - bounds[-2])
    onsets = 0.0
    radius = GRAIN_WAVE_SECONDS
    if music.units.metric:
        radius = BEAT_WAVE_SECONDS
        shift, onsets = _onset_shift(music, side, frame, total, rate)
        frame += shift
    span = int(min(rate, total // 4))
    waves = _wave_shift(material, side, frame, span, int(radius * rate))
    if not music.units.metric or waves[1] > 0.4:
        frame += waves[0]
    doubt = _DISAGREEMENT * (1 - max(waves[1], 0)) + _DISAGREEMENT * (1 - max(onsets, 0))
    return Edge(int(np.clip(frame, 0, total)), waves[1], cost + doubt)


def _onset_shift(music: Music, side: Side, frame: int, total: int, rate: int) -> tuple[int, float]:
    """Outward shift that brings the onsets together, 0 where they do not agree; and their agreement."""
    period = music.units.period_frames
    reach = min(8 * period, 6.0 * rate)
    if side is Side.AFTER:
        match = onset_match(music.features, period, total, frame, reach, 0)
        shift = match.shift_frames
    else:
        match = onset_match(music.features, period, 0, total - frame, 0, reach)
        shift = -match.shift_frames
    return (shift if match.agreement > 0.3 else 0), match.agreement


def _wave_shift(material: Material, side: Side, frame: int, span: int, radius: int) -> tuple[int, float]:
    """Outward shift that brings the waves together, and their agreement."""
    total = len(material.samples)
    if side is Side.AFTER:
        match = wave_match(material, (total - span, total), frame - span, radius)
        return match.shift_frames, match.agreement
    match = wave_match(material, (0, span), total - frame, radius)
    return -match.shift_frames, match.agreement

"""Where the music is taken up at the source's edge: every likely place is tried out, and measured as a seam.

Everything here looks outward, as `outlook` explains.
"""

from dataclasses import astuple, dataclass

import numpy as np

from outpaint_mcp.audio.engine.alignment import onset_match, wave_match
from outpaint_mcp.audio.engine.leaps import abruptness_cost, off_bar_cost, shortest_run, similarity_cost
from outpaint_mcp.audio.engine.meeting import Ringing, release_curve
from outpaint_mcp.audio.engine.outlook import Outlook
from outpaint_mcp.audio.pulse import SLIP_LIMIT_SECONDS, slip_seconds
from outpaint_mcp.audio.seams import (
    CLICK_SECONDS,
    HARMONY_SECONDS,
    LOUDNESS_SECONDS,
    Strain,
    flux_around,
    harmony,
    likeness,
    loudness_db,
    strongest_click,
)
from outpaint_mcp.audio.shapes import Floats, Ints
from outpaint_mcp.audio.waves import level_db, mono

_LIKELY, _TRIED = 32, 12
_OFF_BAR, _OFF_BAR_NOTICED = 1.2, 0.25
_AS_LONG = 0.85  # beats of live music differ by less; a unit that was cut off is shorter
_DISAGREEMENT = 0.8
_ONSETS_AGREE, _WAVES_AGREE = 0.3, 0.4
_BEAT_SHIFT_SECONDS, _GRAIN_SHIFT_SECONDS = 0.015, 0.080
_LEVEL_SECONDS, _WAVE_SECONDS = 1.0, 0.5
_LEAST_LEVEL_SECONDS = 0.05
_LOWEST_GAIN_DB, _HIGHEST_GAIN_DB, _HIGHEST_CORRECTION_DB = -40.0, 3.0, 6.0
_USUAL_STEP = 0.7
_STRAINED, _OTHER_LEVELS_DB = 0.75, (-5.0, 3.0, -10.0)
_EXCERPT_SECONDS = 0.15


@dataclass(frozen=True, slots=True)
class Edge:
    """One way to go on from the source's edge.

    Attributes:
        frame: outward frame of the region that follows its last one.
        agreement: how well the waves before it agree with those before the edge, -1 to 1.
        gain_db: the gain it starts with, so that the level is carried across.
        cost: what it costs to start the path there.
        faults: 0 for none, 1 where something happens that the source hardly ever does, and 2 where the bar is left.
    """

    frame: int
    agreement: float
    gain_db: float
    cost: float
    faults: int


@dataclass(frozen=True, slots=True)
class _Place:
    """A frame at which to go on, judged by what is known without rendering.

    Attributes:
        frame: outward frame of the region.
        gain_db: the gain to start with.
        step_db: change of loudness without a gain.
        step_limit_db: the most that it may change.
        harmony: change of harmony against its limit.
        slip: slip of the beat against its limit.
        off_bar: how far that is from the same place in the bar, 0 to 1.5.
        cost: everything that speaks against the unit itself.
    """

    frame: int
    gain_db: float
    step_db: float
    step_limit_db: float
    harmony: float
    slip: float
    off_bar: float
    cost: float

    @property
    def promise(self) -> float:
        """What the place costs as far as it is known."""
        return self.cost + self.strain(self.gain_db, 0, 0).cost

    def strain(self, gain_db: float, flux: float, click: float) -> Strain:
        """What happens there with a gain, and with flux and click as rendered (against their limits)."""
        return Strain(flux, click, abs(self.step_db + gain_db) / self.step_limit_db, self.harmony, self.slip)


def find_edges(outlook: Outlook, ringing: Ringing) -> dict[int, Edge]:
    """The best ways to go on, by the outward unit that takes the place of the last one."""
    costs = _stand_in_costs(outlook)
    likely = [
        unit for unit in np.argsort(costs, kind="stable")[:_LIKELY].tolist() if np.isfinite(costs[unit])
    ]
    places = {
        unit: min(_places(outlook, unit, float(costs[unit])), key=lambda place: place.promise)
        for unit in likely
    }
    tried = sorted(likely, key=lambda unit: places[unit].promise)[:_TRIED]
    return {unit: _try(outlook, ringing, places[unit]) for unit in tried}


def _stand_in_costs(outlook: Outlook) -> Floats:
    """Cost of each outward unit in the place of the last one; infinite too near the edge, or where it is too short."""
    units, alike = outlook.music.units, outlook.music.likeness
    count, backwards = len(units), outlook.backwards
    edge = 0 if backwards else count - 1
    turn = slice(None, None, -1 if backwards else 1)
    lengths = outlook.lengths
    part = 0.35 * min(lengths[-1] / max(units.period_frames, 1), 1)
    context = alike.ahead if backwards else alike.behind
    distance = ((1 - part) * context[edge, :count] + part * alike.apart[edge, :count])[turn]
    index = np.arange(count)
    abrupt = outlook.steps(abruptness_cost(alike))[-1, np.minimum(index + 1, count - 1)]
    shift = (index - (count - 1)) * (-1 if backwards else 1)
    cost = similarity_cost(distance) + _OFF_BAR * off_bar_cost(alike, shift) + abrupt
    near = index > count - 1 - shortest_run(units)
    barred = near | (lengths < _AS_LONG * lengths[-1])
    return np.where(near if barred.all() else barred, np.inf, cost)


def _places(outlook: Outlook, unit: int, cost: float) -> list[_Place]:
    """Where to go on in a unit: on the grid, where the onsets fall alike, or where the pulse does."""
    bounds, total = outlook.bounds, len(outlook.samples)
    frame = int(bounds[unit] + bounds[-1] - bounds[-2])
    shift, onsets = _onset_shift(outlook, frame) if outlook.music.units.metric else (0, 0.0)
    starts = {frame, frame + shift, frame + _slip_frames(outlook, frame)}
    doubt = _DISAGREEMENT * (1 - max(onsets, 0))
    bar = outlook.music.likeness.off_bar
    off_bar = float(bar[(len(bounds) - 2 - unit) * (1 if outlook.backwards else -1) % len(bar)])
    return [
        _assess(outlook, int(np.clip(start, 0, total)), off_bar, cost + doubt) for start in sorted(starts)
    ]


def _assess(outlook: Outlook, frame: int, off_bar: float, cost: float) -> _Place:
    """Judge a place by its loudness, harmony and pulse; loudness and harmony are free to change at a quiet edge."""
    slip = abs(_slip_frames(outlook, frame)) / (SLIP_LIMIT_SECONDS * outlook.sample_rate)
    gain_db = _level_gain_db(outlook, frame)
    if outlook.ends_quietly():
        return _Place(frame, gain_db, 0.0, np.inf, 0.0, slip, off_bar, cost)
    limits = outlook.music.limits
    step_db, change = _steps(outlook, frame)
    usual_db = _USUAL_STEP * limits.loudness_db
    gain_db = float(np.clip(gain_db, -usual_db - step_db, usual_db - step_db))
    gain_db = float(np.clip(gain_db, _LOWEST_GAIN_DB, _HIGHEST_CORRECTION_DB))
    harmony_share = change / limits.harmony
    return _Place(frame, gain_db, step_db, limits.loudness_db, harmony_share, slip, off_bar, cost)


def _slip_frames(outlook: Outlook, frame: int) -> int:
    """How far the beat slips when music goes on at an outward frame; 0 where there is none or it cannot be told."""
    music, total = outlook.music, len(outlook.samples)
    if music.beats is None:
        return 0
    leave, enter = (total - frame, 0) if outlook.backwards else (total, frame)
    slip = slip_seconds(music.features, music.beats, leave, enter) or 0.0
    return round(slip * outlook.sample_rate)


def _onset_shift(outlook: Outlook, frame: int) -> tuple[int, float]:
    """Outward shift that brings the onsets together, 0 where they do not agree; and their agreement."""
    heard, period, total = outlook.music.features, outlook.music.units.period_frames, len(outlook.samples)
    reach = min(8 * period, 6.0 * outlook.sample_rate)
    if outlook.backwards:
        match = onset_match(heard, period, 0, total - frame, 0, reach)
    else:
        match = onset_match(heard, period, total, frame, reach, 0)
    shift = -match.shift_frames if outlook.backwards else match.shift_frames
    return (shift if match.agreement > _ONSETS_AGREE else 0), match.agreement


def _wave_shift(outlook: Outlook, frame: int) -> tuple[int, float]:
    """Outward shift that brings the waves together, 0 where a beat is to be trusted more; and their agreement."""
    total, metric = len(outlook.samples), outlook.music.units.metric
    span = min(int(_WAVE_SECONDS * outlook.sample_rate), total // 4)
    radius = int((_BEAT_SHIFT_SECONDS if metric else _GRAIN_SHIFT_SECONDS) * outlook.sample_rate)
    start, _ = outlook.forward(frame - span, frame)
    match = wave_match(outlook.material, outlook.forward(total - span, total), start, radius)
    if metric and match.agreement <= _WAVES_AGREE:
        return 0, match.agreement
    return (-match.shift_frames if outlook.backwards else match.shift_frames), match.agreement


def _level_gain_db(outlook: Outlook, frame: int) -> float:
    """Gain that brings what came before the new material to the level of what comes before the edge."""
    span = int(_LEVEL_SECONDS * outlook.sample_rate)
    before = outlook.samples[max(0, frame - span) : frame]
    if len(before) <= _LEAST_LEVEL_SECONDS * outlook.sample_rate:
        return 0.0
    gain_db = level_db(outlook.samples[-span:]) - level_db(before)
    return float(np.clip(gain_db, _LOWEST_GAIN_DB, _HIGHEST_GAIN_DB))


def _try(outlook: Outlook, ringing: Ringing, place: _Place) -> Edge:
    """Bring the waves together, render the join, and measure it; where the spectrum leaps, try other levels."""
    shift, agreement = _wave_shift(outlook, place.frame)
    frame = int(np.clip(place.frame + shift, 0, len(outlook.samples)))
    limits = outlook.music.limits
    strains: dict[float, Strain] = {}
    for change_db in (0.0, *_OTHER_LEVELS_DB):
        gain_db = float(np.clip(place.gain_db + change_db, _LOWEST_GAIN_DB, _HIGHEST_CORRECTION_DB))
        flux, click = _render_measures(outlook, ringing, frame, agreement, gain_db)
        strains[gain_db] = place.strain(gain_db, flux / limits.flux_db, click / limits.click)
        if strains[gain_db].flux < _STRAINED:
            break
    best_db = min(strains, key=lambda gain_db: strains[gain_db].cost)
    doubt = _DISAGREEMENT * (1 - max(agreement, 0))
    best = strains[best_db]
    faults = (max(astuple(best)) > 1) + 2 * (place.off_bar > _OFF_BAR_NOTICED)
    return Edge(frame, agreement, best_db, place.cost + doubt + best.cost, faults)


def _render_measures(
    outlook: Outlook, ringing: Ringing, frame: int, agreement: float, gain_db: float
) -> tuple[float, float]:
    """Flux (dB) and click at the join as it will sound."""
    rate = outlook.sample_rate
    reach = int(_EXCERPT_SECONDS * rate)
    new = outlook.samples[frame : frame + reach]
    new = (new * release_curve(gain_db, len(new), rate)).astype(np.float32)
    blended = ringing.under(new, agreement)
    joined = np.concatenate([outlook.samples[-reach:], blended, new[len(blended) :]])
    wave = mono(joined, outlook.material.downmix)
    seam = len(wave) - len(new)
    click = strongest_click(wave[max(0, seam - 4) : seam + int(CLICK_SECONDS * rate)])
    forward, at = (wave[::-1], len(new)) if outlook.backwards else (wave, seam)
    return flux_around(forward, at, rate, outlook.music.features), click


def _steps(outlook: Outlook, frame: int) -> tuple[float, float]:
    """Change of loudness (dB) and of harmony (1 - cosine) from the source's edge to new material without a gain."""
    heard, rate, total = outlook.music.features, outlook.sample_rate, len(outlook.samples)

    def spans(seconds: float) -> tuple[Ints, Ints]:
        width = int(seconds * rate)
        pairs = np.array([outlook.forward(total - width, total), outlook.forward(frame, frame + width)])
        return pairs[:, 0], pairs[:, 1]

    edge_db, new_db = loudness_db(heard, *spans(LOUDNESS_SECONDS))
    edge, new = harmony(heard, *spans(HARMONY_SECONDS))
    return float(new_db - edge_db), float(1 - likeness(edge, new))

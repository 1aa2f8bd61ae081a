"""Where the music continues from the source's edge: likely candidates are rendered and measured as seams.

Everything here runs outward; see `outward`.
"""

from dataclasses import astuple, dataclass

import numpy as np

from outpaint_mcp.audio.engine.alignment import onset_match, wave_match
from outpaint_mcp.audio.engine.entries import (
    HIGHEST_GAIN_DB,
    LEVEL_SECONDS,
    LOWEST_GAIN_DB,
    emptiness_cost,
    gain_step,
    novelties,
    novelty_at,
)
from outpaint_mcp.audio.engine.leaps import abruptness_cost, off_bar_cost, shortest_run, similarity_cost
from outpaint_mcp.audio.engine.outward import OutwardView
from outpaint_mcp.audio.engine.ringout import FELT_SHARE, RingOut, release_curve
from outpaint_mcp.audio.levels import level_db, mono
from outpaint_mcp.audio.pulse import SLIP_LIMIT_SECONDS, slip_seconds
from outpaint_mcp.audio.seams import (
    CLICK_SECONDS,
    HARMONY_SECONDS,
    LOUDNESS_SECONDS,
    Strain,
    cosine_similarity,
    flux_around,
    harmony,
    loudness_db,
    strain_cost,
    strongest_click,
)
from outpaint_mcp.audio.types import Floats, Ints

_LIKELY, _TRIED = 32, 12
"""Candidates by features alone, and how many of them are rendered."""
_OFF_BAR, _OFF_BAR_NOTICED = 1.2, 0.25
"""Weight of leaving the bar, and the cost above which that counts as a fault."""
_AS_LONG = 0.85  # beats of live music differ by less; a truncated unit is shorter
_DISAGREEMENT = 0.8
"""Cost of uncorrelated onsets or waveforms, on the scale of `leaps`."""
_ONSETS_AGREE, _WAVES_AGREE = 0.3, 0.4
"""Correlations below which a match is noise."""
_BEAT_SHIFT_SECONDS, _GRAIN_SHIFT_SECONDS = 0.015, 0.080
_WAVE_SECONDS = 0.5
_LEAST_LEVEL_SECONDS = 0.05
_HIGHEST_CORRECTION_DB = 6.0
"""Upper bound of the entry gain after its correction for a step in loudness."""
_MOST_LEVELLED_DB = 5.0
"""The most that the gain at an entry is levelled."""
_USUAL_STEP = 0.7
"""Share of the loudness limit up to which a step is left alone."""
_STRAINED, _OTHER_LEVELS_DB = 1.0, (-2.0, 2.0)
"""Share of the limits of flux and timbre above which these changes of level are tried as well."""
_QUIET_LEVELS_DB, _QUIETEST_GAIN_DB = (-6.0, -12.0), -52.0
"""The same at a quiet edge, out of which the music swells, and the lowest gain there."""
_EXCERPT_SECONDS = 0.15


@dataclass(frozen=True, slots=True)
class Edge:
    """One way to continue from the source's edge.

    Attributes:
        frame: outward frame of the region where playback continues.
        agreement: correlation of the waveforms before it and before the edge, -1 to 1.
        gain_db: entry gain that matches the level.
        cost: cost of starting the path there.
        faults: 0 for none, 1 if something exceeds what the source does itself, plus 2 if the bar is left.
    """

    frame: int
    agreement: float
    gain_db: float
    cost: float
    faults: int


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A frame at which to continue, judged without rendering.

    Attributes:
        frame: outward frame of the region.
        gain_db: entry gain.
        step_db: change of loudness without a gain.
        step_limit_db: the largest acceptable change.
        gain_step_db: the change of gain alone, without a gain of ours.
        gain_limit_db: the largest acceptable one.
        harmony: change of harmony relative to its limit.
        slip: slip of the beat relative to its limit.
        novelty: change of timbre relative to its limit.
        off_bar: deviation from the same position in the bar, 0 to 1.5.
        cost: cost of the unit itself.
    """

    frame: int
    gain_db: float
    step_db: float
    step_limit_db: float
    gain_step_db: float
    gain_limit_db: float
    harmony: float
    slip: float
    novelty: float
    off_bar: float
    cost: float

    @property
    def estimated_cost(self) -> float:
        """Estimated cost before rendering."""
        return self.cost + self.strain(self.gain_db, 0, 0, self.novelty).cost

    def strain(self, gain_db: float, flux: float, click: float, novelty: float) -> Strain:
        """Strain with a given gain, and with the rest as rendered, relative to its limits."""
        step = max(
            abs(self.step_db + gain_db) / self.step_limit_db,
            abs(self.gain_step_db + FELT_SHARE * gain_db) / self.gain_limit_db,
        )
        return Strain(flux, click, step, self.harmony, self.slip, novelty)


def find_edges(view: OutwardView, ringing: RingOut) -> dict[int, Edge]:
    """Find the best ways to continue, keyed by the outward unit that replaces the last one."""
    costs = _stand_in_costs(view)
    likely = [
        unit for unit in np.argsort(costs, kind="stable")[:_LIKELY].tolist() if np.isfinite(costs[unit])
    ]
    candidates = {
        unit: min(_candidates(view, unit, float(costs[unit])), key=lambda candidate: candidate.estimated_cost)
        for unit in likely
    }
    tried = sorted(likely, key=lambda unit: candidates[unit].estimated_cost)[:_TRIED]
    return {unit: _try(view, ringing, candidates[unit]) for unit in tried}


def _stand_in_costs(view: OutwardView) -> Floats:
    """Cost of each outward unit as a replacement for the last one; infinite if too near the edge or too short."""
    units, alike = view.music.units, view.music.similarity
    count, backwards = len(units), view.backwards
    edge = 0 if backwards else count - 1
    turn = slice(None, None, -1 if backwards else 1)
    lengths = view.lengths
    part = 0.35 * min(lengths[-1] / max(units.period_frames, 1), 1)
    context = alike.ahead if backwards else alike.behind
    distance = ((1 - part) * context[edge, :count] + part * alike.apart[edge, :count])[turn]
    index = np.arange(count)
    abrupt = view.steps(abruptness_cost(alike))[-1, np.minimum(index + 1, count - 1)]
    shift = (index - (count - 1)) * (-1 if backwards else 1)
    cost = similarity_cost(distance) + _OFF_BAR * off_bar_cost(alike, shift) + abrupt
    cost += strain_cost(novelties(view)) + emptiness_cost(view)
    near = index > count - 1 - shortest_run(units)
    barred = near | (lengths < _AS_LONG * lengths[-1])
    return np.where(near if barred.all() else barred, np.inf, cost)


def _candidates(view: OutwardView, unit: int, cost: float) -> list[_Candidate]:
    """Places to continue in a unit: on the grid, where the onsets match, and where the pulse matches."""
    bounds, total = view.bounds, len(view.samples)
    frame = int(bounds[unit] + bounds[-1] - bounds[-2])
    shift, onsets = _onset_shift(view, frame) if view.music.units.metric else (0, 0.0)
    starts = {frame, frame + shift, frame + _slip_frames(view, frame)}
    doubt = _DISAGREEMENT * (1 - max(onsets, 0))
    bar = view.music.similarity.off_bar
    off_bar = float(bar[(len(bounds) - 2 - unit) * (1 if view.backwards else -1) % len(bar)])
    return [_assess(view, int(np.clip(start, 0, total)), off_bar, cost + doubt) for start in sorted(starts)]


def _assess(view: OutwardView, frame: int, off_bar: float, cost: float) -> _Candidate:
    """Judge a place by loudness, harmony and pulse; at a quiet edge, loudness and harmony may change freely."""
    slip = abs(_slip_frames(view, frame)) / (SLIP_LIMIT_SECONDS * view.sample_rate)
    gain_db = _level_gain_db(view, frame)
    if view.ends_quietly():
        novelty = novelty_at(view, frame, gain_db)
        return _Candidate(frame, gain_db, 0.0, np.inf, 0.0, np.inf, 0.0, slip, novelty, off_bar, cost)
    limits = view.music.limits
    step_db, change = _steps(view, frame)
    usual_db = _USUAL_STEP * limits.loudness_db
    gain_db = float(np.clip(gain_db, -usual_db - step_db, usual_db - step_db))
    gain_db = float(np.clip(gain_db, LOWEST_GAIN_DB, _HIGHEST_CORRECTION_DB))
    gain_step_db, gain_limit_db = gain_step(view, frame)
    if gain_limit_db < np.inf and abs(gain_db) < _MOST_LEVELLED_DB:
        gain_db = float(np.clip(-gain_step_db / FELT_SHARE, -_MOST_LEVELLED_DB, _MOST_LEVELLED_DB))
    harmony_share = change / limits.harmony
    novelty = novelty_at(view, frame, gain_db)
    return _Candidate(
        frame,
        gain_db,
        step_db,
        limits.loudness_db,
        gain_step_db,
        gain_limit_db,
        harmony_share,
        slip,
        novelty,
        off_bar,
        cost,
    )


def _slip_frames(view: OutwardView, frame: int) -> int:
    """Slip of the beat if playback continues at an outward frame; 0 if it cannot be measured."""
    music, total = view.music, len(view.samples)
    if music.beats is None:
        return 0
    leave, enter = (total - frame, 0) if view.backwards else (total, frame)
    slip = slip_seconds(music.features, music.beats, leave, enter) or 0.0
    return round(slip * view.sample_rate)


def _onset_shift(view: OutwardView, frame: int) -> tuple[int, float]:
    """Outward shift that aligns the onsets, 0 where they do not match; and their agreement."""
    features, period, total = view.music.features, view.music.units.period_frames, len(view.samples)
    reach = min(8 * period, 6.0 * view.sample_rate)
    if view.backwards:
        match = onset_match(features, period, 0, total - frame, 0, reach)
    else:
        match = onset_match(features, period, total, frame, reach, 0)
    shift = -match.shift_frames if view.backwards else match.shift_frames
    return (shift if match.agreement > _ONSETS_AGREE else 0), match.agreement


def _wave_shift(view: OutwardView, frame: int) -> tuple[int, float]:
    """Outward shift that aligns the waveforms, 0 where the beat is more reliable; and their agreement."""
    total, metric = len(view.samples), view.music.units.metric
    span = min(int(_WAVE_SECONDS * view.sample_rate), total // 4)
    radius = int((_BEAT_SHIFT_SECONDS if metric else _GRAIN_SHIFT_SECONDS) * view.sample_rate)
    start, _ = view.forward(frame - span, frame)
    match = wave_match(view.material, view.forward(total - span, total), start, radius)
    if metric and match.agreement <= _WAVES_AGREE:
        return 0, match.agreement
    return (-match.shift_frames if view.backwards else match.shift_frames), match.agreement


def _level_gain_db(view: OutwardView, frame: int) -> float:
    """Gain that matches what precedes the new material to what precedes the edge."""
    span = int(LEVEL_SECONDS * view.sample_rate)
    before = view.samples[max(0, frame - span) : frame]
    if len(before) <= _LEAST_LEVEL_SECONDS * view.sample_rate:
        return 0.0
    gain_db = level_db(view.samples[-span:]) - level_db(before)
    return float(np.clip(gain_db, LOWEST_GAIN_DB, HIGHEST_GAIN_DB))


def _try(view: OutwardView, ringing: RingOut, candidate: _Candidate) -> Edge:
    """Align the waveforms, render the join and measure it; where the spectrum jumps, try other levels."""
    shift, agreement = _wave_shift(view, candidate.frame)
    frame = int(np.clip(candidate.frame + shift, 0, len(view.samples)))
    limits = view.music.limits
    strains: dict[float, Strain] = {}
    quiet = view.ends_quietly()
    lowest_db = _QUIETEST_GAIN_DB if quiet else LOWEST_GAIN_DB
    for change_db in (0.0, *(_QUIET_LEVELS_DB if quiet else _OTHER_LEVELS_DB)):
        gain_db = float(np.clip(candidate.gain_db + change_db, lowest_db, _HIGHEST_CORRECTION_DB))
        flux, click = _render_measures(view, ringing, frame, agreement, gain_db)
        novelty = novelty_at(view, frame, gain_db)
        strains[gain_db] = candidate.strain(gain_db, flux / limits.flux_db, click / limits.click, novelty)
        if max(strains[gain_db].flux, novelty) < _STRAINED:
            break
    best_db = min(strains, key=lambda gain_db: strains[gain_db].cost)
    doubt = _DISAGREEMENT * (1 - max(agreement, 0))
    best = strains[best_db]
    faults = (max(astuple(best)) > 1) + 2 * (candidate.off_bar > _OFF_BAR_NOTICED)
    return Edge(frame, agreement, best_db, candidate.cost + doubt + best.cost, faults)


def _render_measures(
    view: OutwardView, ringing: RingOut, frame: int, agreement: float, gain_db: float
) -> tuple[float, float]:
    """Flux (dB) and click at the join as rendered."""
    rate = view.sample_rate
    reach = int(_EXCERPT_SECONDS * rate)
    new = view.samples[frame : frame + reach]
    new = (new * release_curve(gain_db, len(new), rate)).astype(np.float32)
    blended = ringing.under(new, agreement)
    joined = np.concatenate([view.samples[-reach:], blended, new[len(blended) :]])
    wave = mono(joined, view.material.downmix)
    seam = len(wave) - len(new)
    click = strongest_click(wave[max(0, seam - 4) : seam + int(CLICK_SECONDS * rate)])
    forward, at = (wave[::-1], len(new)) if view.backwards else (wave, seam)
    return flux_around(forward, at, rate, view.music.features), click


def _steps(view: OutwardView, frame: int) -> tuple[float, float]:
    """Change of loudness (dB) and of harmony (1 - cosine) from the source's edge to new material without a gain."""
    features, rate, total = view.music.features, view.sample_rate, len(view.samples)

    def spans(seconds: float) -> tuple[Ints, Ints]:
        width = int(seconds * rate)
        pairs = np.array([view.forward(total - width, total), view.forward(frame, frame + width)])
        return pairs[:, 0], pairs[:, 1]

    edge_db, new_db = loudness_db(features, *spans(LOUDNESS_SECONDS))
    edge, new = harmony(features, *spans(HARMONY_SECONDS))
    return float(new_db - edge_db), float(1 - cosine_similarity(edge, new))

"""Whether, where and how a recording is still inside a longer one.

A model that extends a recording codes it, decodes it, and may shift it, change its level and stretch it a
little. Its place is a straight line: the frame at which each of its own frames now lies. That line is
found as Hough (1962) found lines: the courses of the levels are compared at many places and shifts,
and each candidate line gathers what agrees along it. The waves then tell it to a fraction of a frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from outpaint_mcp.audio.joining.locate import (
    HOP_SECONDS,
    LEAST_SECONDS,
    cut_out,
    fft_size,
    level_contours,
    sharpened,
    wave_agreements,
)
from outpaint_mcp.audio.levels import SILENCE_DB, correlation, downmix, level_db, median

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Floats, Ints, Samples

REACH_SECONDS = 0.5
"""How far from its expected place a source is searched for."""
MOST_DRIFT = 0.006
"""How much faster or slower it may run."""

_PLACES = 24
_LEVELS_SECONDS, _WAVES_SECONDS = 4.0, 0.5
_WAVES_REACH_SECONDS = 0.008
_LEAST_LEVELS_SECONDS = 1.0
"""Levels over less than this identify nothing."""
_WAVES_AGREE, _LEVELS_AGREE = 0.4, 0.7
_ENOUGH_PLACES = 0.5
_ON_THE_LINE_SECONDS = 0.001
_QUIET_DB = 50.0
_NEARER_IS_LIKELIER, _STEADIER_IS_LIKELIER = 0.05, 0.05


@dataclass(frozen=True, slots=True)
class Track:
    """Where a source lies: its frame `f` is at `expected_frame + offset_frames + f * (1 + drift)`.

    Attributes:
        offset_frames: how much later than expected its first frame is.
        drift: how much slower it runs, as a share.
        gain_db: its level against the original's.
        correlation: of the waves where they should be alike, -1 to 1, the median over all places.
        agreeing: share of the places at which it is itself.
        exact: whether the waves agree; otherwise the place is right to some milliseconds.
        trusted: False where this is probably not the source at all.
    """

    offset_frames: float
    drift: float
    gain_db: float
    correlation: float
    agreeing: float
    exact: bool
    trusted: bool

    def locate(self, source_frame: float, expected_frame: float) -> float:
        """Where a frame of the source lies."""
        return expected_frame + self.offset_frames + source_frame * (1 + self.drift)


NOWHERE = Track(0.0, 0.0, 0.0, 0.0, 0.0, exact=False, trusted=False)
"""No source was found."""


class _Line(NamedTuple):
    """A candidate: shift in frames at the source's first frame, drift, and how well levels agree along it."""

    shift: float
    drift: float
    agreement: float


def track(source: Samples, extended: Samples, expected_frame: int, sample_rate: int) -> Track:
    """Find a source inside a longer recording; on music that repeats, the nearest place that is plausible.

    Args:
        source: `[frames, channels]`, or a part of it.
        extended: as many channels.
        expected_frame: where in `extended` the first frame of `source` should be; may be negative.
        sample_rate: of both, frames per second.

    Returns:
        `NOWHERE` where either is silent or shorter than a fiftieth of a second.
    """
    weights = downmix(source)[0][:, None].astype(np.float32)
    source, extended = source @ weights, extended @ weights
    places = _places(source, sample_rate)
    if not len(places) or not len(extended):
        return NOWHERE
    if len(source) < _LEAST_LEVELS_SECONDS * sample_rate:
        reach = round(min(REACH_SECONDS * sample_rate, len(source)))
        return _refine(source, extended, expected_frame, places, _Line(0.0, 0.0, 0.0), reach, sample_rate)
    line = _best_line(source, extended, expected_frame, places, sample_rate)
    reach = round(_WAVES_REACH_SECONDS * sample_rate)
    return _refine(source, extended, expected_frame, places, line, reach, sample_rate)


def _places(source: Samples, sample_rate: int) -> Ints:
    """First frames of what is compared: evenly spread, without the silent ones."""
    length = min(len(source), round(_WAVES_SECONDS * sample_rate))
    if length < LEAST_SECONDS * sample_rate:
        return np.zeros(0, np.int64)
    spread = np.unique(np.linspace(0, len(source) - length, _PLACES).astype(np.int64))
    levels = np.array([level_db(source[place : place + length]) for place in spread.tolist()])
    return np.asarray(spread[levels > max(SILENCE_DB + 1, levels.max() - _QUIET_DB)])


def _best_line(source: Samples, extended: Samples, expected: int, places: Ints, sample_rate: int) -> _Line:
    """The line along which the courses of the levels agree best."""
    hop = max(1, round(HOP_SECONDS * sample_rate))
    length = round(min(_LEVELS_SECONDS, len(source) / sample_rate) / HOP_SECONDS)
    reach = round(REACH_SECONDS / HOP_SECONDS)
    drifts = _drifts(len(source) / hop)
    furthest = reach + int(np.ceil(MOST_DRIFT * len(source) / hop)) + 1
    courses = level_contours(source, sample_rate)
    first = expected - furthest * hop
    found_there = level_contours(
        cut_out(extended, first, first + len(source) + 2 * furthest * hop), sample_rate
    )
    starts = np.clip(np.rint(places / hop).astype(int), 0, max(0, len(courses) - length))
    found = np.stack(
        [_agreements(courses[at : at + length], found_there[at:], 2 * furthest + 1) for at in starts]
    )
    shifts = np.arange(-reach, reach + 1)
    moved = np.rint(drifts[:, None] * (starts + length / 2)).astype(int)
    index = shifts[:, None, None] + moved + furthest
    scores = np.maximum(found[np.arange(len(starts)), index], 0).mean(axis=2)
    likely = scores - _NEARER_IS_LIKELIER * (shifts[:, None] / reach) ** 2
    likely -= _STEADIER_IS_LIKELIER * (drifts / MOST_DRIFT) ** 2
    row, column = np.unravel_index(int(likely.argmax()), likely.shape)
    return _Line(float(shifts[row]) * hop, float(drifts[column]), float(scores[row, column]))


def _drifts(hops: float) -> Floats:
    """Candidates so near to each other that no place moves by more than a hop from one to the next."""
    count = int(np.ceil(MOST_DRIFT * hops))
    return np.arange(-count, count + 1, dtype=np.float64) * (MOST_DRIFT / max(1, count))


def _agreements(wanted: Floats, timeline: Floats, count: int) -> Floats:
    """Normalised correlation of a timeline `[hops, bands]` for `count` shifts into another; 0 beyond its end."""
    length = len(wanted)
    timeline = np.pad(
        timeline[: count + length - 1], ((0, max(0, count + length - 1 - len(timeline))), (0, 0))
    )
    size = fft_size(len(timeline))
    spectra = np.fft.rfft(timeline, size, axis=0) * np.conj(np.fft.rfft(wanted, size, axis=0))
    products = np.fft.irfft(spectra.sum(axis=1), size)[:count]
    power = np.concatenate([[0.0], np.cumsum((timeline**2).sum(axis=1))])
    energies = (power[length:] - power[:-length])[:count] * float((wanted**2).sum())
    return np.asarray(products / np.sqrt(np.maximum(energies, 1.0)))


def _refine(  # noqa: PLR0913 - what the line was found in
    source: Samples, extended: Samples, expected: int, places: Ints, line: _Line, reach: int, sample_rate: int
) -> Track:
    """Lay a line through the places where the waves agree, and compare along it."""
    length = min(len(source), round(_WAVES_SECONDS * sample_rate))
    at, lags, agreements = [], [], []
    for place in places.tolist():
        start = expected + line.shift + place * (1 + line.drift) - reach * (1 + line.drift)
        found_there = _stretched(extended, start, length + 2 * reach, 1 + line.drift)
        waves = wave_agreements(
            sharpened(source[place : place + length], sample_rate), sharpened(found_there, sample_rate)
        )
        best = int(waves.argmax())
        at.append(place)
        lags.append((best - reach + _between(waves, best)) * (1 + line.drift))
        agreements.append(float(waves[best]))
    good = np.array(agreements) >= _WAVES_AGREE
    x, y = np.array(at, dtype=np.float64), np.array(lags)
    slope, shift = _robust_line(x[good], y[good], len(source))
    near = good & (np.abs(y - shift - slope * x) <= _ON_THE_LINE_SECONDS * sample_rate)
    exact = bool(near.mean() >= _ENOUGH_PLACES)
    if exact:
        line = _Line(line.shift + shift, line.drift + slope, line.agreement)
    pairs = [
        (source[place : place + length], _stretched(extended, expected + line.shift + place * (1 + line.drift),
                                                    length, 1 + line.drift))
        for place in places.tolist()
    ]  # fmt: skip
    alike = np.array([correlation(one, other) for one, other in pairs])
    gains = np.array([level_db(other) - level_db(one) for one, other in pairs])
    return Track(
        offset_frames=line.shift,
        drift=line.drift,
        gain_db=median(gains[near] if exact else gains),
        correlation=median(alike),
        agreeing=float(near.mean()) if exact else line.agreement,
        exact=exact,
        trusted=exact or line.agreement >= _LEVELS_AGREE,
    )


def _stretched(extended: Samples, start: float, count: int, step: float) -> Samples:
    """`count` frames from a fractional one on, `step` apart, between two frames in proportion."""
    first = int(np.floor(start))
    around = cut_out(extended, first, first + int(np.ceil(count * step)) + 2)
    at = start - first + np.arange(count) * step
    low = at.astype(np.int64)
    share = (at - low)[:, None].astype(np.float32)
    return around[low] * (1 - share) + around[low + 1] * share


def _between(values: Floats, top: int) -> float:
    """Where the parabola through a maximum and its neighbours has its own, -0.5 to 0.5 from there."""
    if not 0 < top < len(values) - 1:
        return 0.0
    left, middle, right = values[top - 1 : top + 2]
    curve = left - 2 * middle + right
    return float(0.5 * (left - right) / curve) if curve < 0 else 0.0


def _robust_line(x: Floats, y: Floats, span: int) -> tuple[float, float]:
    """Slope and value at 0 by the medians of Theil (1950) and Sen (1968); level where points lie too near."""
    if not len(x):
        return 0.0, 0.0
    steps = x[None] - x[:, None]
    far = steps > span / 4
    slope = median(((y[None] - y[:, None])[far]) / steps[far]) if far.any() else 0.0
    return slope, median(y - slope * x)

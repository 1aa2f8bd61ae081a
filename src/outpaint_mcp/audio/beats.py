"""Beat tracking: local tempo by autocorrelation and Viterbi, beats by dynamic programming (Ellis 2007)."""

from dataclasses import dataclass

import numpy as np

from outpaint_mcp.audio.features import Features
from outpaint_mcp.audio.levels import median, running_mean
from outpaint_mcp.audio.types import Floats, Ints

_SLOWEST_BPM, _FASTEST_BPM = 50, 210
_TIGHTNESS = 300.0  # three times librosa's: a steady grid matters more here than following syncopation
_LEAST_CLARITY = 0.2
"""Median of the highest normalised autocorrelation; below it there is no pulse."""
_LEAST_PUNCH_DB = 1.0
_LEAST_CONTRAST = 1.9
"""Onset strength at the beats over the mean everywhere; below it the beats are arbitrary."""
_LEAST_BEATS = 8
_FIT_BEATS = 8
"""Neighbours on either side that a beat is fitted to."""
_NEAR_BEATS = 16
_REPEATS, _REGULARITY = (4, 8, 16), 2.0
"""Multiples of a beat at which music repeats, and the weight of that repetition in the tempo likelihood."""


@dataclass(frozen=True, slots=True)
class Beats:
    """A beat grid.

    Attributes:
        frames: positions of the beats in increasing order, in frames of the source.
        period_frames: median distance between beats.
    """

    frames: Ints
    period_frames: float

    def period_near(self, frame: int) -> float:
        """Mean beat period over 16 beats on each side of a frame; the median period where there are none."""
        at = int(np.searchsorted(self.frames, frame))
        near = self.frames[max(0, at - _NEAR_BEATS) : at + _NEAR_BEATS + 1]
        return float(near[-1] - near[0]) / (len(near) - 1) if len(near) > 1 else self.period_frames


def find_beats(features: Features, frames: int) -> Beats | None:
    """Track the beats of a region and extend the grid to both of its ends.

    Args:
        features: the region's features.
        frames: the region's length.

    Returns:
        None where there is no clear pulse.
    """
    onsets = features.onsets
    periods, clarity = _local_periods(onsets, features.windows_per_second)
    if clarity <= _LEAST_CLARITY or features.punch_db <= _LEAST_PUNCH_DB:
        return None
    rough = _track(onsets, periods)
    if len(rough) < _LEAST_BEATS or _contrast(onsets, rough) < _LEAST_CONTRAST:
        return None
    beats = _straighten(rough, onsets) * features.frames_per_window
    period = median(np.diff(beats))
    lead_in = np.arange(beats[0] - period, 0, -period)[::-1]
    lead_out = np.arange(beats[-1] + period, frames, period)
    grid = np.rint(np.concatenate([lead_in, beats, lead_out])).astype(np.int64)
    return Beats(grid[(np.diff(grid, prepend=0) > 0) & (grid < frames)], period)


def _local_periods(onsets: Floats, rate: float) -> tuple[Floats, float]:
    """Beat period at every window, in windows, and the clarity of the pulse, 0 to 1."""
    shortest, longest = int(rate * 60 / _FASTEST_BPM), int(rate * 60 / _SLOWEST_BPM)
    width = int(8 * rate)
    if len(onsets) < 3 * shortest or onsets.max(initial=0.0) <= 0:
        return np.zeros(len(onsets)), 0.0
    starts = np.arange(0, max(1, len(onsets) - width // 2), int(rate))
    lags = np.arange(shortest, longest + 1)
    likelihood, clarity = _tempogram(onsets, starts, width, lags)
    likelihood = likelihood + _REGULARITY * _regularity(onsets, lags)
    likelihood = likelihood * np.exp(-0.5 * (np.log2(lags / (rate * 0.5)) / 0.9) ** 2)
    path = _smoothest_path(likelihood / (likelihood.max() + 1e-9), lags)
    periods = np.interp(np.arange(len(onsets)), starts, lags[path])
    return periods, clarity


def _tempogram(onsets: Floats, starts: Ints, width: int, lags: Ints) -> tuple[Floats, float]:
    """Autocorrelation summed over each lag, its double and its quadruple `[windows, lags]`, and its median peak."""
    padded = np.concatenate([np.zeros(width // 2), onsets, np.zeros(width)])
    excerpts = np.lib.stride_tricks.sliding_window_view(padded, width)[starts] * np.hanning(width)
    size = 1 << int(np.ceil(np.log2(2 * width)))
    spectrum = np.abs(np.fft.rfft(excerpts, size, axis=1)) ** 2
    auto = np.fft.irfft(spectrum, axis=1)[:, : 4 * int(lags[-1]) + 2]
    auto /= auto[:, :1] + 1e-9
    near = np.maximum(auto, np.maximum(np.roll(auto, 1, axis=1), np.roll(auto, -1, axis=1)))
    likelihood = auto[:, lags] + 0.5 * near[:, 2 * lags] + 0.25 * near[:, 4 * lags]
    return likelihood, median(auto[:, lags].max(axis=1))


def _regularity(onsets: Floats, lags: Ints) -> Floats:
    """Autocorrelation of the whole region at 4, 8 and 16 times each lag, averaged `[lags]`.

    It separates 4/4 from 3 against 4.
    """
    size = 1 << int(np.ceil(np.log2(2 * len(onsets))))
    level = onsets - onsets.mean()
    auto = np.fft.irfft(np.abs(np.fft.rfft(level, size)) ** 2)[: len(onsets)]
    auto = np.append(auto / (auto[0] + 1e-9), 0)
    found = np.zeros((len(_REPEATS), len(lags)))
    for row, beats in enumerate(_REPEATS):
        # a lag is accurate to half a window, and its multiples proportionally less
        near = np.arange(-(beats // 2) - 1, beats // 2 + 2)
        found[row] = auto[np.minimum(beats * lags[:, None] + near, len(auto) - 1)].max(axis=1)
    return np.asarray(found.mean(axis=0))


def _smoothest_path(likelihood: Floats, lags: Ints) -> Ints:
    """Viterbi path through `[windows, lags]`, with a bounded cost for tempo changes."""
    change = np.minimum(60 * np.log2(lags[:, None] / lags[None]) ** 2, 3.0)
    score = likelihood[0]
    back = np.zeros(likelihood.shape, dtype=np.int64)
    for step in range(1, len(likelihood)):
        reach = score[:, None] - change
        back[step] = reach.argmax(axis=0)
        score = reach.max(axis=0) + likelihood[step]
    path = [int(score.argmax())]
    for step in range(len(likelihood) - 1, 0, -1):
        path.append(int(back[step, path[-1]]))
    return np.array(path[::-1])


def _track(onsets: Floats, periods: Floats) -> Floats:
    """Find beats that balance onset strength against an even period (Ellis 2007).

    Returns:
        Positions in windows, with sub-window precision.
    """
    bell = np.exp(-0.5 * (np.arange(-3, 4) / 1.5) ** 2)
    local = np.convolve(onsets, bell / bell.sum(), "same")
    count = len(local)
    steps = np.rint(periods).astype(int)
    penalty = {
        step: -_TIGHTNESS * np.log(np.arange(2 * step, step // 2, -1) / step) ** 2
        for step in set(steps.tolist())
    }
    score = local.copy()
    back = np.full(count, -1)
    for now, step in enumerate(steps.tolist()):
        first, last = now - 2 * step, now - step // 2
        if last <= 0:
            continue
        reach = score[max(first, 0) : last] + penalty[step][max(-first, 0) :]
        best = int(reach.argmax())
        score[now] += reach[best]
        back[now] = max(first, 0) + best
    start = max(0, count - int(steps[-1]))
    beats = [start + int(score[start:].argmax())]
    while back[beats[-1]] >= 0:
        beats.append(int(back[beats[-1]]))
    return _between_windows(local, np.array(beats[::-1]))


def _between_windows(strength: Floats, peaks: Ints) -> Floats:
    """Refine peaks by parabolic interpolation, by at most half a window."""
    inner = np.clip(peaks, 1, len(strength) - 2)
    left, top, right = strength[inner - 1], strength[inner], strength[inner + 1]
    curve = left - 2 * top + right
    offset = np.where(curve < 0, 0.5 * (left - right) / np.where(curve < 0, curve, 1), 0)
    return np.where(inner == peaks, peaks + np.clip(offset, -0.5, 0.5), peaks)


def _contrast(onsets: Floats, beats: Floats) -> float:
    """Mean onset strength around the beats over the mean everywhere."""
    return float(running_mean(onsets, 3)[np.rint(beats).astype(int)].mean() / (onsets.mean() + 1e-9))


def _straighten(beats: Floats, onsets: Floats) -> Floats:
    """Project each beat onto a weighted line through its 16 neighbours, which keeps drift and removes jitter.

    Strong onsets and near neighbours weigh more. Away from the ends, a beat that would move by more than a
    quarter of the period is left where it is.
    """
    count = len(beats)
    weights = 0.05 + onsets[np.clip(np.rint(beats).astype(int), 0, len(onsets) - 1)]
    weights = np.minimum(weights, 4 * median(weights) + 1e-6)
    span = min(count, 2 * _FIT_BEATS + 1)
    first = np.clip(np.arange(count) - _FIT_BEATS, 0, count - span)
    members = first[:, None] + np.arange(span)
    steps = members - np.arange(count)[:, None]
    near = weights[members] * (1 - np.abs(steps) / (np.abs(steps).max(axis=1, keepdims=True) + 1))
    fitted = beats
    for _ in range(2):
        fitted = fitted + _line_at_zero(steps, fitted[members] - fitted[:, None], near)
    far = np.abs(fitted - beats) > 0.25 * median(np.diff(beats))
    far[: 2 * _FIT_BEATS] = False
    far[-2 * _FIT_BEATS :] = False
    return np.maximum.accumulate(np.where(far, beats, fitted))


def _line_at_zero(x: Ints, y: Floats, weights: Floats) -> Floats:
    """Value at x = 0 of the weighted least-squares line through each row's points."""
    total, sum_x, sum_y = weights.sum(1), (weights * x).sum(1), (weights * y).sum(1)
    spread = total * (weights * x * x).sum(1) - sum_x**2
    slope = (total * (weights * x * y).sum(1) - sum_x * sum_y) / np.maximum(spread, 1e-9)
    return np.asarray((sum_y - slope * sum_x) / total)

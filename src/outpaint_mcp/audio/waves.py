"""Small measurements on waves that the other audio rooms share."""

import numpy as np

from outpaint_mcp.audio.shapes import Floats, Samples

SILENCE_DB = -100.0
"""The level told for digital silence, dB re full scale."""

CHUNK_FRAMES = 1 << 16
"""Frames that are looked at together where a region is long: what a cache holds."""

_LEAST_TO_CORRELATE = 4


def downmix(samples: Samples) -> tuple[Floats, float]:
    """How much of each channel goes into the mono signal that is analysed, and that signal's level.

    The plain mean, or the loudest channel alone where the mean cancels out (antiphase stereo).

    Returns:
        Weights `[channels]` that sum to 1, and the mean level in dB re full scale.
    """
    channels = samples.shape[1]
    weights = np.full(channels, 1.0 / channels)
    gram = np.zeros((channels, channels))
    for start in range(0, len(samples), CHUNK_FRAMES):
        chunk = samples[start : start + CHUNK_FRAMES]
        gram += chunk.T @ chunk
    if weights @ gram @ weights < 0.02 * gram.diagonal().max():
        weights = np.eye(channels)[int(gram.diagonal().argmax())]
    power = float(weights @ gram @ weights) / max(len(samples), 1)
    return weights, float(10 * np.log10(max(power, 0.0) + 10 ** (SILENCE_DB / 10)))


def mono(samples: Samples, weights: Floats) -> Floats:
    """Mix an excerpt `[frames, channels]` down to `[frames]`, in double precision."""
    mixed: Floats = samples.astype(np.float64) @ weights
    return mixed


def level_db(wave: Samples | Floats) -> float:
    """Mean power over all frames and channels, dB re full scale."""
    if not wave.size:
        return SILENCE_DB
    values = wave.ravel()
    return float(10 * np.log10(values @ values / values.size + 10 ** (SILENCE_DB / 10)))


def peak(samples: Samples) -> float:
    """Largest absolute value; 0 for nothing."""
    return max(float(samples.max()), -float(samples.min())) if samples.size else 0.0


def running_mean(values: Floats, width: int) -> Floats:
    """Centred moving average of `[n]` or `[n, k]` along the first axis; shorter windows at both ends."""
    half = max(width, 1) // 2
    count = len(values)
    if half == 0 or count <= 1:
        return values.astype(np.float64)
    sums = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
    index = np.arange(count)
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, count)
    spans = (high - low).reshape(-1, *([1] * (values.ndim - 1)))
    return np.asarray((sums[high] - sums[low]) / spans, dtype=np.float64)


def span_means(values: Floats, starts: Floats, stops: Floats) -> Floats:
    """Mean of the rows of `values` (`[n]` or `[n, k]`) over each span, at least one row each."""
    low = np.clip(np.rint(starts).astype(int), 0, len(values) - 1)
    high = np.clip(np.rint(stops).astype(int), low + 1, len(values))
    closed = np.concatenate([values, values[-1:]])  # a span may reach to the very end
    sums = np.add.reduceat(closed, np.stack([low, high], axis=1).ravel(), axis=0)
    spans = (high - low).reshape(-1, *([1] * (values.ndim - 1)))
    return np.asarray(sums[::2] / spans)  # what lies between one span and the next left out


def percentile(values: Floats | Samples, percent: float) -> float:
    """A percentile of all values, between two of them in proportion.

    numpy's own brings in `numpy.ma`, whose import takes as long as all the comparing of units.
    """
    ordered = np.sort(values.astype(np.float64), axis=None)
    return float(np.interp(percent / 100 * (len(ordered) - 1), np.arange(len(ordered)), ordered))


def median(values: Floats | Samples) -> float:
    """The median of all values."""
    return percentile(values, 50)


def correlation(first: Samples | Floats, second: Samples | Floats) -> float:
    """Normalised inner product of two excerpts, -1 to 1; 0 where there is too little to tell."""
    count = min(len(first), len(second))
    if count < _LEAST_TO_CORRELATE:
        return 0.0
    a = first[:count].ravel().astype(np.float64)
    b = second[:count].ravel().astype(np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b) + 1e-18))


def to_gain(decibels: Floats | float) -> Floats:
    """Linear amplitude factors for decibels."""
    return np.power(10.0, np.asarray(decibels, dtype=np.float64) / 20)

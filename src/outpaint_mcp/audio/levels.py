"""Levels, downmixing and basic statistics of audio signals."""

import numpy as np

from outpaint_mcp.audio.types import Floats, Samples

SILENCE_DB = -100.0
"""The level reported for digital silence, dB re full scale."""

CHUNK_FRAMES = 1 << 16
"""Frames processed at a time in long signals, so that a chunk fits in the CPU cache."""

_LEAST_TO_CORRELATE = 4
"""Frames. A correlation over fewer is meaningless."""


def downmix(samples: Samples) -> tuple[Floats, float]:
    """Choose channel weights for a mono downmix and measure its level.

    The weights are those of the plain mean, or select the loudest channel where the mean cancels out
    (antiphase stereo: less than 2 % of the loudest channel's power is left).

    Returns:
        Weights `[channels]` that sum to 1, and the downmix's mean level in dB re full scale.
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
    """Mix `[frames, channels]` down to `[frames]` in double precision."""
    mixed: Floats = samples.astype(np.float64) @ weights
    return mixed


def magnitudes(samples: Samples) -> Samples:
    """The largest absolute value of all channels `[frames]`; channel by channel, which numpy does far faster."""
    largest = np.abs(samples[:, 0])
    for channel in samples.T[1:]:
        np.maximum(largest, np.abs(channel), out=largest)
    return largest


def level_db(wave: Samples | Floats) -> float:
    """Mean power over all frames and channels, dB re full scale."""
    if not wave.size:
        return SILENCE_DB
    values = wave.ravel()
    return float(10 * np.log10(values @ values / values.size + 10 ** (SILENCE_DB / 10)))


def peak(samples: Samples) -> float:
    """Largest absolute sample value; 0 for an empty array."""
    return max(float(samples.max()), -float(samples.min())) if samples.size else 0.0


def running_mean(values: Floats, width: int) -> Floats:
    """Centred moving average of `[n]` or `[n, k]` along the first axis, over shorter windows at both ends."""
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
    """Average the rows of `values` over each span.

    Args:
        values: `[n]` or `[n, k]`.
        starts: the first row of each span `[spans]`, rounded to the nearest row.
        stops: the row after its last, likewise; every span has at least one row.
    """
    low = np.clip(np.rint(starts).astype(int), 0, len(values) - 1)
    high = np.clip(np.rint(stops).astype(int), low + 1, len(values))
    closed = np.concatenate([values, values[-1:]])  # so that a span may end with the last row
    sums = np.add.reduceat(closed, np.stack([low, high], axis=1).ravel(), axis=0)
    spans = (high - low).reshape(-1, *([1] * (values.ndim - 1)))
    return np.asarray(sums[::2] / spans)  # skip the sums of what lies between the spans


def percentile(values: Floats | Samples, percent: float) -> float:
    """A percentile of all values, linearly interpolated.

    `numpy.percentile` would import `numpy.ma`, which takes as long as comparing all units of a region.
    """
    ordered = np.sort(values.astype(np.float64), axis=None)
    return float(np.interp(percent / 100 * (len(ordered) - 1), np.arange(len(ordered)), ordered))


def median(values: Floats | Samples) -> float:
    """The median of all values."""
    return percentile(values, 50)


def correlation(first: Samples | Floats, second: Samples | Floats) -> float:
    """Normalised inner product of two excerpts, -1 to 1; 0 where they are too short.

    The longer one is cut to the length of the shorter.
    """
    count = min(len(first), len(second))
    if count < _LEAST_TO_CORRELATE:
        return 0.0
    a = first[:count].ravel().astype(np.float64)
    b = second[:count].ravel().astype(np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b) + 1e-18))


def to_gain(decibels: Floats | float) -> Floats:
    """Convert decibels to linear amplitude factors."""
    return np.power(10.0, np.asarray(decibels, dtype=np.float64) / 20)

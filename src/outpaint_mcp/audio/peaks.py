"""A look-ahead true-peak limiter for music added to a source.

Time runs outward here, away from the source, which is never modified.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soxr

from outpaint_mcp.audio.levels import CHUNK_FRAMES, magnitudes, peak, running_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outpaint_mcp.audio.types import Floats, Samples

_CEILING = 10 ** (-1.1 / 20)
"""-1 dBTP (EBU R 128, AES TD1008), minus 0.1 dB by which two true-peak interpolators may differ."""
_OVERSAMPLING = 4
_MARGIN_FRAMES = 256
"""Context given to the resampler on both sides of a chunk: twice the length of its filter."""
_FAR_BELOW = 0.5
"""Chunks below this share of the ceiling are not oversampled: music never rises by 6 dB between two samples."""
_LOOK_SECONDS = 0.05
_SHORTEST_RAMP_SECONDS = 0.005
"""The gain is 1 at the seam and reaches full effect no sooner than this, so that it does not click."""


def ceiling_of(source_peak: float) -> float:
    """The true-peak ceiling for music added to a source: -1 dBTP, or the source's own peak if beyond full scale."""
    return source_peak if source_peak > 1 else _CEILING


def limit_peaks(new: Samples, sample_rate: int, ceiling: float) -> Samples:
    """Limit the true peak of new music (ITU-R BS.1770-4, annex 2) with a look-ahead gain.

    The gain moves over 50 ms on either side of a peak. It is 1 at the seam, so that nothing steps there, and
    takes full effect at the first peak that exceeds the ceiling, or after 5 ms if that peak comes sooner.
    Only peaks within those 5 ms can exceed the ceiling.

    Args:
        new: the new music, outward, `[frames, channels]`.
        sample_rate: frames per second.
        ceiling: linear amplitude.

    Returns:
        A limited copy, or `new` itself where no peak exceeds the ceiling.
    """
    hop = max(1, sample_rate // 1000)
    peaks = np.fromiter(_true_peaks(new, sample_rate, hop), np.float64)
    if not peaks.size or peaks.max() <= ceiling:
        return new
    allowed = ceiling / np.maximum(peaks, ceiling)
    look = int(_LOOK_SECONDS * sample_rate / hop)
    lowest = np.lib.stride_tricks.sliding_window_view(
        np.pad(allowed, look, constant_values=1.0), 2 * look + 1
    ).min(axis=1)
    # averaging minima taken over twice the averaging window never exceeds the allowed gain
    gains = running_mean(lowest, look)
    shortest = int(_SHORTEST_RAMP_SECONDS * sample_rate / hop)
    # full effect one hop before the first peak, since the gain is interpolated between hop centres
    ramp = int(np.clip(np.argmax(allowed < 1) - 1, shortest, look))
    gains[:ramp] = 1 + (gains[:ramp] - 1) * (np.arange(ramp) / ramp)[: len(gains)]
    return _scaled(new, gains, hop)


def _true_peaks(samples: Samples, sample_rate: int, hop: int) -> Iterator[float]:
    """Largest value of any channel in each hop, including values between samples."""
    chunk = CHUNK_FRAMES // hop * hop
    for first in range(0, len(samples), chunk):
        start = max(0, first - _MARGIN_FRAMES)
        near = samples[start : first + chunk + _MARGIN_FRAMES]
        times = _OVERSAMPLING if peak(near) > _FAR_BELOW * _CEILING else 1
        finer = soxr.resample(near, sample_rate, times * sample_rate) if times > 1 else near
        inside = finer[times * (first - start) :][: times * min(chunk, len(samples) - first)]
        loudest = magnitudes(inside)
        yield from np.maximum.reduceat(loudest, np.arange(0, len(loudest), times * hop)).tolist()


def _scaled(samples: Samples, gains: Floats, hop: int) -> Samples:
    """Apply one gain per hop, interpolated between hop centres and starting at 1."""
    scaled = np.empty_like(samples)
    places = np.concatenate([[0.0], (np.arange(len(gains)) + 0.5) * hop])
    values = np.concatenate([[1.0], gains])
    for first in range(0, len(samples), CHUNK_FRAMES):
        part = samples[first : first + CHUNK_FRAMES]
        curve = np.interp(np.arange(first, first + len(part)), places, values)
        np.multiply(part, curve[:, None].astype(np.float32), out=scaled[first : first + len(part)])
    return scaled

"""The peaks of music that is added to a source, kept from clipping where it is played or coded.

Time runs outwards here, away from the source, which is never touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soxr

from outpaint_mcp.audio.waves import CHUNK_FRAMES, peak, running_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outpaint_mcp.audio.shapes import Floats, Samples

_CEILING = 10 ** (-1.1 / 20)
"""-1 dBTP (EBU R 128, AES TD1008) less what two ways to look between the samples differ by."""
_OVERSAMPLING = 4
_MARGIN_FRAMES = 256
"""What the resampler hears on both sides of a chunk, twice as much as its filter is long."""
_FAR_BELOW = 0.5
"""No music rises by 6 dB between two samples."""
_LOOK_SECONDS = 0.05
_SHORTEST_RAMP_SECONDS = 0.005


def ceiling_of(source_peak: float) -> float:
    """The highest true peak of what is added to a source: -1 dBTP, or the source's own beyond full scale."""
    return source_peak if source_peak > 1 else _CEILING


def hold_peaks(new: Samples, sample_rate: int, ceiling: float) -> Samples:
    """Keep the true peak of new music under a ceiling (ITU-R BS.1770-4, annex 2) by a gain that looks ahead.

    It moves over 50 ms on either side of a peak. At the seam it is none, so that nothing steps there, and at work
    by the first peak that needs it, or after 5 ms if that comes sooner: only those can be over the ceiling.

    Args:
        new: outwards `[frames, channels]`.
        sample_rate: frames per second.
        ceiling: as an amplitude.

    Returns:
        `new` itself where no peak needs to be held.
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
    # a mean of minima over twice its reach is nowhere above what is allowed
    gains = running_mean(lowest, look)
    shortest = int(_SHORTEST_RAMP_SECONDS * sample_rate / hop)
    # whole a hop before the first, since it goes straight from the middle of one to that of the next
    ramp = int(np.clip(np.argmax(allowed < 1) - 1, shortest, look))
    gains[:ramp] = 1 + (gains[:ramp] - 1) * (np.arange(ramp) / ramp)[: len(gains)]
    return _scaled(new, gains, hop)


def _true_peaks(samples: Samples, sample_rate: int, hop: int) -> Iterator[float]:
    """The largest value of any channel in each hop, those between the frames included."""
    chunk = CHUNK_FRAMES // hop * hop
    for first in range(0, len(samples), chunk):
        start = max(0, first - _MARGIN_FRAMES)
        near = samples[start : first + chunk + _MARGIN_FRAMES]
        times = _OVERSAMPLING if peak(near) > _FAR_BELOW * _CEILING else 1
        finer = soxr.resample(near, sample_rate, times * sample_rate) if times > 1 else near
        inside = finer[times * (first - start) :][: times * min(chunk, len(samples) - first)]
        loudest = np.abs(inside).max(axis=1)
        yield from np.maximum.reduceat(loudest, np.arange(0, len(loudest), times * hop)).tolist()


def _scaled(samples: Samples, gains: Floats, hop: int) -> Samples:
    """Give each hop its gain, going straight from the middle of one to that of the next; none at the first frame."""
    scaled = np.empty_like(samples)
    places = np.concatenate([[0.0], (np.arange(len(gains)) + 0.5) * hop])
    values = np.concatenate([[1.0], gains])
    for first in range(0, len(samples), CHUNK_FRAMES):
        part = samples[first : first + CHUNK_FRAMES]
        curve = np.interp(np.arange(first, first + len(part)), places, values)
        np.multiply(part, curve[:, None].astype(np.float32), out=scaled[first : first + len(part)])
    return scaled

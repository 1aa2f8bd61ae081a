"""The speed difference between a context and a model's rendering of it.

Short excerpts of the context are searched for in the model output, each independently. The drift is the slope
along which their correlations add up, a slant stack as used in seismology to find the slowness of a wave
(Schultz & Claerbout 1978). No single excerpt has to match, and none is long enough to be torn apart by drift.
Longer excerpts of the output, resampled by that drift, then give the residual as the median of their pairwise
slopes (Theil 1950, Sen 1968).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soxr

from outpaint_mcp.audio.levels import downmix, median, mono

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Floats, Ints, Samples

TRACKED_SECONDS = 10.0
"""How much of the context is compared."""

MOST_DRIFT = 0.006
"""Largest drift searched for, as a ratio."""
_LEAST_SECONDS = 1e-4
"""A drift that moves the context by less than this over its whole length counts as none."""
_STEP = 1e-4
"""Resolution of the slant stack, as a ratio."""
_ROUGH_HZ, _FINE_HZ = 4_000.0, 16_000.0
_ROUGH_SECONDS, _FINE_SECONDS = 0.25, 1.0
_FINE_REACH_SECONDS = 0.003
_ROUGHLY_AGREE, _FINELY_AGREE = 0.12, 0.4
"""Lowest correlation of the stack and of a long excerpt."""
_NEARER_IS_LIKELIER = 0.02
"""Penalty at the largest shift, which decides between equal matches."""
_FEWEST = 4
_FAINT = 1e-3
"""Floor of an excerpt's energy relative to the loudest excerpt, so that silence does not correlate."""


def measure_drift(wanted: Samples, searched: Samples, reach: int, sample_rate: int) -> float:
    """Measure how much longer the model's rendering of a context is than the context.

    Args:
        wanted: the outermost part of the context, outward `[frames, channels]`.
        searched: the model output where that part should be, with `reach` more frames on either side.
        reach: the largest shift, in frames.
        sample_rate: of both, frames per second.

    Returns:
        The ratio of the durations minus 1, within ±0.006; 0 if it cannot be measured or is negligible.
    """
    weights, _ = downmix(wanted)
    context, output = mono(wanted, weights), mono(searched, weights)
    rate = min(_ROUGH_HZ, sample_rate)
    found = _rough_line(
        soxr.resample(context, sample_rate, rate), soxr.resample(output, sample_rate, rate), rate
    )
    if found is None:
        return 0.0
    drift, shift_seconds = found
    rate = min(_FINE_HZ, sample_rate)
    resampled = soxr.resample(output, sample_rate * (1 + drift), rate)
    end = ((len(output) - reach) / sample_rate + shift_seconds) / (1 + drift)
    residual = _residual_drift(soxr.resample(context, sample_rate, rate), resampled, end, rate)
    total = (1 + drift) * (1 + residual) - 1 if residual is not None else 0.0
    return total if abs(total) * len(context) / sample_rate >= _LEAST_SECONDS else 0.0


def _rough_line(context: Floats, output: Floats, rate: float) -> tuple[float, float] | None:
    """Drift, and shift of the context's end in seconds; None where no line stands out."""
    width = int(_ROUGH_SECONDS * rate)
    starts = np.arange(len(context) - width, -1, -width, dtype=np.int64)
    reach = (len(output) - len(context)) // 2
    slack = int(MOST_DRIFT * len(context)) + 1
    curves = _correlogram(context, output, starts, starts + reach, width, reach)
    if len(curves) < _FEWEST:
        return None
    curves = np.pad(curves, ((0, 0), (slack, slack)))
    away = np.arange(-reach, reach + 1) / reach
    ahead = starts + width / 2 - len(context)
    best, line = _ROUGHLY_AGREE, None
    for drift in np.arange(-MOST_DRIFT, MOST_DRIFT + _STEP / 2, _STEP):
        moved = slack + np.rint(drift * ahead).astype(int)
        stack = sum(curve[at : at + 2 * reach + 1] for curve, at in zip(curves, moved, strict=True))
        stack = stack / len(curves) - _NEARER_IS_LIKELIER * away**2
        lag = int(stack.argmax())
        if stack[lag] > best:
            best, line = float(stack[lag]), (float(drift), (lag - reach) / rate)
    return line


def _residual_drift(context: Floats, output: Floats, end_seconds: float, rate: float) -> float | None:
    """The residual drift; None where longer excerpts do not agree on one."""
    width, reach = int(_FINE_SECONDS * rate), int(_FINE_REACH_SECONDS * rate)
    starts = np.arange(len(context) - width, -1, -width // 2, dtype=np.int64)
    expected = starts + round(end_seconds * rate) - len(context)
    inside = (expected >= reach) & (expected + width + reach <= len(output))
    curves = _correlogram(context, output, starts[inside], expected[inside], width, reach)
    peaks = curves.argmax(axis=1)
    agree = (curves.max(axis=1) >= _FINELY_AGREE) & (peaks > 0) & (peaks < 2 * reach)
    if agree.sum() < _FEWEST:
        return None
    curves, peaks, at = curves[agree], peaks[agree], starts[inside][agree]
    left, middle, right = (curves[np.arange(len(peaks)), peaks + by] for by in (-1, 0, 1))
    lags = peaks + 0.5 * (left - right) / np.minimum(left - 2 * middle + right, -1e-9)
    one, other = np.triu_indices(len(at), 1)
    return median((lags[one] - lags[other]) / (at[one] - at[other]))


def _correlogram(  # noqa: PLR0913 - two signals and where to compare them
    context: Floats, output: Floats, starts: Ints, expected: Ints, width: int, reach: int
) -> Floats:
    """Normalised correlation of excerpts' first differences with the output, `[excerpts, lags]`."""
    slopes, steps = np.diff(context, prepend=0.0), np.diff(output, prepend=0.0)
    wanted = slopes[starts[:, None] + np.arange(width)]
    places = expected[:, None] + np.arange(-reach, width + reach)
    searched = np.where((places >= 0) & (places < len(steps)), steps[np.clip(places, 0, len(steps) - 1)], 0.0)
    size = 1 << (searched.shape[1] - 1).bit_length()
    spectra = np.fft.rfft(searched, size) * np.conj(np.fft.rfft(wanted, size))
    products = np.fft.irfft(spectra, size)[:, : 2 * reach + 1]
    sums = np.pad(np.cumsum(searched**2, axis=1), ((0, 0), (1, 0)))
    energies = sums[:, width:] - sums[:, :-width]
    energy = (wanted**2).sum(axis=1, keepdims=True)
    floor = _FAINT * max(float(energy.max(initial=0.0)), 1e-12)
    return np.asarray(products / np.sqrt(np.maximum(energies, floor) * np.maximum(energy, floor)))

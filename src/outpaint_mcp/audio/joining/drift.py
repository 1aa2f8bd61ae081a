"""How much slower than the context a model's rendering of it runs.

Short stretches of the context are looked for in the piece, each for itself; the drift is the slope along which
what they found adds up, a slant stack as seismology finds the slowness of a wave with (Schultz & Claerbout 1978).
No stretch has to be right by itself, and none is so long that drift would tear it apart. Then longer ones, on
the piece with that drift undone, tell the rest of it by the median of their slopes (Theil 1950, Sen 1968).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soxr

from outpaint_mcp.audio.waves import downmix, median, mono

if TYPE_CHECKING:
    from outpaint_mcp.audio.shapes import Floats, Ints, Samples

TRACKED_SECONDS = 10.0
"""How much of the context is compared."""

MOST_DRIFT = 0.006
_LEAST_SECONDS = 1e-4
"""What moves the context by less from its beginning to its end is no drift."""
_STEP = 1e-4
_ROUGH_HZ, _FINE_HZ = 4_000.0, 16_000.0
_ROUGH_SECONDS, _FINE_SECONDS = 0.25, 1.0
_FINE_REACH_SECONDS = 0.003
_ROUGHLY_AGREE, _FINELY_AGREE = 0.12, 0.4
_NEARER_IS_LIKELIER = 0.02
_FEWEST = 4
_FAINT = 1e-3


def drift_of(wanted: Samples, heard: Samples, reach: int, sample_rate: int) -> float:
    """Measure by how much more of the piece than of the context passes.

    Args:
        wanted: the outermost part of the context, outwards `[frames, channels]`.
        heard: where that should be in the piece, with `reach` frames more on either side.
        reach: how far it may be shifted, in frames.
        sample_rate: of both, frames per second.

    Returns:
        The ratio of the lengths less 1, within ±0.006; 0 where it cannot be told or is none.
    """
    weights, _ = downmix(wanted)
    context, piece = mono(wanted, weights), mono(heard, weights)
    rate = min(_ROUGH_HZ, sample_rate)
    found = _rough_line(
        soxr.resample(context, sample_rate, rate), soxr.resample(piece, sample_rate, rate), rate
    )
    if found is None:
        return 0.0
    drift, shift_seconds = found
    rate = min(_FINE_HZ, sample_rate)
    even = soxr.resample(piece, sample_rate * (1 + drift), rate)
    end = ((len(piece) - reach) / sample_rate + shift_seconds) / (1 + drift)
    rest = _rest(soxr.resample(context, sample_rate, rate), even, end, rate)
    total = (1 + drift) * (1 + rest) - 1 if rest is not None else 0.0
    return total if abs(total) * len(context) / sample_rate >= _LEAST_SECONDS else 0.0


def _rough_line(context: Floats, piece: Floats, rate: float) -> tuple[float, float] | None:
    """Drift, and the shift of the context's end in seconds; None where nothing adds up."""
    width = int(_ROUGH_SECONDS * rate)
    starts = np.arange(len(context) - width, -1, -width, dtype=np.int64)
    reach = (len(piece) - len(context)) // 2
    slack = int(MOST_DRIFT * len(context)) + 1
    curves = _correlogram(context, piece, starts, starts + reach, width, reach)
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


def _rest(context: Floats, piece: Floats, end_seconds: float, rate: float) -> float | None:
    """What is left of the drift; None where longer stretches do not agree that there is any."""
    width, reach = int(_FINE_SECONDS * rate), int(_FINE_REACH_SECONDS * rate)
    starts = np.arange(len(context) - width, -1, -width // 2, dtype=np.int64)
    expected = starts + round(end_seconds * rate) - len(context)
    inside = (expected >= reach) & (expected + width + reach <= len(piece))
    curves = _correlogram(context, piece, starts[inside], expected[inside], width, reach)
    peaks = curves.argmax(axis=1)
    agree = (curves.max(axis=1) >= _FINELY_AGREE) & (peaks > 0) & (peaks < 2 * reach)
    if agree.sum() < _FEWEST:
        return None
    curves, peaks, at = curves[agree], peaks[agree], starts[inside][agree]
    left, middle, right = (curves[np.arange(len(peaks)), peaks + by] for by in (-1, 0, 1))
    lags = peaks + 0.5 * (left - right) / np.minimum(left - 2 * middle + right, -1e-9)
    one, other = np.triu_indices(len(at), 1)
    return median((lags[one] - lags[other]) / (at[one] - at[other]))


def _correlogram(  # noqa: PLR0913 - where of what
    context: Floats, piece: Floats, starts: Ints, expected: Ints, width: int, reach: int
) -> Floats:
    """Normalised correlation of the slopes of stretches with the piece, `[stretches that sound, lags]`."""
    slopes, steps = np.diff(context, prepend=0.0), np.diff(piece, prepend=0.0)
    wanted = slopes[starts[:, None] + np.arange(width)]
    places = expected[:, None] + np.arange(-reach, width + reach)
    heard = np.where((places >= 0) & (places < len(steps)), steps[np.clip(places, 0, len(steps) - 1)], 0.0)
    size = 1 << (heard.shape[1] - 1).bit_length()
    spectra = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(wanted, size))
    products = np.fft.irfft(spectra, size)[:, : 2 * reach + 1]
    sums = np.pad(np.cumsum(heard**2, axis=1), ((0, 0), (1, 0)))
    energies = sums[:, width:] - sums[:, :-width]
    energy = (wanted**2).sum(axis=1, keepdims=True)
    floor = _FAINT * max(float(energy.max(initial=0.0)), 1e-12)
    return np.asarray(products / np.sqrt(np.maximum(energies, floor) * np.maximum(energy, floor)))

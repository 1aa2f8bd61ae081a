"""Aligning two places in the source: first their onset patterns, then their waveforms."""

from dataclasses import dataclass

import numpy as np

from outpaint_mcp.audio.engine.analysis import Material
from outpaint_mcp.audio.features import Features
from outpaint_mcp.audio.levels import mono
from outpaint_mcp.audio.types import Floats

_ONSET_REACH_BEATS = 0.55
"""Slightly more than half a beat, so that the nearest beat is always within reach."""
_NEAR_WINDOWS = 2
_SHORTEST_FRAMES = 8


@dataclass(frozen=True, slots=True)
class Match:
    """The result of an alignment.

    Attributes:
        shift_frames: how far to move the second place.
        agreement: correlation after that shift, -1 to 1.
    """

    shift_frames: int
    agreement: float


def onset_match(  # noqa: PLR0913 - two places in one pattern
    features: Features, period: float, here: int, there: int, before: float, after: float
) -> Match:
    """Shift `there` by up to 0.55 beat so that the onsets around it match those around `here`.

    Args:
        features: the region's features.
        period: the beat period, in frames.
        here: the frame of the pattern to match.
        there: the frame to shift.
        before: frames of pattern to compare before both.
        after: frames of pattern to compare after both.
    """
    patterns, hop = features.onset_patterns, features.frames_per_window
    radius = max(1, int(_ONSET_REACH_BEATS * period / hop))
    i, j = round(here / hop), round(there / hop)
    remainder = (there / hop - j) - (here / hop - i)
    low = max(1, i - int(before / hop), i - (j - radius))
    high = min(len(patterns) - 1, i + int(after / hop), i + len(patterns) - j - radius)
    length = high - low
    if length < max(2 * radius, 20):
        return Match(0, 0.0)
    reference = patterns[low:high]
    start = j + low - i - radius
    views = np.lib.stride_tricks.sliding_window_view(
        patterns[start : start + length + 2 * radius], length, axis=0
    )
    near = np.exp(-np.abs(np.arange(low, high) - i) * hop / (2.5 * period))[:, None]
    products = np.einsum("kbl,lb->k", views, reference * near)
    energies = np.einsum("kbl,kbl,l->k", views, views, near[:, 0])
    agreement = products / np.sqrt(energies * (reference**2 * near).sum() + 1e-9)
    best = _likeliest(agreement, radius)
    offset = best + _parabola(agreement, best) - radius - remainder
    return Match(round(offset * hop), float(agreement[best]))


def _likeliest(agreement: Floats, radius: int) -> int:
    """Index of the best shift, where index `radius` is no shift; large shifts need clear evidence."""
    shifts = np.arange(-radius, radius + 1)
    best = int((agreement - 0.12 * (shifts / radius) ** 2).argmax())
    if abs(best - radius) > _NEAR_WINDOWS and agreement[best] < agreement[radius] + 0.03:
        near = max(0, radius - _NEAR_WINDOWS)
        best = near + int(agreement[near : radius + _NEAR_WINDOWS + 1].argmax())
    return best


def _parabola(values: Floats, top: int) -> float:
    """Offset of a peak from its index by parabolic interpolation, -0.5 to 0.5."""
    if not 0 < top < len(values) - 1:
        return 0.0
    left, middle, right = values[top - 1 : top + 2]
    curve = left - 2 * middle + right
    return float(np.clip(0.5 * (left - right) / curve, -0.5, 0.5)) if curve < 0 else 0.0


def wave_match(material: Material, reference: tuple[int, int], start: int, radius: int) -> Match:
    """Shift `start` so that the waveform from there on best matches a reference span.

    Args:
        material: the analysed region.
        reference: first frame and stop frame of the span to match.
        start: the frame to shift.
        radius: the largest shift, in frames.
    """
    length = reference[1] - reference[0]
    radius = min(radius, start, len(material.samples) - length - start)
    if radius < 1 or length < _SHORTEST_FRAMES:
        return Match(0, 0.0)
    wanted = mono(material.samples[reference[0] : reference[1]], material.downmix)
    wave = mono(material.samples[start - radius : start + length + radius], material.downmix)
    return _correlate(wanted, wave, radius)


def _correlate(wanted: Floats, wave: Floats, radius: int) -> Match:
    """Normalised cross-correlation over shifts of ±`radius`, with a slight preference for small ones."""
    length = len(wanted)
    # circular wrap-around only affects shifts outside the requested range
    size = 1 << int(np.ceil(np.log2(len(wave))))
    spectrum = np.fft.rfft(wave, size) * np.conj(np.fft.rfft(wanted, size))
    products = np.fft.irfft(spectrum, size)[: 2 * radius + 1]
    sums = np.concatenate([[0.0], np.cumsum(wave**2)])
    energies = sums[length : length + 2 * radius + 1] - sums[: 2 * radius + 1]
    agreement = products / np.sqrt(np.maximum(energies * (wanted @ wanted), 1e-18))
    shifts = np.arange(-radius, radius + 1)
    best = int((agreement - 0.15 * (shifts / radius) ** 2 * (1 - np.clip(agreement, 0, 1))).argmax())
    return Match(int(shifts[best]), float(agreement[best]))

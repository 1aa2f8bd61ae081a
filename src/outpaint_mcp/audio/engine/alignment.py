"""Two streams brought together: onset patterns first, then the waves, then the place to cut."""

from dataclasses import dataclass

import numpy as np

from outpaint_mcp.audio.engine.analysis import Material
from outpaint_mcp.audio.features import Features
from outpaint_mcp.audio.shapes import Floats
from outpaint_mcp.audio.waves import mono

_ONSET_REACH_BEATS = 0.55
_NEAR_WINDOWS = 2
_SHORTEST_FRAMES = 8


@dataclass(frozen=True, slots=True)
class Match:
    """How far to move the second stream, in frames, and how well it then agrees with the first (-1 to 1)."""

    shift_frames: int
    agreement: float


def onset_match(heard: Features, period: float, here: int, there: int, before: float, after: float) -> Match:  # noqa: PLR0913
    """Shift `there` by up to 0.55 beat so that the onsets around it fall like those around `here`.

    Args:
        heard: the features that hold the onset patterns.
        period: the beat, in frames.
        here: frame of the pattern to match.
        there: frame to be shifted.
        before: frames of pattern before both that count.
        after: frames of pattern after both that count.
    """
    patterns, hop = heard.onset_patterns, heard.frames_per_window
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
    """Index of the best shift, 0 shift being `radius`; a far one only on real evidence."""
    shifts = np.arange(-radius, radius + 1)
    best = int((agreement - 0.12 * (shifts / radius) ** 2).argmax())
    if abs(best - radius) > _NEAR_WINDOWS and agreement[best] < agreement[radius] + 0.03:
        near = max(0, radius - _NEAR_WINDOWS)
        best = near + int(agreement[near : radius + _NEAR_WINDOWS + 1].argmax())
    return best


def _parabola(values: Floats, top: int) -> float:
    """Where between the indices the top really is, -0.5 to 0.5."""
    if not 0 < top < len(values) - 1:
        return 0.0
    left, middle, right = values[top - 1 : top + 2]
    curve = left - 2 * middle + right
    return float(np.clip(0.5 * (left - right) / curve, -0.5, 0.5)) if curve < 0 else 0.0


def wave_match(material: Material, reference: tuple[int, int], start: int, radius: int) -> Match:
    """Shift `start` so that the wave from there on is most like the wave of the reference span of frames."""
    length = reference[1] - reference[0]
    radius = min(radius, start, len(material.samples) - length - start)
    if radius < 1 or length < _SHORTEST_FRAMES:
        return Match(0, 0.0)
    wanted = mono(material.samples[reference[0] : reference[1]], material.downmix)
    wave = mono(material.samples[start - radius : start + length + radius], material.downmix)
    return _correlate(wanted, wave, radius)


def _correlate(wanted: Floats, wave: Floats, radius: int) -> Match:
    """Normalised cross-correlation over shifts -radius to radius; small shifts are preferred a little."""
    length = len(wanted)
    # the shifts asked for stay inside the wave: what wraps round falls on others
    size = 1 << int(np.ceil(np.log2(len(wave))))
    spectrum = np.fft.rfft(wave, size) * np.conj(np.fft.rfft(wanted, size))
    products = np.fft.irfft(spectrum, size)[: 2 * radius + 1]
    sums = np.concatenate([[0.0], np.cumsum(wave**2)])
    energies = sums[length : length + 2 * radius + 1] - sums[: 2 * radius + 1]
    agreement = products / np.sqrt(np.maximum(energies * (wanted @ wanted), 1e-18))
    shifts = np.arange(-radius, radius + 1)
    best = int((agreement - 0.15 * (shifts / radius) ** 2 * (1 - np.clip(agreement, 0, 1))).argmax())
    return Match(int(shifts[best]), float(agreement[best]))

"""Beat slip at a seam, from the onsets alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bench.listening import Sound

    from outpaint_mcp.audio.types import Floats

_BEATS = 8
_BINS = 48
_GAP_WINDOWS = 6
"""60 ms on each side of the seam are left out: what the seam itself adds is no onset of the music."""


def beat_slip_ms(
    sound: Sound, frame: int, period_frames: float, *, room: tuple[float, float] = (1e18, 1e18)
) -> float:
    """How far the beat slips at a frame, in ms without sign.

    The onset strength of up to eight beats on each side, within `room` frames, is folded at the
    beat period; the slip is where the circular correlation of the two profiles peaks. No slip is
    believed where it correlates nearly as well as the peak.

    Returns:
        NaN where it cannot be measured: too little music, too few onsets, or no common pattern.
    """
    beat = period_frames / sound.sample_rate * 100.0
    reach, at = int(_BEATS * beat), frame / sound.hop
    start = int(max(at - reach, at - room[0] / sound.hop))
    stop = int(min(at + reach, at + room[1] / sound.hop))
    if at - start < 3 * beat or stop - at < 3 * beat or start < 0 or stop > len(sound.flux):
        return float("nan")
    left, right = (start, int(at) - _GAP_WINDOWS), (int(at) + _GAP_WINDOWS, stop)
    before = _folded(sound.flux, left, at, beat)
    after = _folded(sound.flux, right, at, beat)
    flat = before.std() < 1e-6 or after.std() < 1e-6
    if flat or not _both_sound(sound.flux, sound.flux[slice(*left)], sound.flux[slice(*right)]):
        return float("nan")
    slip = _peak(before, after)
    return abs(slip) / _BINS * period_frames / sound.sample_rate * 1000


def _folded(flux: Floats, span: tuple[int, int], at: float, beat: float) -> Floats:
    """Onset profile over one beat, 48 bins, phase 0 at the seam."""
    strength = flux[span[0] : span[1]]
    strength = np.maximum(strength - np.median(strength), 0)
    place = ((np.arange(*span) - at) / beat) % 1.0 * _BINS
    bins = np.floor(place).astype(int)
    share = place - bins
    profile = np.zeros(_BINS)
    np.add.at(profile, bins % _BINS, strength * (1 - share))
    np.add.at(profile, (bins + 1) % _BINS, strength * share)
    return profile


def _both_sound(flux: Floats, before: Floats, after: Floats) -> bool:
    """Whether both sides, and the quarter of each that is next to the seam, have onsets to speak of."""
    active = flux[flux > 0.1]
    usual = float(np.median(active)) if len(active) else 0.0
    if min(before.mean(), after.mean()) < 0.35 * usual:
        return False
    quarter = len(before) // 4
    return bool(min(before[len(before) - quarter :].mean(), after[:quarter].mean()) >= 0.25 * usual)


def _peak(before: Floats, after: Floats) -> float:
    """Where the profiles agree best, in bins, -24 to 24; NaN where they do not agree."""
    before = (before - before.mean()) / before.std()
    after = (after - after.mean()) / after.std()
    agreement = np.array([np.mean(before * np.roll(after, -k)) for k in range(_BINS)])
    best = int(agreement.argmax())
    if agreement[best] < 0.3:
        return float("nan")
    near = np.arange(-_BINS // 8, _BINS // 8 + 1)
    unmoved = int(near[int(np.argmax(agreement[near % _BINS]))]) % _BINS
    if agreement[unmoved] >= agreement[best] - 0.12:
        best = unmoved
    left, middle, right = (agreement[(best + d) % _BINS] for d in (-1, 0, 1))
    offset = 0.5 * (left - right) / (left - 2 * middle + right + 1e-12)
    return float((best + offset + _BINS / 2) % _BINS - _BINS / 2)

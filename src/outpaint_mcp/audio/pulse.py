"""Whether the beat goes on where two streams meet, told from the onsets alone."""

import numpy as np

from outpaint_mcp.audio.features import Features
from outpaint_mcp.audio.shapes import Floats, Ints

SLIP_LIMIT_SECONDS = 0.04
"""A larger slip is heard as one."""

_GAP_SECONDS, _BEATS = 0.06, 8
_BINS = 48
_NEAR_BINS = 6
_LEAST_BEATS = 3
_LEAST_ACTIVITY = 0.35
_LEAST_AGREEMENT = 0.3
_NO_SLIP_BONUS = 0.12


def slip_seconds(heard: Features, period_frames: float, leave: int, enter: int) -> float | None:
    """How far the beat slips when music is left at one frame and goes on at another; None where it cannot be told.

    The onsets of up to eight beats on each side count, without the 60 ms next to the seam.
    """
    hop = heard.frames_per_window
    period, gap = period_frames / hop, _GAP_SECONDS * heard.windows_per_second
    last, first = int(leave / hop - gap), int(np.ceil(enter / hop + gap))
    reach = int(_BEATS * period)
    before, after = heard.flux_db[max(0, last - reach) : max(0, last)], heard.flux_db[first : first + reach]
    apart = (leave / hop - (last - 1)) + (first - enter / hop)
    slip = _slip_windows(before, after, apart, period, float(np.median(heard.flux_db)))
    return None if slip is None else slip / heard.windows_per_second


def _slip_windows(before: Floats, after: Floats, gap: float, period: float, usual: float) -> float | None:
    """How far the pulse of `after` comes late, in windows.

    Both are folded at the period; the slip is where the profiles agree best in circular correlation. No slip is
    believed where it agrees nearly as well.

    Args:
        before: flux of the windows up to the seam.
        after: flux of the windows from the seam on.
        gap: time between the last window of `before` and the first of `after`, in windows.
        period: the beat, in windows.
        usual: the usual flux, below a third of which a stream has no pulse to speak of.

    Returns:
        -period / 2 to period / 2; None where it cannot be told.
    """
    if (
        min(len(before), len(after)) < _LEAST_BEATS * period
        or min(before.mean(), after.mean()) < _LEAST_ACTIVITY * usual
    ):
        return None
    first = _profile(before, np.arange(1 - len(before), 1), period)
    second = _profile(after, gap + np.arange(len(after), dtype=np.float64), period)
    if first is None or second is None:
        return None
    agreement = np.fft.irfft(np.fft.rfft(second) * np.conj(np.fft.rfft(first)), _BINS) / _BINS
    best = int(agreement.argmax())
    if agreement[best] < _LEAST_AGREEMENT:
        return None
    near = np.arange(-_NEAR_BINS, _NEAR_BINS + 1)
    unmoved = int(near[int(agreement[near].argmax())])
    if agreement[unmoved] >= agreement[best] - _NO_SLIP_BONUS:
        best = unmoved
    return float((best + _BINS / 2) % _BINS - _BINS / 2) / _BINS * period


def _profile(flux: Floats, at: Floats | Ints, period: float) -> Floats | None:
    """Onset strength over one beat, standardised; None where it is flat."""
    strength = np.maximum(flux - np.median(flux), 0)
    place = (at / period) % 1 * _BINS
    low = np.floor(place).astype(int)
    share = place - low
    profile = np.bincount(low % _BINS, strength * (1 - share), _BINS)
    profile += np.bincount((low + 1) % _BINS, strength * share, _BINS)
    spread = float(profile.std())
    return (profile - profile.mean()) / spread if spread > 0 else None

"""How far the beat slips where two signals meet, measured from onsets alone."""

import numpy as np

from outpaint_mcp.audio.beats import Beats
from outpaint_mcp.audio.features import Features
from outpaint_mcp.audio.levels import median
from outpaint_mcp.audio.types import Floats

SLIP_LIMIT_SECONDS = 0.04
"""Larger slips are audible."""

_GAP_SECONDS, _BEATS = 0.06, 8
"""The gap next to the seam is skipped, because the seam itself may produce an onset there."""
_BINS = 48
"""Resolution of the folded profile, per beat."""
_NEAR_BINS = 6
_LEAST_BEATS = 3
_LEAST_ACTIVITY = 0.35
"""Mean flux relative to the usual one; with less there are too few onsets to fold."""
_LEAST_AGREEMENT = 0.3
_NO_SLIP_BONUS = 0.12
"""Correlation by which a large slip has to beat a small one."""


def slip_seconds(features: Features, beats: Beats, leave: int, enter: int) -> float | None:
    """Measure how far the beat slips when playback jumps from one frame to another.

    The onsets of up to eight beats on each side are used, except for the 60 ms next to the seam. Each side is
    folded at its own tempo, and the slip is the peak of the profiles' circular correlation. A small slip is
    preferred if it agrees nearly as well.

    Args:
        features: the region's features.
        beats: the region's beat grid.
        leave: the frame where playback stops.
        enter: the frame where it continues.

    Returns:
        Half a beat early (negative) to half a beat late, in seconds; None where it cannot be measured.
    """
    period = beats.period_near(enter)
    before = _profile(features, leave, beats.period_near(leave), -1)
    after = _profile(features, enter, period, 1)
    if before is None or after is None:
        return None
    agreement = np.fft.irfft(np.fft.rfft(after) * np.conj(np.fft.rfft(before)), _BINS) / _BINS
    best = int(agreement.argmax())
    if agreement[best] < _LEAST_AGREEMENT:
        return None
    near = np.arange(-_NEAR_BINS, _NEAR_BINS + 1)
    unmoved = int(near[int(agreement[near].argmax())])
    if agreement[unmoved] >= agreement[best] - _NO_SLIP_BONUS:
        best = unmoved
    slip_beats = float((best + _BINS / 2) % _BINS - _BINS / 2) / _BINS
    return slip_beats * period / features.frames_per_window / features.windows_per_second


def _profile(features: Features, seam: int, period_frames: float, direction: int) -> Floats | None:
    """Standardised onset strength over one beat, of the music before (-1) or after (1) a frame.

    Returns:
        `[48]`; None where it is flat or too short, or where there is little more than a third of the usual
        activity, too little for a pulse.
    """
    hop = features.frames_per_window
    period, gap, at = period_frames / hop, _GAP_SECONDS * features.windows_per_second, seam / hop
    if direction < 0:
        last = max(0, int(at - gap))
        windows = np.arange(max(0, last - int(_BEATS * period)), last)
    else:
        first = int(np.ceil(at + gap))
        windows = np.arange(first, min(first + int(_BEATS * period), len(features.flux_db)))
    if len(windows) < _LEAST_BEATS * period:
        return None
    flux = features.flux_db[windows]
    if flux.mean() < _LEAST_ACTIVITY * features.usual_flux_db:
        return None
    strength = np.maximum(flux - median(flux), 0)
    place = (windows - at) / period % 1 * _BINS
    low = np.floor(place).astype(int)
    share = place - low
    profile = np.bincount(low % _BINS, strength * (1 - share), _BINS)
    profile += np.bincount((low + 1) % _BINS, strength * share, _BINS)
    spread = float(profile.std())
    return (profile - profile.mean()) / spread if spread > 0 else None

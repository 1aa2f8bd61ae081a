"""Whether the beat goes on where two streams meet, told from the onsets alone."""

import numpy as np

from outpaint_mcp.audio.beats import Beats
from outpaint_mcp.audio.features import Features
from outpaint_mcp.audio.shapes import Floats
from outpaint_mcp.audio.waves import median

SLIP_LIMIT_SECONDS = 0.04
"""A larger slip is heard as one."""

_GAP_SECONDS, _BEATS = 0.06, 8
_BINS = 48
_NEAR_BINS = 6
_LEAST_BEATS = 3
_LEAST_ACTIVITY = 0.35
_LEAST_AGREEMENT = 0.3
_NO_SLIP_BONUS = 0.12


def slip_seconds(heard: Features, beats: Beats, leave: int, enter: int) -> float | None:
    """How far the beat slips when music is left at one frame and goes on at another; None where it cannot be told.

    The onsets of up to eight beats on each side count, without the 60 ms next to the seam. Each side is folded
    at its own tempo; the slip is where the profiles agree best in circular correlation. No slip is believed
    where it agrees nearly as well.

    Returns:
        Half a beat early (negative) to half a beat late.
    """
    period = beats.period_near(enter)
    before = _profile(heard, leave, beats.period_near(leave), -1)
    after = _profile(heard, enter, period, 1)
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
    return slip_beats * period / heard.frames_per_window / heard.windows_per_second


def _profile(heard: Features, seam: int, period_frames: float, direction: int) -> Floats | None:
    """Onset strength over one beat, standardised, of the music before (-1) or after (1) a frame.

    None where it is flat, too short, or less than a third as busy as usual: too little to have a pulse.
    """
    hop = heard.frames_per_window
    period, gap, at = period_frames / hop, _GAP_SECONDS * heard.windows_per_second, seam / hop
    if direction < 0:
        last = max(0, int(at - gap))
        windows = np.arange(max(0, last - int(_BEATS * period)), last)
    else:
        first = int(np.ceil(at + gap))
        windows = np.arange(first, min(first + int(_BEATS * period), len(heard.flux_db)))
    if len(windows) < _LEAST_BEATS * period:
        return None
    flux = heard.flux_db[windows]
    if flux.mean() < _LEAST_ACTIVITY * heard.usual_flux_db:
        return None
    strength = np.maximum(flux - median(flux), 0)
    place = (windows - at) / period % 1 * _BINS
    low = np.floor(place).astype(int)
    share = place - low
    profile = np.bincount(low % _BINS, strength * (1 - share), _BINS)
    profile += np.bincount((low + 1) % _BINS, strength * share, _BINS)
    spread = float(profile.std())
    return (profile - profile.mean()) / spread if spread > 0 else None

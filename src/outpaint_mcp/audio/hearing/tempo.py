"""The tempo of a whole recording, from the beats of its regions."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.waves import median, percentile, running_mean

if TYPE_CHECKING:
    from outpaint_mcp.audio.shapes import Floats

_SPAN_BEATS = 8
_SAME = 0.04
"""Tempos closer than this are one, as in the evaluation of tempo estimation (Gouyon et al. 2006)."""
_DRIFTING = 0.2
"""What is farther off is counted in another metre, not played faster or slower."""
_LEAST_SHARE = 0.5
_NO_CONTRAST, _FULL_CONTRAST = 1.0, 4.0
"""Attacks at the beats against the mean of everywhere: where beats might lie anywhere, and where none is missed."""
_LEAST_CONFIDENCE = 0.35
"""White noise reaches 0.3."""
_TYPICAL_STRAY = 0.6745
"""Median distance of a normal distribution from its middle, in standard deviations."""


_THIRDS = 1.1
"""Stronger than this at two thirds of the period beside the beats themselves, and those are the beats."""
_TOO_FAST_BPM, _ALTERNATING, _NOTHING_BETWEEN = 130.0, 1.55, 0.05
"""A pulse this fast, every second beat of it this much stronger, nothing ever in between: it is felt half as fast."""
_NOTHING = 1e-9
_REACH_WINDOWS = 4
"""An attack farther than 50 ms from a beat is another one."""


@dataclass(frozen=True, slots=True)
class Feel:
    """How beats lie among the attacks.

    Attributes:
        contrast: mean onset strength at the beats over the mean everywhere.
        alternation: that of the stronger over that of the weaker every second beats.
        between: that in the middle between two beats over that at the beats.
        thirds: that of beats half as fast again, where they fit best, over that at the beats.
        stray_seconds: median distance of the stronger attacks from the beats, less what all are off by.
    """

    contrast: float
    alternation: float
    between: float
    thirds: float
    stray_seconds: float


@dataclass(frozen=True, slots=True)
class Pulse:
    """The beats of a region.

    Attributes:
        seconds: how long the region is.
        beats_seconds: where they fall in the recording; empty where there is no steady pulse.
        feel: None there.
    """

    seconds: float
    beats_seconds: Floats
    feel: Feel | None


@dataclass(frozen=True, slots=True)
class Tempo:
    """How fast the beats follow each other; half or twice as fast may be felt instead.

    Attributes:
        bpm: in the middle of the field.
        confidence: 0 to 1, from how much of the recording has this tempo and how clear its beats are.
        lowest_bpm: over 8 beats, but for the slowest twentieth.
        highest_bpm: the same, but for the fastest twentieth.
        stray_ms: standard deviation of the attacks from an even grid, in milliseconds.
    """

    bpm: float
    confidence: float
    lowest_bpm: float
    highest_bpm: float
    stray_ms: float


def feel(onsets: Floats, beats: Floats, window_seconds: float) -> Feel | None:
    """Measure how beats lie among the attacks; None where there are too few.

    Args:
        onsets: onset strength `[windows]`.
        beats: where the beats are, in windows.
        window_seconds: distance between two windows.
    """
    if len(beats) <= _SPAN_BEATS:
        return None
    near = running_mean(onsets, 3)

    def strength(places: Floats) -> float:
        return float(near[np.clip(np.rint(places).astype(int), 0, len(near) - 1)].mean()) + _NOTHING

    count, whole, halves = (
        np.arange(len(beats)),
        strength(beats),
        (strength(beats[::2]), strength(beats[1::2])),
    )
    thirds = [
        np.interp(np.arange(0, len(beats) - 1, 2 / 3) + shift, count, beats) for shift in (0, 1 / 6, 1 / 3)
    ]
    return Feel(
        contrast=whole / (float(onsets.mean()) + _NOTHING),
        alternation=max(halves) / min(halves),
        between=strength((beats[1:] + beats[:-1]) / 2) / whole,
        thirds=max(map(strength, thirds)) / whole,
        stray_seconds=_stray_windows(onsets, beats) * window_seconds,
    )


def find_tempo(pulses: tuple[Pulse, ...]) -> Tempo | None:
    """The tempo of all regions together; None where no beat is steady in most of them."""
    felt = [(pulse, pulse.feel) for pulse in pulses if pulse.feel]
    share = sum(pulse.seconds for pulse, _ in felt) / sum(pulse.seconds for pulse in pulses)
    if share < _LEAST_SHARE:
        return None
    local_bpm = np.concatenate([_local_bpm(pulse.beats_seconds) for pulse, _ in felt])
    weights = np.array([pulse.seconds for pulse, _ in felt])
    means = weights @ np.array([astuple(feel) for _, feel in felt]) / weights.sum()
    usual = Feel(*means.tolist())
    local_bpm = local_bpm * _level(median(local_bpm), usual)
    bpm = median(local_bpm)
    near = local_bpm[np.abs(local_bpm / bpm - 1) < _DRIFTING]
    steady = float((np.abs(local_bpm / bpm - 1) < _SAME).mean())
    clarity = min(max((usual.contrast - _NO_CONTRAST) / (_FULL_CONTRAST - _NO_CONTRAST), 0.0), 1.0)
    confidence = share * steady * clarity
    if confidence < _LEAST_CONFIDENCE:
        return None
    return Tempo(
        bpm=round(bpm, 2),
        confidence=round(confidence, 2),
        lowest_bpm=round(percentile(near, 5), 2),
        highest_bpm=round(percentile(near, 95), 2),
        stray_ms=round(usual.stray_seconds / _TYPICAL_STRAY * 1000, 1),
    )


def _level(bpm: float, usual: Feel) -> float:
    """What to multiply a tempo by, so that it is that of the beats that are felt."""
    if usual.thirds > _THIRDS:
        return 1.5
    alternates = usual.alternation > _ALTERNATING and usual.between < _NOTHING_BETWEEN
    return 0.5 if bpm >= _TOO_FAST_BPM and alternates else 1.0


def _local_bpm(beats_seconds: Floats) -> Floats:
    """The tempo of every eight beats."""
    return np.asarray(60 * _SPAN_BEATS / (beats_seconds[_SPAN_BEATS:] - beats_seconds[:-_SPAN_BEATS]))


def _stray_windows(onsets: Floats, beats: Floats) -> float:
    """Median distance of the stronger attacks near beats from these, less what all are off by, in windows."""
    reach = np.arange(-_REACH_WINDOWS, _REACH_WINDOWS + 1)
    inner = beats[(beats > _REACH_WINDOWS + 1) & (beats < len(onsets) - _REACH_WINDOWS - 2)]
    if not len(inner):
        return 0.0
    near = np.rint(inner).astype(int)[:, None] + reach
    peaks = near[np.arange(len(inner)), onsets[near].argmax(axis=1)]
    left, top, right = onsets[peaks - 1], onsets[peaks], onsets[peaks + 1]
    curve = np.minimum(left - 2 * top + right, -_NOTHING)
    away = peaks + np.clip(0.5 * (left - right) / curve, -0.5, 0.5) - inner
    away = away[top >= median(top)]
    return median(np.abs(away - median(away)))

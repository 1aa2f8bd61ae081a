"""The tempo of a whole recording, from the beats of its regions."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.hearing.records import Tempo
from outpaint_mcp.audio.levels import median, percentile, running_mean

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Floats

_SPAN_BEATS = 8
_SAME = 0.04
"""Tempos within this ratio are equal, as in the evaluation of tempo estimation (Gouyon et al. 2006)."""
_DRIFTING = 0.2
"""A larger deviation is a different metrical level, not a faster or slower performance."""
_LEAST_SHARE = 0.5
_NO_CONTRAST, _FULL_CONTRAST = 1.0, 4.0
"""Onset strength at the beats over the mean everywhere: for arbitrary beats, and where the clarity reaches 1."""
_LEAST_CONFIDENCE = 0.35
"""White noise reaches 0.3."""
_TYPICAL_STRAY = 0.6745
"""Median absolute deviation of a normal distribution, in standard deviations."""


_THIRDS = 1.1
"""If the strength at two thirds of the period exceeds that of the beats by this, those are the beats."""
_MANY_THIRDS, _LITTLE_BETWEEN = 1.0, 0.1
"""So are they where it reaches that of the beats, and nothing lies midway between them: then every third
subdivision was tracked, as in rock and dance music that is played three against four.
"""
_FASTEST_BPM = 185.0
"""Beats 1.5 times as fast as those that were tracked are felt at half that tempo where it exceeds this."""
_TOO_FAST_BPM, _ALTERNATING, _NOTHING_BETWEEN = 130.0, 1.55, 0.05
"""A pulse this fast whose alternate beats are this much stronger, with nothing in between, is felt at half the
tempo.
"""
_NOTHING = 1e-9
_REACH_WINDOWS = 4
"""An attack farther than 50 ms from a beat does not belong to it."""


@dataclass(frozen=True, slots=True)
class Feel:
    """How the beats relate to the attacks.

    Attributes:
        contrast: mean onset strength at the beats over the mean everywhere.
        alternation: strength at the stronger alternate beats over that at the weaker ones.
        between: strength midway between beats over that at the beats.
        thirds: strength at beats 1.5 times as fast, at their best phase, over that at the beats.
        stray_seconds: median distance of the stronger attacks from the beats, after removing their common
            offset.
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
        seconds: the region's duration.
        beats_seconds: their positions in the recording; empty without a steady pulse.
        feel: how they relate to the attacks; None without a steady pulse.
    """

    seconds: float
    beats_seconds: Floats
    feel: Feel | None


def feel(onsets: Floats, beats: Floats, window_seconds: float) -> Feel | None:
    """Measure how the beats relate to the attacks.

    Args:
        onsets: onset strength `[windows]`.
        beats: positions of the beats, in windows.
        window_seconds: hop between windows.

    Returns:
        None where there are too few beats.
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
    """Combine the tempos of all regions; None unless most of the recording has a steady beat."""
    felt = [(pulse, pulse.feel) for pulse in pulses if pulse.feel]
    share = sum(pulse.seconds for pulse, _ in felt) / sum(pulse.seconds for pulse in pulses)
    if share < _LEAST_SHARE:
        return None
    local_bpm = np.concatenate([_felt_bpm(pulse.beats_seconds, feel) for pulse, feel in felt])
    weights = np.array([pulse.seconds for pulse, _ in felt])
    means = weights @ np.array([astuple(feel) for _, feel in felt]) / weights.sum()
    usual = Feel(*means.tolist())
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


def _felt_bpm(beats_seconds: Floats, feel: Feel) -> Floats:
    """The tempo of a region over every eight beats, at the metrical level that is felt.

    Each region has its own: where the beats of one were tracked at another level, the others outvote it.
    """
    local_bpm = _local_bpm(beats_seconds)
    return local_bpm * _level(median(local_bpm), feel)


def _level(bpm: float, feel: Feel) -> float:
    """Factor that converts a tempo to the metrical level that is felt."""
    if feel.thirds > _THIRDS or (feel.thirds > _MANY_THIRDS and feel.between < _LITTLE_BETWEEN):
        return 1.5 if 1.5 * bpm <= _FASTEST_BPM else 0.75
    alternates = feel.alternation > _ALTERNATING and feel.between < _NOTHING_BETWEEN
    return 0.5 if bpm >= _TOO_FAST_BPM and alternates else 1.0


def _local_bpm(beats_seconds: Floats) -> Floats:
    """The tempo over every eight beats."""
    return np.asarray(60 * _SPAN_BEATS / (beats_seconds[_SPAN_BEATS:] - beats_seconds[:-_SPAN_BEATS]))


def _stray_windows(onsets: Floats, beats: Floats) -> float:
    """Median distance of the stronger attacks from nearby beats, minus their common offset, in windows."""
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

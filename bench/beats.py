"""The bench's own beat tracker, so that the reference points owe nothing to the engine's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.signal

if TYPE_CHECKING:
    from bench.listening import Sound

    from outpaint_mcp.audio.types import Floats, Ints

_TIGHTNESS = 100.0
"""Ellis (2007), Beat Tracking by Dynamic Programming: what a departure from the period costs."""

_WINDOWS_PER_SECOND = 100


def track_beats(sound: Sound) -> tuple[Ints, float | None]:
    """Beats and their period, both in frames; no period where the onsets have none.

    The period is read off the beats sixteen at a time, which a window's width hardly disturbs.
    """
    strength = _onsets(sound.flux)
    period = _period_windows(strength)
    if period is None:
        return np.zeros(0, np.int64), None
    beats = _dynamic_programme(strength, period)
    if len(beats) <= 24:
        return np.round(beats * sound.hop).astype(np.int64), None
    refined = float(np.median(beats[16:] - beats[:-16])) / 16
    return np.round(beats * sound.hop).astype(np.int64), refined * sound.hop


def _onsets(flux: Floats) -> Floats:
    """Flux above its own mean over a second, in its own deviations."""
    usual = np.convolve(flux, np.ones(_WINDOWS_PER_SECOND + 1) / (_WINDOWS_PER_SECOND + 1), "same")
    rise = np.maximum(flux - usual, 0)
    deviation = float(rise.std())
    return rise / deviation if deviation > 1e-9 else np.zeros_like(rise)


def _period_windows(strength: Floats) -> float | None:
    """The lag, 200 to 50 bpm, at which onsets repeat, favouring 120 bpm (log-normal, 0.9 octaves)."""
    if len(strength) < 4 * _WINDOWS_PER_SECOND or not strength.any():
        return None
    size = 1 << int(np.ceil(np.log2(2 * len(strength))))
    dedup_key = np.fft.irfft(np.abs(np.fft.rfft(strength - strength.mean(), size)) ** 2)
    lags = np.arange(30, 121)
    score = dedup_key[lags] + 0.5 * dedup_key[2 * lags] + 0.25 * dedup_key[4 * lags]
    score = score * np.exp(-0.5 * (np.log2(lags / 50.0) / 0.9) ** 2)
    return float(lags[int(score.argmax())])


def _dynamic_programme(strength: Floats, period: float) -> Floats:
    """Beat times in windows that gather most onset strength at a steady distance."""
    smooth = np.convolve(strength, scipy.signal.get_window(("gaussian", 1.5), 7, fftbins=False), "same")
    steps = np.arange(round(period / 2), round(period * 2) + 1)[::-1]
    cost = _TIGHTNESS * np.log(steps / period) ** 2
    total, best_from = smooth.copy(), np.full(len(smooth), -1)
    for now in range(int(steps[-1]), len(smooth)):
        known = steps <= now
        arrived = total[now - steps[known]] - cost[known] if now < steps[0] else total[now - steps] - cost
        best = int(arrived.argmax())
        total[now] += arrived[best]
        best_from[now] = now - (steps[known][best] if now < steps[0] else steps[best])
    last = len(total) - round(period)
    now = last + int(total[last:].argmax())
    beats = []
    while now >= 0:
        beats.append(now)
        now = int(best_from[now])
    return _refined(smooth, np.array(beats[::-1]))


def _refined(smooth: Floats, beats: Ints) -> Floats:
    """The top of a parabola through each beat and its neighbours."""
    at = np.clip(beats, 1, len(smooth) - 2)
    left, middle, right = smooth[at - 1], smooth[at], smooth[at + 1]
    bend = left - 2 * middle + right
    shift = np.where(np.abs(bend) > 1e-9, 0.5 * (left - right) / np.where(bend == 0, 1.0, bend), 0.0)
    refined: Floats = beats + np.clip(shift, -0.5, 0.5)
    return refined

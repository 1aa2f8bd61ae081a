"""Crossfades, and extrapolation of a signal past its last frame."""

import numpy as np

from outpaint_mcp.audio.levels import median, running_mean
from outpaint_mcp.audio.types import Floats, Samples

_TRAINING_SECONDS = (0.12, 0.04, 0.015)
"""Candidate training lengths, of which the best predictor is used."""
_PROOF_SECONDS = 0.003
"""The end of the past, held out to validate each candidate."""
_ORDER_SECONDS = 0.006
_DAMPING = 0.9995
"""Per coefficient and lag; keeps a model with poles near the unit circle from growing."""
_FAINTEST, _NO_POWER = 1e-6, 1e-18
_LEAST_FRAMES = 32
_ENERGY_SECONDS, _ENERGY_CAP = 0.005, 1.25
"""Window of the running power, and the highest RMS relative to the edge's."""


def crossfade_gains(frames: int, correlation: float) -> tuple[Floats, Floats]:
    """Fade-out and fade-in gains that keep the power constant (Fink, Holters & Zölzer 2016).

    Args:
        frames: the length of the fade.
        correlation: of the two signals; negative values count as 0.

    Returns:
        Two arrays `[frames]`: the falling and the rising gain.
    """
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(frames) + 0.5) / frames)
    fall = 1 - rise
    power = np.sqrt(fall**2 + rise**2 + 2 * np.clip(correlation, 0, 1) * fall * rise)
    return fall / power, rise / power


def extrapolate(past: Samples, frames: int, sample_rate: int) -> Samples:
    """Extrapolate each channel past its last frame with a damped autoregressive model.

    Of three training lengths, the one that best predicts the last 3 ms is used. The result is at most
    slightly louder than the edge.

    Args:
        past: about the last 120 ms, `[frames, channels]`.
        frames: the number of frames to generate.
        sample_rate: frames per second.

    Returns:
        `[frames, channels]`; zeros where `past` is too short or silent.
    """
    tails = [_extrapolate_channel(channel.astype(np.float64), frames, sample_rate) for channel in past.T]
    return np.stack(tails, axis=1).astype(np.float32)


def _extrapolate_channel(past: Floats, frames: int, sample_rate: int) -> Floats:
    loudest = float(np.abs(past).max(initial=0.0))
    model = _best_model(past, sample_rate) if loudest >= _FAINTEST else None
    if model is None:
        return np.zeros(frames)
    tail = _run_model(past, model, frames)
    width = max(8, int(_ENERGY_SECONDS * sample_rate))
    cap = _ENERGY_CAP * np.sqrt(np.mean(past[-2 * width :] ** 2) + 1e-12)
    tail *= np.minimum(1, cap / np.sqrt(np.maximum(running_mean(tail**2, width), 1e-12)))
    # damping also pulls down the first step, so continue from the edge with its value and slope
    usual_step = 3 * median(np.abs(np.diff(past[-4 * width :]))) + 1e-9
    gap = past[-1] + np.clip(past[-1] - past[-2], -usual_step, usual_step) - tail[0]
    tail += np.clip(gap, -loudest, loudest) * np.exp(-np.arange(frames) / (0.001 * sample_rate))
    return np.clip(tail, -1.2 * loudest, 1.2 * loudest)


def _best_model(past: Floats, sample_rate: int) -> Floats | None:
    """Fit the model whose training length best predicts the last 3 ms; None where none can be fitted."""
    proof = max(8, int(_PROOF_SECONDS * sample_rate))
    order = int(np.clip(_ORDER_SECONDS * sample_rate, 16, 400))
    best, least_error = None, np.inf
    for seconds in _TRAINING_SECONDS:
        length = min(len(past), int(seconds * sample_rate))
        fitting = min(order, (length - proof) // 3)
        if length < _LEAST_FRAMES or fitting < 1:
            continue
        trial = burg(past[-length:-proof], fitting)
        error = float(np.mean((_run_model(past[:-proof], trial, proof) - past[-proof:]) ** 2))
        if len(trial) > 1 and error < 0.7 * least_error:
            best, least_error = (length, fitting), error
    return burg(past[-best[0] :], best[1]) if best else None


def burg(wave: Floats, order: int) -> Floats:
    """Estimate a prediction-error filter by Burg's method.

    Returns:
        `[order + 1]` coefficients, the first of which is 1; fewer where the residual vanishes earlier.
    """
    forward, backward = wave[1:], wave[:-1]
    filter_ = np.ones(1)
    for _ in range(order):
        power = forward @ forward + backward @ backward
        if power <= _NO_POWER:
            break
        reflection = -2 * (forward @ backward) / power
        padded = np.append(filter_, 0)
        filter_ = padded + reflection * padded[::-1]
        forward, backward = (forward + reflection * backward)[1:], (backward + reflection * forward)[:-1]
    return filter_


def _run_model(past: Floats, filter_: Floats, frames: int) -> Floats:
    """Run the damped model on for `frames` frames after the past."""
    order = len(filter_) - 1
    weights = -(filter_ * _DAMPING ** np.arange(order + 1))[:0:-1]
    wave = np.concatenate([past[len(past) - order :], np.zeros(frames)])
    for now in range(frames):
        wave[order + now] = weights @ wave[now : now + order]
    return wave[order:]

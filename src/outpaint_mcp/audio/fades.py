"""Fades: one stream into another, and the source out past its own edge."""

import numpy as np

from outpaint_mcp.audio.shapes import Floats, Samples
from outpaint_mcp.audio.waves import median, running_mean

_TRAINING_SECONDS = (0.12, 0.04, 0.015)
_PROOF_SECONDS = 0.003
_ORDER_SECONDS = 0.006
_DAMPING = 0.9995
_FAINTEST, _NO_POWER = 1e-6, 1e-18
_LEAST_FRAMES = 32
_ENERGY_SECONDS, _ENERGY_CAP = 0.005, 1.25


def crossfade_gains(frames: int, correlation: float) -> tuple[Floats, Floats]:
    """Gains out and in that keep the power of two streams that correlate so much (Fink, Holters & Zölzer 2016)."""
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(frames) + 0.5) / frames)
    fall = 1 - rise
    power = np.sqrt(fall**2 + rise**2 + 2 * np.clip(correlation, 0, 1) * fall * rise)
    return fall / power, rise / power


def extrapolate(past: Samples, frames: int, sample_rate: int) -> Samples:
    """Let each channel ring on past its last frame: an autoregressive model, damped, never louder than the edge.

    Of three training lengths the one that best foretells the last 3 ms is taken.

    Args:
        past: the last 120 ms or so `[frames, channels]`.
        frames: how many to add.
        sample_rate: frames per second.

    Returns:
        `[frames, channels]`; zero where there is too little to learn from.
    """
    tails = [_extrapolate_channel(channel.astype(np.float64), frames, sample_rate) for channel in past.T]
    return np.stack(tails, axis=1).astype(np.float32)


def _extrapolate_channel(past: Floats, frames: int, sample_rate: int) -> Floats:
    loudest = float(np.abs(past).max(initial=0.0))
    model = _best_model(past, sample_rate) if loudest >= _FAINTEST else None
    if model is None:
        return np.zeros(frames)
    tail = _ring(past, model, frames)
    width = max(8, int(_ENERGY_SECONDS * sample_rate))
    cap = _ENERGY_CAP * np.sqrt(np.mean(past[-2 * width :] ** 2) + 1e-12)
    tail *= np.minimum(1, cap / np.sqrt(np.maximum(running_mean(tail**2, width), 1e-12)))
    # the model damps its very first step too; carry on from the edge with its value and slope
    usual_step = 3 * median(np.abs(np.diff(past[-4 * width :]))) + 1e-9
    gap = past[-1] + np.clip(past[-1] - past[-2], -usual_step, usual_step) - tail[0]
    tail += np.clip(gap, -loudest, loudest) * np.exp(-np.arange(frames) / (0.001 * sample_rate))
    return np.clip(tail, -1.2 * loudest, 1.2 * loudest)


def _best_model(past: Floats, sample_rate: int) -> Floats | None:
    """Coefficients trained on the length whose model best foretells the last 3 ms; None where none can be."""
    proof = max(8, int(_PROOF_SECONDS * sample_rate))
    order = int(np.clip(_ORDER_SECONDS * sample_rate, 16, 400))
    best, least_error = None, np.inf
    for seconds in _TRAINING_SECONDS:
        length = min(len(past), int(seconds * sample_rate))
        fitting = min(order, (length - proof) // 3)
        if length < _LEAST_FRAMES or fitting < 1:
            continue
        trial = burg(past[-length:-proof], fitting)
        error = float(np.mean((_ring(past[:-proof], trial, proof) - past[-proof:]) ** 2))
        if len(trial) > 1 and error < 0.7 * least_error:
            best, least_error = (length, fitting), error
    return burg(past[-best[0] :], best[1]) if best else None


def burg(wave: Floats, order: int) -> Floats:
    """Prediction-error filter `[order + 1]`, first value 1, by Burg's method; shorter where nothing is left."""
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


def _ring(past: Floats, filter_: Floats, frames: int) -> Floats:
    """Run the damped model on from the past for that many frames."""
    order = len(filter_) - 1
    weights = -(filter_ * _DAMPING ** np.arange(order + 1))[:0:-1]
    wave = np.concatenate([past[len(past) - order :], np.zeros(frames)])
    for now in range(frames):
        wave[order + now] = weights @ wave[now : now + order]
    return wave[order:]

"""Crossfades, and extrapolation of a signal past its last frame."""

from functools import cache

import numpy as np

from outpaint_mcp.audio.levels import correlation, median, running_mean
from outpaint_mcp.audio.types import Floats, Samples

_BASS_SECONDS = 0.0006
"""Width of the moving averages that separate the bass: -6 dB at about 500 Hz."""
_TRAINING_SECONDS = (0.12, 0.04, 0.015)
"""Candidate training lengths, of which the best predictor is used."""
_PROOF_SECONDS = 0.003
"""The end of the past, held out to validate each candidate."""
_ORDER_SECONDS = 0.006
_DAMPING = 0.9995
"""Per coefficient and lag; keeps a model with poles near the unit circle from growing."""
_DIFFERENCE = 4
"""Order of the difference in which clicks stand out."""
_FAINTEST, _NO_POWER = 1e-6, 1e-18
_LEAST_FRAMES = 32
_ENERGY_SECONDS, _ENERGY_CAP = 0.005, 1.25
"""Window of the running power, and the highest RMS relative to the edge's."""
_EDGE_SECONDS, _SPOILT = 0.007, 4.0
"""How much a lossy decoder spoils at the end of a file (Opus most, 6.5 ms), and the error by which that is recognised.

The error is that of a prediction from what precedes it, relative to the same model's usual one.
"""
_USUAL_PLACES = 4
_SIMPLE_SECONDS, _SIMPLE_ORDER = 0.06, 100
"""Training length and order of the model that only has to recognise it."""
_RESIDUE_SECONDS, _RESIDUE_ORDER = 0.0015, 24
"""Time constant with which a decoder's distortion dies away past the edge, and the order of its model."""
_UNDAMPED_SECONDS = 0.002
_RINGING = 1.3
"""How much more ringing at an edge may bend where it ends than before."""
_EASE_SECONDS, _STIFFNESS = 0.001, (0.3, 0.1, 0.03, 0.01)
"""Time over which the first frames are bent to leave the edge smoothly, and how firmly they stay where they are."""


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


def blend(
    leaving: Samples | Floats, entering: Samples | Floats, sharp_frames: int, sample_rate: int
) -> Floats:
    """Crossfade the bass over the whole length and everything above it in the middle, each keeping its power.

    Held notes change over slowly and attacks stay sharp. The bands add up to the signals exactly, so the blend begins
    as the one and ends as the other.

    Args:
        leaving: `[frames]` or `[frames, channels]`.
        entering: the same size.
        sharp_frames: length of the fade above the bass; the bands are not split if it is all.
        sample_rate: frames per second.
    """
    frames = len(leaving)
    if sharp_frames >= frames:
        return _faded(leaving, entering, frames)
    low_leaving, low_entering = _bass(leaving, sample_rate), _bass(entering, sample_rate)
    return _faded(low_leaving, low_entering, frames) + _faded(
        leaving - low_leaving, entering - low_entering, sharp_frames
    )


def _faded(leaving: Samples | Floats, entering: Samples | Floats, frames: int) -> Floats:
    """Crossfade over `frames` in the middle."""
    lead = (len(leaving) - frames) // 2
    middle = slice(lead, lead + frames)
    falling, rising = crossfade_gains(frames, correlation(leaving[middle], entering[middle]))
    falling = np.pad(falling, (lead, len(leaving) - lead - frames), constant_values=(1, 0))
    rising = np.pad(rising, (lead, len(leaving) - lead - frames), constant_values=(0, 1))
    shape = (-1, *([1] * (leaving.ndim - 1)))
    return np.asarray(leaving * falling.reshape(shape) + entering * rising.reshape(shape), np.float64)


def _bass(wave: Samples | Floats, sample_rate: int) -> Floats:
    """What is left of a wave below about 500 Hz: three moving averages, whose phase is zero."""
    low = np.asarray(wave, np.float64)
    for _ in range(3):
        low = running_mean(low, round(_BASS_SECONDS * sample_rate))
    return low


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
    if loudest < _FAINTEST:
        return np.zeros(frames)
    spoilt = round(_EDGE_SECONDS * sample_rate)
    tail = _past_spoilt_edge(past, spoilt, frames, sample_rate)
    if tail is None:
        model = _best_model(past, sample_rate)
        if model is None:
            return np.zeros(frames)
        tail = _run_model(past, model, frames)
        # damping pulls the first step down, so it sets in gradually
        near = min(frames, round(_UNDAMPED_SECONDS * sample_rate))
        fall = 0.5 + 0.5 * np.cos(np.pi * np.arange(near) / max(near, 1))
        tail[:near] += (_run_model(past, model, near, damping=1.0) - tail[:near]) * fall
        tail = _capped(tail, past, sample_rate)
    tail = _eased(past, np.clip(tail, -1.2 * loudest, 1.2 * loudest), spoilt, sample_rate)
    return np.clip(tail, -1.2 * loudest, 1.2 * loudest)


def _past_spoilt_edge(past: Floats, spoilt: int, frames: int, sample_rate: int) -> Floats | None:
    """Continue what precedes a spoilt edge, while the edge's difference from that dies away; None if it is sound."""
    if len(past) <= (_USUAL_PLACES + 2) * spoilt or not _is_spoilt(past, spoilt, sample_rate):
        return None
    clean = past[:-spoilt]
    model = _best_model(clean, sample_rate)
    if model is None:
        return None
    onward = _run_model(clean, model, spoilt + frames)
    residue = past[-spoilt:] - onward[:spoilt]
    decay = np.exp(-np.arange(frames) / (_RESIDUE_SECONDS * sample_rate))
    rest = _run_model(residue, burg(residue, min(_RESIDUE_ORDER, spoilt // 3)), frames, damping=1.0)
    return _capped(onward[spoilt:], clean, sample_rate) + rest * decay


def _is_spoilt(past: Floats, spoilt: int, sample_rate: int) -> bool:
    """Whether the edge is predicted much worse from what precedes it than other places are by the same model."""
    fitted = past[-spoilt - round(_SIMPLE_SECONDS * sample_rate) : -spoilt]
    shortest = len(past) - (_USUAL_PLACES + 1) * spoilt
    model = burg(fitted, min(_SIMPLE_ORDER, len(fitted) // 3, shortest))
    usual = [_error(past[: -k * spoilt], model, spoilt) for k in range(1, _USUAL_PLACES + 1)]
    return _error(past, model, spoilt) > _SPOILT * (median(np.array(usual)) + 1e-12)


def _error(past: Floats, model: Floats, frames: int) -> float:
    """Mean squared error of predicting the last frames from what precedes them."""
    return float(np.mean((_run_model(past[:-frames], model, frames) - past[-frames:]) ** 2))


def _capped(tail: Floats, past: Floats, sample_rate: int) -> Floats:
    """Keep a tail from becoming louder than the past."""
    width = max(8, int(_ENERGY_SECONDS * sample_rate))
    cap = _ENERGY_CAP * np.sqrt(np.mean(past[-2 * width :] ** 2) + 1e-12)
    return np.asarray(tail * np.minimum(1, cap / np.sqrt(np.maximum(running_mean(tail**2, width), 1e-12))))


def _eased(past: Floats, tail: Floats, spoilt: int, sample_rate: int) -> Floats:
    """Bend the first millisecond of a tail as little as it takes to leave the edge without a click.

    A click is a fourth difference larger than any in the past, and than a lossy decoder's ringing at the edge leads to
    expect: that is near half the sample rate, where nobody hears it, and a tail that were bent towards it would click.
    The bend minimises the fourth differences against its own size (Whittaker 1922, as smoothing).
    """
    frames = round(_EASE_SECONDS * sample_rate)
    edge = past[-_DIFFERENCE:]
    if len(past) <= spoilt + _DIFFERENCE or frames < 1 or len(tail) < frames + _DIFFERENCE:
        return tail
    bends = np.abs(np.diff(past, _DIFFERENCE))
    usual = float(max(bends[:-spoilt].max(), _RINGING * bends[-spoilt:].max()))
    wave = np.concatenate([edge, tail[: frames + _DIFFERENCE]])
    bent = np.diff(wave, _DIFFERENCE)
    eased = tail.copy()
    for stiffness in _STIFFNESS:
        if np.abs(np.diff(wave, _DIFFERENCE)).max() <= usual:
            break
        eased[:frames] = tail[:frames] - _bend(frames, stiffness) @ bent
        wave = np.concatenate([edge, eased[: frames + _DIFFERENCE]])
    return eased


@cache
def _bend(frames: int, stiffness: float) -> Floats:
    """What to subtract from the first frames for given fourth differences `[frames, frames + 4]`."""
    differences = np.diff(np.eye(frames + 2 * _DIFFERENCE), _DIFFERENCE, axis=0)
    moved = differences[:, _DIFFERENCE : _DIFFERENCE + frames]
    return np.asarray(np.linalg.solve(moved.T @ moved + stiffness * np.eye(frames), moved.T), np.float64)


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


def _run_model(past: Floats, filter_: Floats, frames: int, *, damping: float = _DAMPING) -> Floats:
    """Run the model on for `frames` frames after the past, each coefficient damped by its lag."""
    order = len(filter_) - 1
    weights = -(filter_ * damping ** np.arange(order + 1))[:0:-1]
    wave = np.concatenate([past[len(past) - order :], np.zeros(frames)])
    for now in range(frames):
        wave[order + now] = weights @ wave[now : now + order]
    return wave[order:]

"""Letting music ring out: its last notes go on in a reverberation that dies away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.engine.ringout import limit
from outpaint_mcp.audio.levels import level_db, peak, running_mean, to_gain

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Floats, Samples

_PAST_SECONDS, _HIT_SECONDS = 1.2, (0.25, 0.6)
"""How much music before the line feeds the reverberation, and how long what follows the line remains."""
_DECAY_DB = 66.0
"""How far it falls until the end."""
_DULLED_SECONDS = 0.00008
"""The highs die away sooner: what is left of the noise at the end passes a moving average four times this long."""
_UNDER_DB = -2.5
"""Level of the reverberation where the music itself has gone, relative to it."""
_LEVEL_SECONDS = 0.5
_CLOSING_SHARE = 0.08
"""The last part of the decay ends in exact silence."""


def ring_on(music: Samples, at: int, period_frames: int, sample_rate: int) -> None:
    """Let music ring out from a line on, in place: the sounds of that beat are the last that are played.

    The tail is what exponentially decaying noise makes of the last beats (Moorer 1979), at their level, in their
    harmony: nothing new is struck, and nothing stops.

    Args:
        music: `[frames, channels]`, at full level to its last frame.
        at: the frame of the line; something must follow it.
        period_frames: how long a beat is.
        sample_rate: frames per second.
    """
    count = len(music) - at
    shortest, longest = (round(seconds * sample_rate) for seconds in _HIT_SECONDS)
    hit = int(min(max(shortest, min(period_frames, longest)), 0.5 * count))
    feed = music[max(0, at - round(_PAST_SECONDS * sample_rate)) : at + hit]
    tail = _reverberated(feed, at - max(0, at - round(_PAST_SECONDS * sample_rate)), count, sample_rate)
    span = round(_LEVEL_SECONDS * sample_rate)
    before_db = level_db(music[max(0, at - span) : at + hit])
    tail *= np.float32(to_gain(before_db + _UNDER_DB - level_db(tail[hit : hit + max(hit, 1)])))
    falling = np.ones(count)
    falling[hit // 2 : hit] = 0.5 + 0.5 * np.cos(
        np.pi * (np.arange(hit - hit // 2) + 0.5) / max(1, hit - hit // 2)
    )
    falling[hit:] = 0.0
    rising = np.sqrt(np.clip(1 - falling**2, 0, 1))
    rung = music[at:] * falling[:, None] + tail * rising[:, None]
    closing = max(1, int(_CLOSING_SHARE * count))
    rung[count - closing :] *= np.cos(np.pi / 2 * (np.arange(closing) + 1) / closing)[:, None] ** 2
    most = peak(music[max(0, at - span) : at + hit])
    limited = np.asarray(rung, np.float32)
    limit(limited, most, sample_rate)
    music[at:] = limited


def _reverberated(feed: Samples, line: int, count: int, sample_rate: int) -> Samples:
    """What a room makes of music, from the frame `line` of it on `[count, channels]`; the level is arbitrary."""
    rng = np.random.default_rng(1)
    size = 1 << int(np.ceil(np.log2(len(feed) + count + line)))
    decay = to_gain(-_DECAY_DB * np.arange(count) / max(count, 1))
    width = max(1, round(_DULLED_SECONDS * sample_rate))
    tail = np.empty((count, feed.shape[1]), np.float32)
    for channel in range(feed.shape[1]):
        noise = rng.standard_normal(count)
        response = decay * _dulled(noise, width, count)
        spectrum = np.fft.rfft(feed[:, channel].astype(np.float64), size) * np.fft.rfft(response, size)
        tail[:, channel] = np.fft.irfft(spectrum, size)[line : line + count]
    return tail


def _dulled(noise: Floats, width: int, count: int) -> Floats:
    """Noise that grows dull with time."""
    share = np.linspace(0, 1, count)
    return np.asarray(noise * (1 - share) + running_mean(noise, 4 * width) * share)

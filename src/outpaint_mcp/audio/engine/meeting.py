"""Where the extension meets the source: nothing of the source is touched, its own ringing dies away under the new.

Everything here looks outward, as `outlook` explains.
"""

from dataclasses import dataclass

import numpy as np

from outpaint_mcp.audio.engine.outlook import Outlook
from outpaint_mcp.audio.fades import crossfade_gains, extrapolate
from outpaint_mcp.audio.shapes import Floats, Samples
from outpaint_mcp.audio.waves import correlation, level_db, mono, peak, to_gain

_PAST_SECONDS = 0.12
_FADE_SECONDS, _LIKE_FADE_SECONDS, _LIKE = 0.045, 0.030, 0.5
_ATTACK_FADE_SECONDS, _ATTACK_DB = 0.006, 9.0
_REST_SECONDS, _REST_FADE_SECONDS = 0.06, 0.25
_GAP_SECONDS, _GAP_FADE_SECONDS = 0.0005, 0.004
_SHORTEST_FADE_FRAMES = 8
_LIMITING_SECONDS = 0.004
RELEASE_SECONDS = 3.0
SETTLE_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Ringing:
    """How the source sounds on past its own edge.

    Attributes:
        tail: what is faded out under the new material `[frames, channels]`.
        like_frames: how much of it is used where the new material is very like the source.
    """

    tail: Samples
    like_frames: int

    def under(self, new: Samples, agreement: float) -> Samples:
        """The beginning of new material (outward), faded in over the ringing."""
        fade = min(self.like_frames if agreement > _LIKE else len(self.tail), len(new))
        if fade == 0:
            return new[:0]
        tail, new = self.tail[:fade], new[:fade]
        falling, rising = crossfade_gains(fade, correlation(tail, new))
        return (tail * falling[:, None] + new * rising[:, None]).astype(np.float32)


def ring_out(outlook: Outlook) -> Ringing:
    """Let the source ring on: as itself, or as silence where it ends in silence."""
    rate, source = outlook.sample_rate, outlook.samples
    rest = _rest_frames(outlook)
    if rest > _REST_SECONDS * rate:
        return _silence(source, min(rest, int(_REST_FADE_SECONDS * rate)), rate)
    if rest > _GAP_SECONDS * rate:  # an encoder's gap is not to be widened
        return _silence(source, max(_SHORTEST_FADE_FRAMES, int(_GAP_FADE_SECONDS * rate)), rate)
    fade = min(int(_FADE_SECONDS * rate), len(source))
    tail = extrapolate(source[-int(_PAST_SECONDS * rate) :], fade, rate)
    # an attack on the source's first frame masks a short fade
    if outlook.backwards and level_db(source[-int(0.01 * rate) :]) > level_db(tail) + _ATTACK_DB:
        tail = tail[: max(_SHORTEST_FADE_FRAMES, int(_ATTACK_FADE_SECONDS * rate))]
    return Ringing(tail, min(len(tail), int(_LIKE_FADE_SECONDS * rate)))


def _silence(source: Samples, frames: int, sample_rate: int) -> Ringing:
    """Silence, come to from whatever small value the source stops at: no step, however faint."""
    return Ringing(settling(frames, sample_rate) * source[-1], frames)


def settling(frames: int, sample_rate: int) -> Samples:
    """Factors `[frames, 1]` that bring the value of an edge to nothing."""
    return np.exp(-np.arange(1, frames + 1) / (SETTLE_SECONDS * sample_rate)).astype(np.float32)[:, None]


def _rest_frames(outlook: Outlook) -> int:
    """How many of the last frames, half a second at most, are as good as silent."""
    last = outlook.samples[-max(1, int(0.5 * outlook.sample_rate)) :]
    wave = np.abs(mono(last, outlook.material.downmix))[::-1]
    heard = np.flatnonzero(wave > to_gain(max(outlook.material.level_db - 45, -80)))
    return int(heard[0]) if len(heard) else len(wave)


def release_curve(gain_db: float, frames: int, sample_rate: int) -> Floats:
    """A gain that settles at 0 dB within three seconds, as factors `[frames, 1]`."""
    remaining = np.clip(1 - np.arange(frames) / (RELEASE_SECONDS * sample_rate), 0, 1)
    return to_gain(gain_db * remaining)[:, None]


def limit(extension: Samples, most: float, sample_rate: int) -> None:
    """Keep an extension (outward) within a peak, in place: a gain that moves within milliseconds, 1 at the edge."""
    if peak(extension) <= most:
        return
    block = max(1, int(_LIMITING_SECONDS * sample_rate))
    starts = np.arange(0, len(extension), block)
    loudest = np.maximum.reduceat(np.abs(extension).max(axis=1), starts)
    gains = np.pad(most / np.maximum(loudest, most), 1, constant_values=1.0)
    held = np.minimum(np.minimum(gains[:-2], gains[1:-1]), gains[2:])
    knots, values = np.append(-1, starts + block // 2), np.append(1.0, held)
    moved = np.flatnonzero(np.repeat(np.minimum(held, np.append(held[1:], 1)) < 1, block)[: len(extension)])
    extension[moved] *= np.interp(moved, knots, values).astype(np.float32)[:, None]
    np.clip(extension, -most, most, out=extension)

"""Where the extension meets the source: the source's ring-out fades under the new music.

The source itself is not modified. Everything here runs outward; see `outward`.
"""

from dataclasses import dataclass

import numpy as np

from outpaint_mcp.audio.engine.outward import OutwardView
from outpaint_mcp.audio.fades import crossfade_gains, extrapolate
from outpaint_mcp.audio.levels import correlation, level_db, mono, peak, running_mean, to_gain
from outpaint_mcp.audio.types import Floats, Samples

_PAST_SECONDS = 0.12
"""Audio before the edge that the extrapolation is fitted to."""
_FADE_SECONDS, _LIKE_FADE_SECONDS, _LIKE = 0.045, 0.030, 0.5
"""Usual fade, the shorter one for similar waveforms, and the correlation from which it is used."""
_ATTACK_FADE_SECONDS, _ATTACK_DB = 0.006, 9.0
"""The fade for an attack this far above the ring-out, which masks a short fade."""
_REST_SECONDS, _REST_FADE_SECONDS = 0.06, 0.25
"""Silence at the edge from which it counts as a rest, and the longest fade in it."""
_GAP_SECONDS, _GAP_FADE_SECONDS = 0.0005, 0.004
"""Shorter silence is an encoder's gap, which is bridged quickly."""
_SHORTEST_FADE_FRAMES = 8
_POWER_SECONDS, _COLLAPSED = 0.005, 10.0
"""Over how much power is taken, and by which factor a tail has to be weaker than the edge before new music hurries."""
_ENTRY_SECONDS = 0.002
"""The least that new music takes to come in beneath a tail that has collapsed."""
_LIMITING_SECONDS = 0.004
RELEASE_SECONDS = 3.0
"""Time over which an entry gain returns to 0 dB."""
FELT_SHARE = 0.65
"""Share of such a gain that is felt as a change of gain, since it does not last."""
SETTLE_SECONDS = 0.005
"""Time constant with which a remaining sample value decays to zero."""


@dataclass(frozen=True, slots=True)
class RingOut:
    """How the source rings on past its own edge.

    Attributes:
        tail: what fades out under the new material `[frames, channels]`.
        like_frames: how much of it to use where the new material is similar to the source.
        missing: the share of the edge's power that the tail lacks `[frames]`: noise cannot be extrapolated.
    """

    tail: Samples
    like_frames: int
    missing: Floats

    def under(self, new: Samples, agreement: float) -> Samples:
        """Crossfade from the ring-out into the beginning of new material (outward)."""
        fade = min(self.like_frames if agreement > _LIKE else len(self.tail), len(new))
        if fade == 0:
            return new[:0]
        tail, new = self.tail[:fade], new[:fade]
        falling, rising = crossfade_gains(fade, correlation(tail, new))
        missing = self.missing[:fade]
        rising = np.where(missing > 0, np.sqrt(rising**2 + missing * np.maximum(1 - rising**2, 0)), rising)
        return (tail * falling[:, None] + new * rising[:, None]).astype(np.float32)


def meet_source(
    extension: Samples, ringing: RingOut, gain_db: float, agreement: float, sample_rate: int
) -> None:
    """Begin new material at the level of the source, and fade out its ring-out over it, in place (outward).

    Args:
        extension: `[frames, channels]`.
        ringing: what the source does past its edge.
        gain_db: of the first frame; it returns to 0 within three seconds.
        agreement: how alike the source and the new material are, as `under` takes it.
        sample_rate: frames per second.
    """
    near = extension[: int(RELEASE_SECONDS * sample_rate)]
    near *= release_curve(gain_db, len(near), sample_rate, within_frames=len(extension)).astype(np.float32)
    blended = ringing.under(near, agreement)
    near[: len(blended)] = blended


def ring_out(view: OutwardView) -> RingOut:
    """Continue the source past its edge: by extrapolation, or as silence where it ends in silence."""
    rate, source = view.sample_rate, view.samples
    rest = _rest_frames(view)
    if rest > _REST_SECONDS * rate:
        return _silence(source, min(rest, int(_REST_FADE_SECONDS * rate)), rate)
    if rest > _GAP_SECONDS * rate:  # do not widen an encoder's gap
        return _silence(source, max(_SHORTEST_FADE_FRAMES, int(_GAP_FADE_SECONDS * rate)), rate)
    fade = min(int(_FADE_SECONDS * rate), len(source))
    tail = extrapolate(source[-int(_PAST_SECONDS * rate) :], fade, rate)
    # an attack on the source's first frame masks a short fade
    if view.backwards and level_db(source[-int(0.01 * rate) :]) > level_db(tail) + _ATTACK_DB:
        tail = tail[: max(_SHORTEST_FADE_FRAMES, int(_ATTACK_FADE_SECONDS * rate))]
    return RingOut(tail, min(len(tail), int(_LIKE_FADE_SECONDS * rate)), _missing(source, tail, rate))


def _missing(source: Samples, tail: Samples, sample_rate: int) -> Floats:
    """The share of the edge's power that a tail lacks `[frames]`, beyond what is taken for a decay; 0 at the edge."""
    width = max(1, int(_POWER_SECONDS * sample_rate))
    edge = float(np.mean(source[-2 * width :] ** 2))
    if edge <= 0:
        return np.zeros(len(tail))
    power = running_mean(np.mean(tail.astype(np.float64) ** 2, axis=1), width)
    entry = np.minimum(np.arange(len(tail)) / (_ENTRY_SECONDS * sample_rate), 1)
    return np.asarray(entry * np.clip(1 - _COLLAPSED * power / edge, 0, 1))


def _silence(source: Samples, frames: int, sample_rate: int) -> RingOut:
    """Silence, reached by a decay from the source's last value so that nothing steps."""
    return RingOut(settling(frames, sample_rate) * source[-1], frames, np.zeros(frames))


def settling(frames: int, sample_rate: int) -> Samples:
    """Factors `[frames, 1]` that decay the value at an edge to zero."""
    return np.exp(-np.arange(1, frames + 1) / (SETTLE_SECONDS * sample_rate)).astype(np.float32)[:, None]


def _rest_frames(view: OutwardView) -> int:
    """Number of practically silent frames at the edge, at most half a second."""
    last = view.samples[-max(1, int(0.5 * view.sample_rate)) :]
    wave = np.abs(mono(last, view.material.downmix))[::-1]
    audible = np.flatnonzero(wave > to_gain(max(view.material.level_db - 45, -80)))
    return int(audible[0]) if len(audible) else len(wave)


def release_curve(
    gain_db: float, frames: int, sample_rate: int, *, within_frames: int | None = None
) -> Floats:
    """A gain that returns to 0 dB within three seconds, as factors `[frames, 1]`.

    Args:
        gain_db: at the first frame.
        frames: how many factors.
        sample_rate: frames per second.
        within_frames: the most that it may take, where the music's own level follows sooner than that.
    """
    most = RELEASE_SECONDS * sample_rate
    release = most if within_frames is None else max(1.0, min(most, float(within_frames)))
    remaining = np.clip(1 - np.arange(frames) / release, 0, 1)
    return to_gain(gain_db * remaining)[:, None]


def limit(extension: Samples, most: float, sample_rate: int) -> None:
    """Limit the peak of an extension (outward), in place.

    The gain moves within milliseconds and is 1 at the edge.

    Args:
        extension: `[frames, channels]`.
        most: the highest absolute value allowed.
        sample_rate: frames per second.
    """
    if peak(extension) <= most:
        return
    block = max(1, int(_LIMITING_SECONDS * sample_rate))
    starts = np.arange(0, len(extension), block)
    loudest = np.maximum.reduceat(np.abs(extension).max(axis=1), starts)
    gains = np.pad(most / np.maximum(loudest, most), 1, constant_values=1.0)
    held = np.minimum(np.minimum(gains[:-2], gains[1:-1]), gains[2:])
    knots, values = np.append(-1, starts + block // 2), np.append(1.0, held)
    near = np.pad(held, 1, constant_values=1.0)  # between two knots the gain is not 1 if it is not at either
    lowest = np.minimum(np.minimum(near[:-2], held), near[2:])
    moved = np.flatnonzero(np.repeat(lowest < 1, block)[: len(extension)])
    extension[moved] *= np.interp(moved, knots, values).astype(np.float32)[:, None]
    np.clip(extension, -most, most, out=extension)

"""Where the extension meets the source: nothing of the source is touched, its own ringing dies away under the new.

Everything here looks outward, as in `edges`: past the last frame of the source, time runs into the extension.
"""

import numpy as np

from outpaint_mcp.audio.analysis import Material
from outpaint_mcp.audio.edges import Edge
from outpaint_mcp.audio.fades import crossfade_gains, extrapolate
from outpaint_mcp.audio.render import LEVEL_SECONDS, release_curve
from outpaint_mcp.audio.shapes import Samples, Side
from outpaint_mcp.audio.waves import correlation, level_db, mono

_PAST_SECONDS = 0.12
_ATTACK_DB = 9.0


def meet(extension: Samples, material: Material, edge: Edge, side: Side) -> None:
    """Blend the beginning of our own `extension` (turned outward) into the source's edge, in place."""
    source = material.samples if side is Side.AFTER else material.samples[::-1]
    gain_db = _edge_gain_db(source, edge.frame, material.sample_rate)
    if abs(gain_db) > 0.05:
        released = extension[: int(3 * material.sample_rate)]
        released *= release_curve(gain_db, len(released), material.sample_rate).astype(np.float32)
    tail = _tail(source, material, edge, side, len(extension))
    if not len(tail):
        return
    new = extension[: len(tail)]
    falling, rising = crossfade_gains(len(tail), correlation(tail, new))
    new[:] = tail * falling[:, None] + new * rising[:, None]


def _edge_gain_db(source: Samples, frame: int, sample_rate: int) -> float:
    """Gain that brings what came before the new material to the level of what comes before the edge."""
    span = int(LEVEL_SECONDS * sample_rate)
    before = source[max(0, frame - span) : frame]
    if len(before) <= sample_rate // 20:
        return 0.0
    return float(np.clip(level_db(source[-span:]) - level_db(before), -40, 3))


def _tail(source: Samples, material: Material, edge: Edge, side: Side, most: int) -> Samples:
    """The source's ringing past its edge `[fade frames, channels]`; silence where it ends in silence."""
    rate, channels = material.sample_rate, source.shape[1]
    fade = min(int((0.030 if edge.agreement > 0.5 else 0.045) * rate), most, len(source))
    rest = _rest_frames(source, material)
    if rest > 0.06 * rate:  # a real rest: let the extension breathe
        return np.zeros((min(int(0.25 * rate), rest, most), channels), np.float32)
    if rest > 0.0005 * rate:  # an encoder's gap: do not widen it
        return np.zeros((min(fade, max(8, int(0.004 * rate))), channels), np.float32)
    if fade < 8:
        return np.zeros((0, channels), np.float32)
    tail = extrapolate(source[-int(_PAST_SECONDS * rate) :], fade, rate)
    attack = side is Side.BEFORE and level_db(source[-int(0.01 * rate) :]) > level_db(tail) + _ATTACK_DB
    return (
        tail[: max(8, int(0.006 * rate))] if attack else tail
    )  # an attack on the first frame masks a short fade


def _rest_frames(source: Samples, material: Material) -> int:
    """How many of the last frames, half a second at most, are as good as silent."""
    wave = np.abs(mono(source[-max(1, int(0.5 * material.sample_rate)) :], material.downmix))[::-1]
    heard = np.flatnonzero(wave > 10 ** (max(material.level_db - 45, -80) / 20))
    return int(heard[0]) if len(heard) else len(wave)

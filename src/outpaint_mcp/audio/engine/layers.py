"""Intros that build and outros that break down: layers of the music enter, or leave, on its bar lines.

Only music that was added is taken apart, never the source.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from outpaint_mcp.audio.engine.ringout import limit
from outpaint_mcp.audio.engine.separation import LAYERS, Layer, LayerMasks, find_layers, split_channel
from outpaint_mcp.audio.levels import median, peak, to_gain
from outpaint_mcp.audio.types import Floats, Ints, Samples, Segment

Order = Literal["build", "breakdown"]

_MOST_BARS, _FEWEST_BARS, _ODD_BARS = 8, 2, 3
"""Four bars or more are taken in pairs."""
_LONGEST_SECONDS = 20.0
_LONGEST_SHARE = 0.75
"""Share of the music to shape at most, so that some of it is full; two bars may take all of it."""
_STRETCH_SECONDS, _LONGEST_BAR_SECONDS = 2.0, 6.0
"""What stands for a bar where there are none, or where they are too long."""
_RAMP_SECONDS, _AHEAD_SECONDS = 0.030, 0.004
"""How long a layer takes to enter or leave, and how long before the line it has: no attack on the line is cut."""
_SWELL_SHARE = 0.5
"""Share of the first bar of a build over which it comes out of silence."""
_RINGING_DB, _RELEASE_SECONDS = 40.0, 0.02
"""How far the last bar of a breakdown decays, and the fade at its very end."""
_LEAST_LEFT_DB = -14.0
"""The level, beside the whole, that is left in every bar when layers are away; music of one layer would be gone."""
_LEAVING: tuple[tuple[Layer, ...], ...] = (
    ("treble", "drums", "bass"),
    ("treble", "drums"),
    ("treble", "bass"),
    ("treble",),
)
"""Layers in the order in which they leave; the first row that leaves enough is taken."""


def shape_layers(samples: Samples, bounds: Ints, sample_rate: int, order: Order) -> Samples:
    """Let the layers of added music enter one after the other, or leave, on bar lines.

    What is heard keeps its level and its key, and the peak does not grow. A build comes out of silence with the
    sustained sounds of the middle register; bass, drums and treble follow after equal numbers of bars, and in the last
    ones everything plays. A breakdown is its mirror image; its last bar rings out.

    Args:
        samples: the music `[frames, channels]`, not modified.
        bounds: frames of the bar lines to shape between, both ends included `[bars + 1]` (see `shaping_bounds`); about
            20 s are in memory several times.
        sample_rate: frames per second.
        order: whether layers enter or leave.

    Returns:
        As many frames. Those after the last line of a build, and up to 34 ms before the first one of a breakdown, are
        bit for bit the same; on the other side of the bars there is silence.
    """
    shaped = samples.copy()
    first, last = int(bounds[0]), int(bounds[-1])
    if order == "breakdown":  # what leaves on the first line does so just before it
        first = max(0, first - round((_RAMP_SECONDS + _AHEAD_SECONDS) * sample_rate))
    lines = bounds - first
    masks = find_layers(samples[first:last], sample_rate)
    absent = _absent(masks, lines, order)
    if lines[0]:
        lines, absent = np.append(0, lines), (frozenset(), *absent)
    gains = layer_gains(lines, absent, sample_rate)
    away = tuple(layer for layer in LAYERS if any(layer in bar for bar in absent))
    outline = _outline(lines, sample_rate, order)
    for channel in range(samples.shape[1]):
        wave = shaped[first:last, channel]
        for layer, part in split_channel(samples[first:last, channel], masks, sample_rate, away).items():
            wave -= (1 - gains[LAYERS.index(layer)]).astype(np.float32) * part
        wave *= outline
    limit(shaped[:: 1 if order == "breakdown" else -1], peak(samples), sample_rate)
    shaped[slice(last, None) if order == "breakdown" else slice(first)] = 0
    return shaped


def layer_gains(lines: Ints, absent: tuple[frozenset[Layer], ...], sample_rate: int) -> Floats:
    """Gain of each layer over time, 0 to 1: constant but for a short ramp just before a line.

    Args:
        lines: frames of the bar lines, the first of which is 0 `[bars + 1]`.
        absent: the layers that do not play in each bar.
        sample_rate: frames per second.

    Returns:
        `[layers, frames]`, in the order of `LAYERS`.
    """
    heard = np.array([[layer not in bar for layer in LAYERS] for bar in absent], np.float64).T
    gains = np.repeat(heard, np.diff(lines), axis=1)
    ahead, ramp = round(_AHEAD_SECONDS * sample_rate), max(1, round(_RAMP_SECONDS * sample_rate))
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(ramp) + 0.5) / ramp)
    for bar, line in enumerate(lines[1:-1].tolist(), 1):
        before, after = heard[:, bar - 1 : bar], heard[:, bar : bar + 1]
        stop = max(line - ahead, 0)
        start = max(stop - ramp, 0)
        gains[:, start:stop] = before + (after - before) * rise[ramp - (stop - start) :]
        gains[:, stop:line] = after
    return gains


def shaping_bounds(lines: Ints, frames: int, sample_rate: int, order: Order) -> Ints | None:
    """Choose the bars to shape: the last ones for a breakdown, the first ones for a build.

    At most eight bars, 20 s and three quarters of the music; in even stretches of about 2 s where there are no bars.

    Args:
        lines: frames of the bar lines inside the music, in increasing order; empty where there are none.
        frames: the length of the music.
        sample_rate: frames per second.
        order: what the bars are for.

    Returns:
        Frames of their lines, which reach to the outer end `[bars + 1]`; None where there are not even two bars.
    """
    if order == "build":
        mirrored = shaping_bounds((frames - lines)[::-1], frames, sample_rate, "breakdown")
        return None if mirrored is None else frames - mirrored[::-1]
    bounds = _to_the_end(lines, frames, sample_rate)
    fitting = frames - bounds <= min(_LONGEST_SECONDS * sample_rate, _LONGEST_SHARE * frames)
    bars = min(int(fitting.sum()) - 1, _MOST_BARS)
    if bars > _ODD_BARS:
        bars -= bars % 2
    bars = max(bars, _FEWEST_BARS)
    return bounds[-bars - 1 :] if len(bounds) > bars else None


def lines_in(segments: tuple[Segment, ...], lines: Ints) -> Ints:
    """Where frames of the source, such as its bar lines, lie in an extension, in increasing order."""
    found = [
        lines[(lines >= part.source_frame) & (lines < part.source_frame + part.frames)]
        + (part.extension_frame - part.source_frame)
        for part in segments
    ]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *found]))


def _to_the_end(lines: Ints, frames: int, sample_rate: int) -> Ints:
    """Bar lines and the end of the music; a last bar that is cut short is one with the bar before it."""
    inside = lines[(lines >= 0) & (lines < frames)]
    bar = median(np.diff(inside)) if len(inside) > 1 else np.inf
    if bar > _LONGEST_BAR_SECONDS * sample_rate:
        bar = _STRETCH_SECONDS * sample_rate
        inside = np.rint(np.arange(frames - bar, -1, -bar)[::-1]).astype(np.int64)
    return np.append(inside[inside <= frames - bar / 2], frames)


def _absent(masks: LayerMasks, lines: Ints, order: Order) -> tuple[frozenset[Layer], ...]:
    """Which layers do not play in each bar."""
    power = 10 ** (masks.levels_db(lines) / 10)
    for leaving in _LEAVING:
        absent = tuple(frozenset(leaving[:count]) for count in _counts(len(lines) - 1, len(leaving), order))
        heard = np.array([[layer not in bar for layer in LAYERS] for bar in absent])
        if ((power * heard).sum(axis=1) >= to_gain(2 * _LEAST_LEFT_DB)).all():
            break
    return absent


def _counts(bars: int, layers: int, order: Order) -> list[int]:
    """How many layers do not play in each bar, in equal shares of the bars; none at the end of a build."""
    if order == "build":
        return [(layers + 1) * left // bars for left in reversed(range(bars))]
    return [layers - layers * left // bars for left in reversed(range(bars))]


def _outline(lines: Ints, sample_rate: int, order: Order) -> npt.NDArray[np.float32]:
    """The gain of everything `[frames]`: a swell out of silence, or a last bar that rings out."""
    outline = np.ones(lines[-1])
    if order == "build":
        swell = max(1, round(_SWELL_SHARE * int(lines[1])))
        outline[:swell] = np.sin(np.pi / 2 * (np.arange(swell) + 0.5) / swell) ** 2
    else:
        ringing = int(lines[-1] - lines[-2])
        outline[-ringing:] = to_gain(-_RINGING_DB * np.arange(ringing) / ringing)
        release = min(ringing, round(_RELEASE_SECONDS * sample_rate))
        outline[-release:] *= np.linspace(1, 0, release)
    return outline.astype(np.float32)

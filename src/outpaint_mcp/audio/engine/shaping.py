"""The outer end of an extension, shaped after what it consists of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.engine.bars import clear_lines
from outpaint_mcp.audio.engine.layers import Order, lines_in, shape_layers, shaping_bounds
from outpaint_mcp.audio.engine.outer_end import Lines, OuterName, make_beginning, make_end
from outpaint_mcp.audio.sides import Side

if TYPE_CHECKING:
    from outpaint_mcp.audio.engine.outward import OutwardView
    from outpaint_mcp.audio.engine.render import Splice
    from outpaint_mcp.audio.types import Ints, Samples

_STRETCH_SECONDS = 2.0
"""Without bars, about so much music lies between the beats at which layers enter or leave."""


def shape_outer(far: Samples, lines: Lines, view: OutwardView, name: OuterName) -> int:
    """Shape the outer end, in place; returns how many frames of it are no full music any more."""
    if name == "layers":
        shaped = _shape_layers(view.turned(far), lines, view)
        if shaped:
            return shaped
    make = make_beginning if view.side is Side.BEFORE else make_end
    return make(far, lines, name, view.sample_rate)


def _shape_layers(extension: Samples, lines: Lines, view: OutwardView) -> int:
    """Let layers enter or leave, in place (in playing order); 0 where there are not even two bars."""
    order: Order = "build" if view.backwards else "breakdown"
    total = len(extension)
    outward = layer_lines(lines, view.sample_rate)
    bars = total - outward[::-1] if view.backwards else outward
    bounds = shaping_bounds(bars, total, view.sample_rate, order)
    if bounds is None:
        return 0
    if order == "build":
        extension[: bounds[-1]] = shape_layers(extension[: bounds[-1]], bounds, view.sample_rate, order)
        return int(bounds[-1])
    first = max(0, int(bounds[0]) - view.sample_rate)  # what leaves on the first line does so just before it
    extension[first:] = shape_layers(extension[first:], bounds - first, view.sample_rate, order)
    return total - int(bounds[0])


def layer_lines(lines: Lines, sample_rate: int) -> Ints:
    """Where layers may enter or leave, in outward frames: at bars, or every two, four or eight beats without them."""
    if len(lines.bars):
        return lines.bars
    beats = _STRETCH_SECONDS * sample_rate / max(lines.period_frames, 1)
    step = 1 << max(0, round(np.log2(max(beats, 1))))
    return lines.frames[::-step][::-1]


def lines_of(view: OutwardView, rendered: Splice) -> Lines:
    """The bounds of the units of an extension, outward."""
    music = view.music
    clear = clear_lines(music)
    downbeats = np.zeros(0, np.int64) if clear is None else clear
    total = len(rendered.samples)
    inside = [lines_in(rendered.segments, bounds) for bounds in (music.units.bounds, downbeats)]
    frames, begins = (total - lines[::-1] if view.backwards else lines for lines in inside)
    return Lines(frames, begins, music.units.period_frames)

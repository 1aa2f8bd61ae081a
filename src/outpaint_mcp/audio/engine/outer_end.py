"""How music that was added ends, or begins: it is rendered at full level, and its outer end is shaped from that.

Everything here runs outward; see `outward`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from outpaint_mcp.audio.engine.decay import ring_on

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Floats, Ints, Samples

OuterName = Literal["natural", "fade", "cut", "layers", "open"]
"""`natural`: rings out from a line (a beginning leads into one); `fade`; `cut`: full to the last frame; `layers`: they
enter or leave; `open`: as it is, since something follows.
"""

_EDGE_SECONDS = 0.003
"""A cut is no click."""
_RING_SECONDS, _SHORTEST_RING_SECONDS, _USUAL_RING_SECONDS = 4.0, 1.5, 2.5
_FADE_SECONDS, _SHORTEST_FADE_SECONDS, _USUAL_FADE_SECONDS = 10.0, 5.0, 7.0
_LEAD_IN_SECONDS = 4.0
_MOST_SHARE = 0.5
"""Of an extension that is turned into its end, if it is short."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Where an extension can end: the bounds of what it consists of.

    Attributes:
        frames: beats or grains, outward frames in increasing order.
        bars: those of them that begin a bar; empty where bars are not known.
        period_frames: the usual distance of the lines.
    """

    frames: Ints
    bars: Ints
    period_frames: float

    def turned(self, total: int, direction: int) -> Lines:
        """The same lines of so many frames, counted from the other end where the direction is -1."""
        if direction > 0:
            return self
        return Lines(total - self.frames[::-1], total - self.bars[::-1], self.period_frames)

    def nearest(self, wanted: float, low: float, high: float) -> int:
        """The bar line nearest to a frame within bounds, or else the beat; the frame itself where there is neither."""
        for lines in (self.bars, self.frames):
            inside = lines[(lines >= low) & (lines <= high)]
            if len(inside):
                return int(inside[np.abs(inside - wanted).argmin()])
        return round(wanted)


def make_end(extension: Samples, lines: Lines, name: OuterName, sample_rate: int) -> int:
    """Make the end of an extension, in place.

    Args:
        extension: outward `[frames, channels]`, at full level to its last frame.
        lines: where it can end.
        name: how; `layers` is done elsewhere, and is a fade here.
        sample_rate: frames per second.

    Returns:
        How many of its last frames are no full music any more.
    """
    match name:
        case "open":
            return 0
        case "cut":
            _fade(extension, int(_EDGE_SECONDS * sample_rate))
            return 0
        case "natural":
            return _ring_out(extension, lines, sample_rate)
        case _:
            return _fade_out(extension, lines, sample_rate)


def make_beginning(extension: Samples, lines: Lines, name: OuterName, sample_rate: int) -> int:
    """Make the beginning of an extension that comes before a source, in place; see `make_end`.

    A natural one begins on a beat; what is left before that swells into it.
    """
    if name in {"cut", "open"}:
        return make_end(extension, lines, name, sample_rate)
    if name != "natural":
        return _fade_out(extension, lines, sample_rate)
    total = len(extension)
    low = total - min(_LEAD_IN_SECONDS * sample_rate, _MOST_SHARE * total)
    inside = lines.frames[(lines.frames >= low) & (lines.frames < total)]
    first = total - int(inside.max()) if len(inside) else 0
    shaped = max(first, min(int(_EDGE_SECONDS * sample_rate), total))
    _fade(extension, shaped)
    return first


def _ring_out(extension: Samples, lines: Lines, sample_rate: int) -> int:
    total = len(extension)
    longest = min(_RING_SECONDS * sample_rate, _MOST_SHARE * total)
    shortest = min(_SHORTEST_RING_SECONDS * sample_rate, longest)
    usual = min(_USUAL_RING_SECONDS * sample_rate, longest)
    at = lines.nearest(total - usual, total - longest, total - shortest)
    if total - at < 1:
        return 0
    ring_on(extension, at, round(lines.period_frames), sample_rate)
    return total - at


def _fade_out(extension: Samples, lines: Lines, sample_rate: int) -> int:
    total = len(extension)
    longest = min(_FADE_SECONDS * sample_rate, _MOST_SHARE * total)
    shortest = min(_SHORTEST_FADE_SECONDS * sample_rate, longest)
    usual = min(_USUAL_FADE_SECONDS * sample_rate, longest)
    shaped = total - lines.nearest(total - usual, total - longest, total - shortest)
    _fade(extension, shaped)
    return shaped


def _half_cosine(count: int) -> Floats:
    return np.asarray(np.cos(np.pi / 2 * (np.arange(count) + 0.5) / max(count, 1)) ** 2)


def _fade(extension: Samples, frames: int) -> None:
    frames = min(frames, len(extension))
    if frames:
        extension[len(extension) - frames :] *= _half_cosine(frames).astype(np.float32)[:, None]

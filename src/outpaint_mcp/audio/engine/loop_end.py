"""Ending where the file begins: how long such a file is, where to end, and how the last frames lead back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.engine.edges import Edge, find_edges
from outpaint_mcp.audio.engine.outward import OutwardView
from outpaint_mcp.audio.engine.ringout import RingOut, meet_source, ring_out
from outpaint_mcp.audio.sides import Side

if TYPE_CHECKING:
    from collections.abc import Iterable

    from outpaint_mcp.audio.beats import Beats
    from outpaint_mcp.audio.engine.analysis import Material, Music
    from outpaint_mcp.audio.engine.bars import Bars
    from outpaint_mcp.audio.engine.periods import Period
    from outpaint_mcp.audio.types import Floats, Samples, Segment

_STEADY_SHARE = 0.03
"""A grid this close to an even one, as a share of a beat, has one tempo throughout."""
_FAULT = 1.5
"""Cost of each fault of a landing, as at the entry of an extension."""


@dataclass(frozen=True, slots=True)
class LoopLength:
    """How long a file is that loops.

    Attributes:
        frames: its length.
        count: how many bars or beats that is; 0 where it has neither.
        unit: `bars`, `beats`, or `frames` where it has neither.
    """

    frames: int
    count: int
    unit: str


@dataclass(frozen=True, slots=True)
class Landings:
    """Where music that plays the source may end so that the source's beginning can follow.

    Attributes:
        edges: how to end, by the last unit that plays; an edge's frame counts back from the region's end.
        ringing: what precedes the source's first frame, as far as that can be extrapolated.
        region_frames: length of the region.
        sample_rate: frames per second.
    """

    edges: dict[int, Edge]
    ringing: RingOut
    region_frames: int
    sample_rate: int

    def finish(self, units: int) -> Floats:
        """Cost of each of `units` units as the last one that plays, infinite for most: for `find_path`."""
        costs = np.full(units, np.inf)
        for unit, edge in self.edges.items():
            costs[unit] = edge.cost + _FAULT * edge.faults
        return costs

    def leave_frame(self, unit: int) -> int:
        """Return the frame of the region, near the end of `unit`, at which to leave it for the beginning."""
        return self.region_frames - self.edges[unit].frame

    def lead_back(self, extension: Samples, unit: int) -> None:
        """Let the last frames of an extension lead into the source's first, in place.

        The level moves over the last three seconds to the beginning's, and the last moments fade into what is
        extrapolated before it. The source is not touched.

        Args:
            extension: ends at `leave_frame(unit)`.
            unit: the last unit that plays.
        """
        edge = self.edges[unit]
        meet_source(extension[::-1], self.ringing, edge.gain_db, edge.agreement, self.sample_rate)


def find_landings(material: Material, music: Music) -> Landings:
    """Find the places from which a region's own beginning can follow, each as it would be rendered and measured.

    Leading back to the beginning is the same as leading into it from before.
    """
    view = OutwardView(material, music, Side.BEFORE)
    ringing = ring_out(view)
    count = len(music.units)
    found = {count - 2 - outward: edge for outward, edge in find_edges(view, ringing).items()}
    edges = {unit: edge for unit, edge in found.items() if unit >= 0}
    return Landings(edges, ringing, len(material.samples), material.sample_rate)


def frames_until(segments: Iterable[Segment], source_frame: int) -> int | None:
    """Return how many frames of an extension play until its last run reaches a frame of the source.

    None if it does not reach it.
    """
    last = max(segments, key=lambda segment: segment.extension_frame, default=None)
    if last is None or not last.source_frame <= source_frame <= last.source_frame + last.frames:
        return None
    return last.extension_frame + source_frame - last.source_frame


def loop_length(
    asked_frames: int, source_frames: int, music: Music | None, bars: Bars | None, *, longer_than: int = 0
) -> LoopLength:
    """Find the length nearest to the one asked for at which a file can lead back to its source's first frame.

    The source's bars are counted along its own lines, and those behind its last line at the pace of its last
    beats, so that a tempo that drifts does not put the end off the bar.

    Args:
        asked_frames: the length of the whole file asked for.
        source_frames: the length of the source, which begins the file.
        music: the source's analysis; None where it has none.
        bars: its bars; without them, or where they are not clear, beats are counted.
        longer_than: what the file has at least one frame more than, if that is more than the source up to here.
    """
    beats = music.beats if music else None
    longer_than = max(longer_than, source_frames)
    if beats is None:
        return LoopLength(max(asked_frames, longer_than + 1), 0, "frames")
    counts_bars = bars is not None and bars.are_clear
    lines = bars.lines(beats) if bars and counts_bars else beats.frames
    unit_frames = _pace(beats, source_frames) * (bars.beats_per_bar if bars and counts_bars else 1)
    within = int(lines[-1] - lines[0])
    least = int(np.ceil((longer_than + 1 - within) / unit_frames))
    beyond = max(round((asked_frames - within) / unit_frames), least)
    return LoopLength(
        round(within + beyond * unit_frames), len(lines) - 1 + beyond, "bars" if counts_bars else "beats"
    )


def _pace(beats: Beats, frame: int) -> float:
    """Length of a beat behind a frame: of all beats where they are even, else of the last ones."""
    count = np.arange(len(beats.frames))
    slope, offset = (float(value) for value in np.polyfit(count, beats.frames, 1))
    stray = float(np.std(beats.frames - (offset + slope * count)))
    return slope if stray < _STEADY_SHARE * slope else beats.period_near(frame)


def loop_length_of(
    period: Period, asked_frames: int, source_frames: int, leave_frames: Iterable[int] = ()
) -> LoopLength:
    """Find the length nearest to the one asked for at which a source that is a loop leads back to its beginning.

    Args:
        period: the loop.
        asked_frames: the length of the whole file asked for.
        source_frames: the length of the source, which begins the file: that is longer, if only by one of these.
        leave_frames: frames inside the loop from which its beginning can follow too, besides its end.
    """
    frames = min(
        (_nearest(period, leave, asked_frames, source_frames) for leave in {period.stop, *leave_frames}),
        key=lambda made: (abs(made - asked_frames), made),
    )
    if period.beat_frames is None:
        return LoopLength(frames, 0, "frames")
    beats = round((frames - period.first) / period.beat_frames)
    meter = period.beats_per_bar
    return LoopLength(frames, beats // meter, "bars") if meter else LoopLength(frames, beats, "beats")


def _nearest(period: Period, leave: int, asked_frames: int, source_frames: int) -> int:
    """The length nearest to the one asked for that ends at a frame of the loop."""
    least = (source_frames - leave) // period.frames + 1
    return leave + max(round((asked_frames - leave) / period.frames), least) * period.frames


def bar_lines(period: Period) -> tuple[int, ...]:
    """Return the bar lines inside a loop, at which its beginning comes in time; none without bars."""
    if period.beat_frames is None or period.bars is None or period.beats_per_bar is None:
        return ()
    bar = period.beat_frames * period.beats_per_bar
    return tuple(period.first + round(line * bar) for line in range(1, period.bars))


def close_loop(extension: Samples, material: Material, music: Music) -> None:
    """Let the last moments of an extension fade into what can be extrapolated before the region's beginning, in place.

    For an extension that is left in time, but not where the region itself ends.
    """
    ringing = ring_out(OutwardView(material, music, Side.BEFORE))
    blended = ringing.under(extension[::-1], 0.0)
    extension[len(extension) - len(blended) :] = blended[::-1]

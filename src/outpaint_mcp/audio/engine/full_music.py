"""Where a recording's full music begins and ends: what comes before and behind is a fade, a decay or silence.

Music that goes on behind a fade leaves a hole. So it goes on from the last full bar instead, and the faded ending is
used again at the end of the longer file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from outpaint_mcp.audio.engine.analysis import analyse
from outpaint_mcp.audio.engine.bars import clear_lines
from outpaint_mcp.audio.engine.periods import find_period
from outpaint_mcp.audio.engine.regions import read_ends
from outpaint_mcp.audio.layout import PartKind
from outpaint_mcp.audio.levels import CHUNK_FRAMES, median, running_mean
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.surroundings import EdgeName, FullMusic

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.layout import Layout
    from outpaint_mcp.audio.types import Floats, Ints, Samples

NEAR_SECONDS = 90.0
"""How much of a recording's end tells how it ends."""

_BLOCK_SECONDS = 0.05
_SMOOTH_BLOCKS, _STEADY_BLOCKS = 8, 30
_BODY_DB, _FULL_DB = 4.0, 2.0
"""Music within the first of its usual level has not faded; within the second, not begun to."""
_ENDED_DB = 15.0
"""A recording whose last moment is within this of its usual level ends in full music."""
_MOMENT_BLOCKS = 6
_BEFORE_BLOCKS = 12
"""Before the line at which full music ends, this much of it has to be full."""
_SOUND_DB, _INAUDIBLE_DB = 60.0, -80.0
"""Below the loudest, and re full scale: silence."""
_GAP_SECONDS = 0.06
"""Encoders leave shorter silences."""
_SILENT_SECONDS = 0.5
_FADE_SECONDS, _STEADINESS = 2.0, 0.8
"""A descent this long and this straight (correlation with time) is a fade, and otherwise a decay."""
_LEAST_SECONDS, _LEAST_SHARE = 4.0, 0.25
"""What is left of a recording has to be at least this much: a single chord has no full music to go on from."""
_LEAST_KNOWN_SECONDS = 1.0
"""The same where it is known what is left; less may have been cut out of an earlier result."""


_KNOWN: dict[PartKind, EdgeName] = {
    PartKind.LEAD_IN: "ours",
    PartKind.RING_OUT: "ours",
    PartKind.OWN_BEGINNING: "own",
    PartKind.OWN_ENDING: "own",
}


_LONGEST_TAIL_SECONDS = 4.0
"""What rings out at the end of a loop is part of it: it ends where its beginning is due."""


class _Edge(NamedTuple):
    """An edge of a region: how many frames there are not full music, and what they are."""

    frames: int
    name: EdgeName


def find_full_music(
    path: Path, layout: Layout | None = None, *, start_seconds: float = 0.0, end_seconds: float = 0.0
) -> FullMusic:
    """Decode a recording, or a part of it, and find where its full music begins and ends.

    Args:
        path: any audio that can be decoded.
        layout: what it consists of, if it is an earlier result.
        start_seconds: where the part begins.
        end_seconds: where it ends; 0 for the recording's own end.

    Raises:
        SourceUnreachable, UnsupportedAudio: as `AudioReader` raises them.
    """
    head, tail, frames, rate = read_ends(
        path, NEAR_SECONDS, start_seconds=start_seconds, end_seconds=end_seconds
    )
    if layout is not None and (start_seconds or end_seconds):
        layout = layout.cut(start_seconds, frames, rate)
    before, beginning = edge_of(head, rate, Side.BEFORE, frames, layout)
    after, ending = edge_of(tail, rate, Side.AFTER, frames, layout)
    return FullMusic(frames, rate, before, frames - after, beginning, ending)


def edge_of(
    samples: Samples, sample_rate: int, side: Side, total: int, layout: Layout | None = None
) -> tuple[int, EdgeName]:
    """Find how many frames at an edge of a recording are not full music, and what they are.

    Args:
        samples: the recording's end on that side `[frames, channels]`; what is further than `NEAR_SECONDS` is ignored.
        sample_rate: frames per second.
        side: which end.
        total: length of the recording.
        layout: what it consists of, if it is an earlier result: then that is known.
    """
    if layout is not None and knows_full_music(layout, total):
        kind = layout.parts[0 if side is Side.BEFORE else -1].kind
        if kind in _KNOWN:
            return layout.full_from if side is Side.BEFORE else total - layout.full_to, _KNOWN[kind]
    near = round(NEAR_SECONDS * sample_rate)
    while near < len(samples) and not (samples[:near] if side is Side.BEFORE else samples[-near:]).any():
        near *= 2  # a long silence
    frames, name = full_edge(samples[:near] if side is Side.BEFORE else samples[-near:], sample_rate, side)
    is_whole = len(samples) == total <= round(NEAR_SECONDS * sample_rate)
    if is_whole and 0 < frames <= _LONGEST_TAIL_SECONDS * sample_rate and _is_loop(samples, sample_rate):
        return 0, "full"
    if total - frames < max(_LEAST_SECONDS * sample_rate, _LEAST_SHARE * total):
        return 0, "full"
    return frames, name


def knows_full_music(layout: Layout, total: int) -> bool:
    """Whether a layout is that of a recording of so many frames, and has full music that can be gone on from."""
    return (
        layout.frames == total
        and layout.full_to - layout.full_from >= _LEAST_KNOWN_SECONDS * layout.sample_rate
    )


def _is_loop(samples: Samples, sample_rate: int) -> bool:
    music = analyse(samples, sample_rate).music
    return music is not None and find_period(samples, sample_rate, music.features, music.beats) is not None


def full_edge(samples: Samples, sample_rate: int, side: Side) -> _Edge:
    """Find how far the full music of a region is from its edge.

    Args:
        samples: the region at the edge, in playing order `[frames, channels]`.
        sample_rate: frames per second.
        side: which of its edges.

    Returns:
        0 frames where it is full music to its very edge. The full music ends at a bar line where there are bars, else
        at a beat, else at a grain.
    """
    levels = _levels_db(samples, sample_rate)
    if side is Side.BEFORE:
        levels = levels[::-1]
    block = max(1, round(_BLOCK_SECONDS * sample_rate))
    sounding = np.flatnonzero(levels > max(levels.max(initial=-np.inf) - _SOUND_DB, _INAUDIBLE_DB))
    if not len(sounding):
        return _Edge(0, "full")
    silent_frames = max(0, len(samples) - (int(sounding[-1]) + 1) * block)
    audible = levels[: sounding[-1] + 1]
    smooth = running_mean(audible, _SMOOTH_BLOCKS)
    usual_db = median(smooth[sounding])
    if silent_frames <= _GAP_SECONDS * sample_rate and audible[-_MOMENT_BLOCKS:].max() > usual_db - _ENDED_DB:
        return _Edge(0, "full")
    full_blocks = _full_blocks(audible, usual_db)
    falling = smooth[full_blocks:]
    name = _name(falling, silent_frames / sample_rate)
    outward = min(full_blocks * block, len(samples) - silent_frames)
    lines = _lines(samples, sample_rate, side)
    full = [line for line in lines if line <= outward and _is_full(audible, line / block, usual_db)]
    return _Edge(len(samples) - (full[0] if full else outward), name)


def _levels_db(samples: Samples, sample_rate: int) -> Floats:
    """Level of each twentieth of a second `[blocks]`, dB re full scale."""
    block = max(1, round(_BLOCK_SECONDS * sample_rate))
    chunk = max(1, CHUNK_FRAMES // block) * block
    powers = [
        np.square(samples[first : first + chunk][: (len(samples) - first) // block * block])
        .mean(axis=1)
        .reshape(-1, block)
        .mean(axis=1)
        for first in range(0, len(samples), chunk)
    ]
    return 10 * np.log10(np.concatenate([np.zeros(0), *powers]).astype(np.float64) + 1e-12)


def _full_blocks(audible_db: Floats, usual_db: float) -> int:
    """How many blocks there are until the music begins to sink for good."""
    steady = running_mean(audible_db, _STEADY_BLOCKS)
    in_body = np.flatnonzero(running_mean(audible_db, _SMOOTH_BLOCKS) >= usual_db - _BODY_DB)
    last = int(in_body[-1]) if len(in_body) else 0
    near = steady[: last + 1]
    full = np.flatnonzero(near >= min(usual_db, float(near.max())) - _FULL_DB)
    return int(full[-1]) + 1 if len(full) else last + 1


def _name(falling_db: Floats, silent_seconds: float) -> EdgeName:
    seconds = len(falling_db) * _BLOCK_SECONDS
    if seconds >= _FADE_SECONDS:
        steadiness = -float(np.corrcoef(np.arange(len(falling_db)), falling_db)[0, 1])
        if steadiness >= _STEADINESS:
            return "fades"
    return "silence" if silent_seconds >= _SILENT_SECONDS else "rings out"


def _is_full(levels_db: Floats, at: float, usual_db: float) -> bool:
    """Whether music is full just before a place, and not in a rest before a last chord."""
    before = levels_db[max(0, round(at) - _BEFORE_BLOCKS) : round(at)]
    return (
        bool(len(before))
        and float(median(before)) >= usual_db - _BODY_DB
        and before.min() > usual_db - _ENDED_DB
    )


def _lines(samples: Samples, sample_rate: int, side: Side) -> list[int]:
    """Where music can be left, in outward frames: the outermost bar line first, then the beats, or else the grains."""
    music = analyse(samples, sample_rate).music
    if music is None:
        return []
    clear = clear_lines(music)
    bounds = music.units.bounds if clear is None else clear
    return sorted(_outward(bounds, len(samples), side).tolist(), reverse=True)


def _outward(lines: Ints, total: int, side: Side) -> Ints:
    return lines if side is Side.AFTER else total - lines

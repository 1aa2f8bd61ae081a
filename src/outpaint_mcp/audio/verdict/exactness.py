"""Whether a file holds a recording unchanged, value by value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from outpaint_mcp.audio.files.decode import BLOCK_FRAMES, Source
from outpaint_mcp.audio.files.encode import carrier, is_lossless, quantise

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt


class Changed(NamedTuple):
    """How many frames of a recording are others than they were.

    Attributes:
        inside: away from the edges at which it may have been crossfaded.
        at_edges: there.
        frames: how many it has in all.
    """

    inside: int
    at_edges: int
    frames: int


def changed_frames(source: Path, made: Path, at_frame: int, loose: tuple[int, int]) -> Changed | None:
    """Count the frames of a source that are other than in the file that should hold it unchanged.

    Values are compared as the formats store them; a lossy source counts as unchanged where each of its values
    was rounded once.

    Args:
        source: the recording.
        made: the longer one.
        at_frame: where in `made` its first frame should be, 0 or more.
        loose: how many frames at its beginning and at its end may have been crossfaded.

    Returns:
        None where the forms differ, so that nothing can have stayed the same.
    """
    with Source(source) as wanted, Source(made) as heard:
        one, other = wanted.probe, heard.probe
        same = (one.sample_rate, one.channels) == (other.sample_rate, other.channels)
        if not same or not is_lossless(other):
            return None
        _skip(heard, at_frame)
        return _compare(wanted, heard, loose)


def _skip(heard: Source, frames: int) -> None:
    block = np.empty((BLOCK_FRAMES, heard.probe.channels), np.float32)
    while heard.frames < frames and heard.read_into(block[: frames - heard.frames]):
        pass


def _compare(wanted: Source, heard: Source, loose: tuple[int, int]) -> Changed:
    stored = np.dtype(carrier(heard.probe))
    dtype = np.dtype(np.int32) if stored.kind == "i" else stored
    there = np.empty((BLOCK_FRAMES, heard.probe.channels), dtype)
    first = inside = 0
    held = np.zeros(0, bool)
    for block in wanted.blocks(dtype if is_lossless(wanted.probe) else np.float32):
        rounded = block if block.dtype == dtype else quantise(block, heard.probe.subtype).astype(dtype)
        count = _fill(heard, there[: len(block)])
        differs = np.ones(len(block), bool)
        differs[:count] = (_bytes(rounded[:count]) != _bytes(there[:count])).any(axis=1)
        opening = min(max(0, loose[0] - wanted.frames + len(block)), len(block))
        first += int(differs[:opening].sum())
        differs[:opening] = False
        held = np.concatenate([held, differs])
        settled = max(0, len(held) - loose[1])
        inside += int(held[:settled].sum())
        held = held[settled:]
    return Changed(inside, first + int(held.sum()), wanted.frames)


def _bytes(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """What stands in memory, in which one NaN is like another."""
    return np.ascontiguousarray(values).view(np.uint8)


def _fill(heard: Source, out: npt.NDArray[Any]) -> int:
    count = 0
    while count < len(out) and (more := heard.read_into(out[count:])):
        count += more
    return count

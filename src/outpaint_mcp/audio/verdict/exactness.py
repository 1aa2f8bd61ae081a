"""Whether a file holds a recording unchanged, value by value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from outpaint_mcp.audio.files.decode import BLOCK_FRAMES, AudioReader
from outpaint_mcp.audio.files.encode import decode_dtype, is_lossless, quantise

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt


class Changed(NamedTuple):
    """How many frames of a recording have changed.

    Attributes:
        inside: away from the edges at which it may have been crossfaded.
        at_edges: there.
        frames: how many it has in all.
    """

    inside: int
    at_edges: int
    frames: int


def changed_frames(source: Path, extended: Path, at_frame: int, loose: tuple[int, int]) -> Changed | None:
    """Count the frames of a source that differ in the file that should hold it unchanged.

    Values are compared as the formats store them; a lossy source counts as unchanged where each of its values
    was rounded once.

    Args:
        source: the recording.
        extended: the extended file.
        at_frame: where in `extended` its first frame should be, 0 or more.
        loose: how many frames at its beginning and at its end may have been crossfaded.

    Returns:
        None where rate or channels differ or the file is lossy, so that no value can be compared.
    """
    with AudioReader(source) as wanted, AudioReader(extended) as found:
        one, other = wanted.probe, found.probe
        same = (one.sample_rate, one.channels) == (other.sample_rate, other.channels)
        if not same or not is_lossless(other):
            return None
        _skip(found, at_frame)
        return _compare(wanted, found, loose)


def _skip(found: AudioReader, frames: int) -> None:
    block = np.empty((BLOCK_FRAMES, found.probe.channels), np.float32)
    while found.frames < frames and found.read_into(block[: frames - found.frames]):
        pass


def _compare(wanted: AudioReader, found: AudioReader, loose: tuple[int, int]) -> Changed:
    stored = np.dtype(decode_dtype(found.probe))
    dtype = np.dtype(np.int32) if stored.kind == "i" else stored
    there = np.empty((BLOCK_FRAMES, found.probe.channels), dtype)
    first = inside = 0
    held = np.zeros(0, bool)
    for block in wanted.blocks(dtype if is_lossless(wanted.probe) else np.float32):
        rounded = block if block.dtype == dtype else quantise(block, found.probe.subtype).astype(dtype)
        count = _fill(found, there[: len(block)])
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
    """The bytes in memory; a NaN equals itself in them."""
    return np.ascontiguousarray(values).view(np.uint8)


def _fill(found: AudioReader, out: npt.NDArray[Any]) -> int:
    count = 0
    while count < len(out) and (more := found.read_into(out[count:])):
        count += more
    return count

"""Whether a file holds a recording unchanged, value by value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from outpaint_mcp.audio.files.decode import AudioReader
from outpaint_mcp.audio.files.decoder import BLOCK_FRAMES
from outpaint_mcp.audio.files.encode import decode_dtype, is_lossless, quantise

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from outpaint_mcp.audio.layout import Preserved


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


def changed_frames(
    source: Path, extended: Path, stretches: Sequence[Preserved], loose: tuple[int, int]
) -> Changed | None:
    """Count the frames of a source that differ in the file that should hold them unchanged.

    Values are compared as the formats store them; a lossy source counts as unchanged where each of its values
    was rounded once.

    Args:
        source: the recording.
        extended: the extended file.
        stretches: what of it should be where in `extended`, in order; a stop beyond its end means that.
        loose: how many frames at the beginning and at the end of each stretch may have been crossfaded; at the outer
            ends of all of them, where nothing was added, 0.

    Returns:
        None where rate or channels differ or the file is lossy, so that no value can be compared.
    """
    with AudioReader(source) as wanted, AudioReader(extended) as found:
        one, other = wanted.probe, found.probe
        same = (one.sample_rate, one.channels) == (other.sample_rate, other.channels)
        if not same or not is_lossless(other):
            return None
        last = len(stretches) - 1
        parts = []
        for number, stretch in enumerate(stretches):
            _skip(wanted, stretch.start)
            _skip(found, stretch.at_frame)
            inner = max(loose)
            edges = (loose[0] if number == 0 else inner, loose[1] if number == last else inner)
            parts.append(_compare(wanted, found, stretch.stop - stretch.start, edges))
        return Changed(*map(sum, zip(*parts, strict=True)))


def _skip(found: AudioReader, frames: int) -> None:
    block = np.empty((BLOCK_FRAMES, found.probe.channels), np.float32)
    while found.frames < frames and found.read_into(block[: frames - found.frames]):
        pass


def _compare(wanted: AudioReader, found: AudioReader, frames: int, loose: tuple[int, int]) -> Changed:
    stored = np.dtype(decode_dtype(found.probe))
    dtype = np.dtype(np.int32) if stored.kind == "i" else stored
    there = np.empty((BLOCK_FRAMES, found.probe.channels), dtype)
    here = np.empty((BLOCK_FRAMES, found.probe.channels), dtype if is_lossless(wanted.probe) else np.float32)
    first = inside = compared = 0
    held = np.zeros(0, bool)
    unreal = wanted.unreal_frames
    while size := wanted.read_into(here[: min(BLOCK_FRAMES, frames - compared)]):
        block = here[:size]
        rounded = block if block.dtype == dtype else quantise(block, found.probe.subtype).astype(dtype)
        count = _fill(found, there[:size])
        differs = np.ones(size, bool)
        differs[:count] = (_bytes(rounded[:count]) != _bytes(there[:count])).any(axis=1)
        opening = min(max(0, loose[0] - compared), size)
        first += int(differs[:opening].sum())
        differs[:opening] = False
        held = np.concatenate([held, differs])
        settled = max(0, len(held) - loose[1])
        inside += int(held[:settled].sum())
        held = held[settled:]
        compared += size
    silenced = wanted.unreal_frames - unreal  # where the extended file has silence instead
    return Changed(inside + silenced, first + int(held.sum()), compared)


def _bytes(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The bytes in memory; a NaN equals itself in them."""
    return np.ascontiguousarray(values).view(np.uint8)


def _fill(found: AudioReader, out: npt.NDArray[Any]) -> int:
    count = 0
    while count < len(out) and (more := found.read_into(out[count:])):
        count += more
    return count

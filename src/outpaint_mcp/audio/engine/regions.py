"""The ends of a source, in memory: its extensions are generated from these."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from outpaint_mcp.audio.files.conversion import to_samples
from outpaint_mcp.audio.files.crop import cut
from outpaint_mcp.audio.files.decode import AudioReader
from outpaint_mcp.audio.files.decoder import BLOCK_FRAMES, Probe
from outpaint_mcp.audio.files.tail_buffer import TailBuffer

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.types import Samples

_REGION_SECONDS = 360.0
_REGION_VALUES = 40_000_000
"""A region is bounded by both: its duration, and its number of samples over all channels."""


class Head(NamedTuple):
    """The beginning of a source.

    Attributes:
        samples: its first frames, finite.
        whole: whether these are all of its frames.
    """

    samples: Samples
    whole: bool


class Ends(NamedTuple):
    """The beginning and the end of a source, which may be the same frames.

    Attributes:
        head: its first frames, finite.
        tail: its last.
        frames: how many there are in all.
        sample_rate: frames per second.
    """

    head: Samples
    tail: Samples
    frames: int
    sample_rate: int


def read_head(path: Path) -> Head:
    """Decode the beginning of a source, as long as a region may be.

    Raises:
        SourceUnreachable: if the file does not exist or cannot be read.
        UnsupportedAudio: if it cannot be decoded.
    """
    with AudioReader(path) as source:
        region = np.empty((region_frames(source.probe), source.probe.channels), np.float32)
        while source.read_into(region[source.frames : source.frames + BLOCK_FRAMES]):
            pass
        samples = region[: source.frames]
        whole = not source.read_into(np.empty((1, source.probe.channels), np.float32))
    for first in range(0, len(samples), BLOCK_FRAMES):
        block = samples[first : first + BLOCK_FRAMES]
        block[:] = to_samples(block)
    return Head(samples, whole)


def read_ends(path: Path, seconds: float, *, start_seconds: float = 0.0, end_seconds: float = 0.0) -> Ends:
    """Decode a source, or a part of it, and return both of its ends; raises as `read_head` does.

    Args:
        path: any audio that can be decoded.
        seconds: how much of each end.
        start_seconds: where the part begins.
        end_seconds: where it ends; 0 for the source's own end.
    """
    with AudioReader(path) as source:
        rate = source.probe.sample_rate
        wanted, count = round(seconds * rate), 0
        stop = round(end_seconds * rate) if end_seconds else sys.maxsize
        empty = np.zeros((0, source.probe.channels), np.float32)
        head, tail = [empty], TailBuffer(wanted)
        tail.add(empty)
        for block in cut(source.blocks(np.float32), round(start_seconds * rate), stop):
            if count < wanted:
                head.append(block[: wanted - count].copy())
            count += len(block)
            tail.add(block)
        last = tail.unroll()
        return Ends(
            to_samples(np.concatenate(head)), to_samples(last[max(0, len(last) - wanted) :]), count, rate
        )


def region_frames(found: Probe) -> int:
    """How many frames of a source are in memory at most."""
    return int(min(_REGION_SECONDS * found.sample_rate, _REGION_VALUES // found.channels))

"""The ends of a source that its extensions are generated from, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from outpaint_mcp.audio.files.decode import BLOCK_FRAMES, AudioReader, Probe

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from outpaint_mcp.audio.types import Samples

_REGION_SECONDS = 360.0
_REGION_VALUES = 40_000_000
"""A region is bounded by both: its duration, and its number of samples over all channels."""
_LOUDEST = 1e8
"""Values beyond this (+160 dB) are corrupt floating-point data rather than sound."""


class Head(NamedTuple):
    """The beginning of a source.

    Attributes:
        samples: its first frames, finite.
        whole: whether these are all of its frames.
    """

    samples: Samples
    whole: bool


def read_head(path: Path) -> Head:
    """Decode the beginning of a source.

    Raises:
        SourceUnreachable: if the file does not exist or cannot be read.
        UnsupportedAudio: if it cannot be decoded.
    """
    with AudioReader(path) as source:
        region = _empty_region(source.probe)
        while source.read_into(region[source.frames : source.frames + BLOCK_FRAMES]):
            pass
        samples = region[: source.frames]
        whole = not source.read_into(np.empty((1, source.probe.channels), np.float32))
    for first in range(0, len(samples), BLOCK_FRAMES):
        _zero_invalid(samples[first : first + BLOCK_FRAMES])
    return Head(samples, whole)


class Tail:
    """The last frames of a source read in blocks: a ring buffer that is put in order at the end."""

    def __init__(self, found: Probe) -> None:
        self._ring = _empty_region(found)
        self._frames = 0

    def add(self, block: npt.NDArray[Any]) -> None:
        """Append frames `[frames, channels]`: floating point, or integers with their full scale."""
        scale = 1 / -float(np.iinfo(block.dtype).min) if block.dtype.kind == "i" else 1.0
        while len(block):
            slot = self._frames % len(self._ring)
            space = self._ring[slot : slot + len(block)]
            with np.errstate(over="ignore"):
                np.multiply(block[: len(space)], scale, out=space, dtype=np.float32)
            _zero_invalid(space)
            self._frames += len(space)
            block = block[len(space) :]

    def unroll(self) -> Samples:
        """Return the region, finite and in order, without a copy. Nothing may be added afterwards."""
        if self._frames > len(self._ring):
            _rotate(self._ring, self._frames % len(self._ring))
        return self._ring[: self._frames]


def _empty_region(found: Probe) -> Samples:
    frames = int(min(_REGION_SECONDS * found.sample_rate, _REGION_VALUES // found.channels))
    return np.empty((frames, found.channels), np.float32)


def _rotate(ring: Samples, start: int) -> None:
    """Move frame `start` of a ring to its beginning, in place, by three reversals (Bentley 1986)."""
    _reverse(ring[:start])
    _reverse(ring[start:])
    _reverse(ring)


def _reverse(samples: Samples) -> None:
    # In blocks, because numpy copies overlapping arrays whole, and the ring is the largest array in memory.
    last = len(samples)
    for first in range(0, last // 2, BLOCK_FRAMES):
        stop = min(first + BLOCK_FRAMES, last // 2)
        mirrored = samples[last - stop : last - first]
        saved = samples[first:stop].copy()
        samples[first:stop] = mirrored[::-1]
        mirrored[:] = saved[::-1]


def _zero_invalid(samples: Samples) -> None:
    """Zero values that are not finite, or absurdly large, in place."""
    with np.errstate(invalid="ignore"):
        valid = len(samples) == 0 or (samples.min() >= -_LOUDEST and samples.max() <= _LOUDEST)
        if not valid:
            samples[~(np.abs(samples) <= _LOUDEST)] = 0.0

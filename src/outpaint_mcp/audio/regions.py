"""The regions at a source's ends that its continuation is made from, in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.decode import BLOCK_FRAMES, READABLE, Probe, Source
from outpaint_mcp.errors import SourceTooLarge, UnsupportedAudio

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.shapes import Progress, Samples

_REGION_SECONDS = 360.0
_REGION_VALUES = 40_000_000
"""A region is as long as the shorter of these allows: of music, and of samples in all channels."""
_LOUDEST = 1e8
"""Values beyond this (+160 dB) are not sound but broken floating-point data."""


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """The end of a source, after all of it was decoded once.

    Attributes:
        samples: its last frames, finite; the whole source where that fits.
        source_frames: how many frames the source has.
        intact: False where the decoder stopped at damage and the source may once have been longer.
    """

    samples: Samples
    source_frames: int
    intact: bool

    @property
    def whole(self) -> bool:
        """Whether the region is the entire source."""
        return len(self.samples) == self.source_frames


def read_tail(path: Path, *, max_seconds: float, on_progress: Progress) -> Tail:
    """Decode all of a source, count its frames and keep its end.

    Raises:
        SourceTooLarge: as soon as more than `max_seconds` were decoded.
        SourceUnreachable, UnsupportedAudio: as opening a `Source` does, or if not one frame can be decoded.
    """
    with Source(path) as source:
        ring = _empty_region(source.probe)
        limit = max_seconds * source.probe.sample_rate
        expected = max(1, source.probe.frames)
        # Not straight into the ring: at the end libsndfile clears what it does not fill.
        block = np.empty((BLOCK_FRAMES, source.probe.channels), np.float32)
        slot = 0
        while count := source.read_into(block[: len(ring) - slot]):
            _silence_nonsense(block[:count])
            ring[slot : slot + count] = block[:count]
            slot = source.frames % len(ring)
            if source.frames > limit:
                raise SourceTooLarge(
                    f"{path.name} lasts longer than the {max_seconds:g} seconds that a source may last. "
                    "Cut it shorter and try again."
                )
            on_progress(min(1.0, source.frames / expected))
        frames, intact = source.frames, source.intact
    if not frames:
        raise UnsupportedAudio(f"{path.name} holds no audio that can be decoded. {READABLE}")
    if frames <= len(ring):
        return Tail(ring[:frames], frames, intact)
    _rotate(ring, slot)
    return Tail(ring, frames, intact)


def read_head(path: Path) -> Samples:
    """Decode the first frames of a source, as many as are kept of its end, and make them finite.

    Decoding them again when their turn comes costs little and spares holding both ends at once.
    """
    with Source(path) as source:
        region = _empty_region(source.probe)
        while count := source.read_into(region[source.frames : source.frames + BLOCK_FRAMES]):
            _silence_nonsense(region[source.frames - count : source.frames])
        return region[: source.frames]


def _empty_region(found: Probe) -> Samples:
    frames = int(min(_REGION_SECONDS * found.sample_rate, _REGION_VALUES // found.channels))
    return np.empty((frames, found.channels), np.float32)


def _rotate(ring: Samples, start: int) -> None:
    """Bring frame `start` of a ring to its beginning, in place: three reversals (Bentley 1986)."""
    _reverse(ring[:start])
    _reverse(ring[start:])
    _reverse(ring)


def _reverse(samples: Samples) -> None:
    # In blocks: numpy copies overlapping arrays whole, and the ring is the largest array there is.
    last = len(samples)
    for first in range(0, last // 2, BLOCK_FRAMES):
        stop = min(first + BLOCK_FRAMES, last // 2)
        mirrored = samples[last - stop : last - first]
        kept = samples[first:stop].copy()
        samples[first:stop] = mirrored[::-1]
        mirrored[:] = kept[::-1]


def _silence_nonsense(samples: Samples) -> None:
    """Set what is not finite, or absurdly large, to zero, in place."""
    with np.errstate(invalid="ignore"):
        sound = len(samples) == 0 or (samples.min() >= -_LOUDEST and samples.max() <= _LOUDEST)
        if not sound:
            samples[~(np.abs(samples) <= _LOUDEST)] = 0.0

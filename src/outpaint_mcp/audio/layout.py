"""What an extended file consists of, part by part; numpy is not loaded for this."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class PartKind(StrEnum):
    """What a part of an extended file is."""

    SOURCE = "source"
    """The person's own frames, bit for bit."""
    NEW = "new"
    """Full music that was added, and that later extensions may build on."""
    LEAD_IN = "lead_in"
    """A beginning of ours: a fade-in, a build. Later extensions replace it."""
    RING_OUT = "ring_out"
    """An ending of ours: a ring-out, a fade, a breakdown. Later extensions replace it."""
    OWN_BEGINNING = "own_beginning"
    """The source's own beginning, moved to the start of the longer file."""
    OWN_ENDING = "own_ending"
    """The source's own ending, moved to the end of the longer file."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of an extended file.

    Attributes:
        kind: what it is.
        frames: its length.
        source_frame: the frame of the recording that was extended at the time where its material begins; None for what
            a model generated or nobody played.
    """

    kind: PartKind
    frames: int
    source_frame: int | None = None


@dataclass(frozen=True, slots=True)
class Preserved:
    """A stretch of the recording that was extended, as it is in the extended file, bit for bit.

    Attributes:
        start: its first frame in the recording.
        stop: the frame after its last.
        at_frame: where it begins in the extended file.
    """

    start: int
    stop: int
    at_frame: int


class PlacedPart(NamedTuple):
    """A part and where it lies in the file, in frames."""

    part: Part
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Layout:
    """All parts of an extended file in playing order.

    Attributes:
        sample_rate: frames per second.
        parts: as they follow each other; their lengths add up to the file's.
    """

    sample_rate: int
    parts: tuple[Part, ...]

    @property
    def frames(self) -> int:
        """Length of the file."""
        return sum(part.frames for part in self.parts)

    def placed(self) -> Iterator[PlacedPart]:
        """Yield each part with its place."""
        stops = accumulate(part.frames for part in self.parts)
        for part, stop in zip(self.parts, stops, strict=True):
            yield PlacedPart(part, stop - part.frames, stop)

    def seams(self) -> tuple[int, ...]:
        """Return the frames at which one part meets the next."""
        return tuple(placed.start for placed in self.placed() if placed.start)

    def between(self, start: int, stop: int) -> tuple[Part, ...]:
        """Return the parts of a stretch of the file, those at its ends cut to what lies inside."""
        found = []
        for part, first, last in self.placed():
            begin, end = max(first, start), min(last, stop)
            if begin < end:
                source_frame = None if part.source_frame is None else part.source_frame + begin - first
                found.append(Part(part.kind, end - begin, source_frame))
        return tuple(found)

    def cut(self, start_seconds: float, frames: int, sample_rate: int) -> Layout | None:
        """Return what so many frames cut out of the file consist of; None of a file at another rate."""
        if sample_rate != self.sample_rate:
            return None
        first = round(start_seconds * sample_rate)
        return Layout(sample_rate, self.between(first, first + frames))

    @property
    def full_from(self) -> int:
        """The first frame behind a beginning of ours, or one that was moved there."""
        ends = {PartKind.LEAD_IN, PartKind.OWN_BEGINNING}
        return next((placed.start for placed in self.placed() if placed.part.kind not in ends), 0)

    @property
    def full_to(self) -> int:
        """The frame at which an ending of ours begins, or one that was moved there; else the file's end."""
        ends = {PartKind.RING_OUT, PartKind.OWN_ENDING}
        return max((placed.stop for placed in self.placed() if placed.part.kind not in ends), default=0)

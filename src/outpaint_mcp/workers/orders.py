"""What a worker process is asked, and what it answers: the only types that cross the process boundary.

An order and its answer travel as JSON and are checked on both sides; neither side loads numpy for that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from outpaint_mcp.audio.hearing.records import Analysis
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.export_options import Format, Part
from outpaint_mcp.results import Outcome

AnswerT_co = TypeVar("AnswerT_co", covariant=True)

ReportProgress = Callable[[float, str], None]
"""Called with the share done, 0 to 1, and the step in a word or two."""


class Order(Generic[AnswerT_co]):
    """One task for a worker process; its class names the task, its type argument the answer."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What a file's header says.

    Attributes:
        container: libsndfile's name of the file format.
        subtype: its name of the encoding inside.
    """

    seconds: float
    container: str
    subtype: str
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe(Order[Probed]):
    """Read a file's header."""

    path: Path
    max_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthSeconds:
    """How long a file is."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure(Order[LengthSeconds]):
    """Decode a file to see how long it really is."""

    path: Path
    max_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Analyze(Order[Analysis]):
    """Measure everything about a recording that can be measured.

    Attributes:
        picture: where to write a picture of it, as PNG; None for none.
        seams_seconds: places to mark in the picture.
    """

    path: Path
    max_seconds: float
    picture: Path | None
    seams_seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop(Order[LengthSeconds]):
    """Cut out the part of a source that is to be extended; an end of 0 is the source's own."""

    source: Path
    destination: Path
    start_seconds: float
    end_seconds: float
    max_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedPart:
    """What a model returned for one step.

    Attributes:
        path: its file.
        context_seconds: how much of the music so far it was given.
    """

    path: Path
    context_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextFile:
    """What a model is sent."""

    seconds: float
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteContext(Order[ContextFile]):
    """Write what a model is sent for one step.

    Attributes:
        source: what is extended.
        side: where music is added.
        parts: what was generated on this side so far.
        seconds: how much of the music so far to write.
        max_bytes: the largest file to write; None for any.
    """

    source: Path
    side: Side
    parts: tuple[GeneratedPart, ...]
    destination: Path
    seconds: float
    max_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extend(Order[Outcome]):
    """Extend a recording with its own material.

    Attributes:
        folder: the job's own; the extended file is written there.
        start_seconds: where in the source the part begins that is extended.
        end_seconds: where that ends; 0 for the source's own end.
        seed: 0 or more.
        provider: its name, for the file's comment.
    """

    source: Path
    folder: Path
    before_seconds: float
    after_seconds: float
    start_seconds: float
    end_seconds: float
    seed: int
    provider: str
    max_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish(Order[Outcome]):
    """Make the extended file of what a model generated: restore the source in its one file, or join its parts to it.

    Attributes:
        whole: the model's one file, where it holds source and extensions; None where there are parts.
        before: its parts before the source, in the order in which they were generated.
        after: its parts after the source, likewise.
        source: what was extended.
        original: the same, or the recording that it was cut out of.
        folder: the job's own; the extended file is written there.
        provider: its name, for the file's comment.
        provider_title: its name as people know it, for the note.
        plain: whether to leave out everything optional, since it has failed before.
    """

    whole: Path | None
    before: tuple[GeneratedPart, ...]
    after: tuple[GeneratedPart, ...]
    source: Path
    original: Path
    folder: Path
    before_seconds: float
    after_seconds: float
    seed: int
    provider: str
    provider_title: str
    max_seconds: float
    plain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedFile:
    """A finished file in another form; durations in seconds."""

    path: Path
    sha256: str
    size_bytes: int
    duration_seconds: float
    before_seconds: float
    after_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Convert(Order[ConvertedFile]):
    """Write a finished file in another format, or only what was added on one side."""

    longer: Path
    folder: Path
    part: Part
    format: Format
    before_seconds: float
    after_seconds: float

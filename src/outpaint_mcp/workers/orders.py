"""What a worker process is asked that writes audio, and what it answers; see `order`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from outpaint_mcp.audio.layout import Layout, Preserved
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.export_options import Format, Part
from outpaint_mcp.results import Outcome
from outpaint_mcp.wishes import Wishes
from outpaint_mcp.workers.looks import LengthSeconds
from outpaint_mcp.workers.order import Order


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
        wishes: what is asked of it.
        layout: what the source consists of, if it is an earlier result; None otherwise.
        start_seconds: where in the source the part begins that is extended.
        end_seconds: where that ends; 0 for the source's own end.
        seed: 0 or more.
        provider: its name, for the file's comment.
    """

    source: Path
    folder: Path
    wishes: Wishes
    layout: Layout | None
    start_seconds: float
    end_seconds: float
    seed: int
    provider: str
    max_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish(Order[Outcome]):
    """Make the extended file of what a model generated: restore the source in its one file, or join its parts to it.

    Attributes:
        whole: the model's one file, where it holds music and extensions; None where there are parts.
        before: its parts before the music, in the order in which they were generated.
        after: its parts after the music, likewise.
        before_seconds: how much new music it was asked for before that, which may be more than is used; 0 for none.
        after_seconds: how much after it.
        music: what it extended: the source, or the full music in it.
        source: what is to be longer.
        original: the same, or the recording that it was cut out of.
        cut_before_frames: how many of the source's frames come before the music.
        cut_after_frames: how many come behind it.
        start_seconds: where in the original the source begins.
        is_cut: whether the source is only a part of the original.
        layout: what the original consists of, if it is an earlier result; None otherwise.
        wishes: what is asked of the extended file.
        folder: the job's own; the extended file is written there.
        provider: its name, for the file's comment.
        provider_title: its name as people know it, for the note.
        plain: whether to leave out everything optional, since it has failed before.
    """

    whole: Path | None
    before: tuple[GeneratedPart, ...]
    after: tuple[GeneratedPart, ...]
    before_seconds: float
    after_seconds: float
    music: Path
    source: Path
    original: Path
    cut_before_frames: int
    cut_after_frames: int
    start_seconds: float
    is_cut: bool
    layout: Layout | None
    wishes: Wishes
    folder: Path
    seed: int
    provider: str
    provider_title: str
    max_seconds: float
    plain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedFile:
    """A finished file in another form; durations in seconds.

    Attributes:
        note: which tags it lacks and why, in a sentence; empty for none.
    """

    path: Path
    sha256: str
    size_bytes: int
    duration_seconds: float
    before_seconds: float
    after_seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convert(Order[ConvertedFile]):
    """Write a finished file in another format, or only what was added on one side.

    Attributes:
        bitrate_kbps: of a lossy format; None for our usual one.
        preserved: the source's frames in it; empty where they lie between what was added.
    """

    longer: Path
    folder: Path
    part: Part
    format: Format
    bitrate_kbps: int | None
    preserved: tuple[Preserved, ...]
    before_seconds: float
    after_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewFile:
    """A piece of a recording as MP3, as `audio.files.preview` writes it.

    Attributes:
        frames: its length at `PREVIEW_RATE_HZ`, without what surrounds it.
    """

    path: Path
    frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePreview(Order[PreviewFile]):
    """Write a piece of a recording for listening to it in a page.

    Attributes:
        folder: of this piece alone; it is written there.
    """

    recording: Path
    folder: Path
    start_seconds: int
    seconds: int

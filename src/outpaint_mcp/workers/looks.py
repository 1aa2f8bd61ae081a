"""What a worker process is asked that only reads, and what it answers; see `order`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - answers and orders are checked by their types

from outpaint_mcp.audio.hearing.records import Analysis
from outpaint_mcp.audio.layout import Layout  # noqa: TC001 - likewise
from outpaint_mcp.audio.surroundings import FullMusic
from outpaint_mcp.workers.order import Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What a file's header says.

    Attributes:
        container: the file format, as in `audio.files.decoder.Probe`; so is what follows.
        subtype: the encoding inside.
        is_exact: whether it lasts so long, or about so long.
        is_ordinary: whether any program can be trusted to read all of it.
    """

    seconds: float
    container: str
    subtype: str
    channels: int
    is_exact: bool = True
    is_ordinary: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe(Order[Probed]):
    """Read a file's header."""

    path: Path
    max_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """How long files are, in order, as far as there was time to look; None for what is no audio that can be read."""

    seconds: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeMany(Order[Lengths]):
    """Read the headers of several files.

    Attributes:
        within_seconds: no file is begun after that.
    """

    paths: tuple[Path, ...]
    within_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenForm:
    """In which form a file was written.

    Attributes:
        container: the file format, as in `Probe`.
        subtype: the encoding inside.
        sample_rate: frames per second.
        kbit_per_second: the bit rate of a lossy file; None for others.
    """

    container: str
    subtype: str
    sample_rate: int
    kbit_per_second: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadForm(Order[WrittenForm]):
    """See in which form a file was written."""

    path: Path


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
class FileDigest:
    """What is in a file.

    Attributes:
        sha256: in hexadecimal digits.
    """

    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest(Order[FileDigest]):
    """Read all of a file to tell it from others.

    Attributes:
        folder: of this alone; the answer is left there.
    """

    path: Path
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Analyze(Order[Analysis]):
    """Measure everything about a recording that can be measured.

    Attributes:
        folder: of this analysis alone; the answer is left there.
        song_spans_seconds: where the person's own recording is in it, each from and to; empty for all of it.
    """

    path: Path
    folder: Path
    max_seconds: float
    song_spans_seconds: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A picture that was drawn, as PNG."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw(Order[Drawn]):
    """Draw a recording that was analyzed.

    Attributes:
        folder: of this picture alone; it is left there, with the answer.
        title: what the picture calls it.
        seams_seconds: places to mark.
    """

    path: Path
    folder: Path
    analysis: Analysis
    title: str
    seams_seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey(Order[FullMusic]):
    """Find where a recording's full music begins and ends.

    Attributes:
        start_seconds: where in it the part begins that is extended.
        end_seconds: where that ends; 0 for its own end.
        layout: what it consists of, if it is an earlier result; None otherwise.
    """

    path: Path
    start_seconds: float
    end_seconds: float
    layout: Layout | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waveform:
    """A recording's extremes over time.

    Attributes:
        pairs: lowest and highest value of each column as signed bytes, in base64.
    """

    pairs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadWaveform(Order[Waveform]):
    """Read a recording's extremes in so many columns."""

    path: Path
    columns: int

"""Tasks of a worker process that read a file and write no audio."""

from __future__ import annotations

import base64
import hashlib
import time
from math import inf
from typing import TYPE_CHECKING

from outpaint_mcp.audio.files.bit_rate import kbit_per_second
from outpaint_mcp.audio.files.decode import probe as read_header
from outpaint_mcp.audio.files.measure import measure as measure_file
from outpaint_mcp.audio.files.refusals import shown_name
from outpaint_mcp.errors import OutpaintError, SourceTooLarge, SourceUnreachable
from outpaint_mcp.workers.looks import (
    Drawn,
    FileDigest,
    Lengths,
    LengthSeconds,
    Probed,
    Waveform,
    WrittenForm,
)

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.hearing.records import Analysis
    from outpaint_mcp.audio.surroundings import FullMusic
    from outpaint_mcp.workers.looks import (
        Analyze,
        Digest,
        Draw,
        Measure,
        Probe,
        ProbeMany,
        ReadForm,
        ReadWaveform,
        Survey,
    )
    from outpaint_mcp.workers.order import ReportProgress

_PICTURE_NAME = "picture.png"


def probe(order: Probe, report: ReportProgress) -> Probed:  # noqa: ARG001 - one signature for all tasks
    """Read a file's header; raises as `audio.files.decode.probe` does, too.

    Raises:
        SourceTooLarge: it is longer than the order allows.
    """
    found = read_header(order.path)
    if found.is_exact and found.seconds > order.max_seconds:
        raise SourceTooLarge(
            f"The source lasts {found.seconds / 60:.0f} minutes; at most {order.max_seconds / 60:.0f} can be extended."
        )
    return Probed(
        seconds=found.seconds,
        container=found.container,
        subtype=found.subtype,
        channels=found.channels,
        is_exact=found.is_exact,
        is_ordinary=found.is_ordinary and not found.stated_frames,
    )


def probe_many(order: ProbeMany, report: ReportProgress) -> Lengths:  # noqa: ARG001 - as above
    """Read the headers of several files, for as long as there is time."""
    until = time.monotonic() + order.within_seconds
    seconds: list[float | None] = []
    for path in order.paths:
        if time.monotonic() > until:
            break
        seconds.append(_seconds(path))
    return Lengths(seconds=tuple(seconds))


def _seconds(path: Path) -> float | None:
    try:
        return read_header(path).seconds
    except (OutpaintError, OSError):
        return None


def read_form(order: ReadForm, report: ReportProgress) -> WrittenForm:  # noqa: ARG001 - as above
    """See in which form a file was written; raises as `audio.files.decode.probe` does, too.

    Raises:
        SourceUnreachable: it cannot be read.
    """
    found = read_header(order.path)
    try:
        rate = kbit_per_second(order.path, found)
    except OSError as exc:
        raise SourceUnreachable(f"{shown_name(order.path)} cannot be read: {exc.strerror or exc}.") from exc
    return WrittenForm(
        container=found.container, subtype=found.subtype, sample_rate=found.sample_rate, kbit_per_second=rate
    )


def measure(order: Measure, report: ReportProgress) -> LengthSeconds:  # noqa: ARG001 - as above
    """Decode a file to see how long it really is; raises as `audio.files.measure.measure` does."""
    return LengthSeconds(seconds=measure_file(order.path, order.max_seconds).seconds)


def survey(order: Survey, report: ReportProgress) -> FullMusic:  # noqa: ARG001 - as above
    """Find where a recording's full music begins and ends; raises as `find_full_music` does."""
    from outpaint_mcp.audio.engine.full_music import find_full_music  # noqa: PLC0415 - probing does without

    return find_full_music(
        order.path, order.layout, start_seconds=order.start_seconds, end_seconds=order.end_seconds
    )


def digest(order: Digest, report: ReportProgress) -> FileDigest:  # noqa: ARG001 - as above
    """Read all of a file.

    Raises:
        SourceUnreachable: it cannot be read.
    """
    try:
        with order.path.open("rb") as file:
            return FileDigest(sha256=hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as exc:
        raise SourceUnreachable(f"{shown_name(order.path)} cannot be read: {exc.strerror or exc}.") from exc


def analyze(order: Analyze, report: ReportProgress) -> Analysis:
    """Analyze a file; raises as `audio.hearing.analyze.analyze` does."""
    from outpaint_mcp.audio.hearing.analyze import analyze as analyze_file  # noqa: PLC0415 - probing does without

    return analyze_file(
        order.path,
        max_seconds=order.max_seconds,
        song_spans_seconds=order.song_spans_seconds,
        on_progress=lambda share: report(share, "listening"),
    )


def draw(order: Draw, report: ReportProgress) -> Drawn:
    """Draw a file; raises as `audio.hearing.picture.draw` does."""
    from outpaint_mcp.audio.hearing.picture import draw as draw_file  # noqa: PLC0415 - so do analyses

    drawn = draw_file(
        order.path,
        order.analysis,
        title=order.title,
        seams_seconds=order.seams_seconds,
        on_progress=lambda share: report(share, "drawing"),
    )
    path = order.folder / _PICTURE_NAME
    path.write_bytes(drawn)
    return Drawn(path=path)


def read_waveform(order: ReadWaveform, report: ReportProgress) -> Waveform:
    """Read a recording's extremes; raises as `audio.hearing.columns.read_swing` does."""
    from outpaint_mcp.audio.hearing.columns import read_swing  # noqa: PLC0415 - so do analyses

    pairs = read_swing(
        order.path,
        measure_file(order.path, inf).frames,
        count=order.columns,
        on_progress=lambda share: report(share, "drawing"),
    )
    return Waveform(pairs=base64.b64encode(pairs.tobytes()).decode())

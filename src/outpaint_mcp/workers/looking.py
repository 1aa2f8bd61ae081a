"""Tasks of a worker process that read a file and write no audio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.audio.files.decode import probe as read_header
from outpaint_mcp.audio.files.measure import measure as measure_file
from outpaint_mcp.errors import SourceTooLarge
from outpaint_mcp.workers.orders import LengthSeconds, Probed

if TYPE_CHECKING:
    from outpaint_mcp.audio.hearing.records import Analysis
    from outpaint_mcp.workers.orders import Analyze, Measure, Probe, ReportProgress


def probe(order: Probe, report: ReportProgress) -> Probed:  # noqa: ARG001 - one signature for all tasks
    """Read a file's header; raises as `audio.files.decode.probe` does, too.

    Raises:
        SourceTooLarge: it is longer than the order allows.
    """
    found = read_header(order.path)
    if found.seconds > order.max_seconds:
        raise SourceTooLarge(
            f"The source lasts {found.seconds / 60:.0f} minutes; at most {order.max_seconds / 60:.0f} can be extended."
        )
    return Probed(
        seconds=found.seconds, container=found.container, subtype=found.subtype, channels=found.channels
    )


def measure(order: Measure, report: ReportProgress) -> LengthSeconds:  # noqa: ARG001 - as above
    """Decode a file to see how long it really is; raises as `audio.files.measure.measure` does."""
    return LengthSeconds(seconds=measure_file(order.path, order.max_seconds).seconds)


def analyze(order: Analyze, report: ReportProgress) -> Analysis:
    """Analyze a file, and draw it where the order names a place for the picture.

    Raises as `audio.hearing.analyze.analyze` does.
    """
    from outpaint_mcp.audio.hearing.analyze import analyze as analyze_file  # noqa: PLC0415 - probing does without

    analysis = analyze_file(
        order.path, max_seconds=order.max_seconds, on_progress=lambda share: report(share, "listening")
    )
    if order.picture is not None:
        from outpaint_mcp.audio.hearing.picture import draw  # noqa: PLC0415 - so do analyses without a picture

        report(1.0, "drawing")
        order.picture.write_bytes(draw(order.path, analysis, seams_seconds=order.seams_seconds))
    return analysis

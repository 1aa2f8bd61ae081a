"""Tasks of a worker process that write a file: the extended one, or what leads to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from outpaint_mcp.audio.engine.outpaint import outpaint_file
from outpaint_mcp.audio.files import crop as cutting
from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.files.formats import format_of, write_as
from outpaint_mcp.audio.files.measure import measure
from outpaint_mcp.audio.joining import contexts
from outpaint_mcp.workers.orders import ContextFile, ConvertedFile, LengthSeconds
from outpaint_mcp.workers.sealing import (
    WRITING_SHARE,
    atomic_output,
    damage_note,
    finalize,
    model_outputs,
    preservation_note,
    write_tags,
)

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.engine.outpaint import Outpainted
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.workers.orders import Convert, Crop, Extend, ReportProgress, WriteContext

_METHODS = {
    "beats": "continues the source's own beats",
    "texture": "continues the source's own texture, without a beat",
    "loop": "repeats the source, which is too short for more",
    "silence": "is silence, like the source",
}


def crop(order: Crop, report: ReportProgress) -> LengthSeconds:  # noqa: ARG001 - one signature for all tasks
    """Cut the part that is to be extended out of a source; raises as `audio.files.crop.crop` does."""
    with atomic_output(order.destination) as part:
        cropped = cutting.crop(
            order.source,
            part,
            start_seconds=order.start_seconds,
            end_seconds=order.end_seconds,
            max_seconds=order.max_seconds,
        )
    return LengthSeconds(seconds=cropped.frames / cropped.sample_rate)


def write_context(order: WriteContext, report: ReportProgress) -> ContextFile:  # noqa: ARG001 - as above
    """Write what a model is sent; raises as `audio.joining.contexts.write_context` does."""
    with atomic_output(order.destination) as part:
        context = contexts.write_context(
            order.source,
            order.side,
            model_outputs(order.parts),
            part,
            seconds=order.seconds,
            max_bytes=order.max_bytes,
        )
    return ContextFile(seconds=context.seconds, media_type=context.media_type)


def extend(order: Extend, report: ReportProgress) -> Outcome:
    """Extend a recording with its own material; raises as `outpaint_file` does.

    The worker holds the lock of the job's folder meanwhile.
    """
    used, is_intact = order.source, True
    if order.start_seconds or order.end_seconds:
        report(0.0, "cutting")
        used = order.folder / "cut"
        is_intact = cutting.crop(
            order.source,
            used,
            start_seconds=order.start_seconds,
            end_seconds=order.end_seconds,
            max_seconds=order.max_seconds,
        ).source_intact
    part = order.folder / "output.part"
    extended = outpaint_file(
        used,
        part,
        before_seconds=order.before_seconds,
        after_seconds=order.after_seconds,
        seed=order.seed,
        max_source_seconds=order.max_seconds,
        on_progress=lambda share, step: report(share * WRITING_SHARE, step),
    )
    outcome = finalize(
        extended,
        part,
        order,
        source=used,
        original=order.source,
        output=order.folder / f"output{'.flac' if extended.container == 'FLAC' else '.wav'}",
        note=_note(extended, order.source, is_intact=is_intact and extended.source_intact),
        report=report,
    )
    part.replace(outcome.path)
    if used != order.source:
        used.unlink()
    return outcome


def convert(order: Convert, report: ReportProgress) -> ConvertedFile:
    """Write a finished file in another format, or only what was added on one side."""
    found = measure(order.longer, float("inf"))
    begin, end = 0, None
    if order.part == "before":
        end = round(order.before_seconds * found.sample_rate)
    elif order.part == "after":
        begin = found.frames - round(order.after_seconds * found.sample_rate)
    suffix = format_of(order.format, probe(order.longer)).suffix
    output = order.folder / f"converted-{os.getpid()}{suffix}"
    with atomic_output(output) as writing:
        written = write_as(
            order.longer,
            writing,
            format=order.format,
            start_frame=begin,
            stop_frame=end,
            on_progress=lambda share: report(share, "writing"),
        )
        comment = "" if order.part == "whole" else f"Only the music added {order.part}."
        size_bytes, sha256 = write_tags(order.longer, writing, comment)
    return ConvertedFile(
        path=output,
        sha256=sha256,
        size_bytes=size_bytes,
        duration_seconds=written.frames / written.sample_rate,
        before_seconds=order.before_seconds if order.part != "after" else 0.0,
        after_seconds=order.after_seconds if order.part != "before" else 0.0,
    )


def _note(extended: Outpainted, original: Path, *, is_intact: bool) -> str:
    """How an extended file was generated, in a few sentences."""
    methods = {method for method in (extended.method_before, extended.method_after) if method}
    how = "; ".join(_METHODS[method] for method in sorted(methods))
    if extended.tempo_bpm is not None:
        how += f" ({extended.tempo_bpm:.0f} bpm)"
    note = (
        f"The source is preserved {preservation_note(original)}.",
        damage_note(intact=is_intact),
        f"The added music {how}. Tags and lyrics did not steer it.",
    )
    return " ".join(filter(None, note))

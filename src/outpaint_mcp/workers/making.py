"""Tasks of a worker process that write a file: the extended one, or what leads to it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from outpaint_mcp.audio.clock import clock
from outpaint_mcp.audio.engine.outpaint import outpaint_file
from outpaint_mcp.audio.files import crop as cutting
from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.files.encode import seal, suffix_of
from outpaint_mcp.audio.files.formats import format_of, write_as
from outpaint_mcp.audio.files.measure import Measured, measure
from outpaint_mcp.audio.files.preview import write_preview as write_piece
from outpaint_mcp.audio.joining import contexts
from outpaint_mcp.audio.layout import Preserved
from outpaint_mcp.audio.steering_words import describe_wish, read_wish
from outpaint_mcp.audio.verdict.records import Asked
from outpaint_mcp.workers.looks import LengthSeconds
from outpaint_mcp.workers.orders import ContextFile, ConvertedFile, PreviewFile
from outpaint_mcp.workers.sealing import (
    WRITING_SHARE,
    atomic_output,
    finalize,
    model_outputs,
    preservation_note,
    write_tags,
)

if TYPE_CHECKING:
    from outpaint_mcp.audio.engine.outpaint import Outpainted
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.wishes import Wishes
    from outpaint_mcp.workers.order import ReportProgress
    from outpaint_mcp.workers.orders import Convert, Crop, Extend, WriteContext, WritePreview

_VARIED = frozenset({"beats", "texture"})
_METHODS = {
    "beats": "continues the source's own beats",
    "texture": "continues the source's own texture, without a beat",
    "loop": "plays the source on, which is a loop, bar after bar",
    "repetition": "repeats the source, which is too short for more",
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
    used, remark, layout = order.source, "", order.layout
    if order.start_seconds or order.end_seconds:
        report(0.0, "cutting")
        used = order.folder / "cut"
        cropped = cutting.crop(
            order.source,
            used,
            start_seconds=order.start_seconds,
            end_seconds=order.end_seconds,
            max_seconds=order.max_seconds,
        )
        remark = cropped.source_remark
        if layout is not None:
            layout = layout.cut(cropped.start_seconds, cropped.frames, cropped.sample_rate)
    part = order.folder / "output.part"
    extended = outpaint_file(
        used,
        part,
        order.wishes,
        seed=order.seed,
        layout=layout,
        max_source_seconds=order.max_seconds,
        on_progress=lambda share, step: report(share * WRITING_SHARE, step),
    )
    outcome = finalize(
        extended,
        part,
        order,
        _asked(order.wishes, extended),
        source=used,
        original=order.source,
        output=order.folder / f"output{suffix_of(extended.container)}",
        note=_note(order, extended, remark or extended.source_remark),
        report=report,
    )
    outcome = replace(outcome, seeds_differ=not _VARIED.isdisjoint(extended.methods))
    part.replace(outcome.path)
    if used != order.source:
        used.unlink()
    return outcome


def convert(order: Convert, report: ReportProgress) -> ConvertedFile:
    """Write a finished file in another format, or only what was added on one side."""
    found = measure(order.longer, float("inf"))
    begin, end = _span_of(order, found)
    suffix = format_of(order.format, probe(order.longer)).suffix
    output = order.folder / f"converted-{os.getpid()}{suffix}"
    with atomic_output(output) as writing:
        written = write_as(
            order.longer,
            writing,
            format=order.format,
            bitrate_kbps=order.bitrate_kbps,
            start_frame=begin,
            stop_frame=end,
            on_progress=lambda share: report(share, "writing"),
        )
        comment = "" if order.part == "whole" else f"Only the music added {order.part}."
        is_resampled = written.sample_rate != found.sample_rate
        stretch = Preserved(begin, found.frames if end is None else end, 0)
        left_out = write_tags(order.longer, writing, comment, () if is_resampled else (stretch,))
        size_bytes, sha256 = seal(writing)
    return ConvertedFile(
        path=output,
        sha256=sha256,
        size_bytes=size_bytes,
        duration_seconds=written.frames / written.sample_rate,
        before_seconds=order.before_seconds if order.part != "after" else 0.0,
        after_seconds=order.after_seconds if order.part != "before" else 0.0,
        note=left_out,
    )


def write_preview(order: WritePreview, report: ReportProgress) -> PreviewFile:  # noqa: ARG001 - as above
    """Write a piece of a recording as MP3; raises as `audio.files.preview.write_preview` does."""
    path = order.folder / "preview.mp3"
    frames = write_piece(order.recording, path, start_seconds=order.start_seconds, seconds=order.seconds)
    return PreviewFile(path=path, frames=frames)


def _span_of(order: Convert, found: Measured) -> tuple[int, int | None]:
    """The first frame and the stop frame of a part; what is inside the source counts as after it."""
    if order.part == "whole":
        return 0, None
    if not order.preserved:
        if order.part == "before":
            return 0, round(order.before_seconds * found.sample_rate)
        return found.frames - round(order.after_seconds * found.sample_rate), None
    first, *rest = order.preserved
    if order.part == "before":
        return 0, first.at_frame
    return first.at_frame + first.stop - first.start, rest[0].at_frame if rest else None


def _asked(wishes: Wishes, extended: Outpainted) -> Asked:
    return Asked(
        before_seconds=extended.before_frames / extended.sample_rate,
        after_seconds=extended.after_frames / extended.sample_rate,
        beginning=wishes.beginning,
        ending=wishes.ending,
        energy=read_wish(wishes.tags).energy,
        layout=extended.layout,
        preserved=extended.preserved,
    )


def _note(order: Extend, extended: Outpainted, remark: str) -> str:
    """How an extended file was generated, in a few sentences."""
    how = "; ".join(_METHODS[method] for method in sorted(extended.methods))
    if extended.tempo_bpm is not None:
        how += f" ({extended.tempo_bpm:.0f} bpm)"
    note = (
        _preserved(extended, preservation_note(order.source)),
        remark,
        f"The added music {how}{f': {extended.choice}' if extended.choice else ''}.",
        _loop_words(extended),
        "" if extended.choice else describe_wish(read_wish(order.wishes.tags)),
    )
    return " ".join(filter(None, note))


def _preserved(extended: Outpainted, how: str) -> str:
    """Which of the source's frames are where they were, in a sentence."""
    rate, first, last = extended.sample_rate, extended.preserved[0], extended.preserved[-1]
    if len(extended.preserved) > 1:
        at = clock(first.stop / rate)
        return f"The new music is put in at {at}; the source is preserved {how} on both sides of it."
    if last.stop - first.start == extended.source_frames:
        return f"The source is preserved {how}."
    return f"The source is preserved {how} from {clock(first.start / rate)} to {clock(last.stop / rate)}."


def _loop_words(extended: Outpainted) -> str:
    """How long a file is that loops, and why."""
    if extended.loop is None:
        return ""
    asked = extended.asked_frames / extended.sample_rate
    count = f": {extended.loop.count} {extended.loop.unit}" if extended.loop.count else ""
    return f"It loops: {asked:.2f} s asked, {extended.duration_seconds:.2f} s done{count}."

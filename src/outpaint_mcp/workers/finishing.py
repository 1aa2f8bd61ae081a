"""The task of a worker process that makes the extended file of what a model generated."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING

from outpaint_mcp.audio.clock import clock
from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.files.encode import fingerprint, suffix_of
from outpaint_mcp.audio.files.measure import Measured, measure
from outpaint_mcp.audio.joining.assemble import assemble
from outpaint_mcp.audio.joining.new_music import Shape
from outpaint_mcp.audio.joining.restore import restore
from outpaint_mcp.audio.layout import Part, PartKind, Preserved
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.steering_words import read_wish
from outpaint_mcp.audio.verdict.records import Asked
from outpaint_mcp.results import Outcome
from outpaint_mcp.workers.sealing import (
    WRITING_SHARE,
    atomic_output,
    evaluate,
    finalize,
    model_outputs,
    preservation_note,
)

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.joining.assemble import Assembled
    from outpaint_mcp.audio.verdict.records import Verdict
    from outpaint_mcp.workers.order import ReportProgress
    from outpaint_mcp.workers.orders import Finish


def finish(order: Finish, report: ReportProgress) -> Outcome:
    """Put the person's own samples into what a model generated.

    Its one file is evaluated as it came, too, and is the outcome where the source cannot safely be put back into it;
    parts are joined to the source. Raises as `restore` and `assemble` do.
    """
    if order.whole is None:
        return _join(order, report)
    return _restore(order, order.whole, report)


def _join(order: Finish, report: ReportProgress) -> Outcome:
    """Join what a model generated in several steps to the source."""
    with atomic_output(order.folder / "output") as part:
        assembled = assemble(
            order.music,
            model_outputs(order.before),
            model_outputs(order.after),
            part,
            shape=_shape(order),
            max_source_seconds=order.max_seconds,
            on_progress=lambda share, step: report(share * WRITING_SHARE, step),
        )
        loose = sum(not join.aligned for join in assembled.joins)
        preserved = f"{_stretch(order, assembled)}preserved {preservation_note(order.original)}"
        note = (
            f"The music that {order.provider_title} added is joined to the source, which is {preserved}.",
            assembled.source_remark,
            f"At {loose} of the joins the model's music differs from the context it was sent: listen there."
            if loose
            else "",
        )
        return _finalize(order, assembled, part, note, report)


def _restore(order: Finish, whole: Path, report: ReportProgress) -> Outcome:
    """Put the source back into the one file that a model generated, where it can be found there reliably."""
    if order.plain:
        return dataclasses.replace(_as_rendered(order, whole), restore_refusal="this failed several times")
    with atomic_output(order.folder / "output") as part:
        restored = restore(
            order.music,
            whole,
            part,
            before_seconds=order.before_seconds,
            after_seconds=order.after_seconds,
            shape=_shape(order),
            max_source_seconds=order.max_seconds,
            on_progress=lambda share, step: report(share * WRITING_SHARE, step),
        )
        rendered = _as_rendered(order, whole)
        if restored.assembled is None:
            return dataclasses.replace(rendered, restore_refusal=restored.reason)
        preserved = preservation_note(order.original)
        stretch = _stretch(order, restored.assembled)
        note = (
            f"The source is {stretch}put back {preserved} into the file that {order.provider_title} generated.",
            restored.assembled.source_remark,
        )
        outcome = _finalize(order, restored.assembled, part, note, report)
    return dataclasses.replace(outcome, as_made=rendered)


def _shape(order: Finish) -> Shape:
    """How much of the new music makes the file as long as it is to be, to the frame, and how it begins and ends."""
    wishes, rate = order.wishes, probe(order.music).sample_rate
    before = round(wishes.before_seconds * rate) + order.cut_before_frames if wishes.before_seconds else None
    after = round(wishes.after_seconds * rate) + order.cut_after_frames if wishes.after_seconds else None
    return Shape(
        before_frames=before,
        after_frames=after,
        total_frames=round(wishes.total_seconds * rate) if wishes.total_seconds else None,
        fades_in=wishes.beginning == "fade",
        fades_out=wishes.ending == "fade",
    )


def _stretch(order: Finish, assembled: Assembled) -> str:
    """Which of the source's frames are in the file, where these are not all."""
    if not order.cut_before_frames and not order.cut_after_frames:
        return ""
    first, rate = order.cut_before_frames, assembled.sample_rate
    stop = first + assembled.source_frames
    return f"from {clock(first / rate)} to {clock(stop / rate)} "


def _finalize(
    order: Finish, assembled: Assembled, part: Path, note: tuple[str, ...], report: ReportProgress
) -> Outcome:
    outcome = finalize(
        _as_asked(order, assembled),
        part,
        order,
        _asked(order, assembled),
        source=order.source,
        original=order.original,
        output=order.folder / f"output{suffix_of(assembled.container)}",
        note=" ".join(filter(None, note)),
        report=report,
        plain=order.plain,
    )
    part.replace(outcome.path)
    return outcome


def _as_asked(order: Finish, assembled: Assembled) -> Assembled:
    """The same file, counted as it was asked for: what was added to the whole source, whatever became of its ends."""
    before = max(0, assembled.before_frames - order.cut_before_frames)
    after = max(0, assembled.after_frames - order.cut_after_frames)
    total = assembled.before_frames + assembled.source_frames + assembled.after_frames
    return dataclasses.replace(
        assembled, before_frames=before, after_frames=after, source_frames=total - before - after
    )


def _asked(order: Finish, assembled: Assembled) -> Asked:
    """What was asked, and what the file consists of."""
    wishes, rate, first = order.wishes, assembled.sample_rate, order.cut_before_frames
    stop = first + assembled.source_frames
    source_frames = stop + order.cut_after_frames
    after_seconds = wishes.after_seconds
    if wishes.total_seconds:
        after_seconds = wishes.total_seconds - wishes.before_seconds - source_frames / rate
    return Asked(
        before_seconds=wishes.before_seconds,
        after_seconds=after_seconds,
        beginning=wishes.beginning,
        ending=wishes.ending,
        energy=read_wish(wishes.tags).energy,
        layout=assembled.layout(_source_parts(order, source_frames, first, stop)),
        preserved=(Preserved(first, stop, assembled.before_frames),),
    )


def _source_parts(order: Finish, source_frames: int, first: int, stop: int) -> tuple[Part, ...]:
    """What the preserved frames of the source are: the person's, or parts of an earlier result."""
    layout = order.layout
    if layout is not None and order.is_cut:
        layout = layout.cut(order.start_seconds, source_frames, probe(order.source).sample_rate)
    if layout is None or layout.frames != source_frames:
        return (Part(PartKind.SOURCE, stop - first, first),)
    return layout.between(first, stop)


def _as_rendered(order: Finish, whole: Path) -> Outcome:
    """Give a model's own file its suffix, and evaluate it; nothing in it is changed."""
    found = measure(whole, order.max_seconds)
    output = order.folder / f"made{suffix_of(found.container)}"
    output.unlink(missing_ok=True)
    try:
        output.hardlink_to(whole)
    except OSError:  # a disk without hard links
        shutil.copyfile(whole, output)
    asked = Asked(
        before_seconds=order.before_seconds,
        after_seconds=order.after_seconds,
        energy=read_wish(order.wishes.tags).energy,
    )
    verdict = None if order.plain else evaluate(order.music, output, asked, order.max_seconds)
    before, after = _added_seconds(verdict) or _by_length(
        order, found, measure(order.music, order.max_seconds)
    )
    size_bytes, sha256 = fingerprint(output)
    is_same = verdict is not None and verdict.survival.bit_exact
    note = (
        f"{order.provider_title}'s file as it came ({found.container}, {found.sample_rate} Hz).",
        "" if is_same else "The model rendered the source again, so it is not preserved bit for bit.",
        "" if found.intact else "It is damaged, and ends where decoding it did.",
    )
    return Outcome(
        path=output,
        sha256=sha256,
        size_bytes=size_bytes,
        duration_seconds=found.seconds,
        before_seconds=before,
        after_seconds=after,
        seed=order.seed,
        note=" ".join(filter(None, note)),
        verdict=verdict,
    )


def _added_seconds(verdict: Verdict | None) -> tuple[float, float] | None:
    """How much was added before and after the source, if that was found."""
    if verdict is None or not verdict.survival.found:
        return None
    seconds = {each.side: each.actual_seconds or 0.0 for each in verdict.additions}
    return seconds.get(Side.BEFORE, 0.0), seconds.get(Side.AFTER, 0.0)


def _by_length(order: Finish, rendered: Measured, source: Measured) -> tuple[float, float]:
    """The same from lengths alone: what was requested on one side, and the rest on the other."""
    added = max(0.0, rendered.seconds - source.seconds)
    if not order.before_seconds:
        return 0.0, added
    before = min(order.before_seconds, added) if order.after_seconds else added
    return before, added - before

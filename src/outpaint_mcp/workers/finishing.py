"""The task of a worker process that makes the extended file of what a model generated."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING

from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.files.encode import delivery_format, fingerprint
from outpaint_mcp.audio.files.measure import Measured, measure
from outpaint_mcp.audio.joining.assemble import assemble
from outpaint_mcp.audio.joining.restore import restore
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.results import Outcome
from outpaint_mcp.workers.sealing import (
    WRITING_SHARE,
    atomic_output,
    damage_note,
    evaluate,
    finalize,
    model_outputs,
    preservation_note,
)

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.joining.assemble import Assembled
    from outpaint_mcp.audio.verdict.records import Verdict
    from outpaint_mcp.workers.orders import Finish, ReportProgress

_SUFFIXES = {"WAV": ".wav", "WAVEX": ".wav", "RF64": ".wav", "FLAC": ".flac", "MP3": ".mp3", "OGG": ".ogg"}


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
    output = _output(order)
    with atomic_output(output) as part:
        assembled = assemble(
            order.source,
            model_outputs(order.before),
            model_outputs(order.after),
            part,
            max_source_seconds=order.max_seconds,
            on_progress=lambda share, step: report(share * WRITING_SHARE, step),
        )
        loose = sum(not join.aligned for join in assembled.joins)
        preserved = preservation_note(order.original)
        note = (
            f"The music that {order.provider_title} added is joined to the source, which is preserved {preserved}.",
            damage_note(intact=assembled.source_intact),
            f"At {loose} of the joins the model's music differs from the context it was sent: listen there."
            if loose
            else "",
        )
        return _finalize(order, assembled, part, output, note, report)


def _restore(order: Finish, whole: Path, report: ReportProgress) -> Outcome:
    """Put the source back into the one file that a model generated, where it can be found there reliably."""
    if order.plain:
        return dataclasses.replace(_as_rendered(order, whole), restore_refusal="this failed several times")
    output = _output(order)
    with atomic_output(output) as part:
        restored = restore(
            order.source,
            whole,
            part,
            before_seconds=order.before_seconds,
            after_seconds=order.after_seconds,
            max_source_seconds=order.max_seconds,
            on_progress=lambda share, step: report(share * WRITING_SHARE, step),
        )
        rendered = _as_rendered(order, whole)
        if restored.assembled is None:
            return dataclasses.replace(rendered, restore_refusal=restored.reason)
        preserved = preservation_note(order.original)
        note = (
            f"The source is put back {preserved} into the file that {order.provider_title} generated.",
            damage_note(intact=restored.assembled.source_intact),
        )
        outcome = _finalize(order, restored.assembled, part, output, note, report)
    return dataclasses.replace(outcome, as_made=rendered)


def _output(order: Finish) -> Path:
    """The extended file, in the format of the source."""
    return order.folder / f"output{delivery_format(probe(order.source)).suffix}"


def _finalize(  # noqa: PLR0913 - as `finalize` has it
    order: Finish,
    assembled: Assembled,
    part: Path,
    output: Path,
    note: tuple[str, ...],
    report: ReportProgress,
) -> Outcome:
    return finalize(
        assembled,
        part,
        order,
        source=order.source,
        original=order.original,
        output=output,
        note=" ".join(filter(None, note)),
        report=report,
        plain=order.plain,
    )


def _as_rendered(order: Finish, whole: Path) -> Outcome:
    """Give a model's own file its suffix, and evaluate it; nothing in it is changed."""
    found = measure(whole, order.max_seconds)
    output = order.folder / f"made{_SUFFIXES.get(found.container, '.wav')}"
    output.unlink(missing_ok=True)
    try:
        output.hardlink_to(whole)
    except OSError:  # a disk without hard links
        shutil.copyfile(whole, output)
    verdict = None if order.plain else evaluate(order.source, output, order)
    before, after = _added_seconds(verdict) or _by_length(
        order, found, measure(order.source, order.max_seconds)
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

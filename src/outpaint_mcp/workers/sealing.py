"""How every task that writes an extended file ends: its verdict, its tags, its place."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from outpaint_mcp._version import __version__
from outpaint_mcp.audio.files.decode import count_unreal_frames, probe
from outpaint_mcp.audio.files.encode import is_lossless, seal
from outpaint_mcp.audio.joining.model_output import ModelOutput
from outpaint_mcp.audio.layout import Preserved
from outpaint_mcp.audio.tags.carrying import carry_over
from outpaint_mcp.audio.verdict.judge import judge
from outpaint_mcp.results import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from outpaint_mcp.audio.files.extended_file import ExtendedFile
    from outpaint_mcp.audio.verdict.records import Asked, Verdict
    from outpaint_mcp.workers.order import ReportProgress
    from outpaint_mcp.workers.orders import Extend, Finish, GeneratedPart

_log = logging.getLogger(__name__)

WRITING_SHARE = 0.7
"""Share of the whole work that goes into the file; the rest goes into its verdict."""


def finalize(  # noqa: PLR0913 - a file, and what it consists of
    extended: ExtendedFile,
    part: Path,
    order: Extend | Finish,
    asked: Asked,
    *,
    source: Path,
    original: Path,
    output: Path,
    note: str,
    report: ReportProgress,
    plain: bool = False,
) -> Outcome:
    """Evaluate and tag an extended file that is written.

    Args:
        extended: what was written.
        part: where it is.
        order: the request.
        asked: what was asked of it, and what it consists of.
        source: the recording that was extended.
        original: the same, or the recording that it was cut out of, whose tags it gets.
        output: where it will be in the end.
        note: how it was generated.
        report: called when this begins.
        plain: whether to do without verdict and tags, since that has failed before.
    """
    report(WRITING_SHARE, "listening to it")
    verdict = None if plain else evaluate(source, part, asked, order.max_seconds)
    cut_frames = round(order.start_seconds * extended.sample_rate)
    preserved = [
        Preserved(each.start + cut_frames, each.stop + cut_frames, each.at_frame) for each in asked.preserved
    ]
    left_out = "" if plain else write_tags(original, part, _comment(order, asked), preserved)
    size_bytes, sha256 = seal(part)
    return Outcome(
        path=output,
        sha256=sha256,
        size_bytes=size_bytes,
        duration_seconds=extended.duration_seconds,
        before_seconds=extended.before_frames / extended.sample_rate,
        after_seconds=extended.after_frames / extended.sample_rate,
        seed=order.seed,
        note=f"{note} {left_out}".strip(),
        verdict=verdict,
        audio_sha256=extended.sha256,
        layout=asked.layout,
        preserved=asked.preserved,
    )


def evaluate(source: Path, extended: Path, asked: Asked, max_source_seconds: float) -> Verdict | None:
    """Judge an extended file, as `judge` does; None where that failed."""
    try:
        return judge(source, extended, asked, max_source_seconds=max_source_seconds)
    except Exception as exc:  # noqa: BLE001 - unforeseen audio must not cost the file
        _log.warning("An extended file could not be judged: %r", exc)
        return None


def write_tags(original: Path, path: Path, comment: str, preserved: Sequence[Preserved]) -> str:
    """Give a finished file its source's tags and a comment of its own, as `carry_over` does; returns what that does."""
    try:
        return carry_over(original, path, comment=comment, preserved=preserved)
    except Exception as exc:  # noqa: BLE001 - nor must unforeseen tags
        _log.warning("An extended file could not be tagged: %r", exc)
        return "The tags of the source's file could not be carried over."


def preservation_note(original: Path) -> str:
    """How a source, or a part that was cut out of it, is preserved."""
    how = "bit for bit" if is_lossless(probe(original)) else "as it decodes, at 24 bits"
    unreal = count_unreal_frames(original)
    return (
        f"{how}, but for {unreal:,} frames of values that are no sound (NaN, infinity): silence"
        if unreal
        else how
    )


@contextmanager
def atomic_output(output: Path) -> Iterator[Path]:
    """Give a name of this process's own to write to; the file is moved to `output` once the block has ended well."""
    part = output.with_name(f"{output.name}.{os.getpid()}.part")
    try:
        yield part
        if part.exists():
            part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def model_outputs(parts: Sequence[GeneratedPart]) -> list[ModelOutput]:
    """The parts of an order as `audio.joining` takes them."""
    return [ModelOutput(each.path, each.context_seconds) for each in parts]


def _comment(order: Extend | Finish, asked: Asked) -> str:
    """What was added, who did it, and how to get the same again."""
    sides = (("before", asked.before_seconds), ("after", asked.after_seconds))
    added = " and ".join(f"{seconds:g} s {side}" for side, seconds in sides if seconds)
    return f"Extended by outpaint-mcp {__version__}: {added}; provider {order.provider}, seed {order.seed}."

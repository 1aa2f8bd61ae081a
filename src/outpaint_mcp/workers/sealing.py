"""How every task that writes an extended file ends: its verdict, its tags, its place."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from outpaint_mcp._version import __version__
from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.files.encode import is_lossless, seal
from outpaint_mcp.audio.files.tagging import carry_over
from outpaint_mcp.audio.joining.model_output import ModelOutput
from outpaint_mcp.audio.verdict.judge import judge
from outpaint_mcp.results import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from outpaint_mcp.audio.files.extended_file import ExtendedFile
    from outpaint_mcp.audio.verdict.records import Verdict
    from outpaint_mcp.workers.orders import Extend, Finish, GeneratedPart, ReportProgress

_log = logging.getLogger(__name__)

WRITING_SHARE = 0.7
"""Share of the whole work that goes into the file; the rest goes into its verdict."""


def finalize(  # noqa: PLR0913 - a file, and what it was made from
    extended: ExtendedFile,
    part: Path,
    order: Extend | Finish,
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
        source: the recording that was extended.
        original: the same, or the recording that it was cut out of, whose tags it gets.
        output: where it will be in the end.
        note: how it was generated.
        report: called when this begins.
        plain: whether to do without verdict and tags, since that has failed before.
    """
    report(WRITING_SHARE, "listening to it")
    before_seconds = extended.before_frames / extended.sample_rate
    verdict = None if plain else evaluate(source, part, order, begins_seconds=before_seconds)
    size_bytes, sha256 = seal(part) if plain else write_tags(original, part, _comment(order))
    return Outcome(
        path=output,
        sha256=sha256,
        size_bytes=size_bytes,
        duration_seconds=extended.duration_seconds,
        before_seconds=before_seconds,
        after_seconds=extended.after_frames / extended.sample_rate,
        seed=order.seed,
        note=note,
        verdict=verdict,
        audio_sha256=extended.sha256,
    )


def evaluate(
    source: Path, extended: Path, order: Extend | Finish, *, begins_seconds: float | None = None
) -> Verdict | None:
    """Judge an extended file, as `judge` does; None where that failed."""
    try:
        return judge(
            source,
            extended,
            before_seconds=order.before_seconds,
            after_seconds=order.after_seconds,
            max_source_seconds=order.max_seconds,
            begins_seconds=begins_seconds,
        )
    except Exception as exc:  # noqa: BLE001 - unforeseen audio must not cost the file
        _log.warning("An extended file could not be judged: %r", exc)
        return None


def write_tags(original: Path, path: Path, comment: str) -> tuple[int, str]:
    """Give a finished file its source's tags and a comment of its own; returns its bytes and their SHA-256."""
    try:
        carry_over(original, path, comment=comment)
    except Exception as exc:  # noqa: BLE001 - nor must unforeseen tags
        _log.warning("An extended file could not be tagged: %r", exc)
    return seal(path)


def preservation_note(original: Path) -> str:
    """How a source, or a part that was cut out of it, is preserved."""
    return "bit for bit" if is_lossless(probe(original)) else "as it decodes, at 24 bits"


def damage_note(*, intact: bool) -> str:
    """A sentence for a source that is damaged; empty for one that is not."""
    return "" if intact else "The source is damaged, and ends where decoding it did."


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


def _comment(order: Extend | Finish) -> str:
    """What was added, who did it, and how to get the same again."""
    sides = (("before", order.before_seconds), ("after", order.after_seconds))
    added = " and ".join(f"{seconds:g} s {side}" for side, seconds in sides if seconds)
    return f"Extended by outpaint-mcp {__version__}: {added}; provider {order.provider}, seed {order.seed}."

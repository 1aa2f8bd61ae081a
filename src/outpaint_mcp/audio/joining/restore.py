"""The source put back, bit for bit, into what a model made of it in one go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from outpaint_mcp.audio.files.measure import measure
from outpaint_mcp.audio.joining.assemble import assemble
from outpaint_mcp.audio.joining.pieces import Piece
from outpaint_mcp.audio.shapes import Side
from outpaint_mcp.errors import NothingNew

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from outpaint_mcp.audio.engine.outpaint import Report
    from outpaint_mcp.audio.joining.assemble import Assembled
    from outpaint_mcp.audio.joining.joins import Join

_SAME_SECONDS = 0.02
"""By so much the two ends of the source may disagree on where it is."""
_LENGTHS_AGREE_SECONDS = 0.2
"""What shifts and codecs put lengths out by."""
_ALIKE, _FAR_SECONDS = 0.8, 0.4
"""Levels that agree less, or that far from where they should, may be another arrangement's."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of it.

    Attributes:
        assembled: the file that was written, in which all of the source's frames are its own; what was measured at
            either side is in its `joins`. None where the source could not be put back, and nothing was written.
        reason: why not, in words; empty otherwise.
    """

    assembled: Assembled | None
    reason: str

    @property
    def trusted(self) -> bool:
        """Whether the source was put back."""
        return self.assembled is not None


class _Ends(NamedTuple):
    """A source in the file that was made of it, as far as lengths tell.

    Attributes:
        begins_seconds: where it begins.
        lasts_seconds: how long it is.
        left_seconds: from its beginning to the end of the file.
    """

    begins_seconds: float
    lasts_seconds: float
    left_seconds: float


def restore(  # noqa: PLR0913 - one file, each part of it named
    source: Path,
    made: Path,
    destination: Path,
    *,
    before_seconds: float,
    after_seconds: float,
    max_source_seconds: float,
    on_progress: Report,
) -> Restored:
    """Write the source with what `made` has before and after its own rendering of it.

    The rendering is found to the frame where its waves are the source's, to some milliseconds where only the course
    of its levels is. Its level, and its speed if that drifts, are made the source's (see `joins`). Nothing is
    written where that is not to be trusted: where an end of the source is not found, or both are but are not as far
    apart as they should be.

    Args:
        source: the recording that was extended.
        made: what the model returned, all of it; of any rate, channels and length.
        destination: where to write, in the format that `delivery_format` names for the source.
        before_seconds: what was asked before it, 0 for nothing.
        after_seconds: what was asked after it, 0 for nothing.
        max_source_seconds: the longest source, and made file, to accept.
        on_progress: told the fraction done and the step: joining or writing.

    Raises:
        SourceUnreachable: if either file is not there, or the source changed while being read.
        SourceTooLarge: if either lasts longer than may be.
        UnsupportedAudio: if either cannot be decoded.
        GenerationFailed: if the destination cannot be written.
    """
    made_seconds = measure(made, max_source_seconds).seconds
    source_seconds = measure(source, max_source_seconds).seconds
    sides = [side for side, seconds in zip(Side, (before_seconds, after_seconds), strict=True) if seconds]

    def lay_over(begins_seconds: float) -> Assembled | str:
        ends = _Ends(begins_seconds, source_seconds, max(0.0, made_seconds - begins_seconds))
        pieces = {
            Side.BEFORE: Piece(made, ends.left_seconds),
            Side.AFTER: Piece(made, begins_seconds + source_seconds),
        }
        before, after = ([pieces[side]] if side in sides else [] for side in Side)
        try:
            assembled = assemble(
                source,
                before,
                after,
                destination,
                max_source_seconds=max_source_seconds,
                on_progress=on_progress,
            )
        except NothingNew:
            return "what came back is too short to have anything beside it"
        return _doubt(assembled.joins, ends) or assembled

    found = lay_over(before_seconds)
    # what is missing or too much may be so before the source, and what repeats is like itself at the wrong place too
    otherwise = max(0.0, made_seconds - source_seconds - after_seconds)
    if abs(otherwise - before_seconds) > _LENGTHS_AGREE_SECONDS:
        other = lay_over(otherwise)
        found = other if _agreement(other) > _agreement(found) else lay_over(before_seconds)
    if isinstance(found, str):
        destination.unlink(missing_ok=True)
        return Restored(None, found)
    return Restored(found, "")


def _agreement(found: Assembled | str) -> float:
    return -1.0 if isinstance(found, str) else min((join.agreement for join in found.joins), default=1.0)


def _doubt(joins: Sequence[Join], ends: _Ends) -> str | None:
    """Why the source is not to be believed to be where it was found."""
    for join in joins:
        by_levels = join.aligned and join.agreement >= _ALIKE and abs(join.offset_seconds) <= _FAR_SECONDS
        if not (join.exact or by_levels):
            end = "beginning" if join.side is Side.BEFORE else "end"
            return f"nothing that came back is like its {end}"
    if len(joins) == len(Side):
        first, last = joins
        # offsets point away from the source on both sides
        seems_seconds = ends.lasts_seconds + first.offset_seconds + last.offset_seconds
        due_seconds = ends.lasts_seconds * (1 + (first.drift + last.drift) / 2)
        if abs(seems_seconds - due_seconds) > _SAME_SECONDS:
            return f"of its {due_seconds:.2f} s what came back seems to have {seems_seconds:.2f} s"
    return None

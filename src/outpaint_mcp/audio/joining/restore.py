"""Restoring the source, bit for bit, inside what a model rendered in a single pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from outpaint_mcp.audio.files.measure import measure
from outpaint_mcp.audio.joining.assemble import assemble
from outpaint_mcp.audio.joining.model_output import ModelOutput
from outpaint_mcp.audio.joining.new_music import Shape
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.errors import NothingNew

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from outpaint_mcp.audio.engine.step_progress import Report
    from outpaint_mcp.audio.joining.assemble import Assembled
    from outpaint_mcp.audio.joining.joins import Join

_AS_IT_CAME = Shape()
_SAME_SECONDS = 0.02
"""Largest disagreement between the two ends of the source about its position."""
_LENGTHS_AGREE_SECONDS = 0.2
"""Error of lengths caused by delays and codecs."""
_ALIKE, _FAR_SECONDS = 0.8, 0.4
"""Levels that agree less, or this far from the expected position, may belong to another arrangement."""


@dataclass(frozen=True, slots=True)
class Restored:
    """The result of restoring a source.

    Attributes:
        assembled: the written file, which contains all of the source's own frames, with what was measured at
            either side in its `joins`. None if the source could not be restored; then nothing was written.
        reason: why not, in words; empty otherwise.
    """

    assembled: Assembled | None
    reason: str

    @property
    def trusted(self) -> bool:
        """Whether the source was restored."""
        return self.assembled is not None


class _Ends(NamedTuple):
    """The position of a source in a model output, according to its length.

    Attributes:
        begins_seconds: where it begins.
        lasts_seconds: its duration.
        left_seconds: from its beginning to the end of the file.
    """

    begins_seconds: float
    lasts_seconds: float
    left_seconds: float


def restore(  # noqa: PLR0913 - one file, each part of it named
    source: Path,
    returned: Path,
    destination: Path,
    *,
    before_seconds: float,
    after_seconds: float,
    shape: Shape = _AS_IT_CAME,
    max_source_seconds: float,
    on_progress: Report,
) -> Restored:
    """Write the source with the music that a model output has before and after its rendering of it.

    The rendering is located to the frame if its waveforms match the source's, and to a few milliseconds if
    only its level contours do. Its level, and its speed if it drifts, are matched to the source's (see
    `joins`). Nothing is written if the result cannot be trusted: if an end of the source is not found, or the
    ends are not as far apart as they should be.

    Args:
        source: the recording that was extended.
        returned: the whole model output; any sample rate, channel count and duration.
        destination: where to write, in the format that `delivery_format` chooses for the source.
        before_seconds: duration requested before the source, 0 for none.
        after_seconds: duration requested after it, 0 for none.
        shape: how much of the new music is used, and how it begins and ends.
        max_source_seconds: the longest source and model output to accept.
        on_progress: called with the completed fraction and the step: joining or writing.

    Raises:
        SourceUnreachable: if a file does not exist, or the source changed while it was read.
        SourceTooLarge: if a file is longer than `max_source_seconds`.
        UnsupportedAudio: if a file cannot be decoded.
        GenerationFailed: if the destination cannot be written.
    """
    returned_seconds = measure(returned, max_source_seconds).seconds
    source_seconds = measure(source, max_source_seconds).seconds
    sides = [side for side, seconds in zip(Side, (before_seconds, after_seconds), strict=True) if seconds]

    def attempt(begins_seconds: float) -> Assembled | str:
        ends = _Ends(begins_seconds, source_seconds, max(0.0, returned_seconds - begins_seconds))
        outputs = {
            Side.BEFORE: ModelOutput(returned, ends.left_seconds),
            Side.AFTER: ModelOutput(returned, begins_seconds + source_seconds),
        }
        before, after = ([outputs[side]] if side in sides else [] for side in Side)
        try:
            assembled = assemble(
                source,
                before,
                after,
                destination,
                shape=shape,
                max_source_seconds=max_source_seconds,
                on_progress=on_progress,
            )
        except NothingNew:
            return "the model output is too short to contain anything beside it"
        return _doubt(assembled.joins, ends) or assembled

    found = attempt(before_seconds)
    # missing or excess music may lie before the source, and repetitive music also matches at the wrong place
    otherwise = max(0.0, returned_seconds - source_seconds - after_seconds)
    if abs(otherwise - before_seconds) > _LENGTHS_AGREE_SECONDS:
        other = attempt(otherwise)
        found = other if _agreement(other) > _agreement(found) else attempt(before_seconds)
    if isinstance(found, str):
        destination.unlink(missing_ok=True)
        return Restored(None, found)
    return Restored(found, "")


def _agreement(found: Assembled | str) -> float:
    return -1.0 if isinstance(found, str) else min((join.agreement for join in found.joins), default=1.0)


def _doubt(joins: Sequence[Join], ends: _Ends) -> str | None:
    """Explain why the source's position cannot be trusted; None if it can."""
    for join in joins:
        by_levels = join.aligned and join.agreement >= _ALIKE and abs(join.offset_seconds) <= _FAR_SECONDS
        if not (join.exact or by_levels):
            end = "beginning" if join.side is Side.BEFORE else "end"
            return f"nothing in the model output matches its {end}"
    if len(joins) == len(Side):
        first, last = joins
        # offsets point away from the source on both sides
        seems_seconds = ends.lasts_seconds + first.offset_seconds + last.offset_seconds
        due_seconds = ends.lasts_seconds * (1 + (first.drift + last.drift) / 2)
        if abs(seems_seconds - due_seconds) > _SAME_SECONDS:
            return f"the model output appears to contain {seems_seconds:.2f} s of its {due_seconds:.2f} s"
    return None

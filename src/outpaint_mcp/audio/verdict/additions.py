"""What was added to a source, and what became of the source, in figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.loudness import loudness_of
from outpaint_mcp.audio.shapes import Side
from outpaint_mcp.audio.verdict.extents import Extent, measure_extent, silence_db
from outpaint_mcp.audio.verdict.repetition import WITHIN_SECONDS, heard_again, repeated_share, usual_share

if TYPE_CHECKING:
    from outpaint_mcp.audio.shapes import Floats, Samples

_OWN_SECONDS, _NEW_SECONDS = 45.0, 60.0
_LEAST_HABIT_SECONDS = 8


@dataclass(frozen=True, slots=True)
class Survival:
    """What became of the source.

    Attributes:
        found: whether it is in there; None where it is silent, or too short to recognise.
        bit_exact: whether it is there value by value, but for crossfades at its edges.
        crossfaded_seconds: how much of it those changed.
        changed: share of its values that are others, where values can be compared; 0 otherwise.
        correlation: of its waves with the original's, -1 to 1.
        agreeing: share of the places looked at where it is itself.
        gain_db: its level against the original's.
        offset_seconds: how much later it begins than it should.
        drift_percent: how much slower it runs.
        lost_seconds: how much of it, next to music that was added, is not itself.
    """

    found: bool | None
    bit_exact: bool = False
    crossfaded_seconds: float = 0.0
    changed: float = 0.0
    correlation: float = 0.0
    agreeing: float = 0.0
    gain_db: float = 0.0
    offset_seconds: float = 0.0
    drift_percent: float = 0.0
    lost_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Addition:
    """The music added on one side.

    Attributes:
        side: of the source.
        asked_seconds: how much was asked.
        actual_seconds: how much there is; None where the source was not found.
        new: its silence, fade and clipping.
        own: the same of the source beside it.
        true_peak_dbtp: its largest value, those between the samples included.
        repeated: share that was heard within the 16 s before.
        own_repeated: the same of the stretch of the source, as long, that repeats itself most.
    """

    side: Side
    asked_seconds: float
    actual_seconds: float | None
    new: Extent
    own: Extent
    true_peak_dbtp: float
    repeated: float
    own_repeated: float


def measure_addition(  # noqa: PLR0913 - one side, each part of it named
    own: Samples,
    new: Samples,
    side: Side,
    sample_rate: int,
    *,
    asked_seconds: float,
    actual_seconds: float | None,
) -> Addition:
    """Measure an extension, and the source beside it for comparison; both `[frames, channels]`, in playing order."""
    if side is Side.BEFORE:
        own, new = own[::-1], new[::-1]
    threshold = silence_db(own if len(own) else new, sample_rate)
    near = own[max(0, len(own) - round(_OWN_SECONDS * sample_rate)) :]
    heard = heard_again(np.concatenate([near, new[: round(_NEW_SECONDS * sample_rate)]]), sample_rate)
    meeting = len(near) // sample_rate
    return Addition(
        side=side,
        asked_seconds=asked_seconds,
        actual_seconds=actual_seconds,
        new=measure_extent(new, sample_rate, threshold),
        own=measure_extent(own, sample_rate, threshold),
        true_peak_dbtp=loudness_of(new, sample_rate, true_peak=True).true_peak_dbtp,
        repeated=repeated_share(heard[meeting:]),
        own_repeated=_habit(heard[round(WITHIN_SECONDS) : meeting], len(heard) - meeting),
    )


def _habit(heard: Floats, seconds: int) -> float:
    """How much a source repeats itself; of one that is too short to have habits nothing else is to be expected."""
    return usual_share(heard, seconds) if len(heard) >= _LEAST_HABIT_SECONDS else 1.0

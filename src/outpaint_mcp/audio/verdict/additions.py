"""Measures of the music that was added to a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.loudness import loudness_of
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.extents import measure_extent, silence_db
from outpaint_mcp.audio.verdict.records import Addition
from outpaint_mcp.audio.verdict.repetition import (
    WITHIN_SECONDS,
    agreements_with_past,
    repeated_share,
    usual_share,
)

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Floats, Samples

_OWN_SECONDS, _NEW_SECONDS = 45.0, 60.0
_LEAST_HABIT_SECONDS = 8


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
    agreements = agreements_with_past(
        np.concatenate([near, new[: round(_NEW_SECONDS * sample_rate)]]), sample_rate
    )
    meeting = len(near) // sample_rate
    return Addition(
        side=side,
        asked_seconds=asked_seconds,
        actual_seconds=actual_seconds,
        new=measure_extent(new, sample_rate, threshold),
        own=measure_extent(own, sample_rate, threshold),
        true_peak_dbtp=loudness_of(new, sample_rate, true_peak=True).true_peak_dbtp,
        repeated=repeated_share(agreements[meeting:]),
        own_repeated=_habit(agreements[round(WITHIN_SECONDS) : meeting], len(agreements) - meeting),
    )


def _habit(agreements: Floats, seconds: int) -> float:
    """How much a source repeats itself; 1 for a source too short to tell, so that repetition is no fault."""
    return usual_share(agreements, seconds) if len(agreements) >= _LEAST_HABIT_SECONDS else 1.0

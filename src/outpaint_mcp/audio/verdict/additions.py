"""Measures of the music that was added to a source."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.loudness import loudness_of
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.extents import measure_extent, silence_db
from outpaint_mcp.audio.verdict.records import Addition, Extent
from outpaint_mcp.audio.verdict.repetition import (
    WITHIN_SECONDS,
    Repeats,
    Run,
    longest_run,
    repeated_share,
    repeats,
    usual_share,
)

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Floats, Samples

_OWN_SECONDS, _NEW_SECONDS = 45.0, 120.0
_LEAST_HABIT_SECONDS = 8
_HABIT = 0.5
"""A source of which this share returns over and over again does so itself."""
_OFTEN = 1.5
_ALL_OF_IT = 0.9


def measure_addition(  # noqa: PLR0913 - one side, each part of it named
    own: Samples,
    new: Samples,
    side: Side,
    sample_rate: int,
    *,
    asked_seconds: float,
    actual_seconds: float | None,
    at_seconds: float = 0.0,
    source_seconds: float = 0.0,
    outer: tuple[Samples, float] | None = None,
) -> Addition:
    """Measure an extension, and the source beside it for comparison; both `[frames, channels]`, in playing order.

    Args:
        own: the source beside it.
        new: the extension.
        side: of the source.
        sample_rate: frames per second.
        asked_seconds: how long it was to be.
        actual_seconds: how long it is; None where nobody knows.
        at_seconds: where in the file it begins.
        source_seconds: the length of the source.
        outer: its outer part, and where in the file that begins, where `new` is only the part beside the source.
    """
    new_seconds = len(new) / sample_rate
    if side is Side.BEFORE:
        own, new = own[::-1], new[::-1]
    end, end_at_seconds = (new, at_seconds) if outer is None else outer
    if outer is not None and side is Side.BEFORE:
        end = end[::-1]
    threshold = silence_db(own if len(own) else new, sample_rate)
    near = own[max(0, len(own) - round(_OWN_SECONDS * sample_rate)) :]
    found = repeats(np.concatenate([near, new[: round(_NEW_SECONDS * sample_rate)]]), sample_rate)
    meeting = len(near) // sample_rate
    run = _stuck(found, meeting, source_seconds or len(own) / sample_rate)
    out = max(0, run.first - meeting)
    return Addition(
        side=side,
        asked_seconds=asked_seconds,
        actual_seconds=actual_seconds,
        new=_placed(
            measure_extent(end, sample_rate, threshold), side, end_at_seconds, len(end) / sample_rate
        ),
        own=measure_extent(own, sample_rate, threshold),
        true_peak_dbtp=loudness_of(new, sample_rate, true_peak=True).true_peak_dbtp,
        repeated=repeated_share(found.agreements[meeting:]),
        own_repeated=_habit(
            found.agreements[round(WITHIN_SECONDS) : meeting], len(found.agreements) - meeting
        ),
        passes=run.passes,
        pass_seconds=run.lag_seconds,
        passes_at_seconds=at_seconds
        + (max(0.0, new_seconds - out - run.seconds) if side is Side.BEFORE else out),
    )


def _placed(extent: Extent, side: Side, at_seconds: float, seconds: float) -> Extent:
    """Say where in the file the gap is."""
    at = extent.gap_at_seconds
    return replace(
        extent,
        gap_at_seconds=at_seconds
        + (at if side is Side.AFTER else max(0.0, seconds - at - extent.gap_seconds)),
    )


def _habit(agreements: Floats, seconds: int) -> float:
    """How much a source repeats itself; 1 for a source too short to tell, so that repetition is no fault."""
    return usual_share(agreements, seconds) if len(agreements) >= _LEAST_HABIT_SECONDS else 1.0


def _stuck(found: Repeats, meeting: int, source_seconds: float) -> Run:
    """The few seconds that added music plays over and over again, where the source does not; none otherwise."""
    run = longest_run(Repeats(found.agreements[meeting:], found.lags_seconds[meeting:]))
    run = run._replace(first=run.first + meeting)
    if run.lag_seconds >= _ALL_OF_IT * source_seconds:  # a loop, all of which is played
        return Run(meeting, 0, 0.0)
    own = longest_run(Repeats(found.agreements[:meeting], found.lags_seconds[:meeting]))
    is_habit = meeting > 0 and own.seconds >= _HABIT * max(1.0, meeting - own.lag_seconds)
    return Run(meeting, 0, 0.0) if is_habit or run.seconds < _OFTEN * own.seconds else run

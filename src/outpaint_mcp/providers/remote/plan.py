"""What is asked of a model, step by step, so that it is asked for nothing that it is known to get wrong.

A model paints on one canvas. Asked for both sides at once, ACE-Step makes the right one too short; asked for more than
the source's own length, it fails or is silent. So: one side at a time, from a context that is at least as long as the
extension and fits onto the canvas with it. And a little more than is needed in each step, since what comes back is
right to a tenth of a second or two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.audio.sides import Side
from outpaint_mcp.errors import InvalidRequest
from outpaint_mcp.storage.records import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outpaint_mcp.providers.remote.model import Limits

# Lengths come from frames at one rate and go to a model that counts in others.
_TOLERANCE_SECONDS = 1e-3


def check_durations(limits: Limits, *, before_seconds: float, after_seconds: float) -> None:
    """See that no side asks for less than the model makes.

    Raises:
        InvalidRequest: one does.
    """
    for side, seconds in ((Side.BEFORE, before_seconds), (Side.AFTER, after_seconds)):
        if 0 < seconds < limits.shortest_seconds:
            raise InvalidRequest(
                f"{seconds:g} s is too short: the model may return nothing below {limits.shortest_seconds:g} s. Ask for"
                " more, or for none.",
                field=f"extend_{side}_duration",
            )


def plan(
    limits: Limits, source_seconds: float, *, before_seconds: float, after_seconds: float
) -> tuple[Step, ...]:
    """Divide a request into steps, those before the source first.

    Raises:
        InvalidRequest: too little is asked, or the source is too short to be grown to the asked length.
    """
    check_durations(limits, before_seconds=before_seconds, after_seconds=after_seconds)
    sides = ((Side.BEFORE, before_seconds), (Side.AFTER, after_seconds))
    steps = [
        (side, seconds, context_seconds)
        for side, asked_seconds in sides
        for seconds, context_seconds in _steps(limits, side, source_seconds, asked_seconds)
    ]
    return tuple(
        Step(number=number, side=side, seconds=seconds, context_seconds=context_seconds)
        for number, (side, seconds, context_seconds) in enumerate(steps, 1)
    )


def _steps(
    limits: Limits, side: Side, length_seconds: float, asked_seconds: float
) -> Iterator[tuple[float, float]]:
    """Propose the seconds and the context's seconds of each step on one side, for a little more than is asked."""
    number = _count(limits, side, length_seconds, asked_seconds) if asked_seconds else 0
    wanted_seconds = asked_seconds + number * limits.margin_seconds
    grown_seconds = 0.0
    for left in range(number, 0, -1):
        # As even as the first steps allow, since a last one of a moment would be paid for like any other.
        largest = _largest(limits, length_seconds, grown_seconds)
        seconds = min(largest, (wanted_seconds - grown_seconds) / left)
        room = limits.canvas_seconds - length_seconds - grown_seconds
        # No margin is worth a step that is not built on all there is.
        fits = min(largest, (asked_seconds - grown_seconds) / left) <= room
        yield (
            (min(seconds, room), length_seconds + grown_seconds)
            if fits
            else (seconds, limits.context_seconds)
        )
        grown_seconds += min(seconds, room) if fits else seconds


def _count(limits: Limits, side: Side, length_seconds: float, asked_seconds: float) -> int:
    """Return the fewest steps, each as large as it may be.

    Raises:
        InvalidRequest: too many of them would be built on next to nothing.
    """
    grown_seconds, number, needed_seconds = 0.0, 0, asked_seconds
    while grown_seconds < needed_seconds - _TOLERANCE_SECONDS:
        largest = _largest(limits, length_seconds, grown_seconds)
        if largest < limits.context_seconds and number == limits.most_steps:
            raise InvalidRequest(
                f"The source is only {length_seconds:.2g} s long, which is too short for {asked_seconds:g} s {side} it:"
                f" each of at most {limits.most_steps} steps can double the length. Ask for less, or use a longer"
                " source."
            )
        grown_seconds += largest
        number += 1
        # The margin alone is not worth a second step; of several, each but the last loses its very end.
        needed_seconds = asked_seconds + (number * limits.margin_seconds if number > 1 else 0)
    return number


def _largest(limits: Limits, length_seconds: float, grown_seconds: float) -> float:
    """Return the longest extension of a source that has grown by so much: its context is at least as long."""
    grown_for_sure = grown_seconds * (1 - limits.imprecision)
    return min(length_seconds + grown_for_sure, limits.context_seconds)

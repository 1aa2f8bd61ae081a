"""What is asked of the model, step by step, so that it is asked for nothing that it is known to get wrong.

ACE-Step paints on one canvas of at most 240 s. Asked for both sides at once it makes the right one too short;
asked for more than the source's own length it fails or is silent. So: one side at a time, from a context that
is as long as the extension at least, and fits onto the canvas with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from outpaint_mcp.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

Side = Literal["before", "after"]

CANVAS_SECONDS = 240.0

# As long as the longest extension from it; what lies further back would be paid for, too, it seems.
_CONTEXT_SECONDS = CANVAS_SECONDS / 2

# Each step doubles what there is: more of them would be built on next to nothing.
_MOST_STEPS = 8

LEAST_SECONDS = 0.5

# What the model makes is longer or shorter than asked by some tenths of a second.
_IMPRECISION = 0.02

# Lengths come from frames at one rate and go to a model that counts in others.
_TOLERANCE_SECONDS = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One request to the model.

    Attributes:
        side: where music is added.
        seconds: how much of it.
        context_seconds: how much of the music at that edge the model is given.
    """

    side: Side
    seconds: float
    context_seconds: float


def plan(source_seconds: float, *, before_seconds: float, after_seconds: float) -> tuple[PlannedStep, ...]:
    """Divide a request into steps, those before the source first.

    Raises:
        InvalidRequest: too little is asked, or the source is too short to be grown to the asked length.
    """
    for side, seconds in (("before", before_seconds), ("after", after_seconds)):
        if 0 < seconds < LEAST_SECONDS:
            raise InvalidRequest(
                f"{seconds:g} s {side} are asked, and the model works in steps of a tenth of a second: of less than"
                f" {LEAST_SECONDS:g} s nothing may come back. Ask for more."
            )
    return (
        *_steps("before", source_seconds, before_seconds),
        *_steps("after", source_seconds, after_seconds),
    )


def _steps(side: Side, length_seconds: float, asked_seconds: float) -> Iterator[PlannedStep]:
    number = len(_greedy(length_seconds, asked_seconds)) if asked_seconds else 0
    if number > _MOST_STEPS:
        raise InvalidRequest(
            f"The source lasts {length_seconds:.2g} s, which is too little for {asked_seconds:g} s {side} it: the model"
            f" doubles what there is at most, and not more than {_MOST_STEPS} times. Ask for less, or give a longer"
            " source."
        )
    grown_seconds = 0.0
    for left in range(number, 0, -1):
        # As even as the first steps allow, since a last one of a moment would be paid for like any other.
        seconds = min(_largest(length_seconds, grown_seconds), (asked_seconds - grown_seconds) / left)
        whole_seconds = length_seconds + grown_seconds
        fits = whole_seconds + seconds <= CANVAS_SECONDS
        context_seconds = whole_seconds if fits else _CONTEXT_SECONDS
        yield PlannedStep(side=side, seconds=seconds, context_seconds=context_seconds)
        grown_seconds += seconds


def _greedy(length_seconds: float, asked_seconds: float) -> list[float]:
    """The fewest steps: each as large as it may be."""
    steps: list[float] = []
    while sum(steps) < asked_seconds - _TOLERANCE_SECONDS and len(steps) <= _MOST_STEPS:
        steps.append(min(_largest(length_seconds, sum(steps)), asked_seconds - sum(steps)))
    return steps


def _largest(length_seconds: float, grown_seconds: float) -> float:
    """The longest extension of a source that has grown so much: on one canvas with a context as long."""
    grown_for_sure = grown_seconds * (1 - _IMPRECISION)
    return min(length_seconds + grown_for_sure, _CONTEXT_SECONDS)

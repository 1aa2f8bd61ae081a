"""Plans: whatever is asked, the model is asked for nothing that it is known to get wrong."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from outpaint_mcp.audio.sides import Side
from outpaint_mcp.errors import InvalidRequest
from outpaint_mcp.providers.remote.plan import plan
from outpaint_mcp.providers.runcomfy.model import LIMITS
from outpaint_mcp.storage.records import Step, StepState

lengths = st.floats(0.01, 7_200) | st.floats(0.01, 10)
extensions = st.just(0.0) | st.floats(0.5, 240) | st.floats(0.5, 5) | st.floats(240, 7_200)

# A source of a sample rate of its own is never cut to the microsecond.
TOLERANCE_SECONDS = 2e-3


def sides_of(steps: tuple[Step, ...]) -> list[list[Step]]:
    return [[step for step in steps if step.side == side] for side in ("before", "after")]


@given(length=lengths, before=extensions, after=extensions)
@example(length=1.0, before=0.0, after=238.0)
def test_every_plan_keeps_to_what_the_model_can_do_or_there_is_none(
    length: float, before: float, after: float
) -> None:
    try:
        steps = plan(LIMITS, length, before_seconds=before, after_seconds=after)
    except InvalidRequest as exc:
        assert "too short" in str(exc)  # noqa: PT017 - either way is fine
        assert length * 2**8 < (max(before, after) + 8 * LIMITS.margin_seconds) * 1.2
        return
    assert [step.side for step in steps] == sorted((step.side for step in steps), reverse=True)
    for asked, side in zip((before, after), sides_of(steps), strict=True):
        more = sum(step.seconds for step in side) - asked
        assert -TOLERANCE_SECONDS <= more <= len(side) * LIMITS.margin_seconds + TOLERANCE_SECONDS
        # Of several, each but the last loses its very end, as far as there is room for that.
        room = LIMITS.canvas_seconds - length - asked
        margins = (len(side) - 1) * LIMITS.margin_seconds
        assert len(side) < 2 or more >= (margins if room < 0 else min(margins, room)) - TOLERANCE_SECONDS
        assert len(side) <= 8 + asked / (LIMITS.context_seconds - LIMITS.margin_seconds) + 1
        made = 0.0
        for step in side:
            assert step.seconds > 0
            assert step.seconds <= step.context_seconds + TOLERANCE_SECONDS
            assert step.seconds + step.context_seconds <= LIMITS.canvas_seconds + TOLERANCE_SECONDS
            assert step.context_seconds <= length + made + TOLERANCE_SECONDS
            made += step.seconds


@given(length=st.floats(1, 119), share=st.floats(0.5, 1))
def test_what_can_be_made_in_one_step_is_with_a_margin_as_far_as_there_is_room(
    length: float, share: float
) -> None:
    [step] = plan(LIMITS, length, before_seconds=0, after_seconds=length * share)
    assert (step.number, step.side, step.context_seconds) == (1, Side.AFTER, length)
    assert step.seconds == pytest.approx(min(length * share + 0.25, length))
    assert step.state is StepState.PLANNED


@given(length=lengths, seconds=st.floats(0.5, 240))
def test_both_sides_are_treated_alike(length: float, seconds: float) -> None:
    try:
        steps = plan(LIMITS, length, before_seconds=seconds, after_seconds=seconds)
    except InvalidRequest:
        return
    before, after = sides_of(steps)
    assert [(step.seconds, step.context_seconds) for step in before] == [
        (step.seconds, step.context_seconds) for step in after
    ]


def test_a_last_step_is_never_a_moment_that_is_paid_for_like_any_other() -> None:
    steps = plan(LIMITS, 300, before_seconds=0, after_seconds=121)
    assert [(step.seconds, step.context_seconds) for step in steps] == [(60.75, 120.0), (60.75, 120.0)]


def test_two_hours_are_planned_as_one_request() -> None:
    steps = plan(LIMITS, 180, before_seconds=60, after_seconds=7_200 - 180 - 60)
    assert [step.side for step in steps] == [Side.BEFORE, *[Side.AFTER] * 59]
    assert max(step.seconds + step.context_seconds for step in steps) <= LIMITS.canvas_seconds


def test_a_recording_that_fills_the_canvas_with_what_is_asked_is_still_sent_whole() -> None:
    [step] = plan(LIMITS, 200, before_seconds=0, after_seconds=39.9)
    assert (step.seconds, step.context_seconds) == (40, 200)


def test_a_source_that_is_next_to_nothing_is_refused_in_words() -> None:
    with pytest.raises(InvalidRequest, match=r"only 0\.05 s long, which is too short for 240 s after it"):
        plan(LIMITS, 0.05, before_seconds=0, after_seconds=240)


@pytest.mark.parametrize(("before", "after", "side"), [(0.2, 0, "before"), (30, 0.49, "after")])
def test_so_little_that_nothing_may_come_back_is_refused_before_it_is_paid(
    before: float, after: float, side: str
) -> None:
    with pytest.raises(InvalidRequest, match=r"is too short: .* nothing below 0\.5 s") as refusal:
        plan(LIMITS, 60, before_seconds=before, after_seconds=after)
    assert refusal.value.field == f"extend_{side}_duration"

"""The request, held against the hosted model's own schema, and what it refuses."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from outpaint_mcp.errors import InvalidRequest
from outpaint_mcp.models import (
    MAX_LYRICS_CHARACTERS,
    MAX_TAGS_CHARACTERS,
    OutpaintRequest,
    Status,
    SubmitRequest,
)
from outpaint_mcp.reports.models import (
    AnalysisReport,
    Cancellation,
    RequestList,
    ResultReport,
    StatusReport,
    Submission,
)
from outpaint_mcp.reports.wording import explain
from outpaint_mcp.server.tools import all_tools
from outpaint_mcp.server.wording import TOOLS

PUBLISHED: dict[str, Any] = json.loads(
    (Path(__file__).parent / "model-schema.json").read_text(encoding="utf-8")
)["input"]
FIELDS: list[str] = list(PUBLISHED["properties"])
SUBMIT: dict[str, Any] = next(
    tool for tool in all_tools("local") if tool.name == "submit_outpaint"
).parameters
VALID: dict[str, Any] = {"audio": "song.wav", "tags": "lofi"}


SECONDS = (
    "extend_before_duration",
    "extend_after_duration",
    "source_start_seconds",
    "source_end_seconds",
    "total_seconds",
)


def refusal(model: type[OutpaintRequest] = OutpaintRequest, **inputs: Any) -> str:  # noqa: ANN401 - inputs
    """Give a model what it must refuse, and return what a tool then says."""
    with pytest.raises(InvalidRequest) as refused:
        model.of(**inputs)
    assert refused.value.__cause__ is None
    return explain(refused.value, TOOLS)


def test_the_request_has_the_published_fields_in_the_published_order_and_no_others() -> None:
    schema = OutpaintRequest.model_json_schema()
    assert list(schema["properties"]) == FIELDS
    assert (schema["type"], schema["title"]) == (PUBLISHED["type"], PUBLISHED["title"])
    assert schema["required"] == PUBLISHED["required"]
    assert schema["additionalProperties"] is False


@pytest.mark.smoke
@pytest.mark.parametrize("name", FIELDS)
def test_a_field_of_the_request_is_what_was_published(name: str) -> None:
    assert OutpaintRequest.model_json_schema()["properties"][name] == PUBLISHED["properties"][name]


def test_the_submit_tool_takes_the_published_fields_and_behind_them_what_is_done_around_the_model() -> None:
    ours = ["source_start_seconds", "source_end_seconds", "takes"]
    ours += ["total_seconds", "placement", "beginning", "ending"]
    assert list(SUBMIT["properties"]) == [*FIELDS, *ours, "provider", "dry_run"]
    assert list(SubmitRequest.model_fields) == FIELDS + ours
    assert SUBMIT["required"] == PUBLISHED["required"]
    assert SUBMIT["additionalProperties"] is False


@pytest.mark.smoke
@pytest.mark.parametrize("name", FIELDS)
def test_a_field_of_the_submit_tool_is_what_was_published(name: str) -> None:
    field, published = dict(SUBMIT["properties"][name]), dict(PUBLISHED["properties"][name])
    if (
        name == "audio"
    ):  # it also takes what the hosted model does not, and says so after the model's own words
        assert field.pop("description").startswith(published.pop("description"))
    if name in PUBLISHED["required"]:  # frameworks fill a default in: the catalogue's example is none
        assert field.pop("examples") == [published.pop("default")]
    assert field == published


def test_no_required_argument_of_any_tool_has_a_default() -> None:
    for tool in all_tools("local"):
        for name in tool.parameters.get("required", ()):
            assert "default" not in tool.parameters["properties"][name], (tool.name, name)


def test_values_left_out_are_the_published_defaults() -> None:
    request = OutpaintRequest.of(**VALID)
    published = {name: of["default"] for name, of in PUBLISHED["properties"].items() if name not in VALID}
    assert request.model_dump() == VALID | published


@given(
    before=st.just(0.0) | st.floats(0.01, 240),
    after=st.just(0.0) | st.floats(0.01, 240),
    seed=st.integers(-1, 2**31 - 1),
    lyrics=st.text(max_size=99),
)
def test_whatever_lies_within_the_bounds_and_extends_something_is_taken_as_it_is(
    before: float, after: float, seed: int, lyrics: str
) -> None:
    inputs: dict[str, Any] = {
        "extend_before_duration": before,
        "extend_after_duration": after,
        "seed": seed,
        "lyrics": lyrics,
    }
    if before + after > 0:
        assert OutpaintRequest.of(**VALID, **inputs).model_dump() == VALID | inputs
    else:
        assert "nothing to extend" in refusal(**VALID, **inputs)


@given(
    name=st.sampled_from(["extend_before_duration", "extend_after_duration"]),
    seconds=st.floats().filter(lambda seconds: not 0 <= seconds <= 240),
)
def test_a_duration_outside_the_bounds_is_refused_by_name(name: str, seconds: float) -> None:
    assert refusal(**VALID | {name: seconds}).startswith(f"{name}: Give a number from 0 to 240, not ")


@given(
    name=st.sampled_from([*SECONDS]), seconds=st.floats(5e-324, 0.01, exclude_max=True), is_text=st.booleans()
)
def test_seconds_that_nobody_would_hear_are_refused_by_name(
    name: str, seconds: float, *, is_text: bool
) -> None:
    words = refusal(SubmitRequest, **VALID | {name: f"{seconds:.340f}" if is_text else seconds})
    assert words.startswith(f"{name}: Give 0, or at least 0.01 seconds, not ")


def test_a_total_that_adds_next_to_nothing_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="already lasts"):
        SubmitRequest.of(**VALID, total_seconds=120.001).expected_seconds(120)


@given(seed=st.integers().filter(lambda seed: not -1 <= seed < 2**31))
def test_a_seed_outside_the_bounds_is_refused_by_name(seed: int) -> None:
    assert refusal(**VALID, seed=seed).startswith("seed: Give a whole number from -1 to 2147483647, not ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in FIELDS for value in (None, [], {}, True, False, object(), b"\xff")),
        *(
            (name, value)
            for name in ("extend_before_duration", "extend_after_duration", "seed")
            for value in (
                math.nan,
                math.inf,
                -math.inf,
                "nan",
                "inf",
                "-Infinity",
                "half a minute",
                "",
                "1,5",
                1j,
            )
        ),
        *((name, value) for name in ("audio", "tags", "lyrics") for value in (3, 1.5, "\ud800")),
        ("seed", 1.5),
        ("seed", "0x10"),
        ("seed", 10**400),
        ("extend_after_duration", 10**400),
        ("extend_after_duration", math.nextafter(240, 241)),
        ("extend_before_duration", math.nextafter(0, -1)),
        ("audio", ""),
        ("audio", " \n\t"),
        ("tags", "x" * (MAX_TAGS_CHARACTERS + 1)),
        ("lyrics", "x" * (MAX_LYRICS_CHARACTERS + 1)),
        ("lenght", 30),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: object) -> None:
    assert re.match(rf"{name}: [A-Z].*\.", refusal(**VALID | {name: value}))


def test_all_that_is_wrong_is_said_at_once() -> None:
    assert refusal(**VALID, extend_after_duration=-1, seed=-2, minutes=3) == (
        "extend_after_duration: Give a number from 0 to 240, not -1."
        " seed: Give a whole number from -1 to 2147483647, not -2. minutes: There is no such input."
    )


def test_a_missing_field_is_named() -> None:
    assert refusal(audio="song.wav") == "tags: This input is required: give text."


def test_a_refusal_never_repeats_what_was_sent() -> None:
    for inputs in ({"lyrics": "secret" * 9_999}, {"tags": "secret" * 9_999}, {"seed": "secret"}):
        assert "secret" not in refusal(**VALID | inputs)


def test_extending_nothing_is_refused_with_the_way_out() -> None:
    nothing = refusal(**VALID, extend_before_duration=0, extend_after_duration=0)
    assert "extend_before_duration or extend_after_duration above 0" in nothing


@pytest.mark.parametrize(
    ("start", "end", "used"), [(0, 0, 120), (83, 0, 37), (0, 83, 83), (20, 83, 63), (0, 120.4, 120)]
)
def test_what_is_used_of_a_source_is_what_lies_between_start_and_end(
    start: float, end: float, used: float
) -> None:
    request = SubmitRequest.of(**VALID, source_start_seconds=start, source_end_seconds=end)
    assert request.used_seconds(120) == used
    assert request.is_cut is (start > 0 or end > 0)


@pytest.mark.parametrize(
    ("start", "end", "name"),
    [
        (120, 0, "source_start_seconds"),
        (119.995, 0, "source_start_seconds"),
        (500, 0, "source_start_seconds"),
        (0, 121, "source_end_seconds"),
    ],
)
def test_what_lies_beyond_the_sources_end_is_refused_by_name(start: float, end: float, name: str) -> None:
    request = SubmitRequest.of(**VALID, source_start_seconds=start, source_end_seconds=end)
    with pytest.raises(InvalidRequest, match=r"but the source lasts 120\.00 s") as refused:
        request.used_seconds(120)
    assert refused.value.field == name


@pytest.mark.parametrize(("start", "end"), [(10, 10), (10, 5), (10, 10.001)])
def test_a_part_of_nothing_is_refused(start: float, end: float) -> None:
    nothing = refusal(SubmitRequest, **VALID, source_start_seconds=start, source_end_seconds=end)
    assert nothing.startswith(f"source_end_seconds: The part to extend ends at {end} s, which is not after")


@pytest.mark.parametrize(("name", "wish"), [("beginning", "build"), ("ending", "loop")])
def test_music_inside_leaves_the_sources_own_ends_alone(name: str, wish: str) -> None:
    SubmitRequest.of(**VALID, placement="inside")
    assert refusal(SubmitRequest, **VALID, **{"placement": "inside", name: wish}).startswith(
        f"{name}: Music inside"
    )


def test_a_loop_needs_music_after_the_source() -> None:
    inputs = VALID | {"extend_before_duration": 5, "extend_after_duration": 0, "ending": "loop"}
    assert refusal(SubmitRequest, **inputs).startswith("ending: A file that loops needs new music after")
    assert SubmitRequest.of(**inputs, total_seconds=60).ending == "loop"


@pytest.mark.parametrize("takes", [0, 5, True, 1.5])
def test_a_number_of_takes_that_is_none_is_refused_by_name(takes: object) -> None:
    refused = refusal(SubmitRequest, **VALID, takes=takes)
    assert refused.startswith("takes: Give a whole number from 1 to 4, not ")


def test_takes_have_the_seeds_that_follow_the_one_that_was_given_or_all_of_them_chance() -> None:
    given = SubmitRequest.of(**VALID, seed=2**31 - 2, takes=3)
    assert [given.take(number).seed for number in (1, 2, 3)] == [2**31 - 2, 2**31 - 1, 0]
    chance = SubmitRequest.of(**VALID, takes=2)
    assert [chance.take(number).seed for number in (1, 2)] == [-1, -1]


def test_a_request_and_an_answer_never_change() -> None:
    request = OutpaintRequest.of(**VALID)
    with pytest.raises(ValidationError, match="frozen"):
        request.seed = 5
    answer = StatusReport(request_id="op_", provider="local", status=Status.IN_QUEUE, message="")
    with pytest.raises(ValidationError, match="frozen"):
        answer.message = "other"


def test_four_of_the_six_states_are_final() -> None:
    assert [status for status in Status if status.is_final] == ["completed", "failed", "cancelled", "unknown"]
    assert [status for status in Status if not status.is_final] == ["in_queue", "in_progress"]


@pytest.mark.parametrize(
    "model", [Submission, StatusReport, ResultReport, Cancellation, RequestList, AnalysisReport]
)
def test_the_schema_of_an_answer_speaks_of_no_null_and_of_no_union(
    model: type[Submission | StatusReport | ResultReport | Cancellation | RequestList | AnalysisReport],
) -> None:
    text = json.dumps(model.model_json_schema())
    assert '"null"' not in text
    assert "anyOf" not in text

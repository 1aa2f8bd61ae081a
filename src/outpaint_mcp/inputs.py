"""What is wrong with inputs that came from outside, in sentences of our own instead of pydantic's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from outpaint_mcp.errors import Hint, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    Schema = Mapping[str, object]

_KINDS = {"number": "a number", "integer": "a whole number", "string": "text", "boolean": "true or false"}
_MOST_SHOWN = 1e12
"""Larger numbers are not repeated: one may have thousands of digits."""

_TOO_MUCH = {("extend_after_duration", "less_than_equal"): Hint.SET_TOTAL}
"""What to do about a value beyond the schema's bounds, where there is another way."""

_CLOCK = re.compile(
    r"(?:(?P<hours>\d{1,3}):(?=[0-5]?\d:))?(?P<minutes>\d{1,4}):(?P<seconds>[0-5]?\d(?:\.\d+)?)", re.ASCII
)


def read_seconds(text: str) -> float:
    """Return the seconds that a text gives: as a number, or as a player shows them (`1:23`, `1:02:03.5`).

    Raises:
        ValueError: it gives none.
    """
    clock = _CLOCK.fullmatch(text.strip())
    if clock is None:
        return float(text)
    return int(clock["hours"] or 0) * 3600 + int(clock["minutes"]) * 60 + float(clock["seconds"])


def read_clock(value: object) -> object:
    """Take `1:23` for 83, as people read times off a player; what is no number of seconds is left to pydantic.

    Raises:
        ValueError: true or false, which pydantic takes for 1 and 0.
    """
    refuse_bool(value)
    if not isinstance(value, str):
        return value
    try:
        return read_seconds(value)
    except ValueError:
        return value


class TooShort(ValueError):
    """Seconds of music that are next to nothing; the text says so."""


def refuse_bool(value: object) -> object:
    """Raise `ValueError` for true or false; the words are those of `refusal`."""
    if isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - pydantic reads it
    return value


def refusal(failure: ValidationError, schema: Schema) -> InvalidRequest:
    """Put a validation error into words, input by input.

    Args:
        failure: what pydantic found.
        schema: the JSON schema of the model that it found it in.

    Returns:
        The first problem, with the others attached. Numbers are repeated, texts never: they can be lyrics or secrets.
    """
    properties = schema.get("properties")
    assert isinstance(properties, dict)  # noqa: S101 - the model has fields
    found: dict[str, ErrorDetails] = {}
    for each in failure.errors(include_url=False):
        found.setdefault(str(each["loc"][0]), each)
    first, *others = (
        InvalidRequest(
            _problem(each, properties.get(name, {})), field=name, hint=_TOO_MUCH.get((name, each["type"]))
        )
        for name, each in found.items()
    )
    first.others = tuple(others)
    return first


def _problem(error: ErrorDetails, schema: Schema) -> str:
    """Say what one input has to be."""
    if error["type"] == "extra_forbidden":
        return "There is no such input."
    if error["type"] == "missing":
        return f"This input is required: give {_expected(schema)}."
    if isinstance(too_short := error.get("ctx", {}).get("error"), TooShort):
        return str(too_short)
    if error["type"] == "value_error" and isinstance(error["input"], str):
        return "Half a character (an unpaired surrogate) is not text: check how it was encoded."
    if error["type"] == "literal_error" and isinstance(error["input"], str):
        return f"Give {_expected(schema)}."
    return f"Give {_expected(schema)}, not {_given(error['input'], schema)}."


def _expected(schema: Schema) -> str:
    """Describe what a field takes."""
    choices = schema.get("enum")
    if isinstance(choices, list):
        return f"one of {', '.join(map(str, choices))}"
    kind = _KINDS.get(str(schema.get("type")), "another value")
    least, most = (
        "" if schema.get(bound) is None else f"{schema[bound]:.12g}" for bound in ("minimum", "maximum")
    )
    if least and most:
        return f"{kind} from {least} to {most}"
    return f"{kind}, {least} or more" if least else kind


def _given(value: object, schema: Schema) -> str:
    """Describe what came instead; numbers as they are, where a number was asked for."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        if schema.get("type") not in {"number", "integer"}:
            return "a number"
        is_long = isinstance(value, int) and abs(value) > _MOST_SHOWN
        return "one that large" if is_long else f"{value:.12g}"
    kinds: dict[type, str] = {str: "text", list: "a list", tuple: "a list"}
    return kinds.get(type(value), "an object")

"""The types of what can be asked beyond the inputs of the model; the tools' schemas are generated from these."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from outpaint_mcp.inputs import TooShort, read_clock, refuse_bool
from outpaint_mcp.wishes import (
    LEAST_SECONDS,
    MAX_TAKES,
    MAX_TOTAL_SECONDS,
    BeginningName,
    EndingName,
    PlacementName,
)


def _read_length(value: object) -> object:
    """Take seconds of music as `read_clock` does; raises `TooShort` for some that nobody would hear."""
    seconds = read_clock(value)
    if isinstance(seconds, int | float) and 0 < seconds < LEAST_SECONDS:
        raise TooShort(f"Give 0, or at least {LEAST_SECONDS:g} seconds, not {seconds:.4g}.")
    return seconds


NO_BOOL = BeforeValidator(refuse_bool)
CLOCK = BeforeValidator(read_clock)
"""For seconds, in the place of `NO_BOOL`; the schemas go on saying `number`."""
LENGTH = BeforeValidator(_read_length)
"""For seconds of music."""

SourceStartSeconds = Annotated[
    float, Field(ge=0, allow_inf_nan=False, description="Start of the part to extend, in seconds."), LENGTH
]
SourceEndSeconds = Annotated[
    float,
    Field(
        ge=0,
        allow_inf_nan=False,
        description='End of the part to extend ("continue from 1:23" is 83). 0: the source\'s end.',
    ),
    LENGTH,
]
TotalSeconds = Annotated[
    float,
    Field(
        ge=0,
        le=MAX_TOTAL_SECONDS,
        allow_inf_nan=False,
        description="Exact length of the whole (loop: in bars), instead of extend_after_duration. 0: not given.",
    ),
    LENGTH,
]
Placement = Annotated[
    PlacementName,
    Field(
        description="natural: go on from the source's last full bar, before its fade, ring-out or silence, which comes"
        " last again. outside: strictly before or after all of it. inside: new music in the middle."
    ),
]
Beginning = Annotated[
    BeginningName, Field(description="How added music begins. cut: at full level. build: layer by layer.")
]
Ending = Annotated[
    EndingName,
    Field(
        description="How added music ends. cut: at full level. loop: the file repeats seamlessly. breakdown: layer by"
        " layer."
    ),
]
Takes = Annotated[
    int,
    Field(
        ge=1,
        le=MAX_TAKES,
        description="Number of takes to generate. Each gets its own seed and is billed separately.",
    ),
    NO_BOOL,
]

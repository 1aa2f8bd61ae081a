"""What is asked, as frozen models; the tools' schemas are generated from these."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from outpaint_mcp.errors import InvalidRequest

MAX_TAGS_CHARACTERS = 2_000
MAX_LYRICS_CHARACTERS = 20_000
MAX_TAKES = 4
# Headers and people are inexact; who is further off believes that the source is another one.
CUT_TOLERANCE_SECONDS = 0.5


def _refuse_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("Input should be a number, not true or false")  # noqa: TRY004 - pydantic reads ValueError
    return value


def _refuse_surrogates(text: str) -> str:
    text.encode()  # raises ValueError: half a character can be neither stored nor answered
    return text


NO_BOOL = BeforeValidator(_refuse_bool)
_UNICODE = AfterValidator(_refuse_surrogates)

Audio = Annotated[
    str,
    Field(
        title="Audio",
        description="Source audio to extend. Provide an HTTPS URL to an MP3, WAV, or FLAC file (up to 60 minutes).",
        # The catalogue shows an example as the default of a required field, and so do we.
        json_schema_extra={
            "default": "https://playgrounds-storage-public.runcomfy.net/tools/7357/media-files/input-example1.mp3"
        },
    ),
    _UNICODE,
]
Tags = Annotated[
    str,
    Field(
        title="Tags",
        description="Comma-separated genre, mood, and instrument tags that steer the style of the generated"
        " extensions.",
        json_schema_extra={"default": "lofi, hiphop, chill, mellow piano, soft drums"},
    ),
    _UNICODE,
]
ExtendBeforeDuration = Annotated[
    float,
    Field(
        title="Extend Before Duration (seconds)",
        description="Seconds of new audio to generate before the original track. Set 0 to skip extending the start.",
        ge=0,
        le=240,
        allow_inf_nan=False,
    ),
    NO_BOOL,
]
ExtendAfterDuration = Annotated[
    float,
    Field(
        title="Extend After Duration (seconds)",
        description="Seconds of new audio to generate after the original track. Set 0 to skip extending the end.",
        ge=0,
        le=240,
        allow_inf_nan=False,
    ),
    NO_BOOL,
]
Lyrics = Annotated[
    str,
    Field(
        title="Lyrics",
        description="Optional lyrics to guide vocals in the extended sections. Leave blank to let the model write"
        " lyrics, or use [inst] / [instrumental] for no vocals.",
    ),
    _UNICODE,
]
Seed = Annotated[
    int,
    Field(
        title="Seed",
        description="Random seed for reproducibility. Use -1 to randomize.",
        ge=-1,
        le=2147483647,
    ),
    NO_BOOL,
]
SourceStartSeconds = Annotated[
    float, Field(ge=0, allow_inf_nan=False, description="Use the source from this second on."), NO_BOOL
]
SourceEndSeconds = Annotated[
    float,
    Field(
        ge=0,
        allow_inf_nan=False,
        description='Use it up to this second ("carry on from 1:23" is 83); 0: its end.',
    ),
    NO_BOOL,
]
Takes = Annotated[
    int,
    Field(ge=1, le=MAX_TAKES, description="So many takes with seeds of their own, each paid for."),
    NO_BOOL,
]


class OutpaintRequest(BaseModel):
    """The hosted model's input schema, field by field; every provider takes the same."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, title="Input schema", validate_default=True
    )

    audio: Audio
    tags: Tags
    extend_before_duration: ExtendBeforeDuration = 0
    extend_after_duration: ExtendAfterDuration = 30
    lyrics: Lyrics = ""
    seed: Seed = -1

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not self.audio.strip():
            raise ValueError("audio is empty; give a path, an https URL or an earlier request_id")
        if self.extend_before_duration + self.extend_after_duration <= 0:
            raise ValueError(
                "nothing to extend: set extend_before_duration or extend_after_duration above 0 seconds"
            )
        if len(self.tags) > MAX_TAGS_CHARACTERS:
            raise ValueError(f"tags are longer than {MAX_TAGS_CHARACTERS} characters; name the main ones")
        if len(self.lyrics) > MAX_LYRICS_CHARACTERS:
            raise ValueError(f"lyrics are longer than {MAX_LYRICS_CHARACTERS} characters; shorten them")
        return self

    @classmethod
    def of(cls, **inputs: Any) -> Self:  # noqa: ANN401 - what a caller sent is checked here and nowhere else
        """Check inputs that came from outside.

        Raises:
            InvalidRequest: naming each input that is wrong and what it has to be.
        """
        try:
            return cls(**inputs)
        except ValidationError as exc:
            raise InvalidRequest(
                "; ".join(
                    ": ".join((*map(str, error["loc"]), error["msg"].removeprefix("Value error, ")))
                    for error in exc.errors(include_url=False, include_input=False, include_context=False)
                )
                + "."
            ) from None


class SubmitRequest(OutpaintRequest):
    """All that can be asked of us: the model's inputs, the part of the source that is extended, and how many takes."""

    source_start_seconds: SourceStartSeconds = 0
    source_end_seconds: SourceEndSeconds = 0
    takes: Takes = 1

    @model_validator(mode="after")
    def _leaves_some_source(self) -> Self:
        if 0 < self.source_end_seconds <= self.source_start_seconds:
            raise ValueError(
                "source_end_seconds is not after source_start_seconds; nothing of the source would be left"
            )
        return self

    @property
    def is_cut(self) -> bool:
        """Whether only a part of the source is extended."""
        return self.source_start_seconds > 0 or self.source_end_seconds > 0

    def used_seconds(self, source_seconds: float) -> float:
        """Return how much of a source of this length is extended.

        Raises:
            InvalidRequest: it is not as long as that.
        """
        if self.source_start_seconds >= source_seconds:
            raise InvalidRequest(
                f"source_start_seconds is {self.source_start_seconds:g}, but the source lasts {source_seconds:.2f} s."
            )
        if self.source_end_seconds > source_seconds + CUT_TOLERANCE_SECONDS:
            raise InvalidRequest(
                f"source_end_seconds is {self.source_end_seconds:g}, but the source lasts {source_seconds:.2f} s."
            )
        return min(self.source_end_seconds or source_seconds, source_seconds) - self.source_start_seconds

    def take(self, number: int) -> Self:
        """Return what is asked for one take, 1 being the first: the seeds that follow, where one was given."""
        seed = self.seed if self.seed < 0 else (self.seed + number - 1) % 2**31
        return self.model_copy(update={"seed": seed, "takes": 1})


class Status(StrEnum):
    """Where a request stands."""

    IN_QUEUE = "in_queue"
    """Taken, waiting for its turn."""
    IN_PROGRESS = "in_progress"
    """Being carried out."""
    COMPLETED = "completed"
    """Done; the result can be fetched."""
    FAILED = "failed"
    """Ended without a result; the error says why."""
    CANCELLED = "cancelled"
    """Ended because somebody asked for it."""
    UNKNOWN = "unknown"
    """Sent, but the provider's answer was lost: it may have been carried out and billed. Never sent again."""

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to the request here."""
        return self not in {Status.IN_QUEUE, Status.IN_PROGRESS}


class CancelOutcome(StrEnum):
    """What became of the wish to cancel."""

    CANCELLED = "cancelled"
    NOT_CANCELLABLE = "not_cancellable"

"""What goes in and what comes out, as frozen models; the tools' schemas are generated from these."""

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
from pydantic.json_schema import SkipJsonSchema

from outpaint_mcp.errors import InvalidRequest

MAX_TAGS_CHARACTERS = 2_000
MAX_LYRICS_CHARACTERS = 20_000


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


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


def _absent(description: str) -> Any:  # noqa: ANN401 - pydantic's own Field returns Any
    """Describe a value that is left out of the answer where there is none."""
    return Field(default=None, description=description, json_schema_extra=_without_default)


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, json_schema_extra=lambda schema: schema.pop("description", None))


class Submission(_Answer):
    """The receipt that submit gives."""

    request_id: str
    provider: str
    status: Status
    expected_duration_seconds: float | SkipJsonSchema[None] = _absent(
        "Length of the longer file; absent while the source's own length is unknown."
    )
    estimated_cost_usd: float | SkipJsonSchema[None] = _absent(
        "What it costs at most; the message says how so."
    )
    is_repeat: bool | SkipJsonSchema[None] = _absent(
        "True where the same was asked before and nothing was started."
    )
    message: str


class StatusReport(_Answer):
    """Where a request stands and what to do next."""

    request_id: str
    provider: str
    status: Status
    queue_position: int | SkipJsonSchema[None] = _absent("1 is next; only while in_queue.")
    progress: float | SkipJsonSchema[None] = _absent("Share done, 0 to 1.")
    estimated_cost_usd: float | SkipJsonSchema[None] = _absent("What it costs at most.")
    cost_usd: float | SkipJsonSchema[None] = _absent("What the provider says that it cost.")
    error: str | SkipJsonSchema[None] = _absent("Why it failed.")
    message: str


class ResultReport(_Answer):
    """The longer file, or where the request stands instead."""

    request_id: str
    provider: str
    status: Status
    path: str | SkipJsonSchema[None] = _absent("Absolute path of the longer file on the server's machine.")
    url: str | SkipJsonSchema[None] = _absent(
        "Where a hosted provider keeps it for now; else the file's URL."
    )
    duration_seconds: float | SkipJsonSchema[None] = _absent("Length of the longer file.")
    before_seconds: float | SkipJsonSchema[None] = _absent("Music added before; the source starts here.")
    after_seconds: float | SkipJsonSchema[None] = _absent("Music added after.")
    seed: int | SkipJsonSchema[None] = _absent("The seed that was used; give it again for the same take.")
    size_bytes: int | SkipJsonSchema[None] = _absent("Size of the longer file.")
    sha256: str | SkipJsonSchema[None] = _absent("SHA-256 of the longer file.")
    cost_usd: float | SkipJsonSchema[None] = _absent("What the provider says that it cost.")
    error: str | SkipJsonSchema[None] = _absent("Why it failed.")
    message: str


class Cancellation(_Answer):
    """What became of the wish to cancel, and where the request stands now."""

    request_id: str
    outcome: CancelOutcome
    status: Status
    message: str


class RequestSummary(_Answer):
    """One line of the list of requests."""

    request_id: str
    provider: str
    status: Status
    title: str
    extend_before_duration: float
    extend_after_duration: float
    created_at: str = Field(description="UTC, ISO 8601.")
    parent_request_id: str | SkipJsonSchema[None] = _absent("The request whose result was the source.")
    path: str | SkipJsonSchema[None] = _absent("Where the longer file was put.")
    estimated_cost_usd: float | SkipJsonSchema[None] = _absent(
        "What it costs at most, while the cost is unknown."
    )
    cost_usd: float | SkipJsonSchema[None] = _absent("What the provider says that it cost.")
    error: str | SkipJsonSchema[None] = _absent("Why it failed.")


class RequestList(_Answer):
    """Requests, newest first, and what was spent on all there ever were."""

    requests: list[RequestSummary]
    spent_usd: float = Field(description="Sum of all known costs, of requests not listed too.")
    open_estimate_usd: float = Field(description="At most so much more for requests whose cost is not known.")

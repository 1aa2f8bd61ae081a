"""What is requested, as frozen models; the tools' schemas are generated from these."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from outpaint_mcp.errors import Hint, InvalidRequest
from outpaint_mcp.fields import (
    LENGTH,
    NO_BOOL,
    Beginning,
    Ending,
    Placement,
    SourceEndSeconds,
    SourceStartSeconds,
    Takes,
    TotalSeconds,
)
from outpaint_mcp.inputs import refusal
from outpaint_mcp.wishes import LEAST_SECONDS, Wishes

MAX_TAGS_CHARACTERS = 2_000
MAX_LYRICS_CHARACTERS = 20_000
# Headers and people are inexact; whoever is further off has another source in mind.
CUT_TOLERANCE_SECONDS = 0.5


def _refuse_surrogates(text: str) -> str:
    text.encode()  # raises ValueError: an unpaired surrogate can be neither stored nor sent
    return text


_UNICODE = AfterValidator(_refuse_surrogates)

Audio = Annotated[
    str,
    Field(
        title="Audio",
        description="Source audio to extend. Provide an HTTPS URL to an MP3, WAV, or FLAC file (up to 60 minutes).",
        # The catalogue shows an example as the default of a required field; in a tool it is an example.
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
    LENGTH,
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
    LENGTH,
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
            raise InvalidRequest(
                "The source is missing: give a path, an https URL or the id of an earlier request.",
                field="audio",
            )
        if not self._adds_music:
            raise InvalidRequest("There is nothing to extend: 0 seconds on both sides.", hint=Hint.SET_LENGTH)
        for name, text, most in (
            ("tags", self.tags, MAX_TAGS_CHARACTERS),
            ("lyrics", self.lyrics, MAX_LYRICS_CHARACTERS),
        ):
            if len(text) > most:
                raise InvalidRequest(f"Give at most {most:,} characters, not {len(text):,}.", field=name)
        return self

    @property
    def _adds_music(self) -> bool:
        return self.extend_before_duration + self.extend_after_duration > 0

    @classmethod
    def of(cls, **inputs: Any) -> Self:  # noqa: ANN401 - what a caller sent is checked here and nowhere else
        """Check inputs that came from outside.

        Raises:
            InvalidRequest: for each input that is wrong, what it has to be.
        """
        try:
            return cls(**inputs)
        except ValidationError as exc:
            raise refusal(exc, cls.model_json_schema()) from None


class SubmitRequest(OutpaintRequest):
    """Everything that can be requested: the model's inputs, the part of the source to extend, and the takes."""

    source_start_seconds: SourceStartSeconds = 0
    source_end_seconds: SourceEndSeconds = 0
    takes: Takes = 1
    total_seconds: TotalSeconds = 0
    placement: Placement = "natural"
    beginning: Beginning = "natural"
    ending: Ending = "natural"

    @model_validator(mode="after")
    def _leaves_some_source(self) -> Self:
        if 0 < self.source_end_seconds < self.source_start_seconds + LEAST_SECONDS:
            raise InvalidRequest(
                f"The part to extend ends at {self.source_end_seconds:g} s, which is not after its beginning at"
                f" {self.source_start_seconds:g} s: nothing of the source would be left.",
                field="source_end_seconds",
            )
        return self

    @model_validator(mode="after")
    def _asks_for_ends_that_there_can_be(self) -> Self:
        for field, wish in (("beginning", self.beginning), ("ending", self.ending)):
            if self.placement == "inside" and wish != "natural":
                raise InvalidRequest(
                    "Music inside leaves the source's own beginning and ending where they are: use natural, or another"
                    " placement.",
                    field=field,
                )
        if self.ending == "loop" and not self.adds_after:
            raise InvalidRequest(
                "A file that loops needs new music after the source: ask for some seconds there, or for a total.",
                field="ending",
            )
        return self

    @property
    def adds_after(self) -> bool:
        """Whether there is to be new music after the source."""
        return self.extend_after_duration > 0 or self.total_seconds > 0

    @property
    def _adds_music(self) -> bool:
        return super()._adds_music or self.total_seconds > 0

    @property
    def wishes(self) -> Wishes:
        """What is asked of the extended file, whoever makes it."""
        return Wishes(
            before_seconds=self.extend_before_duration,
            after_seconds=0.0 if self.total_seconds else self.extend_after_duration,
            total_seconds=self.total_seconds,
            placement=self.placement,
            beginning=self.beginning,
            ending=self.ending,
            tags=self.tags,
            start_seconds=self.source_start_seconds,
        )

    @property
    def is_cut(self) -> bool:
        """Whether only a part of the source is extended."""
        return self.source_start_seconds > 0 or self.source_end_seconds > 0

    def used_seconds(self, source_seconds: float) -> float:
        """Return how much of a source of this length is extended.

        Raises:
            InvalidRequest: the source is shorter than the request assumes.
        """
        lasts = f"but the source lasts {source_seconds:.2f} s."
        if self.source_start_seconds > max(0.0, source_seconds - LEAST_SECONDS):
            raise InvalidRequest(
                f"The part to extend begins at {self.source_start_seconds:g} s, {lasts}",
                field="source_start_seconds",
            )
        if self.source_end_seconds > source_seconds + CUT_TOLERANCE_SECONDS:
            raise InvalidRequest(
                f"The part to extend ends at {self.source_end_seconds:g} s, {lasts}",
                field="source_end_seconds",
            )
        return min(self.source_end_seconds or source_seconds, source_seconds) - self.source_start_seconds

    @property
    def is_after_ignored(self) -> bool:
        """Whether seconds after the source were given that the total overrides; hosts fill in the default."""
        default = type(self).model_fields["extend_after_duration"].default
        return self.total_seconds > 0 and self.extend_after_duration not in {0, default}

    def expected_seconds(self, source_seconds: float) -> float:
        """Return how long the extended file of a source of this length will be.

        Raises:
            InvalidRequest: the source is shorter than the request assumes, or longer.
        """
        used_seconds = self.used_seconds(source_seconds)
        self.wishes.check_total(used_seconds)
        if self.total_seconds:
            return self.total_seconds
        return used_seconds + self.extend_before_duration + self.extend_after_duration

    def expected_after_seconds(self, source_seconds: float | None) -> float:
        """Return how much will be added after a source of this length; 0 where that depends on a length nobody knows.

        Raises:
            InvalidRequest: the source is shorter than the request assumes, or longer.
        """
        if not self.total_seconds:
            return self.extend_after_duration
        if source_seconds is None:
            return 0.0
        return self.total_seconds - self.extend_before_duration - self.used_seconds(source_seconds)

    def take(self, number: int) -> Self:
        """Return the request for one take, 1 being the first; a given seed counts up from take to take."""
        seed = self.seed if self.seed < 0 else (self.seed + number - 1) % 2**31
        return self.model_copy(update={"seed": seed, "takes": 1})


class Status(StrEnum):
    """Where a request stands."""

    IN_QUEUE = "in_queue"
    """Accepted, waiting for its turn."""
    IN_PROGRESS = "in_progress"
    """Being carried out."""
    COMPLETED = "completed"
    """Done; the result can be fetched."""
    FAILED = "failed"
    """Ended without a result; the error says why."""
    CANCELLED = "cancelled"
    """Ended on request."""
    UNKNOWN = "unknown"
    """Sent, but the provider's reply was lost: it may have been carried out and billed. Never sent again."""

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to the request here."""
        return self not in {Status.IN_QUEUE, Status.IN_PROGRESS}


class CancelOutcome(StrEnum):
    """Whether a request could be cancelled."""

    CANCELLED = "cancelled"
    NOT_CANCELLABLE = "not_cancellable"

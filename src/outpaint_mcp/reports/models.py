"""Reports as frozen models; the tools' output schemas are generated from these."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from outpaint_mcp.models import CancelOutcome, Status


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


def _absent(description: str | None = None) -> Any:  # noqa: ANN401 - pydantic's own Field returns Any
    """Declare a value that is left out of the answer where there is none.

    Descriptions only where the name does not say it: every agent carries the schemas along.
    """
    return Field(default=None, description=description, json_schema_extra=_without_default)


_OBJECTS = WithJsonSchema({"type": "array", "items": {"type": "object"}})
"""A list whose items explain themselves: their schema would be a tenth of all that agents carry along."""


class _Answer(BaseModel):
    # Those within others are never needed by themselves.
    model_config = ConfigDict(
        frozen=True, defer_build=True, json_schema_extra=lambda schema: schema.pop("description", None)
    )


class Submission(_Answer):
    """The receipt that submit gives."""

    request_id: str
    provider: str
    status: Status
    expected_duration_seconds: float | SkipJsonSchema[None] = _absent()
    estimated_cost_usd: float | SkipJsonSchema[None] = _absent()
    is_repeat: bool | SkipJsonSchema[None] = _absent("Nothing new was started.")
    message: str


class DryRun(_Answer):
    """What would become of a request; nothing was started."""

    provider: str
    expected_duration_seconds: float | SkipJsonSchema[None] = _absent()
    expected_wait_seconds: float | SkipJsonSchema[None] = _absent()
    estimated_cost_usd: float | SkipJsonSchema[None] = _absent()
    message: str


class SubmitAnswer(DryRun):
    """What submitting answers: a receipt, or what a dry run found; as a task, the result itself in the end.

    Of the result only what is looked at first: the rest is `ResultReport`'s, and no schema forbids it here.
    """

    request_id: str | SkipJsonSchema[None] = _absent()
    status: Status | SkipJsonSchema[None] = _absent()
    is_repeat: bool | SkipJsonSchema[None] = _absent("Nothing new was started.")
    path: str | SkipJsonSchema[None] = _absent()
    verdict: str | SkipJsonSchema[None] = _absent()


class StatusReport(_Answer):
    """A request's status and what to do next."""

    request_id: str
    provider: str
    status: Status
    queue_position: int | SkipJsonSchema[None] = _absent("1 is next.")
    progress: float | SkipJsonSchema[None] = _absent("0 to 1.")
    estimated_cost_usd: float | SkipJsonSchema[None] = _absent()
    cost_usd: float | SkipJsonSchema[None] = _absent()
    error: str | SkipJsonSchema[None] = _absent()
    message: str


class TakeReport(_Answer):
    """One of several takes."""

    request_id: str
    status: Status
    seed: int | SkipJsonSchema[None] = _absent()
    path: str | SkipJsonSchema[None] = _absent()
    url: str | SkipJsonSchema[None] = _absent()
    verdict: str | SkipJsonSchema[None] = _absent()
    error: str | SkipJsonSchema[None] = _absent()


class ResultReport(_Answer):
    """The extended file, or the request's status instead."""

    request_id: str
    provider: str
    status: Status
    progress: float | SkipJsonSchema[None] = _absent("Of the file that is being written.")
    path: str | SkipJsonSchema[None] = _absent()
    written: str | SkipJsonSchema[None] = _absent("Its format, as measured.")
    url: str | SkipJsonSchema[None] = _absent()
    duration_seconds: float | SkipJsonSchema[None] = _absent()
    before_seconds: float | SkipJsonSchema[None] = _absent("The source starts here.")
    after_seconds: float | SkipJsonSchema[None] = _absent()
    seed: int | SkipJsonSchema[None] = _absent()
    size_bytes: int | SkipJsonSchema[None] = _absent()
    sha256: str | SkipJsonSchema[None] = _absent()
    cost_usd: float | SkipJsonSchema[None] = _absent()
    verdict: str | SkipJsonSchema[None] = _absent()
    measured: dict[str, Any] | SkipJsonSchema[None] = _absent(
        "click, flux: relative to the source's own maximum; above 1 stands out."
    )
    takes: Annotated[list[TakeReport], _OBJECTS] | SkipJsonSchema[None] = _absent("Best first.")
    error: str | SkipJsonSchema[None] = _absent()
    error_kind: SkipJsonSchema[str | None] = Field(default=None, exclude=True)
    """The error's class, for the command line's exit code; never part of an answer."""
    awaits_agreement: SkipJsonSchema[bool] = Field(default=False, exclude=True)
    """Whether it waits for the person, whom the command line asks; never part of an answer."""
    delete_url: SkipJsonSchema[str | None] = Field(default=None, exclude=True)
    """Where a remote caller deletes the request; for pages, not for agents."""
    message: str


class Cancellation(_Answer):
    """Whether the request was cancelled, and its status now."""

    request_id: str
    outcome: CancelOutcome
    status: Status
    message: str


class TakeSummary(_Answer):
    """One of several takes in the list of requests."""

    request_id: str
    status: Status
    path: str | SkipJsonSchema[None] = _absent()


class RequestSummary(_Answer):
    """One line of the list of requests."""

    request_id: str
    provider: str
    status: Status
    title: str
    extend_before_duration: float
    extend_after_duration: float
    created_at: str
    takes: list[TakeSummary] | SkipJsonSchema[None] = _absent()
    parent_request_id: str | SkipJsonSchema[None] = _absent()
    path: str | SkipJsonSchema[None] = _absent()
    estimated_cost_usd: float | SkipJsonSchema[None] = _absent()
    cost_usd: float | SkipJsonSchema[None] = _absent()
    error: str | SkipJsonSchema[None] = _absent()


class RequestList(_Answer):
    """Requests, newest first, and what was spent on all requests ever."""

    requests: Annotated[list[RequestSummary], _OBJECTS]
    spent_usd: float
    open_estimate_usd: float


class AudioEntry(_Answer):
    """One file that can be extended."""

    name: str
    request_id: str | SkipJsonSchema[None] = _absent()
    duration_seconds: float | SkipJsonSchema[None] = _absent()
    modified_at: str


class AudioList(_Answer):
    """What can be extended."""

    files: Annotated[list[AudioEntry], _OBJECTS]
    message: str


class AnalysisReport(_Answer):
    """What was measured in a recording, or how far that is."""

    title: str
    status: Status
    progress: float | SkipJsonSchema[None] = _absent()
    duration_seconds: float | SkipJsonSchema[None] = _absent()
    format: str | SkipJsonSchema[None] = _absent()
    loudness_lufs: float | SkipJsonSchema[None] = _absent()
    true_peak_dbtp: float | SkipJsonSchema[None] = _absent()
    tempo_bpm: float | SkipJsonSchema[None] = _absent()
    tempo_confidence: float | SkipJsonSchema[None] = _absent()
    beat_stray_ms: float | SkipJsonSchema[None] = _absent()
    key: str | SkipJsonSchema[None] = _absent()
    key_confidence: float | SkipJsonSchema[None] = _absent()
    sounds_from_seconds: float | SkipJsonSchema[None] = _absent()
    sounds_to_seconds: float | SkipJsonSchema[None] = _absent()
    beginning: str | SkipJsonSchema[None] = _absent()
    ending: str | SkipJsonSchema[None] = _absent()
    carry_on_from_seconds: float | SkipJsonSchema[None] = _absent()
    sections: list[str] | SkipJsonSchema[None] = _absent()
    tags: str | SkipJsonSchema[None] = _absent()
    details: dict[str, Any] | SkipJsonSchema[None] = _absent()
    message: str

"""What a page needs to draw and to play a result."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from outpaint_mcp.audio.preview_format import AFTER_MARK_FRAMES, MARK_WITHIN_FRAMES, PREVIEW_RATE_HZ
from outpaint_mcp.models import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

PIECE_SECONDS = 10
"""How long a page should ask a piece to be: a second's work, and 190 kB."""

MAX_PIECE_SECONDS = 30
"""As base64, a longer one would be more than the 700 kB that every client takes."""


class _Page(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True)


class PreviewPiece(_Page):
    """A piece of a result, to be decoded at `sample_rate`.

    The loudest of the first `mark_within_frames` decoded frames is a mark; `after_mark_frames` behind it the piece
    begins, and is `frames` long: see `audio.files.preview`.
    """

    request_id: str
    sample_rate: int = PREVIEW_RATE_HZ
    start_frame: int
    frames: int
    mark_within_frames: int = MARK_WITHIN_FRAMES
    after_mark_frames: int = AFTER_MARK_FRAMES
    audio: str = Field(description="MP3 in base64.")


class PagePart(_Page):
    """A stretch between two seams."""

    kind: Literal["before", "source", "inside", "after"]
    start_seconds: float
    end_seconds: float


class PageSection(_Page):
    """A section; those with the same label sound alike."""

    label: str
    level: str
    start_seconds: float
    end_seconds: float


class PageTake(_Page):
    """One of the request's takes."""

    request_id: str
    status: Status


class PreviewForm(_Page):
    """In which pieces to ask for the sound."""

    sample_rate: int = PREVIEW_RATE_HZ
    piece_seconds: int = PIECE_SECONDS


class PeaksReport(_Page):
    """A result at a glance; sections are absent until they are known."""

    request_id: str
    title: str
    duration_seconds: float
    loudness_lufs: float | None
    peaks: str = Field(description="Lowest and highest value of each column as signed bytes, in base64.")
    parts: list[PagePart]
    seams_seconds: list[float]
    sections: list[PageSection] | None
    takes: list[PageTake]
    preview: PreviewForm = PreviewForm()


def parts_between(
    seams_seconds: Sequence[float], song_spans_seconds: Sequence[tuple[float, float]], seconds: float
) -> list[PagePart]:
    """Cut a file at its seams, and tell the person's own recording from what was added before, inside and after it."""
    edges = {0.0, seconds, *seams_seconds, *(at for span in song_spans_seconds for at in span)}
    inner = sorted(at for at in edges if 0 <= at <= seconds)
    first = min((start for start, _ in song_spans_seconds), default=0.0)
    last = max((stop for _, stop in song_spans_seconds), default=seconds)

    def kind(middle: float) -> Literal["before", "source", "inside", "after"]:
        if not song_spans_seconds or any(start <= middle < stop for start, stop in song_spans_seconds):
            return "source"
        if middle < first:
            return "before"
        return "after" if middle >= last else "inside"

    return [
        PagePart(kind=kind((start + end) / 2), start_seconds=start, end_seconds=end)
        for start, end in pairwise(inner)
    ]

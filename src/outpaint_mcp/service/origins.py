"""What an extended file consists of, for its analysis: where its seams are, and where the person's recording is."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from outpaint_mcp.audio.layout import PartKind
from outpaint_mcp.errors import OutpaintError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.audio.layout import Layout
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.storage.journal import Journal
    from outpaint_mcp.storage.records import Delivery, RequestRecord

# A cut source is shorter than the result that it was cut out of.
_SAME_SECONDS = 0.001

Spans = tuple[tuple[float, float], ...]


class Origin(NamedTuple):
    """What is known of a file, in seconds.

    Attributes:
        seams_seconds: where its parts meet, those of earlier extensions included.
        song_spans_seconds: where the person's own recording is; empty for all of it.
        carry_on_from_seconds: where an ending begins that was made; None where there is none, or nobody knows.
    """

    seams_seconds: tuple[float, ...] = ()
    song_spans_seconds: Spans = ()
    carry_on_from_seconds: float | None = None


NO_RESULT = Origin()
"""Of a file that is no result of ours."""


def origin_of(journal: Journal, record: RequestRecord) -> Origin:
    """Return what is known of a request's extended file; blocks."""
    seams: list[float] = []
    shift = 0.0
    outcome = record.outcome
    while outcome is not None:
        if outcome.layout is not None:
            known = _from_layout(outcome.layout)
            inner = (*seams, *(at + shift for at in known.seams_seconds))
            spans = tuple((start + shift, stop + shift) for start, stop in known.song_spans_seconds)
            return Origin(tuple(sorted(inner)), spans, None if seams else known.carry_on_from_seconds)
        start, stop = outcome.before_seconds, outcome.duration_seconds - outcome.after_seconds
        seams += [at + shift for at in seams_seconds(outcome)]
        parent = _parent(journal, record, stop - start)
        shift += start
        if parent is None:
            return Origin(tuple(sorted(seams)), ((shift, shift + stop - start),))
        record, outcome = parent, parent.outcome
    return NO_RESULT


def seams_seconds(outcome: Delivery | Outcome) -> tuple[float, ...]:
    """Where the source begins and ends in an extended file, where there is music before or after it."""
    end = outcome.duration_seconds - outcome.after_seconds
    seams = ((outcome.before_seconds, outcome.before_seconds), (outcome.after_seconds, end))
    return tuple(at for added, at in seams if added)


def _parent(journal: Journal, record: RequestRecord, seconds: float) -> RequestRecord | None:
    """Return the request whose whole result was extended; None where there is none, or a part of it was cut out."""
    if record.parent_request_id is None:
        return None
    try:
        parent = journal.get(record.parent_request_id)
    except OutpaintError:  # another version's, or damaged
        return None
    if parent.outcome is None or abs(parent.outcome.duration_seconds - seconds) > _SAME_SECONDS:
        return None
    return parent


def _from_layout(layout: Layout) -> Origin:
    rate, frames = layout.sample_rate, layout.frames
    spans = [
        (placed.start / rate, placed.stop / rate)
        for placed in layout.placed()
        if placed.part.kind is PartKind.SOURCE
    ]
    full_to = layout.full_to
    return Origin(
        tuple(frame / rate for frame in layout.seams()),
        _joined(spans),
        full_to / rate if full_to < frames else None,
    )


def _joined(spans: Sequence[tuple[float, float]]) -> Spans:
    """Join spans that follow each other."""
    if not spans:
        return ()
    breaks = [(one[1], other[0]) for one, other in pairwise(spans) if other[0] > one[1]]
    starts = (spans[0][0], *(after for _, after in breaks))
    stops = (*(before for before, _ in breaks), spans[-1][1])
    return tuple(zip(starts, stops, strict=True))

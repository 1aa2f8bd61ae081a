"""What can be wrong with an extended recording; numpy is not loaded for this."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from outpaint_mcp.audio.sides import Side  # noqa: TC001 - pydantic reads the annotations


class FaultKind(StrEnum):
    """What can be wrong, and what its amount means."""

    UNREADABLE = "unreadable"
    """The file holds no audio."""
    SOURCE_NOT_FOUND = "source_not_found"
    """The source is not in it, or cannot be recognised."""
    SOURCE_DAMAGED = "source_damaged"
    """Share of the source that is altered."""
    SOURCE_LOST = "source_lost"
    """Seconds of the source, next to added music, that cannot be recognised."""
    SOURCE_SHIFTED = "source_shifted"
    """Seconds later than it should begin."""
    SOURCE_RESAMPLED = "source_resampled"
    """Percent by which it runs slower."""
    SOURCE_GAIN = "source_gain"
    """dB by which it is louder than it was."""
    SOURCE_RECODED = "source_recoded"
    """It is there, but not value by value, like any model's rendering. The amount is the correlation."""
    TOO_SHORT = "too_short"
    """Seconds that are missing."""
    TOO_LONG = "too_long"
    """Seconds too many."""
    SILENCE = "silence"
    """Seconds of silence at the outer end or inside."""
    HOLE = "hole"
    """dB by which it falls below the source's softest moments."""
    ENDING = "ending"
    """The beginning or the ending that was requested is not there."""
    FADE = "fade"
    """Seconds over which it fades away."""
    CLIPPING = "clipping"
    """Share of the frames at full scale."""
    REPETITION = "repetition"
    """Share that repeats the 16 s before it."""
    STUCK = "stuck"
    """How often the same few seconds are played in a row."""
    CLICK = "click"
    """Multiple of the strongest that the source itself has."""
    FLUX = "flux"
    """Likewise, for the change of the spectrum."""
    LOUDNESS_JUMP = "loudness_jump"
    """LU by which the extension is louder."""
    BEAT_SLIP = "beat_slip"
    """Milliseconds by which the beat comes late."""
    DRIFT = "drift"
    """Milliseconds by which it is late at the end of the added music, having drifted."""
    TEMPO_CHANGE = "tempo_change"
    """Percent by which the extension is faster."""
    KEY_CHANGE = "key_change"
    """Fifths between the keys."""
    TIMBRE_CHANGE = "timbre_change"
    """Multiple of the largest difference between parts of the source."""

    @property
    def is_mild(self) -> bool:
        """Whether it is expected of a model's output, and nothing is wrong with it."""
        return self is FaultKind.SOURCE_RECODED


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong.

    Attributes:
        kind: what.
        side: where; None where it concerns the whole, the source or a place inside.
        amount: how much, in the unit that the kind names.
        at_seconds: where in the file, for what is at one place.
        lasts_seconds: how long it lasts, or how long one pass is of what is stuck.
    """

    kind: FaultKind
    side: Side | None = None
    amount: float = 0.0
    at_seconds: float | None = None
    lasts_seconds: float | None = None

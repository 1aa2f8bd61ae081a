"""The verdict on an extended recording and its parts, as they cross the process boundary; numpy is not loaded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from outpaint_mcp.audio.sides import Side


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
    FADE = "fade"
    """Seconds over which it fades away."""
    CLIPPING = "clipping"
    """Share of the frames at full scale."""
    REPETITION = "repetition"
    """Share that repeats the 16 s before it."""
    CLICK = "click"
    """Multiple of the strongest that the source itself has."""
    FLUX = "flux"
    """Likewise, for the change of the spectrum."""
    LOUDNESS_JUMP = "loudness_jump"
    """LU by which the extension is louder."""
    BEAT_SLIP = "beat_slip"
    """Milliseconds by which the beat comes late."""
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
        side: where; None where it concerns the whole or the source.
        amount: how much, in the unit that the kind names.
    """

    kind: FaultKind
    side: Side | None = None
    amount: float = 0.0


@dataclass(frozen=True, slots=True)
class Extent:
    """How a stretch of music goes on to its outer end.

    Attributes:
        silence_seconds: how long it is silent at the outer end.
        gap_seconds: the longest silence elsewhere.
        fade_seconds: how long before that silence it starts to fade away for good; 0 where it does not.
        clipped: share of its frames at full scale.
    """

    silence_seconds: float = 0.0
    gap_seconds: float = 0.0
    fade_seconds: float = 0.0
    clipped: float = 0.0


_PLAIN = Extent()


@dataclass(frozen=True, slots=True)
class Survival:
    """What became of the source.

    Attributes:
        found: whether it is in there; None where it is silent, or too short to recognise.
        bit_exact: whether it is there value by value, except for crossfades at its edges.
        crossfaded_seconds: how much of it those crossfades changed.
        changed: share of its values that differ, where values can be compared; 0 otherwise.
        correlation: of its waves with the original's, -1 to 1.
        agreeing: share of the places compared at which it is unaltered.
        gain_db: its level against the original's.
        offset_seconds: how much later it begins than it should.
        drift_percent: how much slower it runs.
        lost_seconds: how much of it, next to added music, cannot be recognised.
    """

    found: bool | None = None
    bit_exact: bool = False
    crossfaded_seconds: float = 0.0
    changed: float = 0.0
    correlation: float = 0.0
    agreeing: float = 0.0
    gain_db: float = 0.0
    offset_seconds: float = 0.0
    drift_percent: float = 0.0
    lost_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """The music added on one side.

    Attributes:
        side: of the source.
        asked_seconds: how much was requested.
        actual_seconds: how much there is; None where the source was not found.
        new: its silence, fade and clipping.
        own: the same of the source beside it.
        true_peak_dbtp: its largest value, those between the samples included.
        repeated: share that repeats the 16 s before it.
        own_repeated: the same of the stretch of the source, equally long, that repeats itself most.
    """

    side: Side
    asked_seconds: float
    actual_seconds: float | None = None
    new: Extent = _PLAIN
    own: Extent = _PLAIN
    true_peak_dbtp: float = 0.0
    repeated: float = 0.0
    own_repeated: float = 0.0


@dataclass(frozen=True, slots=True)
class Seam:
    """A seam; what cannot be measured is None.

    Attributes:
        side: of the source.
        at_seconds: where in the extended recording.
        click: sharpest bend of the wave there (fourth difference), as a share of the sharpest that the source has,
            alone or against what surrounds it.
        flux: strongest rise of the spectrum there, likewise.
        loudness_jump_lu: loudness of the 3 s after it less that of the 3 s before it.
        level_step_db: the change of gain alone.
        usual_step_db: the largest change that the same measure finds inside the source.
        tempo_ratio: tempo of the extension over the source's; double and half count as the same.
        beat_slip_ms: how late the beat goes on after the seam.
        usual_slip_ms: how far it wanders inside the source.
        key_fifths: distance of the two key signatures on the circle of fifths.
        usual_fifths: the same between the halves of the source that is near.
        timbre: how far the extension's spectrum is from any that the source has, as a share of how far those
            are from each other.
    """

    side: Side
    at_seconds: float
    click: float | None = None
    flux: float | None = None
    loudness_jump_lu: float | None = None
    level_step_db: float | None = None
    usual_step_db: float | None = None
    tempo_ratio: float | None = None
    beat_slip_ms: float | None = None
    usual_slip_ms: float | None = None
    key_fifths: int | None = None
    usual_fifths: int | None = None
    timbre: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an extended recording came out.

    Attributes:
        seconds: its length.
        survival: what became of the source in it.
        additions: the music before and after that.
        seams: where they meet; none where the source was not found.
        faults: what is wrong, in the order of the kinds.
    """

    seconds: float
    survival: Survival
    additions: tuple[Addition, ...] = ()
    seams: tuple[Seam, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def real_faults(self) -> tuple[Fault, ...]:
        """What is wrong, without what is expected of any model's output."""
        return tuple(fault for fault in self.faults if not fault.kind.is_mild)

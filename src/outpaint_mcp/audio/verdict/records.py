"""The verdict on an extended recording and its parts, as they cross the process boundary; numpy is not loaded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from outpaint_mcp.audio.layout import Layout, Preserved
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.steering_words import Energy
from outpaint_mcp.audio.verdict.kinds import Fault, FaultKind

__all__ = [
    "Addition",
    "Asked",
    "End",
    "EndKind",
    "Extent",
    "Fault",
    "FaultKind",
    "Reused",
    "Seam",
    "Survival",
    "Verdict",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked of an extended file, and what whoever wrote it knows of it.

    Attributes:
        before_seconds: how much longer it was to be before the source; 0 for nothing.
        after_seconds: how much longer after it.
        beginning: as `SubmitRequest.beginning` has it.
        ending: as `SubmitRequest.ending` has it.
        energy: how energetic the tags want the new music to be; None where they do not say.
        layout: what it consists of; None where only a model knows.
        preserved: which frames of the source it has, and where; empty for all of them, behind what was to be added.
    """

    before_seconds: float
    after_seconds: float
    beginning: str = "natural"
    ending: str = "natural"
    energy: Energy | None = None
    layout: Layout | None = None
    preserved: tuple[Preserved, ...] = ()


@dataclass(frozen=True, slots=True)
class Extent:
    """How a stretch of music goes on to its outer end.

    Attributes:
        silence_seconds: how long it is silent at the outer end.
        gap_seconds: the longest silence elsewhere.
        gap_at_seconds: where in the file that begins, in added music.
        fade_seconds: how long before that silence it starts to fade away for good; 0 where it does not.
        clipped: share of its frames at full scale.
    """

    silence_seconds: float = 0.0
    gap_seconds: float = 0.0
    gap_at_seconds: float = 0.0
    fade_seconds: float = 0.0
    clipped: float = 0.0


_PLAIN = Extent()


class EndKind(StrEnum):
    """How a file begins or ends."""

    SILENT = "silent"
    """With more than a second of silence."""
    FULL = "full"
    """At its usual level, up to the last frame."""
    RINGS = "rings"
    """Dies away within seconds."""
    FADES = "fades"
    """Dies away steadily over longer."""


@dataclass(frozen=True, slots=True)
class End:
    """How a file begins or ends.

    Attributes:
        kind: how.
        seconds: how long it takes from its usual level to the end, or how long the silence is.
        is_own: whether it is the source's own, moved there or where it was.
        drop_db: how much softer than the music usually is its outer four seconds are.
        asked: what was asked for: `natural`, `fade`, `cut`, `loop`, `breakdown`, `build`.
    """

    kind: EndKind
    seconds: float = 0.0
    is_own: bool = False
    drop_db: float = 0.0
    asked: str = "natural"


@dataclass(frozen=True, slots=True)
class Reused:
    """A stretch of the recording that was extended, played again; in seconds of that recording."""

    start_seconds: float
    stop_seconds: float


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
        from_seconds: where in the source what was to be preserved begins; None where it is all of it, or in two parts.
        to_seconds: where that ends.
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
    from_seconds: float | None = None
    to_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """The music added on one side.

    Attributes:
        side: of the source; where it lies between two parts of it, after the first.
        is_inside: whether it lies between two parts of the source.
        asked_seconds: how much was requested.
        actual_seconds: how much there is; None where the source was not found.
        new: its silence, fade and clipping.
        own: the same of the source beside it.
        true_peak_dbtp: its largest value, those between the samples included.
        repeated: share that repeats the 16 s before it.
        own_repeated: the same of the stretch of the source, equally long, that repeats itself most.
        passes: how often the few seconds that return most often in it are played in a row; 0 where none do.
        pass_seconds: how long one pass is.
        passes_at_seconds: where in the file the first begins.
        click: what is most of a click away from known seams; above 1 it is one.
        click_at_seconds: where in the file.
        drop: how abruptly it is turned down away from known seams, as a share of the most that the source has.
        drop_db: by how much it goes on louder there.
        drop_at_seconds: where in the file.
        drift_ms: how late the beat is at its end, having drifted; None where source or extension has no steady beat.
        usual_drift_ms: how far the source's own beat drifts over as long.
    """

    side: Side
    is_inside: bool = False
    asked_seconds: float
    actual_seconds: float | None = None
    new: Extent = _PLAIN
    own: Extent = _PLAIN
    true_peak_dbtp: float = 0.0
    repeated: float = 0.0
    own_repeated: float = 0.0
    passes: float = 0.0
    pass_seconds: float = 0.0
    passes_at_seconds: float = 0.0
    click: float = 0.0
    click_at_seconds: float = 0.0
    drop: float = 0.0
    drop_db: float = 0.0
    drop_at_seconds: float = 0.0
    drift_ms: float | None = None
    usual_drift_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Seam:
    """A seam; what cannot be measured is None.

    Attributes:
        side: of the source; None for a seam between other parts of the file.
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

    side: Side | None
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
        additions: the music before, between and after that.
        seams: where they meet, and the worst of the other seams; none where the source was not found.
        faults: what is wrong, in the order of the kinds.
        seams_checked: how many seams were checked in all.
        beginning: how the file begins, where music was added there.
        ending: how it ends, likewise.
        lufs: integrated loudness of the whole file; None where it has none.
        true_peak_dbtp: its largest value, those between the samples included.
        reused: what of the recording the new music plays, in order; empty where only a model knows.
    """

    seconds: float
    survival: Survival
    additions: tuple[Addition, ...] = ()
    seams: tuple[Seam, ...] = ()
    faults: tuple[Fault, ...] = ()
    seams_checked: int = 0
    beginning: End | None = None
    ending: End | None = None
    lufs: float | None = None
    true_peak_dbtp: float | None = None
    reused: tuple[Reused, ...] = ()

    @property
    def real_faults(self) -> tuple[Fault, ...]:
        """What is wrong, without what is expected of any model's output."""
        return tuple(fault for fault in self.faults if not fault.kind.is_mild)

"""The analysis of a recording and its parts, as they cross the process boundary; numpy is not loaded for this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from outpaint_mcp.audio.tonality import Key

EndingKind = Literal["fade-out", "hard cut", "loop-ready", "rings out", "silence"]
BeginningKind = Literal["fade-in", "sudden", "grows", "silence"]
LevelName = Literal["silent", "quiet", "medium", "loud"]

ANALYSIS_VERSION = 3
"""Raised whenever the same recording would be analyzed differently: analyses are stored."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a recording ends.

    Attributes:
        kind: `fade-out`: its level sinks steadily by 15 dB or more while it is played on; `hard cut`: it stops
            within 20 dB of its usual level; `loop-ready`: its end leads back into its beginning, a whole number
            of beats later where it has beats, and that is no more unusual than what happens at its own beats;
            `rings out`: its last sounds die away; `silence`: there is no sound.
        fade_seconds: from when the level was last within 4 dB of the usual one; None where there is no fade.
        loop_beats: how many beats a loop has; None where there are none, or it is no loop.
    """

    kind: EndingKind
    fade_seconds: float | None
    loop_beats: int | None


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a recording begins.

    Attributes:
        kind: `fade-in`: its level rises steadily by 15 dB or more; `sudden`: it is within 20 dB of its usual
            level at once; `grows`: neither; `silence`: there is no sound.
        fade_seconds: until the level is first within 4 dB of the usual one; None where there is no fade.
    """

    kind: BeginningKind
    fade_seconds: float | None


@dataclass(frozen=True, slots=True)
class Tempo:
    """How fast the beats follow each other; half or twice as fast may be felt instead.

    Attributes:
        bpm: the median.
        confidence: 0 to 1, from how much of the recording has this tempo and how clear its beats are.
        lowest_bpm: the 5th percentile over 8 beats.
        highest_bpm: the 95th percentile.
        stray_ms: standard deviation of the attacks from an even grid, in milliseconds.
    """

    bpm: float
    confidence: float
    lowest_bpm: float
    highest_bpm: float
    stray_ms: float


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a recording that is much the same throughout.

    Attributes:
        start_seconds: where it begins.
        end_seconds: where the next one begins.
        letter: sections of the same letter sound alike.
        level: `quiet`, `medium` or `loud` beside the whole; `silent` without sound.
        level_db: mean power against that of the whole, dB.
    """

    start_seconds: float
    end_seconds: float
    letter: str
    level: LevelName
    level_db: float


@dataclass(frozen=True, slots=True)
class Character:
    """How a recording sounds.

    Attributes:
        brightness_hz: the median spectral centroid, up to 11 kHz.
        brightness: the same in a word.
        attacks_per_second: how often something is struck, plucked or begun clearly.
        energy: 0 (calm) to 1 (energetic), from the attacks, how strong they are, and how bright it is.
        mood: the same in a word.
    """

    brightness_hz: float
    brightness: Literal["dark", "balanced", "bright"]
    attacks_per_second: float
    energy: float
    mood: Literal["calm", "moderate", "energetic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What a recording is.

    Attributes:
        container: the file format, as in `Probe`.
        subtype: the encoding inside.
        sample_rate: frames per second.
        channels: 1 to 8.
        frames: as decoded, whatever the header claims.
        seconds: the same.
        intact: False where it breaks off or is damaged; then everything is about what comes before.
        remark: what was not as expected, in sentences; see `AudioReader.remark`.
        unreal_frames: in how many frames values are no sound (NaN, infinity) and count as silence.
        lufs: integrated loudness (ITU-R BS.1770); None where there is too little, or silence.
        range_lu: loudness range (EBU Tech 3342).
        true_peak_dbtp: the highest value, those between the samples included; -100 for silence.
        full_scale_frames: frames in which a channel is at full scale.
        dc_offset: the largest mean of a channel.
        starts_at_seconds: where the first sound is; None for silence. Sound is what comes within 60 dB of the
            loudest 10 ms and is not below -80 dB re full scale.
        ends_at_seconds: where the last sound ends.
        beginning: how it begins.
        ending: how it ends.
        carry_on_from_seconds: where the full music ends; None where that is the recording's own end.
        tempo: None where there is no steady beat.
        key: None where there is no clear one.
        sections: its rough sections in order; none of silence or an instant.
        character: how bright, lively and even it is; None for silence or an instant.
        tags: tags for it that are backed by these measurements.
    """

    container: str
    subtype: str
    sample_rate: int
    channels: int
    frames: int
    seconds: float
    intact: bool
    remark: str = ""
    unreal_frames: int = 0
    lufs: float | None
    range_lu: float
    true_peak_dbtp: float
    full_scale_frames: int
    dc_offset: float
    starts_at_seconds: float | None
    ends_at_seconds: float | None
    beginning: Beginning
    ending: Ending
    carry_on_from_seconds: float | None
    tempo: Tempo | None
    key: Key | None
    sections: tuple[Section, ...]
    character: Character | None
    tags: tuple[str, ...]

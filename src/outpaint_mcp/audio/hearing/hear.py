"""What a recording is: everything about it that can be told by listening, in one streamed pass.

Nothing is guessed. What cannot be measured is None; the genre, the instruments and whether somebody sings
cannot be told by such means, and no word is said about them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from outpaint_mcp.audio.files.decode import Source
from outpaint_mcp.audio.hearing.endings import Beginning, Ending, find_beginning, find_ending
from outpaint_mcp.audio.hearing.listening import Listener
from outpaint_mcp.audio.hearing.outline import Outliner, finite
from outpaint_mcp.audio.hearing.sections import Section, find_sections
from outpaint_mcp.audio.hearing.tempo import Tempo, find_tempo
from outpaint_mcp.audio.hearing.timbre import Character, describe, propose_tags
from outpaint_mcp.audio.keys import Key, find_key
from outpaint_mcp.audio.loudness import LoudnessMeter
from outpaint_mcp.errors import UnsupportedAudio

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.hearing.listening import Course
    from outpaint_mcp.audio.hearing.outline import Outline
    from outpaint_mcp.audio.loudness import Loudness
    from outpaint_mcp.audio.shapes import Progress


@dataclass(frozen=True, slots=True)
class Heard:
    """What a recording is.

    Attributes:
        container: libsndfile's name of the file format.
        subtype: its name of the encoding inside.
        sample_rate: frames per second.
        channels: 1 to 8.
        frames: as decoded, whatever the header claims.
        seconds: the same.
        intact: False where it breaks off or is damaged; then all is told of what comes before.
        lufs: integrated loudness (ITU-R BS.1770); None where there is too little, or silence.
        range_lu: loudness range (EBU Tech 3342).
        true_peak_dbtp: the highest value, between samples, too; -100 for silence.
        full_scale_frames: frames in which a channel is at full scale.
        dc_offset: the largest mean of a channel.
        starts_at_seconds: where the first sound is; None for silence. Heard is what comes within 60 dB of the
            loudest 10 ms, and of nothing below -80 dB re full scale.
        ends_at_seconds: where the last one ends.
        beginning: how it begins.
        ending: how it ends.
        tempo: None where there is no steady beat.
        key: None where there is none.
        sections: its rough sections in order; none of silence or an instant.
        character: how bright, lively and even it is; None for silence or an instant.
        tags: what may be said of it in tags because it was measured.
    """

    container: str
    subtype: str
    sample_rate: int
    channels: int
    frames: int
    seconds: float
    intact: bool
    lufs: float | None
    range_lu: float
    true_peak_dbtp: float
    full_scale_frames: int
    dc_offset: float
    starts_at_seconds: float | None
    ends_at_seconds: float | None
    beginning: Beginning
    ending: Ending
    tempo: Tempo | None
    key: Key | None
    sections: tuple[Section, ...]
    character: Character | None
    tags: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return asdict(self)


def hear(path: Path, *, max_seconds: float, on_progress: Progress = lambda _fraction: None) -> Heard:
    """Listen to all of a recording once; memory stays bounded however long it is.

    Args:
        path: the recording.
        max_seconds: how long it may last.
        on_progress: told the fraction that was heard.

    Raises:
        SourceUnreachable: if there is no such file or it may not be read.
        UnsupportedAudio: if it is not audio that can be decoded, or holds not a single frame.
        SourceTooLarge: once more than `max_seconds` were decoded.
    """
    with Source(path, max_seconds=max_seconds) as source:
        rate, channels = source.probe.sample_rate, source.probe.channels
        meter, outliner, listener = (
            LoudnessMeter(rate, channels),
            Outliner(rate, channels),
            Listener(rate, channels),
        )
        for block in source.blocks(np.float32):
            samples = finite(block)
            meter.add(samples)
            outliner.add(samples)
            listener.add(samples)
            on_progress(min(source.frames / max(source.probe.frames, source.frames), 1.0))
        if not source.frames:
            raise UnsupportedAudio(f"{path.name} holds no audio that can be decoded.")
        return _told(source, meter.finish(), outliner.finish(), listener.finish())


def _told(source: Source, loudness: Loudness, outline: Outline, course: Course | None) -> Heard:
    probe, seconds = source.probe, source.frames / source.probe.sample_rate
    span = outline.sounding()
    starts, ends = (span[0], min(span[1], seconds)) if span else (None, None)
    beginning, ending = Beginning("silence", None), Ending("silence", None, None)
    tempo = key = character = None
    sections: tuple[Section, ...] = ()
    tags: tuple[str, ...] = ()
    if course and starts is not None and ends is not None:
        beginning = find_beginning(course, starts)
        ending = find_ending(course, starts, ends, seconds)
        tempo, key = find_tempo(course.pulses), find_key(course.tones)
        sections = find_sections(course, seconds)
        character = describe(course)
        tags = propose_tags(tempo, key, character, sections)
    return Heard(
        container=probe.container,
        subtype=probe.subtype,
        sample_rate=probe.sample_rate,
        channels=probe.channels,
        frames=source.frames,
        seconds=round(seconds, 6),
        intact=source.intact,
        lufs=loudness.lufs,
        range_lu=loudness.range_lu,
        true_peak_dbtp=round(loudness.true_peak_dbtp, 2),
        full_scale_frames=outline.full_scale_frames,
        dc_offset=round(outline.dc_offset, 6),
        starts_at_seconds=None if starts is None else round(starts, 3),
        ends_at_seconds=None if ends is None else round(ends, 3),
        beginning=beginning,
        ending=ending,
        tempo=tempo,
        key=key,
        sections=sections,
        character=character,
        tags=tags,
    )

"""Measures everything about a recording that can be measured, in one streamed pass.

Nothing is guessed. What cannot be measured is None; genre, instruments and voices cannot be measured this way, and
the result has nothing about them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.files.decode import AudioReader
from outpaint_mcp.audio.hearing.endings import find_beginning, find_ending
from outpaint_mcp.audio.hearing.outline import Outliner, finite
from outpaint_mcp.audio.hearing.records import Analysis, Beginning, Ending
from outpaint_mcp.audio.hearing.sections import find_sections
from outpaint_mcp.audio.hearing.stream_analyzer import StreamAnalyzer
from outpaint_mcp.audio.hearing.tempo import find_tempo
from outpaint_mcp.audio.hearing.timbre import describe, propose_tags
from outpaint_mcp.audio.keys import find_key
from outpaint_mcp.audio.loudness import LoudnessMeter
from outpaint_mcp.errors import UnsupportedAudio

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.hearing.outline import Outline
    from outpaint_mcp.audio.hearing.records import Section
    from outpaint_mcp.audio.hearing.stream_analyzer import Timeline
    from outpaint_mcp.audio.loudness import Loudness
    from outpaint_mcp.audio.types import Progress


def analyze(path: Path, *, max_seconds: float, on_progress: Progress = lambda _fraction: None) -> Analysis:
    """Decode and measure a recording once; memory stays bounded however long it is.

    Args:
        path: the recording.
        max_seconds: the longest recording to accept.
        on_progress: called with the fraction done.

    Raises:
        SourceUnreachable: if there is no such file or it may not be read.
        UnsupportedAudio: if it is not audio that can be decoded, or holds not a single frame.
        SourceTooLarge: once more than `max_seconds` were decoded.
    """
    with AudioReader(path, max_seconds=max_seconds) as source:
        rate, channels = source.probe.sample_rate, source.probe.channels
        meter, outliner, listener = (
            LoudnessMeter(rate, channels),
            Outliner(rate, channels),
            StreamAnalyzer(rate, channels),
        )
        for block in source.blocks(np.float32):
            samples = finite(block)
            meter.add(samples)
            outliner.add(samples)
            listener.add(samples)
            on_progress(min(source.frames / max(source.probe.frames, source.frames), 1.0))
        if not source.frames:
            raise UnsupportedAudio(f"{path.name} holds no audio that can be decoded.")
        return _summarize(source, meter.finish(), outliner.finish(), listener.finish())


def _summarize(
    source: AudioReader, loudness: Loudness, outline: Outline, timeline: Timeline | None
) -> Analysis:
    probe, seconds = source.probe, source.frames / source.probe.sample_rate
    span = outline.sounding()
    starts, ends = (span[0], min(span[1], seconds)) if span else (None, None)
    beginning, ending = Beginning("silence", None), Ending("silence", None, None)
    tempo = key = character = None
    sections: tuple[Section, ...] = ()
    tags: tuple[str, ...] = ()
    if timeline and starts is not None and ends is not None:
        beginning = find_beginning(timeline, starts)
        ending = find_ending(timeline, starts, ends, seconds)
        tempo, key = find_tempo(timeline.pulses), find_key(timeline.tones)
        sections = find_sections(timeline, seconds)
        character = describe(timeline)
        tags = propose_tags(tempo, key, character, sections)
    return Analysis(
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

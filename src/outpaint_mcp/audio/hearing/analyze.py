"""Measures everything about a recording that can be measured, in one streamed pass.

Nothing is guessed. What cannot be measured is None; genre, instruments and voices cannot be measured this way, and
the result has nothing about them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.engine.full_music import NEAR_SECONDS
from outpaint_mcp.audio.files.decode import AudioReader
from outpaint_mcp.audio.files.refusals import shown_name
from outpaint_mcp.audio.files.tail_buffer import TailBuffer
from outpaint_mcp.audio.hearing.carrying_on import carry_on_from
from outpaint_mcp.audio.hearing.endings import find_beginning, find_ending
from outpaint_mcp.audio.hearing.outline import Outliner, finite
from outpaint_mcp.audio.hearing.records import Analysis, Beginning, Ending
from outpaint_mcp.audio.hearing.sections import find_sections
from outpaint_mcp.audio.hearing.song_key import find_song_key
from outpaint_mcp.audio.hearing.stream_analyzer import StreamAnalyzer
from outpaint_mcp.audio.hearing.tempo import find_tempo
from outpaint_mcp.audio.hearing.timbre import describe, propose_tags
from outpaint_mcp.audio.loudness import LoudnessMeter
from outpaint_mcp.errors import UnsupportedAudio

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from outpaint_mcp.audio.hearing.outline import Outline
    from outpaint_mcp.audio.hearing.records import Section
    from outpaint_mcp.audio.hearing.stream_analyzer import Timeline
    from outpaint_mcp.audio.loudness import Loudness
    from outpaint_mcp.audio.types import Progress, Samples


def analyze(
    path: Path,
    *,
    max_seconds: float,
    song_spans_seconds: Sequence[tuple[float, float]] = (),
    on_progress: Progress = lambda _fraction: None,
) -> Analysis:
    """Decode and measure a recording once; memory stays bounded however long it is.

    Args:
        path: the recording.
        max_seconds: the longest recording to accept.
        song_spans_seconds: where in an extended file the person's own recording is, each from and to. Tempo and key
            are measured there, so that a song and all that was made of it have the same ones. Empty for all of it.
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
        tail = TailBuffer(round(NEAR_SECONDS * rate))
        song = _SpanListener(rate, channels, song_spans_seconds) if song_spans_seconds else None
        for block in source.blocks(np.float32):
            samples = finite(block)
            meter.add(samples)
            outliner.add(samples)
            listener.add(samples)
            tail.add(samples)
            if song is not None:
                song.add(samples)
            on_progress(min(source.frames / max(source.probe.frames, source.frames), 1.0))
        if not source.frames:
            raise UnsupportedAudio(f"{shown_name(path)} holds no audio that can be decoded.")
        timeline = listener.finish()
        return _summarize(
            source,
            meter.finish(),
            outliner.finish(),
            timeline,
            timeline if song is None else song.finish() or timeline,
            tail.unroll(),
        )


class _SpanListener:
    """Analyses some spans of a recording as though they were all of it."""

    def __init__(self, rate: int, channels: int, spans_seconds: Sequence[tuple[float, float]]) -> None:
        self._spans = [(round(start * rate), round(stop * rate)) for start, stop in spans_seconds]
        self._analyzer = StreamAnalyzer(rate, channels)
        self._frames = 0

    def add(self, samples: Samples) -> None:
        for start, stop in self._spans:
            inside = samples[max(start - self._frames, 0) : max(stop - self._frames, 0)]
            if len(inside):
                self._analyzer.add(inside)
        self._frames += len(samples)

    def finish(self) -> Timeline | None:
        return self._analyzer.finish()


def _summarize(  # noqa: PLR0913 - what listened to it
    source: AudioReader,
    loudness: Loudness,
    outline: Outline,
    timeline: Timeline | None,
    song: Timeline | None,
    tail: Samples,
) -> Analysis:
    probe, seconds = source.probe, source.frames / source.probe.sample_rate
    span = outline.sounding()
    starts, ends = (span[0], min(span[1], seconds)) if span else (None, None)
    beginning, ending = Beginning("silence", None), Ending("silence", None, None)
    tempo = key = character = carry_on = None
    sections: tuple[Section, ...] = ()
    tags: tuple[str, ...] = ()
    if timeline and song and starts is not None and ends is not None:
        beginning = find_beginning(timeline, starts)
        ending = find_ending(timeline, starts, ends, seconds)
        carry_on = carry_on_from(tail, probe.sample_rate, source.frames)
        tempo, key = find_tempo(song.pulses), find_song_key(song.tones)
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
        remark=source.remark,
        unreal_frames=source.unreal_frames,
        lufs=loudness.lufs,
        range_lu=loudness.range_lu,
        true_peak_dbtp=round(loudness.true_peak_dbtp, 2),
        full_scale_frames=outline.full_scale_frames,
        dc_offset=round(outline.dc_offset, 6),
        starts_at_seconds=None if starts is None else round(starts, 3),
        ends_at_seconds=None if ends is None else round(ends, 3),
        beginning=beginning,
        ending=ending,
        carry_on_from_seconds=carry_on,
        tempo=tempo,
        key=key,
        sections=sections,
        character=character,
        tags=tags,
    )

"""The sections of a recording, as they are reported."""

from __future__ import annotations

from dataclasses import replace
from math import log10
from typing import TYPE_CHECKING

from outpaint_mcp.audio.hearing.records import Section
from outpaint_mcp.audio.sections import find_stretches

if TYPE_CHECKING:
    from outpaint_mcp.audio.hearing.records import LevelName
    from outpaint_mcp.audio.hearing.stream_analyzer import Timeline

_QUIET_DB, _LOUD_DB = -5.0, 1.0
"""Relative to the mean power of the whole."""
_SILENT_DB = -60.0


def find_sections(timeline: Timeline, seconds: float) -> tuple[Section, ...]:
    """Divide a recording into at most twelve sections of 8 s or more each; a short one is a single section.

    Args:
        timeline: the recording's features over time.
        seconds: its duration.
    """
    sections = [
        Section(round(start, 2), round(end, 2), letter, _level_word(level), round(level, 1))
        for start, end, letter, level in find_stretches(timeline, seconds)
    ]
    return tuple(_merged(sections))


def _merged(sections: list[Section]) -> list[Section]:
    """Merge neighbours that sound alike and have the same level."""
    merged = sections[:1]
    for section in sections[1:]:
        last = merged[-1]
        if (last.letter, last.level) == (section.letter, section.level):
            seconds = last.end_seconds - last.start_seconds, section.end_seconds - section.start_seconds
            powers = 10 ** (last.level_db / 10) * seconds[0], 10 ** (section.level_db / 10) * seconds[1]
            level_db = round(10 * log10(sum(powers) / sum(seconds)), 1)
            merged[-1] = replace(last, end_seconds=section.end_seconds, level_db=level_db)
        else:
            merged.append(section)
    return merged


def _level_word(level_db: float) -> LevelName:
    if level_db < _SILENT_DB:
        return "silent"
    return "quiet" if level_db < _QUIET_DB else "loud" if level_db > _LOUD_DB else "medium"

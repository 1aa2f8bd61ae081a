"""Brightness and energy of a recording, and tags proposed from its analysis.

The thresholds of the words are ours, set on the figures of the development recordings of `bench.recordings`,
where orchestral pieces have energies between 0.2 and 0.5 and dance music between 0.6 and 0.9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from outpaint_mcp.audio.features import mel_centres_hz
from outpaint_mcp.audio.hearing.records import Character
from outpaint_mcp.audio.hearing.song_key import LEAST_CONFIDENCE
from outpaint_mcp.audio.hearing.stream_analyzer import ANALYSIS_HZ
from outpaint_mcp.audio.levels import median

if TYPE_CHECKING:
    from outpaint_mcp.audio.hearing.records import Section, Tempo
    from outpaint_mcp.audio.hearing.stream_analyzer import Timeline
    from outpaint_mcp.audio.tonality import Key

Word = TypeVar("Word", bound=str)

_DARK_HZ, _BRIGHT_HZ = 900.0, 2_000.0
_AUDIBLE_DB = -50.0
"""Moments this far below the loudest do not count towards the brightness."""
_LEAST_ATTACK_DB, _LEAST_GAP_SECONDS = 2.5, 0.08
"""Smallest mean rise of all bands, which white noise does not reach, and shortest distance of two attacks."""
_CALM, _ENERGETIC = 0.3, 0.6
_SURE_TEMPO = 0.6
"""Lowest confidence for a tag: a wrong tag misleads a model, a missing one does not."""
_STEADY_STRAY_MS, _STEADY_RANGE = 15.0, 0.04
_BUSY_PER_SECOND, _PUNCHY_DB, _GLARING_HZ = 6.0, 10.0, 4_000.0
"""Values at which the components of the energy reach 1."""
_NEITHER = ("moderate", "balanced")


def describe(timeline: Timeline) -> Character:
    """Characterise a recording that is not silent."""
    brightness_hz = _centroid_hz(timeline)
    attacks, strength_db = _attacks(timeline)
    liveliness = min(attacks / _BUSY_PER_SECOND, 1.0)
    punch = min(strength_db / _PUNCHY_DB, 1.0)
    energy = (liveliness + punch + min(brightness_hz / _GLARING_HZ, 1.0)) / 3
    return Character(
        brightness_hz=round(brightness_hz),
        brightness=_word(brightness_hz, (_DARK_HZ, _BRIGHT_HZ), ("dark", "balanced", "bright")),
        attacks_per_second=round(attacks, 2),
        energy=round(energy, 2),
        mood=_word(energy, (_CALM, _ENERGETIC), ("calm", "moderate", "energetic")),
    )


def propose_tags(
    tempo: Tempo | None, key: Key | None, character: Character, sections: tuple[Section, ...]
) -> tuple[str, ...]:
    """Propose tags for a model to continue from; uncertain values are left out."""
    tags = []
    if tempo and tempo.confidence >= _SURE_TEMPO:
        tags.append(f"{round(tempo.bpm)} bpm")
        if (
            tempo.stray_ms <= _STEADY_STRAY_MS
            and tempo.highest_bpm - tempo.lowest_bpm <= _STEADY_RANGE * tempo.bpm
        ):
            tags.append("steady beat")
    if key and key.confidence >= LEAST_CONFIDENCE:
        tags.append(key.name)
    tags += [word for word in (character.mood, character.brightness) if word not in _NEITHER]
    if len(sections) > 1:
        first, last = sections[0].level, sections[-1].level
        tags += ["quiet intro"] * (first == "quiet") + ["quiet ending"] * (last == "quiet")
    return tuple(tags)


def _word(value: float, bounds: tuple[float, float], words: tuple[Word, Word, Word]) -> Word:
    """Pick the first word below the lower bound, the last from the upper bound on."""
    return words[int(value >= bounds[0]) + int(value >= bounds[1])]


def _centroid_hz(timeline: Timeline) -> float:
    """Median of the audible moments' magnitude-weighted mean frequency."""
    centres_hz = mel_centres_hz(ANALYSIS_HZ)
    power = timeline.bands.sum(axis=1)
    magnitude = np.sqrt(timeline.bands[power >= power.max() * 10 ** (_AUDIBLE_DB / 10)]) * np.gradient(
        centres_hz
    )
    return median(magnitude @ centres_hz / magnitude.sum(axis=1))


def _attacks(timeline: Timeline) -> tuple[float, float]:
    """Clear attacks per second, and their median strength in dB."""
    flux, gap = timeline.flux_db, max(1, int(_LEAST_GAP_SECONDS * timeline.windows_per_second))
    if len(flux) < 2 * gap + 1:
        return 0.0, 0.0
    around = np.lib.stride_tricks.sliding_window_view(np.pad(flux, gap), 2 * gap + 1).max(axis=1)
    struck = flux[(flux >= around) & (flux >= _LEAST_ATTACK_DB)]
    if not len(struck):
        return 0.0, 0.0
    return len(struck) * timeline.windows_per_second / len(flux), median(struck)

"""How bright and how lively a recording sounds, and the tags that may be made of what was measured.

The bounds of the words are ours: set on the figures of the development recordings of `bench.recordings`,
where orchestral pieces lie between 0.2 and 0.5 in energy and dance music between 0.6 and 0.9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from outpaint_mcp.audio.features import mel_centres_hz
from outpaint_mcp.audio.hearing.listening import LISTENING_HZ
from outpaint_mcp.audio.waves import median

if TYPE_CHECKING:
    from outpaint_mcp.audio.hearing.listening import Course
    from outpaint_mcp.audio.hearing.sections import Section
    from outpaint_mcp.audio.hearing.tempo import Tempo
    from outpaint_mcp.audio.keys import Key

Word = TypeVar("Word", bound=str)

_DARK_HZ, _BRIGHT_HZ = 900.0, 2_000.0
_HEARD_DB = -50.0
"""Moments this far below the loudest have no brightness of their own."""
_LEAST_ATTACK_DB, _LEAST_GAP_SECONDS = 2.5, 0.08
"""Mean rise of all bands: white noise does not reach it."""
_CALM, _ENERGETIC = 0.3, 0.6
_SURE_TEMPO, _SURE_KEY = 0.6, 0.25
"""Below these, nothing is proposed: a wrong tag leads a model astray, a missing one does not."""
_STEADY_STRAY_MS, _STEADY_RANGE = 15.0, 0.04
_BUSY_PER_SECOND, _PUNCHY_DB, _GLARING_HZ = 6.0, 10.0, 4_000.0
"""Where the parts of energy are full."""
_NEITHER = ("moderate", "balanced")


@dataclass(frozen=True, slots=True)
class Character:
    """How a recording sounds.

    Attributes:
        brightness_hz: the spectral centroid, up to 11 kHz, in the middle of the field.
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


def describe(course: Course) -> Character:
    """How a recording sounds that is not silent."""
    brightness_hz = _centroid_hz(course)
    attacks, strength_db = _attacks(course)
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
    """Tags for a model to go on by; what is not certain enough is left out."""
    tags = []
    if tempo and tempo.confidence >= _SURE_TEMPO:
        tags.append(f"{round(tempo.bpm)} bpm")
        if (
            tempo.stray_ms <= _STEADY_STRAY_MS
            and tempo.highest_bpm - tempo.lowest_bpm <= _STEADY_RANGE * tempo.bpm
        ):
            tags.append("steady beat")
    if key and key.confidence >= _SURE_KEY:
        tags.append(key.name)
    tags += [word for word in (character.mood, character.brightness) if word not in _NEITHER]
    if len(sections) > 1:
        first, last = sections[0].level, sections[-1].level
        tags += ["quiet intro"] * (first == "quiet") + ["quiet ending"] * (last == "quiet")
    return tuple(tags)


def _word(value: float, bounds: tuple[float, float], words: tuple[Word, Word, Word]) -> Word:
    """The first word below the lower bound, the last above the higher one."""
    return words[int(value >= bounds[0]) + int(value >= bounds[1])]


def _centroid_hz(course: Course) -> float:
    """Median over the moments that are heard of their magnitude-weighted mean frequency."""
    centres_hz = mel_centres_hz(LISTENING_HZ)
    power = course.bands.sum(axis=1)
    heard = np.sqrt(course.bands[power >= power.max() * 10 ** (_HEARD_DB / 10)]) * np.gradient(centres_hz)
    return median(heard @ centres_hz / heard.sum(axis=1))


def _attacks(course: Course) -> tuple[float, float]:
    """Clear attacks per second, and how strong they are in the middle of the field, dB."""
    flux, gap = course.flux_db, max(1, int(_LEAST_GAP_SECONDS * course.windows_per_second))
    if len(flux) < 2 * gap + 1:
        return 0.0, 0.0
    around = np.lib.stride_tricks.sliding_window_view(np.pad(flux, gap), 2 * gap + 1).max(axis=1)
    struck = flux[(flux >= around) & (flux >= _LEAST_ATTACK_DB)]
    if not len(struck):
        return 0.0, 0.0
    return len(struck) * course.windows_per_second / len(flux), median(struck)

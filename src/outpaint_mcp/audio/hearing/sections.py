"""The rough sections of a recording, by novelty along the diagonal of its self-similarity (Foote 2000)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.waves import median, running_mean, span_means

if TYPE_CHECKING:
    from outpaint_mcp.audio.hearing.listening import Course
    from outpaint_mcp.audio.shapes import Floats, Ints

_MOST_MOMENTS = 480
"""As many are compared with each other; of longer recordings, some are taken together."""
_SHORTEST_SECONDS, _MOST_SECTIONS = 8.0, 12
_KERNEL_SECONDS = 12.0
_COEFFICIENTS = 12
_RANGE_DB = 60.0
_LEAST_NOVELTY = 0.25
"""Share of the strongest change."""
_ALIKE = 0.5
"""Two sections sound alike where they differ by less than this share of what moments usually differ by."""
_QUIET_DB, _LOUD_DB = -5.0, 1.0
"""Against the mean power of the whole."""
_SILENT_DB = -60.0


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a recording that is much the same all through.

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
    level: str
    level_db: float


def find_sections(course: Course, seconds: float) -> tuple[Section, ...]:
    """Sections from the first to the last of so many seconds, each of 8 s or more, at most twelve; or a single one."""
    sound, moment_seconds = _moments(course)
    kernel = max(2, round(min(_KERNEL_SECONDS, seconds / 4) / moment_seconds))
    usual = _usual_distance(sound)
    novelty = _novelty(sound, kernel, usual)
    shortest = max(2, round(max(_SHORTEST_SECONDS, seconds / (2 * _MOST_SECTIONS)) / moment_seconds))
    bounds = _peaks(novelty, shortest)
    middles = span_means(sound, bounds[:-1].astype(np.float64), bounds[1:].astype(np.float64))
    letters = _letters(middles, usual)
    edges = [*(float(bound) * moment_seconds for bound in bounds[:-1]), seconds]
    levels = _levels_db(course, edges)
    sections = [
        Section(round(start, 2), round(end, 2), letter, _level_word(level), round(level, 1))
        for start, end, letter, level in zip(edges[:-1], edges[1:], letters, levels, strict=True)
    ]
    return tuple(_joined(sections))


def _joined(sections: list[Section]) -> list[Section]:
    """Neighbours that sound alike and are as loud made one."""
    joined = sections[:1]
    for section in sections[1:]:
        last = joined[-1]
        if (last.letter, last.level) == (section.letter, section.level):
            seconds = last.end_seconds - last.start_seconds, section.end_seconds - section.start_seconds
            powers = 10 ** (last.level_db / 10) * seconds[0], 10 ** (section.level_db / 10) * seconds[1]
            level_db = round(float(10 * np.log10(sum(powers) / sum(seconds))), 1)
            joined[-1] = replace(last, end_seconds=section.end_seconds, level_db=level_db)
        else:
            joined.append(section)
    return joined


def _moments(course: Course) -> tuple[Floats, float]:
    """What each moment sounds like `[moments, 25]`: timbre, harmony, loudness; and how long a moment is."""
    together = max(1, -(-len(course.bands) // _MOST_MOMENTS))
    starts = np.arange(0, len(course.bands), together, dtype=np.float64)
    bands = span_means(course.bands, starts, starts + together)
    power = bands.mean(axis=1)
    floor = max(float(power.max()) * 10 ** (-_RANGE_DB / 10), 1e-10)
    bands_db = 10 * np.log10(np.maximum(bands, floor / 10))
    timbre = bands_db @ _cosines(bands.shape[1])
    per_moment: float = len(course.tones) / len(course.bands)
    tones = span_means(course.tones, starts * per_moment, (starts + together) * per_moment)
    pitched = tones - tones.min(axis=1, keepdims=True)
    harmony = pitched / np.maximum(np.linalg.norm(pitched, axis=1, keepdims=True), 1e-3)
    loudness = 10 * np.log10(np.maximum(power, floor))
    parts = [timbre / (timbre.std() + 1e-9), 1.5 * harmony, 0.15 * loudness[:, None]]
    return np.concatenate(parts, axis=1), together * course.moment_seconds


def _cosines(bands: int) -> Floats:
    """The discrete cosine transform that makes cepstral coefficients of bands `[bands, 12]`, without the first."""
    angles = np.pi / bands * (np.arange(bands)[:, None] + 0.5) * np.arange(1, _COEFFICIENTS + 1)
    return np.asarray(np.cos(angles) * np.sqrt(2 / bands))


def _usual_distance(sound: Floats) -> float:
    """The median distance of moments from each other."""
    return median(_distances(sound, sound)) + 1e-9


def _distances(one: Floats, other: Floats) -> Floats:
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def _novelty(sound: Floats, kernel: int, usual: float) -> Floats:
    """How different what follows each moment is from what came before it (Foote 2000, a Gaussian checkerboard)."""
    padded = np.pad(sound, ((kernel, kernel), (0, 0)), mode="edge")
    likeness = np.exp(-((_distances(padded, padded) / usual) ** 2))
    offsets = np.arange(-kernel, kernel) + 0.5
    bell = np.sign(offsets) * np.exp(-0.5 * (offsets / (0.5 * kernel)) ** 2)
    board = np.outer(bell, bell) / np.abs(np.outer(bell, bell)).sum()
    squares = [likeness[at : at + 2 * kernel, at : at + 2 * kernel] for at in range(len(sound))]
    return np.array([float((square * board).sum()) for square in squares])


def _peaks(novelty: Floats, shortest: int) -> Ints:
    """The bounds of sections, first and last included, strongest change first, none too near another."""
    count = len(novelty)
    smooth = running_mean(novelty, 3)
    bounds = [0, count]
    for at in np.argsort(-smooth, kind="stable").tolist():
        if len(bounds) > _MOST_SECTIONS or smooth[at] < _LEAST_NOVELTY * max(float(smooth.max()), 0.2):
            break
        if min(abs(at - bound) for bound in bounds) >= shortest:
            bounds.append(at)
    return np.array(sorted(bounds))


def _letters(middles: Floats, usual: float) -> list[str]:
    """A letter for each section, the same one as the likest before it where they are alike."""
    letters: list[str] = []
    for index, distances in enumerate(_distances(middles, middles)):
        likest = int(distances[:index].argmin()) if index else 0
        alike = index > 0 and distances[likest] < _ALIKE * usual
        letters.append(letters[likest] if alike else chr(ord("A") + len(set(letters))))
    return letters


def _levels_db(course: Course, edges: list[float]) -> list[float]:
    """Mean power of each section against that of the whole, dB."""
    at = np.array(edges, np.float64) * course.windows_per_second
    power = span_means(course.power, at[:-1], at[1:])
    whole = float(course.power.mean())
    levels_db: list[float] = (10 * np.log10(np.maximum(power, 1e-10) / max(whole, 1e-10))).tolist()
    return levels_db


def _level_word(level_db: float) -> str:
    if level_db < _SILENT_DB:
        return "silent"
    return "quiet" if level_db < _QUIET_DB else "loud" if level_db > _LOUD_DB else "medium"

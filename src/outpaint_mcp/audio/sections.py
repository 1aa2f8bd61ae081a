"""Sections of a recording, from the novelty along the diagonal of its self-similarity (Foote 2000)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from outpaint_mcp.audio.levels import median, running_mean, span_means

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Floats, Ints

_MOST_MOMENTS = 480
"""The most that are compared with each other; longer recordings merge some."""
_SHORTEST_SECONDS, _MOST_SECTIONS = 8.0, 12
_KERNEL_SECONDS = 12.0
_COEFFICIENTS = 12
_RANGE_DB = 60.0
_LEAST_NOVELTY = 0.25
"""Share of the strongest change."""
_ALIKE = 0.5
"""Two sections are alike if they differ by less than this share of the usual distance between moments."""


class SoundOverTime(Protocol):
    """What sections are found in; see `Timeline`."""

    @property
    def windows_per_second(self) -> float:
        """Rate of `power`."""

    @property
    def power(self) -> Floats:
        """Loudness `[windows]`, as power."""

    @property
    def moment_seconds(self) -> float:
        """Duration of a moment, about half a second."""

    @property
    def bands(self) -> Floats:
        """Mean power of the mel bands `[moments, 40]`."""

    @property
    def tones(self) -> Floats:
        """Strength of the pitch classes `[chroma windows, 12]`."""


class Stretch(NamedTuple):
    """A stretch of a recording that is much the same throughout.

    Attributes:
        start_seconds: where it begins.
        end_seconds: where the next one begins.
        letter: stretches of the same letter sound alike.
        level_db: mean power against that of the whole, dB.
    """

    start_seconds: float
    end_seconds: float
    letter: str
    level_db: float


def find_stretches(timeline: SoundOverTime, seconds: float) -> list[Stretch]:
    """Divide a recording into at most twelve stretches of 8 s or more each; a short one is a single stretch.

    Args:
        timeline: the recording's features over time.
        seconds: its duration.
    """
    sound, moment_seconds = _moments(timeline)
    kernel = max(2, round(min(_KERNEL_SECONDS, seconds / 4) / moment_seconds))
    usual = _usual_distance(sound)
    novelty = _novelty(sound, kernel, usual)
    shortest = max(2, round(max(_SHORTEST_SECONDS, seconds / (2 * _MOST_SECTIONS)) / moment_seconds))
    bounds = _peaks(novelty, shortest)
    middles = span_means(sound, bounds[:-1].astype(np.float64), bounds[1:].astype(np.float64))
    letters = _letters(middles, usual)
    edges = [*(float(bound) * moment_seconds for bound in bounds[:-1]), seconds]
    levels = _levels_db(timeline, edges)
    return [Stretch(*each) for each in zip(edges[:-1], edges[1:], letters, levels, strict=True)]


def _moments(timeline: SoundOverTime) -> tuple[Floats, float]:
    """Features of each moment `[moments, 25]` (timbre, harmony, loudness), and its duration in seconds."""
    together = max(1, -(-len(timeline.bands) // _MOST_MOMENTS))
    starts = np.arange(0, len(timeline.bands), together, dtype=np.float64)
    bands = span_means(timeline.bands, starts, starts + together)
    power = bands.mean(axis=1)
    floor = max(float(power.max()) * 10 ** (-_RANGE_DB / 10), 1e-10)
    bands_db = 10 * np.log10(np.maximum(bands, floor / 10))
    timbre = bands_db @ _cosines(bands.shape[1])
    per_moment: float = len(timeline.tones) / len(timeline.bands)
    tones = span_means(timeline.tones, starts * per_moment, (starts + together) * per_moment)
    pitched = tones - tones.min(axis=1, keepdims=True)
    harmony = pitched / np.maximum(np.linalg.norm(pitched, axis=1, keepdims=True), 1e-3)
    loudness = 10 * np.log10(np.maximum(power, floor))
    parts = [timbre / (timbre.std() + 1e-9), 1.5 * harmony, 0.15 * loudness[:, None]]
    return np.concatenate(parts, axis=1), together * timeline.moment_seconds


def _cosines(bands: int) -> Floats:
    """Discrete cosine transform from bands to cepstral coefficients `[bands, 12]`, without the first."""
    angles = np.pi / bands * (np.arange(bands)[:, None] + 0.5) * np.arange(1, _COEFFICIENTS + 1)
    return np.asarray(np.cos(angles) * np.sqrt(2 / bands))


def _usual_distance(sound: Floats) -> float:
    """Median distance between moments."""
    return median(_distances(sound, sound)) + 1e-9


def _distances(one: Floats, other: Floats) -> Floats:
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def _novelty(sound: Floats, kernel: int, usual: float) -> Floats:
    """Novelty of each moment: correlation with a Gaussian checkerboard kernel (Foote 2000)."""
    padded = np.pad(sound, ((kernel, kernel), (0, 0)), mode="edge")
    likeness = np.exp(-((_distances(padded, padded) / usual) ** 2))
    offsets = np.arange(-kernel, kernel) + 0.5
    bell = np.sign(offsets) * np.exp(-0.5 * (offsets / (0.5 * kernel)) ** 2)
    board = np.outer(bell, bell) / np.abs(np.outer(bell, bell)).sum()
    squares = [likeness[at : at + 2 * kernel, at : at + 2 * kernel] for at in range(len(sound))]
    return np.array([float((square * board).sum()) for square in squares])


def _peaks(novelty: Floats, shortest: int) -> Ints:
    """Section boundaries including both ends, chosen by decreasing novelty, at least `shortest` apart."""
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
    """A letter for each section, shared with the most similar earlier section where they are alike."""
    letters: list[str] = []
    for index, distances in enumerate(_distances(middles, middles)):
        nearest = int(distances[:index].argmin()) if index else 0
        alike = index > 0 and distances[nearest] < _ALIKE * usual
        letters.append(letters[nearest] if alike else chr(ord("A") + len(set(letters))))
    return letters


def _levels_db(timeline: SoundOverTime, edges: list[float]) -> list[float]:
    """Mean power of each section relative to that of the whole, dB."""
    at = np.array(edges, np.float64) * timeline.windows_per_second
    power = span_means(timeline.power, at[:-1], at[1:])
    whole = float(timeline.power.mean())
    levels_db: list[float] = (10 * np.log10(np.maximum(power, 1e-10) / max(whole, 1e-10))).tolist()
    return levels_db

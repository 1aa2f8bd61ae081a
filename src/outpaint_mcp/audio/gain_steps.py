"""How much the gain changes at a place, apart from the changes that music itself has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.levels import percentile

if TYPE_CHECKING:
    from outpaint_mcp.audio.features import Features
    from outpaint_mcp.audio.types import Floats

_SPANS_SECONDS = (0.12, 0.4, 1.2, 3.0, 6.0)
_GAP_SECONDS = 0.03
_GROUPS = 6
_EVERY_SECONDS = 0.05
_FEWEST_PLACES = 100
_SHRINKAGE, _SHRINKAGE_OF_FEW = 0.1, 0.3
_BAR_BEATS, _JITTER_SECONDS, _FEWEST_IN_BARS = 4, (-0.03, -0.015, 0.0, 0.015, 0.03), 40
_USUAL_PERCENT = 99.0
LEAST_STEP_DB, STEP_SHARE = 1.5, 1.3
"""A step stands out from these on: in itself, and as a multiple of what is usual."""


@dataclass(frozen=True, slots=True)
class StepModel:
    """How the gain of a source changes.

    Attributes:
        weights: of each group of bands over each span `[groups * spans]`; their sum is 1.
        mean: what music does there anyway, for each of these, dB.
        usual_db: all but a hundredth of its own changes are smaller.
        most_db: the largest.
    """

    weights: Floats
    mean: Floats
    usual_db: float
    most_db: float

    @property
    def limit_db(self) -> float:
        """A larger step stands out: it is audible, and beyond what the source does itself."""
        return max(LEAST_STEP_DB, STEP_SHARE * self.usual_db)

    def measure(self, music: Features, places_seconds: Floats) -> Floats:
        """Measure by how much music goes on louder at each of some places `[places]`, dB."""
        return self.measure_jump(music, places_seconds, places_seconds)

    def measure_jump(self, music: Features, leaves_seconds: Floats, enters_seconds: Floats) -> Floats:
        """Measure the same where it jumps from one place to another `[jumps]`, dB."""
        return np.asarray((_changes(music, leaves_seconds, enters_seconds) - self.mean) @ self.weights)


def fit_steps(own: Features) -> StepModel | None:
    """Learn how a source's gain changes; None where it is too short to know.

    A change of gain moves all bands at once, over any span. Therefore the changes of six groups of bands over five
    spans are weighed into one figure such that music's own changes, of whose covariance the source is an example,
    disturb it least: the best linear unbiased estimate (Aitken 1935), its covariance shrunk (Ledoit & Wolf 2004).
    """
    places = np.arange(0, len(own.flux_db) / own.windows_per_second, _EVERY_SECONDS)
    inner = _inner(own, places)
    if len(inner) < _FEWEST_PLACES:
        return None
    usual = _changes(own, inner, inner)
    return _fitted(usual, np.zeros(usual.shape[1]), _SHRINKAGE)


def fit_steps_in_bars(own: Features, beats_seconds: Floats, place_seconds: float) -> StepModel | None:
    """Learn the same from the same place in every fourth beat; None where there are too few.

    Args:
        own: the source.
        beats_seconds: its beats.
        place_seconds: a place on their grid, or next to the source's ends.
    """
    if len(beats_seconds) <= _BAR_BEATS:
        return None
    at = int(np.clip(np.searchsorted(beats_seconds, place_seconds) - 1, 0, len(beats_seconds) - 2))
    share = (place_seconds - beats_seconds[at]) / (beats_seconds[at + 1] - beats_seconds[at])
    bars = np.arange(at % _BAR_BEATS, len(beats_seconds) - 1, _BAR_BEATS)
    places = beats_seconds[bars] + share * (beats_seconds[bars + 1] - beats_seconds[bars])
    inner = _inner(own, np.concatenate([places + jitter for jitter in _JITTER_SECONDS]))
    if len(inner) < _FEWEST_IN_BARS:
        return None
    usual = _changes(own, inner, inner)
    return _fitted(usual, usual.mean(axis=0), _SHRINKAGE_OF_FEW)


def _inner(own: Features, places: Floats) -> Floats:
    reach = _SPANS_SECONDS[-1] + _GAP_SECONDS
    return np.asarray(places[(places > reach) & (places < len(own.flux_db) / own.windows_per_second - reach)])


def _fitted(usual: Floats, mean: Floats, shrinkage: float) -> StepModel:
    away = usual - mean
    covariance = away.T @ away / len(away)
    covariance += shrinkage * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    solved = np.linalg.solve(covariance, np.ones(len(covariance)))
    weights: Floats = np.asarray(solved / solved.sum(), dtype=np.float64)
    sizes = np.abs(away @ weights)
    return StepModel(weights, mean, percentile(sizes, _USUAL_PERCENT), float(sizes.max()))


def _changes(music: Features, leaves: Floats, enters: Floats) -> Floats:
    """Change of the groups' levels over each span from one place to another `[places, groups * spans]`, dB."""
    bands = np.maximum(music.bands_db, music.floor_db)
    groups = np.stack([group.mean(axis=1) for group in np.array_split(bands, _GROUPS, axis=1)], axis=1)
    sums = np.concatenate([np.zeros((1, _GROUPS)), np.cumsum(groups, axis=0)])
    rate, last = music.windows_per_second, len(groups)
    changes = []
    for span in _SPANS_SECONDS:
        means = []
        for places, first, stop in (
            (leaves, -_GAP_SECONDS - span, -_GAP_SECONDS),
            (enters, _GAP_SECONDS, _GAP_SECONDS + span),
        ):
            low = np.clip(np.rint((places + first) * rate).astype(int), 0, last - 1)
            high = np.clip(np.rint((places + stop) * rate).astype(int), low + 1, last)
            means.append((sums[high] - sums[low]) / (high - low)[:, None])
        changes.append(means[1] - means[0])
    return np.concatenate(changes, axis=1)

"""How much the gain changes at a place, apart from the changes that music itself has."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from outpaint_mcp.audio.levels import percentile

if TYPE_CHECKING:
    from outpaint_mcp.audio.features import Features
    from outpaint_mcp.audio.types import Floats

_SPANS_SECONDS = (0.12, 0.4, 1.2, 3.0)
_GAP_SECONDS = 0.03
_GROUPS = 6
_EVERY_SECONDS = 0.05
_FEWEST_PLACES = 100
_SHRINKAGE = 0.1
_USUAL_PERCENT = 99.0


class Step(NamedTuple):
    """A change of gain at a place.

    Attributes:
        db: how much louder it goes on.
        usual_db: the largest change that the same measure finds inside the source.
    """

    db: float
    usual_db: float


def level_step(own: Features, both: Features, seam_seconds: float) -> Step | None:
    """Measure the gain step at a place; None where the source is too short to know what is usual in it.

    A change of gain moves all bands at once, over any span. Therefore the changes of six groups of bands over four
    spans are weighed into one figure such that music's own changes, of whose covariance the source is an example,
    disturb it least: the best linear unbiased estimate (Aitken 1935), its covariance shrunk (Ledoit & Wolf 2004).

    Args:
        own: the source near the seam.
        both: the music on both sides of it.
        seam_seconds: where it lies in that.
    """
    reach = _SPANS_SECONDS[-1] + _GAP_SECONDS
    places = np.arange(reach, len(own.flux_db) / own.windows_per_second - reach, _EVERY_SECONDS)
    if len(places) < _FEWEST_PLACES:
        return None
    usual = _changes(own, places)
    covariance = usual.T @ usual / len(usual)
    covariance += _SHRINKAGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    weights = np.linalg.solve(covariance, np.ones(len(covariance)))
    weights /= weights.sum()
    found = _changes(both, np.array([seam_seconds])) @ weights
    return Step(float(found[0]), percentile(np.abs(usual @ weights), _USUAL_PERCENT))


def _changes(music: Features, places: Floats) -> Floats:
    """Change of the groups' levels over each span at each place `[places, groups * spans]`, dB."""
    bands = np.maximum(music.bands_db, music.floor_db)
    groups = np.stack([group.mean(axis=1) for group in np.array_split(bands, _GROUPS, axis=1)], axis=1)
    sums = np.concatenate([np.zeros((1, _GROUPS)), np.cumsum(groups, axis=0)])
    rate, last = music.windows_per_second, len(groups)
    changes = []
    for span in _SPANS_SECONDS:
        means = []
        for first, stop in ((-_GAP_SECONDS - span, -_GAP_SECONDS), (_GAP_SECONDS, _GAP_SECONDS + span)):
            low = np.clip(np.rint((places + first) * rate).astype(int), 0, last - 1)
            high = np.clip(np.rint((places + stop) * rate).astype(int), low + 1, last)
            means.append((sums[high] - sums[low]) / (high - low)[:, None])
        changes.append(means[1] - means[0])
    return np.concatenate(changes, axis=1)

"""The units that music is rearranged in (beats, or short grains without a pulse), and their features."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from outpaint_mcp.audio.beats import Beats
from outpaint_mcp.audio.features import Features
from outpaint_mcp.audio.levels import span_means
from outpaint_mcp.audio.types import Floats, Ints

_COEFFICIENTS = 12
_SLOTS = 8
"""Subdivisions of a unit in its rhythm feature."""
_LONGEST_GRAIN_SECONDS, _SHORTEST_GRAIN_SECONDS, _GRAINS_WANTED = 0.5, 0.12, 24
_FEWEST_BOUNDS = 3
_SLIVER = 0.06  # share of the period; a shorter first or last unit is merged with its neighbour


@dataclass(frozen=True, slots=True)
class Units:
    """A region cut into units, with features of each.

    Attributes:
        bounds: `[units + 1]` frames of the source; unit k spans `bounds[k]` to `bounds[k + 1]`.
        period_frames: the usual length of a unit.
        metric: True if units are beats, False if they are grains.
        timbre: 12 mel-cepstral coefficients of each half `[units, 24]`.
        chroma: unit-norm pitch classes of each half `[units, 24]`.
        rhythm: onset strength in 8 slots of 3 bands `[units, 24]`.
        loudness_db: `[units]`.
        silent: `[units]`, True where the unit is inaudible.
        silence_db: the loudness below which a unit is silent.
    """

    bounds: Ints
    period_frames: float
    metric: bool
    timbre: Floats
    chroma: Floats
    rhythm: Floats
    loudness_db: Floats
    silent: npt.NDArray[np.bool_]
    silence_db: float

    def __len__(self) -> int:
        return len(self.bounds) - 1


def cut_units(features: Features, beats: Beats | None, frames: int, sample_rate: int) -> Units:
    """Cut a region at its beats, or into even grains.

    Args:
        features: the region's features.
        beats: its beat grid; None for grains.
        frames: its length.
        sample_rate: frames per second.
    """
    bounds, period = (
        (_beat_bounds(beats, frames), beats.period_frames) if beats else _grains(frames, sample_rate)
    )
    edges = bounds / features.frames_per_window
    middles = (edges[:-1] + edges[1:]) / 2
    loudness = 10 * np.log10(span_means(features.power, edges[:-1], edges[1:]))
    return Units(
        bounds=bounds,
        period_frames=period,
        metric=beats is not None,
        timbre=_halves(_cepstra(features), edges, middles),
        chroma=_harmony(features, bounds),
        rhythm=_rhythm(features, edges),
        loudness_db=loudness,
        silent=loudness < features.silence_db,
        silence_db=features.silence_db,
    )


def _beat_bounds(beats: Beats, frames: int) -> Ints:
    """Every beat and both ends of the region; slivers at the ends are merged with their neighbours."""
    bounds = np.concatenate([[0], beats.frames, [frames]])
    keep = np.ones(len(bounds), dtype=bool)
    if len(bounds) > _FEWEST_BOUNDS:
        short = np.diff(bounds) < _SLIVER * beats.period_frames
        keep[1], keep[-2] = not short[0], not short[-1]
    return bounds[keep]


def _grains(frames: int, sample_rate: int) -> tuple[Ints, float]:
    """Even units of at most half a second, shorter in short regions so that there are enough of them.

    Returns:
        The boundaries in frames, and the length of a unit in frames.
    """
    seconds = frames / sample_rate
    wanted = min(_LONGEST_GRAIN_SECONDS, max(seconds / _GRAINS_WANTED, _SHORTEST_GRAIN_SECONDS))
    count = max(1, round(seconds / wanted))
    return np.rint(np.linspace(0, frames, count + 1)).astype(np.int64), frames / count


def _halves(values: Floats, edges: Floats, middles: Floats) -> Floats:
    """Means over the first and the second half of every unit, concatenated."""
    return np.concatenate(
        [span_means(values, edges[:-1], middles), span_means(values, middles, edges[1:])], axis=1
    )


def _cepstra(features: Features) -> Floats:
    """Mel-cepstral coefficients 1 to 12 of every window; all silent windows are alike."""
    bands = features.bands_db.shape[1]
    order = np.arange(1, _COEFFICIENTS + 1)[:, None]
    cosines = np.cos(np.pi * (np.arange(bands) + 0.5) * order / bands) * np.sqrt(2 / bands)
    return np.asarray(np.maximum(features.bands_db, features.silence_db - 10) @ cosines.T)


def _harmony(features: Features, bounds: Ints) -> Floats:
    """Pitch classes of both halves, each above its own minimum so that noise does not resemble a chord."""
    edges = bounds / features.chroma_frames_per_window
    halves = _halves(features.chroma, edges, (edges[:-1] + edges[1:]) / 2).reshape(-1, 2, 12)
    raised = halves - halves.min(axis=2, keepdims=True)
    norms = np.linalg.norm(raised, axis=2, keepdims=True) + 1e-3
    return np.asarray((raised / norms).reshape(-1, 24) / np.sqrt(2))


def _rhythm(features: Features, edges: Floats) -> Floats:
    """Square root of the onset strength in each slot of a unit, in three bands."""
    rises = features.onset_bands
    sums = np.concatenate([np.zeros((1, 3)), np.cumsum(rises, axis=0)])
    slots = edges[:-1, None] + np.diff(edges)[:, None] * np.linspace(0, 1, _SLOTS + 1)
    at = np.clip(slots, 0, len(rises))
    index = np.arange(len(sums))
    reached = np.stack([np.interp(at, index, sums[:, band]) for band in range(3)], axis=2)
    return np.sqrt(np.maximum(np.diff(reached, axis=1), 0)).reshape(len(edges) - 1, -1)

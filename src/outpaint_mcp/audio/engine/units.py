"""The pieces that music is rearranged in: beats where there is a pulse, short grains elsewhere, and how each sounds."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from outpaint_mcp.audio.beats import Beats
from outpaint_mcp.audio.features import Features
from outpaint_mcp.audio.shapes import Floats, Ints
from outpaint_mcp.audio.waves import span_means

_COEFFICIENTS = 12
_SLOTS = 8
_LONGEST_GRAIN_SECONDS, _SHORTEST_GRAIN_SECONDS, _GRAINS_WANTED = 0.5, 0.12, 24
_FEWEST_BOUNDS = 3
_SLIVER = 0.06  # a first or last unit shorter than this share of the period joins its neighbour


@dataclass(frozen=True, slots=True)
class Units:
    """A region cut into units, and the sound of each.

    Attributes:
        bounds: `[units + 1]` frames of the source; unit k is `bounds[k]` to `bounds[k + 1]`.
        period_frames: the usual length of a unit.
        metric: True where units are beats, False where they are grains.
        timbre: 12 mel-cepstral coefficients of each half `[units, 24]`.
        chroma: unit-norm pitch classes of each half `[units, 24]`.
        rhythm: onset strength in 8 slots of 3 bands `[units, 24]`.
        loudness_db: `[units]`.
        silent: `[units]`, where nothing is heard.
        silence_db: the loudness below which that is so.
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


def cut_units(heard: Features, beats: Beats | None, frames: int, sample_rate: int) -> Units:
    """Cut a region of that many frames at its beats, or into even grains where `beats` is None."""
    bounds, period = (
        (_beat_bounds(beats, frames), beats.period_frames) if beats else _grains(frames, sample_rate)
    )
    edges = bounds / heard.frames_per_window
    middles = (edges[:-1] + edges[1:]) / 2
    loudness = 10 * np.log10(span_means(heard.power, edges[:-1], edges[1:]))
    return Units(
        bounds=bounds,
        period_frames=period,
        metric=beats is not None,
        timbre=_halves(_cepstra(heard), edges, middles),
        chroma=_harmony(heard, bounds),
        rhythm=_rhythm(heard, edges),
        loudness_db=loudness,
        silent=loudness < heard.silence_db,
        silence_db=heard.silence_db,
    )


def _beat_bounds(beats: Beats, frames: int) -> Ints:
    """Every beat and both ends; slivers at the ends join their neighbours."""
    bounds = np.concatenate([[0], beats.frames, [frames]])
    keep = np.ones(len(bounds), dtype=bool)
    if len(bounds) > _FEWEST_BOUNDS:
        short = np.diff(bounds) < _SLIVER * beats.period_frames
        keep[1], keep[-2] = not short[0], not short[-1]
    return bounds[keep]


def _grains(frames: int, sample_rate: int) -> tuple[Ints, float]:
    """Even units of at most half a second, shorter where there would be few of them; and their length."""
    seconds = frames / sample_rate
    wanted = min(_LONGEST_GRAIN_SECONDS, max(seconds / _GRAINS_WANTED, _SHORTEST_GRAIN_SECONDS))
    count = max(1, round(seconds / wanted))
    return np.rint(np.linspace(0, frames, count + 1)).astype(np.int64), frames / count


def _halves(values: Floats, edges: Floats, middles: Floats) -> Floats:
    """Means over the first and the second half of every unit, side by side."""
    return np.concatenate(
        [span_means(values, edges[:-1], middles), span_means(values, middles, edges[1:])], axis=1
    )


def _cepstra(heard: Features) -> Floats:
    """Mel-cepstral coefficients 1 to 12 of every window; what is silent is all alike."""
    bands = heard.bands_db.shape[1]
    order = np.arange(1, _COEFFICIENTS + 1)[:, None]
    cosines = np.cos(np.pi * (np.arange(bands) + 0.5) * order / bands) * np.sqrt(2 / bands)
    return np.asarray(np.maximum(heard.bands_db, heard.silence_db - 10) @ cosines.T)


def _harmony(heard: Features, bounds: Ints) -> Floats:
    """Pitch classes of both halves, each above its own floor so that noise does not look like a chord."""
    edges = bounds / heard.chroma_frames_per_window
    halves = _halves(heard.chroma, edges, (edges[:-1] + edges[1:]) / 2).reshape(-1, 2, 12)
    raised = halves - halves.min(axis=2, keepdims=True)
    norms = np.linalg.norm(raised, axis=2, keepdims=True) + 1e-3
    return np.asarray((raised / norms).reshape(-1, 24) / np.sqrt(2))


def _rhythm(heard: Features, edges: Floats) -> Floats:
    """Square root of the onset strength that falls into each slot of a unit, in three bands."""
    rises = heard.onset_bands
    sums = np.concatenate([np.zeros((1, 3)), np.cumsum(rises, axis=0)])
    slots = edges[:-1, None] + np.diff(edges)[:, None] * np.linspace(0, 1, _SLOTS + 1)
    at = np.clip(slots, 0, len(rises))
    index = np.arange(len(sums))
    reached = np.stack([np.interp(at, index, sums[:, band]) for band in range(3)], axis=2)
    return np.sqrt(np.maximum(np.diff(reached, axis=1), 0)).reshape(len(edges) - 1, -1)

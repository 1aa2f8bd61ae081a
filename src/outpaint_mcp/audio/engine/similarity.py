"""Similarity of units, in themselves and in context, and their positions in the bar."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from outpaint_mcp.audio.engine.units import Units
from outpaint_mcp.audio.levels import median, percentile, running_mean
from outpaint_mcp.audio.types import Floats

Matrix = npt.NDArray[np.float32]
"""A value for every pair of units; row and column `units`, where present, represent the silence outside."""

_AROUND = {-4: 0.3, -3: 0.4, -2: 0.6, -1: 1.0, 0: 1.0, 1: 0.8, 2: 0.5, 3: 0.3}
_BEHIND = {-8: 0.2, -7: 0.2, -6: 0.3, -5: 0.4, -4: 0.5, -3: 0.6, -2: 0.8, -1: 1.0}
"""Weights of the neighbouring units, by offset, in a context distance."""
_BARS = (16, 12)  # four bars of four, four of three
_REACH = 8
_ALL_ALIKE = 1e-7
"""A median distance below this means that all units are alike in this aspect."""
_FEWEST_FOR_BARS, _FEWEST_PAIRS = 24, 8


@dataclass(frozen=True, slots=True)
class Similarity:
    """How well one unit can replace another.

    Attributes:
        apart: distance between two units `[units + 1, units + 1]`, about 1 for a random pair.
        context: the same over the units around both, before and after.
        behind: the same over the eight units before both.
        ahead: the same over the eight units after both.
        change: abruptness of the change in sound from unit i to unit q, 1 being usual `[units, units]`.
        strange_harmony: how much less similar in harmony i and q are than neighbours, 0 to 2 `[units,
            units]`.
        off_bar: cost of a jump by k units for the position in the bar, indexed by k modulo its length.
    """

    apart: Matrix
    context: Matrix
    behind: Matrix
    ahead: Matrix
    change: Matrix
    strange_harmony: Matrix
    off_bar: Floats


def compare(units: Units) -> Similarity:
    """Compare all units with each other."""
    apart = _distances(units)
    return Similarity(
        apart=apart,
        context=_in_context(apart, _AROUND),
        behind=_in_context(apart, _BEHIND),
        ahead=_in_context(apart, {-offset: weight for offset, weight in _BEHIND.items()}),
        change=_change(units),
        strange_harmony=_strange_harmony(units),
        off_bar=_off_bar(units, apart),
    )


def _distances(units: Units) -> Matrix:
    """Blend the distances in harmony, timbre, rhythm and loudness, each divided by its median.

    Silence is the last unit.
    """
    count = len(units)
    quietest = units.silence_db - 15
    loudness = np.maximum(np.append(units.loudness_db, quietest), quietest)
    silent = loudness < units.silence_db
    pairs = np.random.default_rng(1).integers(0, count, (2, 4000))
    pairs = pairs[:, pairs[0] != pairs[1]]
    blend = np.zeros((count + 1, count + 1), np.float32)
    for part, weight, least_median in _parts(units, loudness):
        usual = max(median(part[*pairs]) if pairs.size else 1.0, least_median)
        if usual > _ALL_ALIKE:
            blend += weight / 3.1 * np.minimum(part / usual, 3)
    blend[silent[:, None] & silent] = 0
    one_silent = silent[:, None] ^ silent
    blend[one_silent] = np.maximum(blend[one_silent], 1.5)
    return blend


def _parts(units: Units, loudness_db: Floats) -> Iterator[tuple[Matrix, float, float]]:
    """Yield the distances of one aspect (silence as last unit), its weight, and the smallest divisor."""
    chroma, timbre, rhythm = (
        np.pad(part, ((0, 1), (0, 0))) for part in (units.chroma, units.timbre, units.rhythm)
    )
    yield np.maximum(1 - chroma @ chroma.T, 0).astype(np.float32), 1.0, 0.0
    yield _euclidean(_whitened(timbre)).astype(np.float32), 1.0, 0.0
    yield _euclidean(_whitened(rhythm)).astype(np.float32), 0.6, 0.0
    loudness = (loudness_db / 6).astype(np.float32)
    yield np.minimum(np.abs(loudness[:, None] - loudness), 3), 0.5, 0.5


def _whitened(values: Floats) -> Floats:
    """Scale columns to roughly unit variance, ignoring the virtual silence in the last row."""
    spread = values[:-1].std(axis=0)
    return np.asarray(values / (spread + 0.1 * spread.mean() + 1e-9))


def _euclidean(first: Floats, second: Floats | None = None) -> Floats:
    """Distances between all rows of one or two sets of vectors."""
    other = first if second is None else second
    squares = (first**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * first @ other.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def _in_context(apart: Matrix, offsets: dict[int, float]) -> Matrix:
    """Weighted mean distance of the units at the given offsets; outside the region there is silence."""
    count = len(apart) - 1
    inside = np.clip(np.arange(-_REACH, count + 1 + _REACH), -1, count)
    wide = apart[np.ix_(inside, inside)]
    mean = np.zeros_like(apart)
    total = sum(offsets.values())
    for offset, weight in offsets.items():
        shifted = slice(_REACH + offset, _REACH + offset + count + 1)
        mean += weight / total * wide[shifted, shifted]
    return mean


def _with_neighbour(values: Floats, step: int) -> Floats:
    """Average each row with the one before (-1) or after (1); the outermost row is unchanged."""
    mean = values.copy()
    if step < 0:
        mean[1:] = (values[1:] + values[:-1]) / 2
    else:
        mean[:-1] = (values[1:] + values[:-1]) / 2
    return mean


def _change(units: Units) -> Matrix:
    """Distance in sound between the two units before a cut at unit i and the two after it at q."""
    spread = units.chroma.std(axis=0).mean() + 1e-6
    sound = np.concatenate(
        [_whitened(np.pad(units.timbre, ((0, 1), (0, 0))))[:-1], units.chroma / spread], axis=1
    )
    steps = _euclidean(_with_neighbour(sound, -1), _with_neighbour(sound, 1))
    usual = percentile(np.diagonal(steps, 1), 60) if len(units) > 1 else 1.0
    return (steps / (usual + 1e-6)).astype(np.float32)


def _strange_harmony(units: Units) -> Matrix:
    """How far the harmonic similarity across a cut falls below the lower quartile of natural neighbours."""
    whole = units.chroma[:, :12] + units.chroma[:, 12:]
    before, after = _with_neighbour(whole, -1), _with_neighbour(whole, 1)
    before = before / (np.linalg.norm(before, axis=1, keepdims=True) + 1e-6)
    after = after / (np.linalg.norm(after, axis=1, keepdims=True) + 1e-6)
    alike = before @ after.T
    usual = percentile(np.diagonal(alike, 1), 25) if len(units) > 1 else 0.0
    return np.asarray(np.clip((usual - alike) / (1.05 - usual), 0, 2), dtype=np.float32)


def _off_bar(units: Units, apart: Matrix) -> Floats:
    """Cost of jumps that change the position in the bar.

    Units a whole number of bars apart are more similar than others.
    """
    flat = np.zeros(1)
    if not units.metric or len(units) < _FEWEST_FOR_BARS:
        return flat
    trend = _lag_profile(units, apart)
    best, best_contrast = flat, 0.01
    for bar in _BARS:
        if len(trend) <= bar + bar // 2:
            continue
        phases = np.array([trend[phase or bar :: bar].mean() for phase in range(bar)])
        contrast = float(phases.mean() - phases[0])
        if contrast > best_contrast:
            raised = np.maximum(phases - phases[0], 0)
            best, best_contrast = np.clip(raised / (percentile(raised, 75) + 1e-9), 0, 1.5), contrast
    return best


def _lag_profile(units: Units, apart: Matrix) -> Floats:
    """Mean distance of audible units at every lag up to 64, detrended; empty where too few are audible."""
    longest = min(len(units) // 2, 64)
    audible = ~units.silent
    profile = np.zeros(longest + 1)
    for lag in range(1, longest + 1):
        both = audible[:-lag] & audible[lag:]
        if both.sum() < _FEWEST_PAIRS:
            return np.zeros(0)
        profile[lag] = np.diagonal(apart[:-1, :-1], lag)[both].mean()
    profile[0] = profile[1:].mean()
    return profile - running_mean(profile, 17)

"""Where added music falls far below what the source ever does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.levels import median, percentile, running_mean
from outpaint_mcp.audio.verdict.kinds import Fault, FaultKind
from outpaint_mcp.audio.verdict.listeners import LEVEL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.audio.types import Floats

_BLOCKS = 4
"""Levels are taken over a fifth of a second."""
_SOFTEST_PERCENT = 1.0
_BELOW_DB, _LEAST_SECONDS = 10.0, 0.2
_EDGE_BELOW_DB = 15.0
_FAINTEST_DB = -75.0


def softest_db(levels: Floats, spans: Sequence[tuple[int, int]]) -> float | None:
    """The level below which a source is for a hundredth of its time, its outer fades and silences left out.

    Args:
        levels: of a whole file `[twentieths]`, dB.
        spans: where in it the source is, first and last twentieth of each stretch.

    Returns:
        None for a source that is too short or too soft.
    """
    smooth = [_smooth(levels[first:stop]) for first, stop in spans if stop - first > _BLOCKS]
    if not smooth:
        return None
    smooth[0], smooth[-1] = _without_soft_start(smooth[0]), _without_soft_start(smooth[-1][::-1])[::-1]
    joined = np.concatenate(smooth)
    if len(joined) < 2 / LEVEL_SECONDS:
        return None
    softest = percentile(joined, _SOFTEST_PERCENT)
    return softest if softest > _FAINTEST_DB else None


def find_hole(
    levels: Floats, spans: Sequence[tuple[int, int]], softest: float, full: tuple[int, int]
) -> Fault | None:
    """Find the worst hole in added music.

    Args:
        levels: of the whole file `[twentieths]`, dB.
        spans: where in it to look, first and last twentieth of each stretch.
        softest: the source's softest moments, dB.
        full: first and last twentieth of full music; what is soft up to there belongs to a beginning or an ending.
    """
    worst: Fault | None = None
    smooth = _smooth(levels)
    for first, stop in spans:
        low = smooth[first:stop] < softest - _BELOW_DB
        edges = np.flatnonzero(np.diff(low.astype(int), prepend=0, append=0))
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            blocks = int(end - begin)
            outermost = first + begin <= full[0] or first + end >= full[1]
            if outermost or blocks * LEVEL_SECONDS < _LEAST_SECONDS:
                continue
            depth = softest - median(levels[first + begin : first + end])
            if worst is None or blocks * depth > (worst.lasts_seconds or 0) / LEVEL_SECONDS * worst.amount:
                at, lasts = float(first + begin) * LEVEL_SECONDS, blocks * LEVEL_SECONDS
                worst = Fault(FaultKind.HOLE, None, depth, at, lasts)
    return worst


def _smooth(levels: Floats) -> Floats:
    return np.asarray(10 * np.log10(running_mean(10 ** (levels / 10), _BLOCKS)))


def _without_soft_start(levels: Floats) -> Floats:
    if not len(levels):
        return levels
    loud = np.flatnonzero(levels > median(levels[levels >= median(levels)]) - _EDGE_BELOW_DB)
    return levels[int(loud[0]) :] if len(loud) else levels

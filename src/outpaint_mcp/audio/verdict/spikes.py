"""Distinguishes clicks from attacks: a click is alone, an attack goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.levels import percentile

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Floats, Ints

_SIDE_SECONDS, _GAP_FRAMES = 0.003, 6
"""How much on either side of a bend it is held against, and how much of itself is left out."""
_NEAR_SECONDS, _AROUND_SECONDS = 0.004, 0.02
_FAINTEST, _INAUDIBLE = 1e-5, 10 ** (-50 / 20)
_USUAL_PERCENT, _LEAST, _MARGIN = 99.9, 5.0, 1.3
"""A spike is beyond what all but a thousandth of the source's sharpest bends are, and beyond what noise has.

On 57 recordings true seams reach 0.65 of that at most; a quarter of full scale that dies away within 2 ms exceeds it
on 54, under the loudest drums, too.
"""


def spike_share(source: Floats, around: Floats, seam: int, sample_rate: int) -> float:
    """The sharpest lone bend of a wave at a seam, as a share of the most that a source has; above 1 is a click.

    Args:
        source: mono `[frames]`.
        around: mono, the music on both sides of the seam.
        seam: frame in `around`.
        sample_rate: of both, frames per second.
    """
    _, usual = _loneliness(source, sample_rate)
    if not len(usual):
        return 0.0
    first = max(0, seam - round(_AROUND_SECONDS * sample_rate))
    places, found = _loneliness(around[first : seam + round(_AROUND_SECONDS * sample_rate)], sample_rate)
    near = np.abs(places + first - seam) <= _NEAR_SECONDS * sample_rate
    limit = _MARGIN * max(_LEAST, percentile(usual, _USUAL_PERCENT))
    return float(found[near].max(initial=0.0)) / limit


def _loneliness(wave: Floats, sample_rate: int) -> tuple[Ints, Floats]:
    """Where each 3 ms bend most (fourth difference), and how much more than the louder of both sides of that."""
    bends = np.abs(np.diff(wave, 4))
    side = max(1, round(_SIDE_SECONDS * sample_rate))
    count = len(bends) // side
    sharpest = bends[: count * side].reshape(count, side).argmax(axis=1) if count else np.empty(0, np.int64)
    places = sharpest + np.arange(count) * side
    energy = np.concatenate([[0.0], np.cumsum(bends**2)])

    def level(starts: Ints, stops: Ints) -> Floats:
        low, high = np.clip(starts, 0, len(bends)), np.clip(stops, 0, len(bends))
        return np.asarray(np.sqrt((energy[high] - energy[low]) / np.maximum(high - low, 1)))

    before = level(places - _GAP_FRAMES - side, places - _GAP_FRAMES)
    after = level(places + _GAP_FRAMES, places + _GAP_FRAMES + side)
    alone = bends[places] / np.maximum(np.maximum(before, after), _FAINTEST)
    return places + 2, np.where(bends[places] > _INAUDIBLE, alone, 0.0)

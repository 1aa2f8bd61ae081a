"""Distinguishes clicks from attacks: a click is alone, an attack goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from outpaint_mcp.audio.levels import mono, percentile

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Floats, Ints, Samples

_SIDE_SECONDS, _GAP_FRAMES = 0.003, 6
"""How much on either side of a bend it is held against, and how much of itself is left out."""
_NEAR_SECONDS, _AROUND_SECONDS = 0.004, 0.02
_FAINTEST, _INAUDIBLE = 1e-5, 10 ** (-50 / 20)
_BOTH = 0.9
_USUAL_PERCENT, _LEAST, _MARGIN = 99.9, 5.0, 1.3
"""A spike is beyond what all but a thousandth of the source's sharpest bends are, and beyond what noise has.

On 57 recordings true seams reach 0.65 of that at most; a quarter of full scale that dies away within 2 ms exceeds it
on 54, under the loudest drums, too.
"""


class Bends(NamedTuple):
    """The bends of a source.

    Attributes:
        limit: what nearly all of its lone bends are below, with a margin; None where it is too short to have any.
        loneliest: how much the loneliest stands out.
        sharpest: the sharpest in every 3 ms, the largest of them.
    """

    limit: float | None
    loneliest: float
    sharpest: float


def measure_bends(source: Floats, sample_rate: int) -> Bends:
    """Measure how sharply a source bends `[frames]`, and how far its sharpest bends stand out."""
    places, found = _loneliness(source, sample_rate)
    if not len(found):
        return Bends(None, _LEAST, _INAUDIBLE)
    usual, most = percentile(found, _USUAL_PERCENT), float(found.max())
    sharpest = float(_bends_at(source, places).max())
    return Bends(_MARGIN * max(_LEAST, usual), max(_LEAST, most), max(sharpest, _INAUDIBLE))


class BendCourse:
    """The loneliest and the sharpest bend of a whole recording."""

    def __init__(self, own: Bends, weights: Floats, sample_rate: int) -> None:
        """Begin with what is known of a stretch of it, in a downmix with these weights `[channels]`."""
        self.bends = own
        self._weights, self._rate = weights, sample_rate
        self._reach = round(_SIDE_SECONDS * sample_rate) + _GAP_FRAMES + 4
        self._rest = np.zeros(0)

    def add(self, samples: Samples) -> None:
        """Take the next frames."""
        wave = np.concatenate([self._rest, mono(samples, self._weights)])
        self._rest = wave[-2 * self._reach :]
        places, found = _loneliness(wave, self._rate)
        inner = (places >= self._reach) & (places < len(wave) - self._reach)
        self.bends = self.bends._replace(
            loneliest=max(self.bends.loneliest, float(found[inner].max(initial=0.0))),
            sharpest=max(self.bends.sharpest, float(_bends_at(wave, places[inner]).max(initial=0.0))),
        )


def click_shares(own: Bends, wave: Floats, sample_rate: int) -> tuple[Ints, Floats]:
    """The frame of the loneliest bend in every 3 ms of a mono wave, and how much of a click it is.

    Over minutes of music one bend or another is lonelier than any of the source, and one sharper. A click is lonelier
    by a margin, and the geometric mean of both is beyond the source's.
    """
    places, found = _loneliness(wave, sample_rate)
    lonely = found / own.loneliest
    both = np.sqrt(lonely * _bends_at(wave, places) / own.sharpest)
    return places, np.minimum(lonely / _MARGIN, both / _BOTH)


def _bends_at(wave: Floats, places: Ints) -> Floats:
    bends = np.abs(np.diff(wave, 4))
    return np.asarray(bends[np.clip(places - 2, 0, len(bends) - 1)]) if len(bends) else np.zeros(len(places))


def spike_share(  # noqa: PLR0913 - a place in a wave, and how much of it counts
    limit: float | None,
    around: Floats,
    seam: int,
    sample_rate: int,
    *,
    before_frames: int | None = None,
    after_frames: int | None = None,
) -> float:
    """The sharpest lone bend of a wave at a seam, as a share of a source's limit; above 1 is a click.

    Args:
        limit: as `measure_bends` gives it.
        around: mono, what lies on both sides of the seam.
        seam: frame in `around`.
        sample_rate: of both, frames per second.
        before_frames: how far before the seam to look, at most 4 ms, which is the default.
        after_frames: how far after it, likewise.
    """
    if limit is None:
        return 0.0
    first = max(0, seam - round(_AROUND_SECONDS * sample_rate))
    places, found = _loneliness(around[first : seam + round(_AROUND_SECONDS * sample_rate)], sample_rate)
    most = _NEAR_SECONDS * sample_rate
    before, after = (most if each is None else min(most, each) for each in (before_frames, after_frames))
    away = places + first - seam
    near = (away >= -before) & (away <= after)
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

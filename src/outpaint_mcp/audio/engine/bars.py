"""Bars: how many beats each has, and which beats they begin on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.levels import span_means
from outpaint_mcp.audio.seams import cosine_similarity

if TYPE_CHECKING:
    from outpaint_mcp.audio.beats import Beats
    from outpaint_mcp.audio.engine.analysis import Music
    from outpaint_mcp.audio.engine.similarity import Matrix
    from outpaint_mcp.audio.features import Features
    from outpaint_mcp.audio.types import Floats, Ints

_METRES = {16: 4, 12: 3}
"""Beats in a bar, by the length of `Similarity.off_bar`, which spans four bars."""
_FEWEST_BARS = 4
_BARS_PER_VOTE = 8
_CLEAR = 0.5
_NEAR_WINDOWS = 2
"""Reach around a beat, about 25 ms, in which its attack is looked for."""


@dataclass(frozen=True, slots=True)
class Bars:
    """The bars of a region with beats.

    Attributes:
        beats_per_bar: 3 or 4.
        first_downbeat: index in `Beats.frames` of the first beat that a bar begins with.
        confidence: 0 to 1: how far all parts of the music agree on where its bars begin.
    """

    beats_per_bar: int
    first_downbeat: int
    confidence: float

    @property
    def are_clear(self) -> bool:
        """Whether bar lines are more than a guess.

        Of 33 recordings, 23 have clear ones. In 21 of these both halves by themselves say the same, and 21 begin
        with a whole bar; in the others the halves agree in 3 of 10.
        """
        return self.confidence > _CLEAR

    def lines(self, beats: Beats) -> Ints:
        """Return the frames at which bars begin."""
        return beats.frames[self.first_downbeat :: self.beats_per_bar]


def clear_lines(music: Music) -> Ints | None:
    """Return the frames at which bars begin; None where these are a guess."""
    bars = find_bars(music)
    return bars.lines(music.beats) if bars and music.beats and bars.are_clear else None


def find_bars(music: Music) -> Bars | None:
    """Find the metre and the downbeats of a region.

    Bars are as long as the lag at which beats resemble each other. They begin where the bass enters, the harmony
    changes, and the sound of the bar to come departs from that of the bar before. Each of the three votes in each
    eight bars.

    Returns:
        None without beats, or where they do not repeat in threes or fours.
    """
    meter = _METRES.get(len(music.similarity.off_bar))
    beats = music.beats
    if beats is None or meter is None or len(beats.frames) < _FEWEST_BARS * meter:
        return None
    votes = sum(_votes(strength, meter) for strength in _signs(music, beats, meter))
    votes = np.asarray(votes) / np.sum(votes)
    return Bars(meter, int(votes.argmax()), float(votes.max()))


def _signs(music: Music, beats: Beats, meter: int) -> tuple[Floats, Floats, Floats]:
    """How strongly each beat begins something: in the bass, in the harmony, in the sound as a whole `[beats]`."""
    units = np.searchsorted(music.units.bounds, beats.frames)
    harmony = music.units.chroma[:, :12] + music.units.chroma[:, 12:]
    apart = music.similarity.apart[:-1, :-1]
    changes = [_standardised(_change(harmony, units, width)) for width in (1, 2, meter)]
    turns = [_standardised(_novelty(apart, units, width * meter)) for width in (1, 2, 4)]
    return (
        _standardised(_bass(music.features, beats)),
        np.sum(changes, axis=0, dtype=np.float64),
        np.sum(turns, axis=0, dtype=np.float64),
    )


def _votes(strength: Floats, meter: int) -> Floats:
    """Number of eight-bar stretches in which each beat of the bar is the strongest `[meter]`."""
    count = max(1, len(strength) // (_BARS_PER_VOTE * meter))
    edges = np.linspace(0, len(strength), count + 1).astype(int).tolist()
    found = np.zeros(meter)
    for first, stop in pairwise(edges):
        means = [strength[first + (phase - first) % meter : stop : meter].mean() for phase in range(meter)]
        found[int(np.argmax(means))] += 1
    return found


def _bass(features: Features, beats: Beats) -> Floats:
    """Largest rise of the bass near each beat `[beats]`, dB."""
    rises = features.onset_bands[:, 0]
    at = np.rint(beats.frames / features.frames_per_window).astype(int)
    near = at[:, None] + np.arange(-_NEAR_WINDOWS, _NEAR_WINDOWS + 1)
    return np.asarray(rises[np.clip(near, 0, len(rises) - 1)].max(axis=1))


def _change(harmony: Floats, at: Ints, width: int) -> Floats:
    """Change of harmony from the `width` units before each place to as many after; 0 near the ends."""
    whole = (at >= width) & (at <= len(harmony) - width)
    before = span_means(harmony, (at - width).astype(np.float64), at.astype(np.float64))
    after = span_means(harmony, at.astype(np.float64), (at + width).astype(np.float64))
    return np.where(whole, 1 - cosine_similarity(before, after), 0.0)


def _novelty(apart: Matrix, at: Ints, width: int) -> Floats:
    """How much the `width` units after each place differ from those before, beyond the differences within both.

    The checkerboard kernel of Foote (2000); 0 near the ends.
    """
    sums = np.pad(apart.astype(np.float64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    found = np.zeros(len(at))
    whole = (at >= width) & (at <= len(apart) - width)
    here = at[whole]
    first, last = here - width, here + width

    def block(top: Ints, bottom: Ints, left: Ints, right: Ints) -> Floats:
        return np.asarray(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])

    within = block(first, here, first, here) + block(here, last, here, last)
    found[whole] = (block(first, here, here, last) - within / 2) / width**2
    return found


def _standardised(values: Floats) -> Floats:
    """Values without their mean, in standard deviations; zeros where they are all alike."""
    spread = float(values.std())
    return (values - values.mean()) / spread if spread > 0 else values * 0.0

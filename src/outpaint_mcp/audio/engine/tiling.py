"""Extending a loop: its own period, over and over, frame for frame.

The source occupies the frames 0 to N of an endless line. On either side of it, every frame is the one that lies a
whole number of periods away inside the loop, so that nothing can drift, and every bar comes in its turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.fades import crossfade_gains, extrapolate
from outpaint_mcp.audio.levels import CHUNK_FRAMES, correlation, magnitudes, percentile
from outpaint_mcp.audio.seams import CLICK_SECONDS
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.types import Extension, Segment

if TYPE_CHECKING:
    from outpaint_mcp.audio.engine.periods import Period
    from outpaint_mcp.audio.types import Floats, Samples

_PAST_SECONDS = 0.12
"""Audio before a wrap that its continuation is extrapolated from."""
_FADES_SECONDS = (0.006, 0.030)
"""Fades tried where a wrap clicks: the shorter one keeps an attack, the longer one joins held notes."""
_USUAL_PERCENT, _TOLERANCE = 99.0, 1.5
"""A wrap clicks where its fourth difference is this much above this percentile of the loop's own."""
_FEWEST_FRAMES = 16
_BEND_FRAMES = 4


@dataclass(frozen=True, slots=True)
class _Run:
    """A stretch of an extension that plays the loop without a wrap.

    Attributes:
        at: its first frame in the extension.
        start: the frame of the source that plays there.
        stop: the frame of the source after the last one that plays.
    """

    at: int
    start: int
    stop: int


def tile(samples: Samples, period: Period, side: Side, frames: int, sample_rate: int) -> Extension:
    """Continue a loop after its end, or backwards from its beginning.

    The new frames are the loop's own, bit for bit, except for at most 30 ms at a wrap that would click.

    Args:
        samples: the whole source `[frames, channels]`.
        period: where its loop lies.
        side: the side to extend.
        frames: exactly how many frames to generate.
        sample_rate: frames per second.

    Returns:
        The same music whatever the seed.
    """
    runs = _runs(period, len(samples) if side is Side.AFTER else -frames, frames)
    extension = np.concatenate([samples[:0], *(samples[run.start : run.stop] for run in runs)])
    limit = _TOLERANCE * _usual_click(samples, sample_rate)
    wraps = [run.at for run in runs[1:]]
    patch = _forward_patch(samples[: period.stop], samples[period.first :], limit, sample_rate)
    for at in wraps:
        near = extension[at : at + len(patch)]
        near[:] = patch[: len(near)]
    _meet_source(extension, samples, side, limit, sample_rate)
    segments = tuple(Segment(run.at, run.start, run.stop - run.start) for run in runs)
    tempo = period.tempo_bpm(sample_rate)
    return Extension(extension, segments, tuple(wraps), "loop", tempo)


def _runs(period: Period, first: int, frames: int) -> list[_Run]:
    """The stretches that fill `frames` frames from frame `first` of the endless line on."""
    runs, at = [], 0
    while at < frames:
        start = period.frame_at(first + at)
        length = min(period.stop - start, frames - at)
        runs.append(_Run(at, start, start + length))
        at += length
    return runs


def _meet_source(extension: Samples, samples: Samples, side: Side, limit: float, sample_rate: int) -> None:
    """Smooth the join with the source where it would click, in place and on the new side only."""
    if side is Side.AFTER:
        patch = _forward_patch(samples, extension, limit, sample_rate)
        extension[: len(patch)] = patch
    else:
        patch = _forward_patch(samples[::-1], extension[::-1], limit, sample_rate)[::-1]
        extension[len(extension) - len(patch) :] = patch


def _forward_patch(before: Samples, after: Samples, limit: float, sample_rate: int) -> Samples:
    """What replaces the first frames of `after` where they would click behind `before`; empty where they do not.

    In order: the old sound rings out under the new one; short and longer crossfades. The first of them without a
    click is taken, or the one with the least. An attack right at the wrap is none.
    """
    least = _click(before, after, after[:0], sample_rate)
    best = after[:0]
    attack = _sharpness(after[: max(8, int(CLICK_SECONDS * sample_rate))])
    limit = max(limit, _TOLERANCE * float(attack.max(initial=0.0)))
    if least <= limit or min(len(before), len(after)) < _FEWEST_FRAMES:
        return best
    for patch in _patches(before, after, sample_rate):
        click = _click(before, after, patch, sample_rate)
        if click < least:
            best, least = patch, click
        if click <= limit:
            break
    return best


def _patches(before: Samples, after: Samples, sample_rate: int) -> list[Samples]:
    """The ways to join, from the most faithful on."""
    found: list[Samples] = []
    for seconds in _FADES_SECONDS:
        fade = min(int(seconds * sample_rate), len(after))
        ringing = extrapolate(before[-int(_PAST_SECONDS * sample_rate) :], fade, sample_rate)
        new = after[:fade]
        falling, rising = crossfade_gains(fade, correlation(ringing, new))
        if not found:
            found.append((new + ringing * falling[:, None]).astype(np.float32))
        found.append((new * rising[:, None] + ringing * falling[:, None]).astype(np.float32))
    return found


def _click(before: Samples, after: Samples, patch: Samples, sample_rate: int) -> float:
    """Largest fourth difference within 3 ms of the wrap and throughout a patch, in any channel."""
    reach = max(4, int(CLICK_SECONDS * sample_rate))
    near = np.concatenate([before[-4:], patch, after[len(patch) : len(patch) + reach]])
    return float(_sharpness(near).max(initial=0.0))


def _usual_click(samples: Samples, sample_rate: int) -> float:
    """A high percentile of the largest fourth difference in every 3 ms."""
    block = max(4, int(CLICK_SECONDS * sample_rate))
    blocks: list[Floats] = []
    chunk = CHUNK_FRAMES // block * block
    for first in range(0, len(samples) - _BEND_FRAMES, chunk):
        sharp = _sharpness(samples[first : first + chunk + _BEND_FRAMES])
        blocks.append(np.maximum.reduceat(sharp, np.arange(0, len(sharp), block)))
    return percentile(np.concatenate(blocks), _USUAL_PERCENT) if blocks else 0.0


def _sharpness(samples: Samples) -> Floats:
    """Absolute fourth difference, the largest of all channels `[frames - 4]`."""
    return np.asarray(magnitudes(np.diff(samples, _BEND_FRAMES, axis=0)), dtype=np.float64)

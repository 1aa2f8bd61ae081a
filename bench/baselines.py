"""What one could do instead: loops, the music backwards, and a random walk over beats."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from bench.listening import CHROMA_HOPS, cepstrum

from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.types import Extension, Floats, Ints, Samples, Segment

if TYPE_CHECKING:
    from bench.track import Track

Extender = Callable[[Side, int, int], Extension]
"""From side, frames and seed to an extension."""

_LOOP_SECONDS = 8.0
_LOOP_FADE_SECONDS = 0.05
_JUMP_FADE_SECONDS = 0.01
_JUMP_CHANCE = 0.18
"""Per beat, once ten beats have gone by; Lamere's Infinite Jukebox begins with the same."""

_SHORTEST_RUN_BEATS = 8
_ALIKE = 6


def loop_whole(track: Track) -> Extender:
    """The track once more, from its beginning after, up to its end before."""
    whole = (0, len(track.samples))
    return lambda side, frames, _seed: _splice(track.samples, _repeated(whole, frames), side, frames)


def loop_8s(track: Track) -> Extender:
    """The last (first) eight seconds over and over, crossfaded where they repeat."""
    length = min(int(_LOOP_SECONDS * track.sample_rate), len(track.samples))
    fade = int(_LOOP_FADE_SECONDS * track.sample_rate)

    def extender(side: Side, frames: int, _seed: int) -> Extension:
        end = length if side is Side.BEFORE else len(track.samples)
        return _splice(track.samples, _repeated((end - length, end), frames), side, frames, fade=fade)

    return extender


def time_reversed(track: Track) -> Extender:
    """The music backwards from its edge: no music, but acoustically continuous by construction."""
    step = track.sample_rate // 100

    def extender(side: Side, frames: int, _seed: int) -> Extension:
        mirrored = track.samples[::-1]
        samples = mirrored[:frames] if side is Side.AFTER else mirrored[len(mirrored) - frames :]
        first = len(mirrored) if side is Side.AFTER else frames
        cells = tuple(Segment(at, max(0, first - at - step), step) for at in range(0, frames, step))
        return Extension(samples, cells, (), "reversed", None)

    return extender


def jukebox(track: Track) -> Extender:
    """A walk over beats that jumps at random to one that sounds like the one to come."""
    bounds = np.unique(np.concatenate([[0], track.beats, [len(track.samples)]]))
    if len(bounds) < 4 * _SHORTEST_RUN_BEATS:
        bounds = np.arange(0, len(track.samples) + 1, track.sample_rate // 2)
    alike = _alike(track, bounds)
    fade = int(_JUMP_FADE_SECONDS * track.sample_rate)

    def extender(side: Side, frames: int, seed: int) -> Extension:
        rng = np.random.default_rng([seed, 1 if side is Side.AFTER else 2])
        units = _walk(alike, bounds, frames, side, rng)
        spans = [(int(bounds[u]), int(bounds[u + 1])) for u in units]
        return _splice(track.samples, spans, side, frames, fade=fade)

    return extender


def _walk(alike: Ints, bounds: Ints, frames: int, side: Side, rng: np.random.Generator) -> list[int]:
    """Units that follow the last one, or that lead to the first, one by one, until there are enough."""
    step = 1 if side is Side.AFTER else -1
    here, run, length = (len(alike) - 1 if side is Side.AFTER else 0), _SHORTEST_RUN_BEATS, 0
    units: list[int] = []
    while length < frames:
        following = here + step
        outside = not 0 <= following < len(alike)
        if outside or (run >= _SHORTEST_RUN_BEATS and rng.random() < _JUMP_CHANCE):
            like = alike[here] + step
            like = like[(like >= 0) & (like < len(alike))]
            following = int(rng.choice(like)) if len(like) else int(rng.integers(len(alike)))
            run = 0
        units.append(following)
        length += int(bounds[following + 1] - bounds[following])
        here, run = following, run + 1
    return units[::step]


def _alike(track: Track, bounds: Ints) -> Ints:
    """For each unit the six others that sound most like it, `[units, 6]`."""
    hop = track.sound.hop
    timbre = _means(cepstrum(track.sound.log_mel)[:12], bounds / hop)
    harmony = _means(track.sound.chroma, bounds / (hop * CHROMA_HOPS))
    harmony = harmony / (np.linalg.norm(harmony, axis=1, keepdims=True) + 1e-9)
    features = np.concatenate([timbre / (timbre.std() + 1e-9), harmony / (harmony.std() + 1e-9)], axis=1)
    squares = (features**2).sum(axis=1)
    distance = squares[:, None] + squares[None] - 2 * features @ features.T
    units = np.arange(len(features))
    distance[np.abs(units[:, None] - units[None]) < _SHORTEST_RUN_BEATS] = np.inf
    return np.argsort(distance, axis=1, kind="stable")[:, :_ALIKE]


def _means(values: Floats, bounds: Floats) -> Floats:
    """The mean of each feature in each unit, `[units, features]`."""
    at = np.clip(np.round(bounds).astype(int), 0, values.shape[1] - 1)
    return np.array([values[:, a : max(a + 1, b)].mean(axis=1) for a, b in itertools.pairwise(at)])


def _repeated(span: tuple[int, int], frames: int) -> list[tuple[int, int]]:
    return [span] * -(-frames // max(1, span[1] - span[0]))


def _splice(
    source: Samples, spans: list[tuple[int, int]], side: Side, frames: int, *, fade: int = 0
) -> Extension:
    """Spans of the source one after the other, crossfaded over `fade` frames where they jump."""
    runs: list[tuple[int, int]] = []
    for start, stop in spans:
        if runs and runs[-1][1] == start:
            runs[-1] = (runs[-1][0], stop)
        else:
            runs.append((start, stop))
    samples = np.concatenate([source[start:stop] for start, stop in runs])
    starts = np.cumsum([0] + [stop - start for start, stop in runs]).tolist()
    for at, (_, leaving), (coming, _) in zip(starts[1:-1], runs[:-1], runs[1:], strict=True):
        left = min(fade // 2, at, coming)
        right = min(fade // 2, len(samples) - at, len(source) - leaving)
        ended, begun = source[leaving - left : leaving + right], source[coming - left : coming + right]
        samples[at - left : at + right] = _mixed(ended, begun)
    first = len(samples) - frames if side is Side.BEFORE else 0
    segments = [
        Segment(at - first, start, stop - start) for at, (start, stop) in zip(starts, runs, strict=False)
    ]
    seams = [at - first for at in starts[1:-1] if 0 < at - first < frames]
    return Extension(samples[first : first + frames], tuple(segments), tuple(seams), "splice", None)


def _mixed(leaving: Samples, coming: Samples) -> Samples:
    """An equal-power crossfade."""
    angle = (np.arange(len(leaving), dtype=np.float32) + 0.5) / max(1, len(leaving)) * np.float32(np.pi / 2)
    return leaving * np.cos(angle)[:, None] + coming * np.sin(angle)[:, None]

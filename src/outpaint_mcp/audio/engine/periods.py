"""Sources that are loops: their end joins their beginning, in time with their own beat."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.features import extract_features
from outpaint_mcp.audio.gain_steps import fit_steps
from outpaint_mcp.audio.levels import downmix, level_db, median, mono, to_gain
from outpaint_mcp.audio.seams import Limits, usual_limits

if TYPE_CHECKING:
    from outpaint_mcp.audio.beats import Beats
    from outpaint_mcp.audio.features import Features
    from outpaint_mcp.audio.types import Floats, Ints, Samples

_LEAST_SECONDS, _LONGEST_WITHOUT_BEATS_SECONDS = 1.0, 30.0
_AROUND_SECONDS = 4.0
"""Music on each side of the wrap that is heard for judging it."""
_GRAIN_SECONDS = 0.25
_HALF_SECOND = 0.5
_FALLEN_DB = 12.0
"""A loop begins and ends within this of its usual level; what rings out or fades ends below."""
_STRAY_SECONDS, _SLIP_SECONDS = 0.010, 0.012
"""Largest deviations from whole beats: of the length, and of the grid. Less cannot be measured in all real music."""
_MOST_LOUDNESS, _MOST_HARMONY = 2.0, 4.0
"""The most that loudness and harmony may change at the end of whole bars, as multiples of the music's own limits."""
_FAST_BPM, _HALF_BEATS = 135.0, 0.88
"""Beats this fast are half beats if those an odd number apart are less alike than the others by this factor."""
_METRES, _SPAN_BEATS = (4, 3), 12
"""Beats in a bar, and the lag up to which bars are compared."""
_LEVELS = (1.0, 1.5)
"""Pulses compared with the beats; a tracker that lies across three eighths is 1.5 times too slow."""
_FASTER_STRENGTH = 1.0
_OCTAVES = 3
"""The beat itself, its halves and its quarters."""
_COARSE_BEATS, _REFINEMENTS = 0.1, (0.02, 0.004)
_GAP_DB, _LONGEST_GAP_SECONDS = 50.0, 0.06
"""Level under the peak that counts as silence at an end, and the longest that an encoder leaves there."""


@dataclass(frozen=True, slots=True)
class Period:
    """The loop in a source.

    Attributes:
        first: its first frame; 0 unless an encoder left silence there.
        frames: its exact length.
        beats: how many beats it has; None without a beat.
        beats_per_bar: 3 or 4 where its beats are whole bars of so many; else None.
    """

    first: int
    frames: int
    beats: int | None
    beats_per_bar: int | None

    @property
    def stop(self) -> int:
        """The frame after its last."""
        return self.first + self.frames

    @property
    def bars(self) -> int | None:
        """How many bars it has; None without any."""
        return self.beats // self.beats_per_bar if self.beats and self.beats_per_bar else None

    @property
    def beat_frames(self) -> float | None:
        """The exact length of a beat."""
        return self.frames / self.beats if self.beats else None

    def tempo_bpm(self, sample_rate: int) -> float | None:
        """Return its tempo; None without a beat."""
        return 60 * sample_rate / self.beat_frames if self.beat_frames else None

    def frame_at(self, frame: int) -> int:
        """Return the frame inside the loop a whole number of periods away from any other, negative ones included."""
        return self.first + (frame - self.first) % self.frames


@dataclass(frozen=True, slots=True)
class _Pulse:
    """How a length relates to a steady pulse.

    Attributes:
        beats: the nearest whole number of beats.
        frames: how long these are.
        stray_seconds: how far the length is from it.
        strength: how much of the onsets lies on it.
    """

    beats: int
    frames: int
    stray_seconds: float
    strength: float


def find_period(samples: Samples, sample_rate: int, features: Features, beats: Beats | None) -> Period | None:
    """Find out whether a source is a loop, and its exact period.

    It is one where it neither fades in nor out, its length is a whole number of its beats, and either jumping from
    its end to its beginning is no more unusual than what it does at its own beats, or the beats are whole bars.
    Without beats, only the join counts.

    Args:
        samples: the whole source `[frames, channels]`.
        sample_rate: frames per second.
        features: its features.
        beats: its beat grid; None without a steady pulse.

    Returns:
        None where it is not. The period is the source's own length; where an encoder left silence of up to 60 ms
        at its ends, the length of its whole beats.
    """
    if len(samples) < _LEAST_SECONDS * sample_rate:
        return None
    weights, _ = downmix(samples)
    whole = _period(samples, sample_rate, features, beats, (0, len(samples)), weights)
    inner = None if whole or beats is None else _without_gaps(samples, sample_rate, weights)
    if beats is None or inner is None:
        return whole
    first, stop = inner[0], inner[0] + _pulse(features, beats, inner).frames
    if not inner[1] <= stop <= len(samples):
        return None
    return _period(samples, sample_rate, features, beats, (first, stop), weights)


def _without_gaps(samples: Samples, sample_rate: int, weights: Floats) -> tuple[int, int] | None:
    """Where there is sound, if short silence surrounds it."""
    reach = int(_LONGEST_GAP_SECONDS * sample_rate)
    head, tail = np.abs(mono(samples[:reach], weights)), np.abs(mono(samples[-reach:], weights))
    floor = float(np.abs(samples).max(initial=0.0)) * float(to_gain(-_GAP_DB))
    sounding, ending = np.flatnonzero(head > floor), np.flatnonzero(tail > floor)
    if len(sounding) and len(ending):
        first, gap = int(sounding[0]), len(tail) - 1 - int(ending[-1])
        return (first, len(samples) - gap) if first + gap else None
    return None


def _period(  # noqa: PLR0913 - one measurement
    samples: Samples,
    sample_rate: int,
    features: Features,
    beats: Beats | None,
    extent: tuple[int, int],
    weights: Floats,
) -> Period | None:
    first, stop = extent
    frames = stop - first
    if not _keeps_its_level(samples[first:stop], sample_rate, weights):
        return None
    if beats is None:
        if frames > _LONGEST_WITHOUT_BEATS_SECONDS * sample_rate:
            return None
        joins = max(astuple(_strain(samples, sample_rate, features, None, extent, weights))) <= 1
        return Period(first, frames, None, None) if joins else None
    slips = _slip_frames(beats, extent) > _SLIP_SECONDS * sample_rate
    if slips or (pulse := _pulse(features, beats, extent)).stray_seconds > _STRAY_SECONDS:
        return None
    strain = _strain(samples, sample_rate, features, beats, extent, weights)
    beats_there = pulse.beats
    if pulse.beats * 60 * sample_rate > _FAST_BPM * frames and _alternates(features, extent, pulse.beats):
        beats_there //= 2
    meter = _metre(features, extent, beats_there)
    fits = strain.loudness_db <= _MOST_LOUDNESS and strain.harmony <= _MOST_HARMONY
    if max(astuple(strain)) <= 1 or (meter and fits and _keeps_its_gain(features, extent, sample_rate)):
        return Period(first, frames, beats_there, meter)
    return None


def _keeps_its_gain(features: Features, extent: tuple[int, int], sample_rate: int) -> bool:
    """Whether its beginning is as loud as its end is, apart from what music does there."""
    steps = fit_steps(features)
    if steps is None:
        return True
    first, stop = (np.array([frame / sample_rate]) for frame in extent)
    return abs(float(steps.measure_jump(features, stop, first)[0])) <= steps.limit_db


def _keeps_its_level(samples: Samples, sample_rate: int, weights: Floats) -> bool:
    """Whether the first and the last half-second are about as loud as usual."""
    block = int(_HALF_SECOND * sample_rate)
    starts = [*range(0, len(samples) - block + 1, block), len(samples) - block]
    *levels, last = [level_db(mono(samples[at : at + block], weights)) for at in starts]
    return min(levels[0], last) > median(np.array(levels)) - _FALLEN_DB


def _pulse(features: Features, beats: Beats, extent: tuple[int, int]) -> _Pulse:
    """Measure how many beats a stretch has, from the periodicity of its onsets as a whole.

    Of the tracker's pulse and one 1.5 times as fast, the stronger counts.
    """
    usual, faster = (_periodicity(features, beats, extent, level) for level in _LEVELS)
    return faster if faster.strength > _FASTER_STRENGTH * usual.strength else usual


def _periodicity(features: Features, beats: Beats, extent: tuple[int, int], level: float) -> _Pulse:
    """Find the frequency near the beat's, in beats per loop, that the onsets and their subdivisions agree on best."""
    hop = features.frames_per_window
    first, stop = round(extent[0] / hop), round(extent[1] / hop)
    strengths = features.onset_patterns[first:stop].sum(axis=1)
    windows = (extent[1] - extent[0]) / hop
    time = np.arange(len(strengths)) + (first - extent[0] / hop)
    taper = np.sin(np.pi * np.clip((time + 0.5) / windows, 0, 1)) ** 2
    onsets: Floats = np.asarray(
        (strengths - (strengths @ taper) / (taper.sum() + 1e-9)) * taper, dtype=np.float64
    )
    expected = (extent[1] - extent[0]) / beats.period_frames * level

    def strength(frequency: float) -> float:
        turned = np.exp(-2j * np.pi * frequency / windows * time)
        agreement = 0.0
        for _ in range(_OCTAVES):
            agreement += float(np.abs(turned @ onsets))
            turned *= turned
        return agreement / (float(np.abs(onsets).sum()) + 1e-9)

    tried: Floats = np.arange(max(1.0, 0.985 * expected - 1), 1.015 * expected + 1, _COARSE_BEATS)
    best = max(tried.tolist(), key=strength)
    for step in _REFINEMENTS:
        best = max((best + step * np.arange(-6, 7)).tolist(), key=strength)
    beats_there = max(1, round(best))
    seconds = windows / features.windows_per_second
    stray = abs(best - beats_there) / best * seconds
    frames = round((extent[1] - extent[0]) * beats_there / best)
    return _Pulse(beats_there, frames, stray, strength(best))


def _alternates(features: Features, extent: tuple[int, int], beats: int) -> bool:
    """Whether every other beat is like every other, and not like the ones between: they are half beats."""
    at_beats = _likeness_at_beats(features, extent, beats)
    return beats % 2 == 0 and float(at_beats[::2].mean()) < _HALF_BEATS * float(at_beats[1::2].mean())


def _likeness_at_beats(features: Features, extent: tuple[int, int], beats: int) -> Floats:
    """How alike the onsets are when they are turned round in the loop by 1, 2, … beats."""
    first, stop = (round(frame / features.frames_per_window) for frame in extent)
    patterns = features.onset_patterns[first:stop]
    spectrum = np.abs(np.fft.rfft(patterns, axis=0)) ** 2
    alike = np.fft.irfft(spectrum.sum(axis=1), len(patterns))
    beat = len(patterns) / beats
    near = np.rint(np.arange(1, _SPAN_BEATS) * beat).astype(int)[:, None] + np.arange(-1, 2)
    return np.asarray(alike[near % len(alike)].max(axis=1))


def _metre(features: Features, extent: tuple[int, int], beats: int) -> int | None:
    """Beats in a bar: the lag at which the onsets, turned round in the loop, are most alike; None unless whole bars."""
    at_beats = _likeness_at_beats(features, extent, beats)
    likeness = {meter: float(at_beats[meter - 1 :: meter].mean()) for meter in _METRES}
    meter = max(_METRES, key=likeness.__getitem__)
    return meter if beats % meter == 0 else None


def _slip_frames(beats: Beats, extent: tuple[int, int]) -> float:
    """How far the grid's first beat is from where its last ones would put it, in frames.

    Whole multiples of half a beat count as none, since the grid may change to the off-beat, and so do thirds, since
    it may lie across three eighths.
    """
    inside = beats.frames[(beats.frames >= extent[0]) & (beats.frames < extent[1])]
    if len(inside) == 0:
        return float(extent[1] - extent[0])
    gap = float(extent[1] - inside[-1] + inside[0] - extent[0])
    steps = (beats.period_frames / 2, beats.period_frames / 3)
    return min(abs(gap - round(gap / step) * step) for step in steps)


def _strain(  # noqa: PLR0913 - one measurement
    samples: Samples,
    sample_rate: int,
    features: Features,
    beats: Beats | None,
    extent: tuple[int, int],
    weights: Floats,
) -> Limits:
    """Measures of the jump from the end of an extent to its beginning, as multiples of the music's own limits."""
    first, stop = extent
    places = _places(beats, stop, len(samples), sample_rate)
    usual = usual_limits(features, places, samples, sample_rate, weights)
    reach = min(stop - first, int(_AROUND_SECONDS * sample_rate))
    joined = np.concatenate([samples[stop - reach : stop], samples[first : first + reach]])
    around = extract_features(joined, sample_rate, weights)
    here = usual_limits(around, np.array([reach]), joined, sample_rate, weights)
    return Limits(*(one / most for one, most in zip(astuple(here), astuple(usual), strict=True)))


def _places(beats: Beats | None, frame: int, frames: int, sample_rate: int) -> Ints:
    """Places at the same phase of the beat as a frame; without beats, every quarter of a second."""
    if beats is None:
        return np.arange(0, frames, round(_GRAIN_SECONDS * sample_rate))
    grid = beats.frames
    at = int(np.clip(np.searchsorted(grid, frame, side="right") - 1, 0, len(grid) - 1))
    places = grid + round((frame - int(grid[at])) % beats.period_frames)
    return np.asarray(places[(places > 0) & (places < frames)], dtype=np.int64)

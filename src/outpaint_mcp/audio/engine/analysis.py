"""From samples to everything that choosing and rendering need to know about them."""

from dataclasses import dataclass

from outpaint_mcp.audio.beats import Beats, find_beats
from outpaint_mcp.audio.engine.likeness import Likeness, compare
from outpaint_mcp.audio.engine.units import Units, cut_units
from outpaint_mcp.audio.features import Features, features
from outpaint_mcp.audio.seams import Limits, usual_limits
from outpaint_mcp.audio.shapes import Floats, Samples
from outpaint_mcp.audio.waves import downmix, peak

_LEAST_SECONDS = 0.03
_LEAST_LEVEL_DB = -85.0
_LEAST_SECONDS_FOR_BEATS = 4.0


@dataclass(frozen=True, slots=True)
class Music:
    """What was heard in a region that is neither silent nor a mere instant.

    Attributes:
        features: its sound over time.
        beats: its beat grid, None where there is no steady pulse.
        units: the pieces that it can be rearranged in.
        likeness: how these compare.
        limits: the most that happens from one unit to the next.
    """

    features: Features
    beats: Beats | None
    units: Units
    likeness: Likeness
    limits: Limits


@dataclass(frozen=True, slots=True)
class Material:
    """A region of the source and what is known about it.

    Attributes:
        samples: the region itself `[frames, channels]`, never copied or changed.
        sample_rate: frames per second.
        downmix: the weights `[channels]` that make it mono.
        level_db: its mean level, dB re full scale.
        peak: its largest absolute value.
        music: what was heard in it; None where it is silent or too short to tell.
    """

    samples: Samples
    sample_rate: int
    downmix: Floats
    level_db: float
    peak: float
    music: Music | None


def analyse(samples: Samples, sample_rate: int) -> Material:
    """Get to know a region `[frames, channels]`; any finite input will do, silence and nothing at all included."""
    weights, level = downmix(samples)
    sounding = level > _LEAST_LEVEL_DB and len(samples) >= max(32, _LEAST_SECONDS * sample_rate)
    music = _listen(samples, sample_rate, weights) if sounding else None
    return Material(samples, sample_rate, weights, level, peak(samples), music)


def _listen(samples: Samples, sample_rate: int, weights: Floats) -> Music:
    heard = features(samples, sample_rate, weights)
    frames = len(samples)
    beats = find_beats(heard, frames) if frames >= _LEAST_SECONDS_FOR_BEATS * sample_rate else None
    units = cut_units(heard, beats, frames, sample_rate)
    limits = usual_limits(heard, units.bounds, samples, sample_rate, weights)
    return Music(heard, beats, units, compare(units), limits)

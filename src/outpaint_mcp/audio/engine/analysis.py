"""Analysis of a region: everything that choosing and rendering need to know about it."""

from dataclasses import dataclass

from outpaint_mcp.audio.beats import Beats, find_beats
from outpaint_mcp.audio.engine.similarity import Similarity, compare
from outpaint_mcp.audio.engine.units import Units, cut_units
from outpaint_mcp.audio.features import Features, extract_features
from outpaint_mcp.audio.gain_steps import StepModel, fit_steps
from outpaint_mcp.audio.levels import downmix, peak
from outpaint_mcp.audio.seams import Limits, usual_limits
from outpaint_mcp.audio.types import Floats, Samples

_LEAST_SECONDS = 0.03
_LEAST_LEVEL_DB = -85.0
"""Mean level re full scale; anything quieter is treated as silence."""
_LEAST_SECONDS_FOR_BEATS = 4.0


@dataclass(frozen=True, slots=True)
class Groundwork:
    """What is found in a region that is neither silent nor too short.

    Attributes:
        features: its features over time.
        beats: its beat grid; None without a steady pulse.
        units: the units it can be rearranged in.
        limits: the most that happens from one unit to the next.
        steps: how its gain changes; None where it is too short to know.
    """

    features: Features
    beats: Beats | None
    units: Units
    limits: Limits
    steps: StepModel | None


@dataclass(frozen=True, slots=True)
class Music(Groundwork):
    """The analysis of such a region.

    Attributes:
        similarity: how the units compare.
    """

    similarity: Similarity


@dataclass(frozen=True, slots=True)
class Material:
    """A region of the source with its analysis.

    Attributes:
        samples: the region `[frames, channels]`, neither copied nor modified.
        sample_rate: frames per second.
        downmix: channel weights of the mono downmix `[channels]`.
        level_db: mean level, dB re full scale.
        peak: largest absolute sample value.
        music: the musical analysis; None where the region is silent or too short.
    """

    samples: Samples
    sample_rate: int
    downmix: Floats
    level_db: float
    peak: float
    music: Music | None


def analyse(samples: Samples, sample_rate: int) -> Material:
    """Analyse a region `[frames, channels]`: any finite samples, including silence or none at all."""
    weights, level = downmix(samples)
    ground = groundwork_of(samples, sample_rate, weights, level)
    music = None
    if ground is not None:
        music = Music(
            ground.features, ground.beats, ground.units, ground.limits, ground.steps, compare(ground.units)
        )
    return Material(samples, sample_rate, weights, level, peak(samples), music)


def groundwork_of(samples: Samples, sample_rate: int, weights: Floats, level_db: float) -> Groundwork | None:
    """Find what there is to hear in a region; None where it is silent or an instant.

    Args:
        samples: `[frames, channels]`.
        sample_rate: frames per second.
        weights: channel weights of the mono downmix `[channels]`.
        level_db: its mean level, dB re full scale.
    """
    frames = len(samples)
    if level_db <= _LEAST_LEVEL_DB or frames < max(32, _LEAST_SECONDS * sample_rate):
        return None
    features = extract_features(samples, sample_rate, weights)
    beats = find_beats(features, frames) if frames >= _LEAST_SECONDS_FOR_BEATS * sample_rate else None
    units = cut_units(features, beats, frames, sample_rate)
    limits = usual_limits(features, units.bounds, samples, sample_rate, weights)
    return Groundwork(features, beats, units, limits, fit_steps(features))

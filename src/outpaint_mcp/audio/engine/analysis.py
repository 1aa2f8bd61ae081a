"""Analysis of a region: everything that choosing and rendering need to know about it."""

from dataclasses import dataclass

from outpaint_mcp.audio.beats import Beats, find_beats
from outpaint_mcp.audio.engine.similarity import Similarity, compare
from outpaint_mcp.audio.engine.units import Units, cut_units
from outpaint_mcp.audio.features import Features, extract_features
from outpaint_mcp.audio.levels import downmix, peak
from outpaint_mcp.audio.seams import Limits, usual_limits
from outpaint_mcp.audio.types import Floats, Samples

_LEAST_SECONDS = 0.03
_LEAST_LEVEL_DB = -85.0
"""Mean level re full scale; anything quieter is treated as silence."""
_LEAST_SECONDS_FOR_BEATS = 4.0


@dataclass(frozen=True, slots=True)
class Music:
    """The analysis of a region that is neither silent nor too short.

    Attributes:
        features: its features over time.
        beats: its beat grid; None without a steady pulse.
        units: the units it can be rearranged in.
        similarity: how the units compare.
        limits: the most that happens from one unit to the next.
    """

    features: Features
    beats: Beats | None
    units: Units
    similarity: Similarity
    limits: Limits


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
    is_audible = level > _LEAST_LEVEL_DB and len(samples) >= max(32, _LEAST_SECONDS * sample_rate)
    music = _analyse_music(samples, sample_rate, weights) if is_audible else None
    return Material(samples, sample_rate, weights, level, peak(samples), music)


def _analyse_music(samples: Samples, sample_rate: int, weights: Floats) -> Music:
    features = extract_features(samples, sample_rate, weights)
    frames = len(samples)
    beats = find_beats(features, frames) if frames >= _LEAST_SECONDS_FOR_BEATS * sample_rate else None
    units = cut_units(features, beats, frames, sample_rate)
    limits = usual_limits(features, units.bounds, samples, sample_rate, weights)
    return Music(features, beats, units, compare(units), limits)

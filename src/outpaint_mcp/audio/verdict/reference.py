"""What a source does itself, against which every seam and all added music is held; measured once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.engine.analysis import groundwork_of
from outpaint_mcp.audio.levels import downmix, mono, percentile
from outpaint_mcp.audio.seams import FLUX_SECONDS
from outpaint_mcp.audio.verdict.excerpts import read_excerpts
from outpaint_mcp.audio.verdict.spikes import BendCourse, Bends, measure_bends

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from outpaint_mcp.audio.beats import Beats
    from outpaint_mcp.audio.features import Features
    from outpaint_mcp.audio.files.conversion import SampleSpec
    from outpaint_mcp.audio.gain_steps import StepModel
    from outpaint_mcp.audio.types import Floats, Samples

CLICK_SECONDS = 0.005
_FAINTEST_CLICK, _FAINTEST_FLUX_DB = 10 ** (-50 / 20), 0.5
"""Inaudible, however quiet a source is otherwise."""
_SHARPEST_PERCENT, _SHARPER = 99.9, 1.25
_FALL_SECONDS, _FALL_GAP = 0.8, 3
_OVER_FLOOR_DB, _UNDER_LOUDEST_DB, _FEWEST_BANDS, _NEARLY_ALL = 15.0, 50.0, 8, 0.05
_USUAL_FLUX_PERCENT = 99.0
"""Of all stretches as long as what is looked at round a seam, on a beat or off it: noise has its largest anywhere."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A stretch of a source that is neither silent nor too short, analysed.

    Attributes:
        frames: its length.
        sample_rate: frames per second.
        weights: channel weights of the mono downmix `[channels]`.
        features: its features over time.
        beats: its beat grid; None without a steady pulse.
        flux_db: the largest usual rise of the spectrum.
        click: the sharpest usual bend of its wave (fourth difference).
        bends: how its sharpest bends stand out from what surrounds them.
        fall_db: by how much it falls at most at once in nearly all bands, and stays down.
        steps: how its gain changes; None where it is too short to know.
    """

    frames: int
    sample_rate: int
    weights: Floats
    features: Features
    beats: Beats | None
    flux_db: float
    click: float
    bends: Bends
    fall_db: float
    steps: StepModel | None


def measure_reference(samples: Samples, sample_rate: int) -> Reference | None:
    """Analyse a stretch of a source `[frames, channels]`; None where it is silent or an instant."""
    weights, level = downmix(samples)
    ground = groundwork_of(samples, sample_rate, weights, level)
    if ground is None:
        return None
    features, limits = ground.features, ground.limits
    wave = mono(samples, weights)
    width = round(CLICK_SECONDS * sample_rate)
    return Reference(
        frames=len(samples),
        sample_rate=sample_rate,
        weights=weights,
        features=features,
        beats=ground.beats,
        flux_db=max(limits.flux_db, _usual_flux(features), _FAINTEST_FLUX_DB),
        click=max(limits.click, _sharpest(wave, width), _FAINTEST_CLICK),
        bends=measure_bends(wave, sample_rate),
        fall_db=float(fall_db(features)[0].max(initial=0.0)),
        steps=ground.steps,
    )


def combined(one: Reference | None, other: Reference | None) -> Reference | None:
    """Return what a source does in either of two stretches of it."""
    if one is None or other is None:
        return one or other
    steps = max(
        (each for each in (one.steps, other.steps) if each), key=lambda each: each.most_db, default=None
    )
    return replace(
        one,
        flux_db=max(one.flux_db, other.flux_db),
        click=max(one.click, other.click),
        bends=Bends(
            max(one.bends.limit or 0.0, other.bends.limit or 0.0) or None,
            max(one.bends.loneliest, other.bends.loneliest),
            max(one.bends.sharpest, other.bends.sharpest),
        ),
        fall_db=max(one.fall_db, other.fall_db),
        steps=steps,
    )


def measure_all_bends(source: Path, form: SampleSpec, reference: Reference) -> Bends:
    """Measure how sharply all of a source bends, of which one stretch was analysed."""
    course = BendCourse(reference.bends, reference.weights, form.sample_rate)
    read_excerpts(source, form, 0, 0, listeners=[course])
    return course.bends


def part_of(features: Features, start_seconds: float, stop_seconds: float) -> Features:
    """Return the features of a part of what they were extracted from."""
    rate = features.windows_per_second
    chroma_rate = rate * features.frames_per_window / features.chroma_frames_per_window
    windows = slice(round(start_seconds * rate), round(stop_seconds * rate))
    pitches = slice(round(start_seconds * chroma_rate), round(stop_seconds * chroma_rate))
    return replace(
        features,
        bands_db=features.bands_db[windows],
        flux_db=features.flux_db[windows],
        onsets=features.onsets[windows],
        onset_bands=features.onset_bands[windows],
        onset_patterns=features.onset_patterns[windows],
        chroma=features.chroma[pitches],
        tones=features.tones[pitches],
        power=features.power[windows],
    )


def fall_db(features: Features) -> tuple[Floats, Floats]:
    """By how much music is turned down at each window.

    A note that ends leaves the others; a gain that is turned down takes all bands along at once. So the smaller of two
    falls counts, of which nineteen of twenty audible bands have more: that within 23 ms, and that from the 0.8 s before
    to the 0.8 s after.

    Returns:
        The fall `[windows]` and the median change over the longer span `[windows]`, dB.
    """
    bands = np.maximum(features.bands_db, features.floor_db)
    count, span = len(bands), round(_FALL_SECONDS * features.windows_per_second)
    falls, changes = np.zeros(count), np.zeros(count)
    places = np.arange(span + _FALL_GAP, count - span - _FALL_GAP)
    if not len(places):
        return falls, changes
    sums = np.concatenate([np.zeros((1, bands.shape[1])), np.cumsum(bands, axis=0)])
    means = (sums[span:] - sums[:-span]) / span
    before = means[places - span - _FALL_GAP]
    lasting = before - means[places + _FALL_GAP]
    loudest = before.max(axis=1, keepdims=True)
    audible = (before > features.floor_db + _OVER_FLOOR_DB) & (before > loudest - _UNDER_LOUDEST_DB)
    at_once = bands[places - 1] - bands[places + 1]
    fall = np.minimum(_nearly_all(at_once, audible), _nearly_all(lasting, audible))
    falls[places] = np.where(audible.sum(axis=1) >= _FEWEST_BANDS, np.maximum(fall, 0.0), 0.0)
    changes[places] = -np.sort(lasting, axis=1)[:, bands.shape[1] // 2]
    return falls, changes


def _nearly_all(values: Floats, audible: npt.NDArray[np.bool_]) -> Floats:
    """What nineteen of twenty audible bands exceed `[places]`."""
    ordered = np.sort(np.where(audible, values, np.inf), axis=1)
    lowest = np.minimum((_NEARLY_ALL * audible.sum(axis=1)).astype(int), values.shape[1] - 1)
    return np.asarray(ordered[np.arange(len(ordered)), lowest])


def _usual_flux(features: Features) -> float:
    """What the largest rise within 50 ms of a place is almost anywhere, dB."""
    reach = 2 * round(FLUX_SECONDS * features.windows_per_second) + 1
    count = len(features.flux_db) // reach
    if not count:
        return 0.0
    return percentile(
        features.flux_db[: count * reach].reshape(count, reach).max(axis=1), _USUAL_FLUX_PERCENT
    )


def _sharpest(wave: Floats, width: int) -> float:
    """The strongest fourth difference in nearly all stretches as long as what is looked at round a seam."""
    bends = np.abs(np.diff(wave, 4))
    count = len(bends) // (2 * width)
    stretches = bends[: count * 2 * width].reshape(count, -1).max(axis=1)
    return _SHARPER * percentile(stretches, _SHARPEST_PERCENT) if count else 0.0

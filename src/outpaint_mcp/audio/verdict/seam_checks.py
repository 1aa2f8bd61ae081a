"""Compares what happens where two parts of a recording meet with what its source itself does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.beats import find_beats
from outpaint_mcp.audio.features import Features, extract_features
from outpaint_mcp.audio.gain_steps import StepModel, fit_steps_in_bars
from outpaint_mcp.audio.keys import fifths_between, find_key
from outpaint_mcp.audio.levels import mono, percentile
from outpaint_mcp.audio.loudness import loudness_of
from outpaint_mcp.audio.pulse import slip_seconds
from outpaint_mcp.audio.seams import flux_around, strongest_click
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.course import apart_from_metre
from outpaint_mcp.audio.verdict.records import Seam
from outpaint_mcp.audio.verdict.reference import CLICK_SECONDS, Reference
from outpaint_mcp.audio.verdict.spikes import spike_share

if TYPE_CHECKING:
    from outpaint_mcp.audio.tonality import Key
    from outpaint_mcp.audio.types import Floats, Samples

LEAST_NEW_SECONDS = 1.0
"""Less added music than this is not compared."""
NEAR_SECONDS = 6.1
"""How much on either side of a seam its cheap measures look at."""

_LOUDNESS_SECONDS = 3.0
_FLUX_SECONDS = 1.0
_STRADDLING = 4
"""How far before a place a fourth difference begins that still reaches over it, in frames."""
_RINGING = 1.4
"""How much more than at the source's edge a lossy decoder's ringing bends where it ends."""
_KEY_SECONDS, _LEAST_KEY_SECONDS, _LEAST_CONFIDENCE = 30.0, 10.0, 0.5
_LEAST_TEMPO_SECONDS = 10.0
_OWN_PLACES, _OWN_PERCENT = 24, 90.0
_FEWEST_OWN_SLIPS = 8
_SPECTRUM_SECONDS = 5.0
_LEAST_SPREAD_DB, _FEWEST_SPECTRA = 3.0, 4


@dataclass(frozen=True, slots=True)
class Joint:
    """A seam between a source and an extension, and what lies around it.

    Attributes:
        reference: what the source does there.
        around: both sides `[frames, channels]`.
        features: of that.
        added: of the extension alone.
        seam: the frame in `around` at which they meet.
        faces: the side of the source that meets the extension here.
        new_frames: the extension's length.
    """

    reference: Reference
    around: Samples
    features: Features
    added: Features
    seam: int
    faces: Side
    new_frames: int


def check_seam(joint: Joint, side: Side | None, at_seconds: float) -> Seam:
    """Compare the music on both sides of a seam with everything that can be measured.

    Args:
        joint: the seam.
        side: which of the source's; None for one inside.
        at_seconds: the seam's place in the whole.
    """
    rate = joint.reference.sample_rate
    click, flux = _strain(joint.reference, joint.around, joint.seam, joint.faces)
    steps = _steps(joint)
    slip, usual_slip = _slip_ms(joint)
    fifths, usual_fifths = _fifths(joint)
    return Seam(
        side=side,
        at_seconds=at_seconds,
        click=click,
        flux=flux,
        loudness_jump_lu=_loudness_jump_lu(joint.around, joint.seam, rate),
        level_step_db=float(steps.measure(joint.features, np.array([joint.seam / rate]))[0])
        if steps
        else None,
        usual_step_db=steps.usual_db if steps else None,
        tempo_ratio=_tempo_ratio(joint),
        beat_slip_ms=slip,
        usual_slip_ms=usual_slip,
        key_fifths=fifths,
        usual_fifths=usual_fifths,
        timbre=_timbre(joint),
    )


def _steps(joint: Joint) -> StepModel | None:
    """How the gain changes at the same place in the source's bars, or anywhere where it has none."""
    reference, rate = joint.reference, joint.reference.sample_rate
    if reference.beats is not None:
        edge = reference.frames if joint.faces is Side.AFTER else 0
        found = fit_steps_in_bars(reference.features, reference.beats.frames / rate, edge / rate)
        if found is not None:
            return found
    return reference.steps


def check_inner_seam(reference: Reference, around: Samples, seam: int, at_seconds: float) -> Seam:
    """Compare the few seconds on both sides of a seam that is not the source's with what is cheap to measure.

    Args:
        reference: what the source does.
        around: the music `[frames, channels]`.
        seam: the frame in it.
        at_seconds: the seam's place in the whole.
    """
    rate = reference.sample_rate
    features = extract_features(around, rate, reference.weights)
    click, flux = _strain(reference, around, seam)
    steps = reference.steps
    return Seam(
        side=None,
        at_seconds=at_seconds,
        click=click,
        flux=flux,
        loudness_jump_lu=_loudness_jump_lu(around, seam, rate),
        level_step_db=float(steps.measure(features, np.array([seam / rate]))[0]) if steps else None,
        usual_step_db=steps.most_db if steps else None,
    )


def _strain(
    reference: Reference, around: Samples, seam: int, faces: Side | None = None
) -> tuple[float, float]:
    """Click and flux at a seam as shares of their limits.

    On one side of the source's own seams is the source itself; what bends there, as in the last milliseconds that a
    lossy decoder gives, is no fault of the join, nor is what that ringing does as it ends.
    """
    rate = reference.sample_rate
    width, reach = (round(seconds * rate) for seconds in (CLICK_SECONDS, _FLUX_SECONDS))
    first = max(0, seam - reach)
    wave = mono(around[first : seam + reach], reference.weights)
    seam -= first
    flux = flux_around(wave, seam, rate, reference.features)
    before = _STRADDLING if faces is Side.AFTER else width
    after = _STRADDLING if faces is Side.BEFORE else width
    near = wave[max(0, seam - before) : seam + after]
    click = strongest_click(near)
    ringing = _RINGING * _own_click(wave, seam, width, faces)
    if reference.click < click <= ringing:
        return click / ringing, flux / reference.flux_db
    lone = spike_share(reference.bends.limit, wave, seam, rate, before_frames=before, after_frames=after)
    return max(click / reference.click, lone), flux / reference.flux_db


def _own_click(wave: Floats, seam: int, width: int, faces: Side | None) -> float:
    """The strongest click within the source's own edge; 0 where the seam is not the source's."""
    if faces is None:
        return 0.0
    return strongest_click(
        wave[max(0, seam - width) : seam] if faces is Side.AFTER else wave[seam : seam + width]
    )


def _loudness_jump_lu(around: Samples, seam: int, sample_rate: int) -> float | None:
    span = round(_LOUDNESS_SECONDS * sample_rate)
    before = loudness_of(around[max(0, seam - span) : seam], sample_rate).lufs
    after = loudness_of(around[seam : seam + span], sample_rate).lufs
    return None if before is None or after is None else after - before


def _slip_ms(joint: Joint) -> tuple[float | None, float | None]:
    """The slip, and how far the source's own beat wanders."""
    reference, beats = joint.reference, joint.reference.beats
    if beats is None:
        return None, None
    places = np.linspace(0, reference.frames, _OWN_PLACES + 2)[1:-1].astype(int).tolist()
    found = [slip_seconds(reference.features, beats, place, place) for place in places]
    slips = np.array([slip for slip in found if slip is not None])
    edge = reference.frames if joint.faces is Side.AFTER else 0
    shifted = type(beats)(beats.frames + (joint.seam - edge), beats.period_frames)
    slip = slip_seconds(joint.features, shifted, joint.seam, joint.seam)
    if len(slips) < _FEWEST_OWN_SLIPS:
        return None, None
    return None if slip is None else 1000 * slip, 1000 * percentile(np.abs(slips), _OWN_PERCENT)


def _tempo_ratio(joint: Joint) -> float | None:
    reference = joint.reference
    if reference.beats is None or joint.new_frames < _LEAST_TEMPO_SECONDS * reference.sample_rate:
        return None
    beats = find_beats(joint.added, joint.new_frames)
    if beats is None:
        return None
    near = reference.beats.period_near(reference.frames if joint.faces is Side.AFTER else 0)
    return apart_from_metre(near / beats.period_frames)


def _fifths(joint: Joint) -> tuple[int | None, int | None]:
    """Distance of the keys at the seam, and of those of the source's halves."""
    hop, rate = joint.features.chroma_frames_per_window, joint.reference.sample_rate
    at, span = round(joint.seam / hop), round(_KEY_SECONDS * rate / hop)
    least = _LEAST_KEY_SECONDS * rate / hop
    tones = joint.features.tones
    before, after = tones[max(0, at - span) : at], tones[at : at + span]
    if min(len(before), len(after)) < least:
        return None, None
    halves = np.array_split(joint.reference.features.tones, 2)
    return _distance(find_key(before), find_key(after)), _distance(*map(find_key, halves))


def _timbre(joint: Joint) -> float | None:
    own, new = _spectra(joint.reference.features), _spectra(joint.added)
    if len(own) < _FEWEST_SPECTRA or not len(new):
        return None
    apart = np.sqrt(((own[:, None] - own[None]) ** 2).mean(axis=2))
    away = np.sqrt(((new[:, None] - own[None]) ** 2).mean(axis=2)).min(axis=1)
    return float(np.median(away)) / max(float(apart.max()), _LEAST_SPREAD_DB)


def _distance(one: Key | None, other: Key | None) -> int | None:
    if one is None or other is None or min(one.confidence, other.confidence) < _LEAST_CONFIDENCE:
        return None
    return fifths_between(one, other)


def _spectra(music: Features) -> Floats:
    """Mean spectrum of each five seconds less its level `[parts, bands]`, dB."""
    size = round(_SPECTRUM_SECONDS * music.windows_per_second)
    count = len(music.bands_db) // size
    bands = np.maximum(music.bands_db[: count * size], music.floor_db)
    means = bands.reshape(count, size, bands.shape[1]).mean(axis=1)
    return np.asarray(means - means.mean(axis=1, keepdims=True))

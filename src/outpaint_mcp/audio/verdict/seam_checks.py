"""Compares what happens where a source and its extension meet with what the source itself does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.beats import find_beats
from outpaint_mcp.audio.engine.analysis import analyse
from outpaint_mcp.audio.features import Features, extract_features
from outpaint_mcp.audio.keys import fifths_between, find_key
from outpaint_mcp.audio.levels import mono, percentile
from outpaint_mcp.audio.loudness import loudness_of
from outpaint_mcp.audio.pulse import slip_seconds
from outpaint_mcp.audio.seams import flux_around, strongest_click
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.records import Seam
from outpaint_mcp.audio.verdict.spikes import spike_share
from outpaint_mcp.audio.verdict.steps import level_step

if TYPE_CHECKING:
    from outpaint_mcp.audio.engine.analysis import Material, Music
    from outpaint_mcp.audio.tonality import Key
    from outpaint_mcp.audio.types import Floats, Samples

_OWN_SECONDS, _NEW_SECONDS = 60.0, 30.0
_LEAST_NEW_SECONDS = 1.0
_FAINTEST_CLICK, _FAINTEST_FLUX_DB = 10 ** (-50 / 20), 0.5
"""Inaudible, however quiet a source is otherwise."""
_LOUDNESS_SECONDS = 3.0
_CLICK_SECONDS, _FLUX_SECONDS = 0.005, 1.0
_KEY_SECONDS, _LEAST_KEY_SECONDS, _LEAST_CONFIDENCE = 30.0, 10.0, 0.5
_LEAST_TEMPO_SECONDS = 10.0
_OWN_PLACES, _OWN_PERCENT = 24, 90.0
_FEWEST_OWN_SLIPS = 8
_METRES = (0.5, 2 / 3, 1.0, 1.5, 2.0)
_SPECTRUM_SECONDS = 5.0
_LEAST_SPREAD_DB, _FEWEST_SPECTRA = 3.0, 4
_SHARPEST_PERCENT, _SHARPER = 99.9, 1.25


def check_seam(samples: Samples, seam: int, side: Side, sample_rate: int, at_seconds: float) -> Seam:
    """Compare the music on both sides of a seam.

    Args:
        samples: source and extension as they follow each other `[frames, channels]`.
        seam: the frame at which they meet.
        side: whether the extension is what comes before that, or after.
        sample_rate: frames per second.
        at_seconds: the seam's place in the whole.
    """
    reach = {side: _NEW_SECONDS, _other(side): _OWN_SECONDS}
    first = max(0, seam - round(reach[Side.BEFORE] * sample_rate))
    around = samples[first : seam + round(reach[Side.AFTER] * sample_rate)]
    seam -= first
    own, new = around[:seam], around[seam:]
    if side is Side.BEFORE:
        own, new = new, own
    material = analyse(own, sample_rate)
    if material.music is None or len(new) < _LEAST_NEW_SECONDS * sample_rate:
        return Seam(side, at_seconds)
    both = extract_features(around, sample_rate, material.downmix)
    added = extract_features(new, sample_rate, material.downmix)
    joint = _Joint(material, material.music, around, both, seam, side, new, added, sample_rate)
    step = level_step(material.music.features, both, seam / sample_rate)
    slip, usual_slip = joint.slip_ms()
    fifths, usual_fifths = joint.fifths()
    click, flux = joint.strain()
    return Seam(
        side=side,
        at_seconds=at_seconds,
        click=click,
        flux=flux,
        loudness_jump_lu=joint.loudness_jump_lu(),
        level_step_db=step.db if step else None,
        usual_step_db=step.usual_db if step else None,
        tempo_ratio=joint.tempo_ratio(),
        beat_slip_ms=slip,
        usual_slip_ms=usual_slip,
        key_fifths=fifths,
        usual_fifths=usual_fifths,
        timbre=joint.timbre(),
    )


def _other(side: Side) -> Side:
    return Side.AFTER if side is Side.BEFORE else Side.BEFORE


@dataclass(frozen=True, slots=True)
class _Joint:
    """What all measures of a seam share."""

    material: Material
    own: Music
    around: Samples
    both: Features
    seam: int
    side: Side
    new: Samples
    added: Features
    sample_rate: int

    def strain(self) -> tuple[float, float]:
        """Click and flux as shares of their limits."""
        width, reach = (round(s * self.sample_rate) for s in (_CLICK_SECONDS, _FLUX_SECONDS))
        near = mono(self.around[max(0, self.seam - width) : self.seam + width], self.material.downmix)
        limit = max(
            self.own.limits.click, _sharpest(mono(self.material.samples, self.material.downmix), width)
        )
        first = max(0, self.seam - reach)
        wave = mono(self.around[first : self.seam + reach], self.material.downmix)
        flux = flux_around(wave, self.seam - first, self.sample_rate, self.own.features)
        around = mono(self.around, self.material.downmix)
        source = mono(self.material.samples, self.material.downmix)
        lone = spike_share(source, around, self.seam, self.sample_rate)
        click = strongest_click(near) / max(limit, _FAINTEST_CLICK)
        return max(click, lone), flux / max(self.own.limits.flux_db, _FAINTEST_FLUX_DB)

    def loudness_jump_lu(self) -> float | None:
        span = round(_LOUDNESS_SECONDS * self.sample_rate)
        before = loudness_of(self.around[max(0, self.seam - span) : self.seam], self.sample_rate).lufs
        after = loudness_of(self.around[self.seam : self.seam + span], self.sample_rate).lufs
        return None if before is None or after is None else after - before

    def slip_ms(self) -> tuple[float | None, float | None]:
        """The slip, and how far the source's own beat wanders."""
        beats = self.own.beats
        if beats is None:
            return None, None
        length = len(self.material.samples)
        places = np.linspace(0, length, _OWN_PLACES + 2)[1:-1].astype(int).tolist()
        found = [slip_seconds(self.own.features, beats, place, place) for place in places]
        slips = np.array([slip for slip in found if slip is not None])
        edge = length if self.side is Side.AFTER else 0
        shifted = type(beats)(beats.frames + (self.seam - edge), beats.period_frames)
        slip = slip_seconds(self.both, shifted, self.seam, self.seam)
        if len(slips) < _FEWEST_OWN_SLIPS:
            return None, None
        return None if slip is None else 1000 * slip, 1000 * percentile(np.abs(slips), _OWN_PERCENT)

    def tempo_ratio(self) -> float | None:
        if self.own.beats is None or len(self.new) < _LEAST_TEMPO_SECONDS * self.sample_rate:
            return None
        beats = find_beats(self.added, len(self.new))
        if beats is None:
            return None
        near = self.own.beats.period_near(len(self.material.samples) if self.side is Side.AFTER else 0)
        ratios = [near / beats.period_frames * metre for metre in _METRES]
        return min(ratios, key=lambda ratio: abs(np.log(ratio)))

    def fifths(self) -> tuple[int | None, int | None]:
        """Distance of the keys at the seam, and of those of the source's halves."""
        hop = self.both.chroma_frames_per_window
        at, span = round(self.seam / hop), round(_KEY_SECONDS * self.sample_rate / hop)
        least = _LEAST_KEY_SECONDS * self.sample_rate / hop
        tones = self.both.tones
        before, after = tones[max(0, at - span) : at], tones[at : at + span]
        if min(len(before), len(after)) < least:
            return None, None
        halves = np.array_split(self.own.features.tones, 2)
        return _distance(find_key(before), find_key(after)), _distance(*map(find_key, halves))

    def timbre(self) -> float | None:
        own = _spectra(self.own.features)
        new = _spectra(self.added)
        if len(own) < _FEWEST_SPECTRA or not len(new):
            return None
        apart = np.sqrt(((own[:, None] - own[None]) ** 2).mean(axis=2))
        away = np.sqrt(((new[:, None] - own[None]) ** 2).mean(axis=2)).min(axis=1)
        return float(np.median(away)) / max(float(apart.max()), _LEAST_SPREAD_DB)


def _sharpest(wave: Floats, width: int) -> float:
    """The strongest fourth difference in nearly all stretches as long as what is looked at round a seam."""
    bends = np.abs(np.diff(wave, 4))
    count = len(bends) // (2 * width)
    stretches = bends[: count * 2 * width].reshape(count, -1).max(axis=1)
    return _SHARPER * percentile(stretches, _SHARPEST_PERCENT) if count else 0.0


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

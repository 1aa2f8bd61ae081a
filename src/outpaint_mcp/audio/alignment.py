"""Two streams brought together: onset patterns first, then the waves, then the place to cut."""

from dataclasses import dataclass

import numpy as np

from outpaint_mcp.audio.analysis import Material, Music
from outpaint_mcp.audio.features import Features
from outpaint_mcp.audio.shapes import Floats
from outpaint_mcp.audio.waves import mono, running_mean

BEAT_WAVE_SECONDS, GRAIN_WAVE_SECONDS = 0.015, 0.080
_ONSET_REACH_BEATS = 0.55
_ONSETS_AGREE, _WAVES_AGREE = 0.3, 0.4
_CUT_AHEAD_SECONDS = 0.03


@dataclass(frozen=True, slots=True)
class Match:
    """How far to move the second stream, in frames, and how well it then agrees with the first (-1 to 1)."""

    shift_frames: int
    agreement: float


@dataclass(frozen=True, slots=True)
class Handover:
    """Leave the source at one frame and go on at another, fading over that many frames round both."""

    leave: int
    enter: int
    fade_frames: int


def hand_over(material: Material, music: Music, leave: int, enter: int) -> Handover:
    """Find the best way from one place in the source to another, near the two given."""
    aligned, agreement = _align(material, music, leave, enter)
    fade = _fade_frames(music, material.sample_rate, agreement)
    moved = _best_cut(material, music, leave, aligned, fade)
    return Handover(leave + moved, aligned + moved, fade)


def _align(material: Material, music: Music, leave: int, enter: int) -> tuple[int, float]:
    """Move `enter` so that what follows there lines up with what would have followed `leave`."""
    rate, period, total = material.sample_rate, music.units.period_frames, len(material.samples)
    metric = music.units.metric
    if metric:
        enter += confident_onset_shift(music, leave, enter, 4 * period, 4 * period, total)
    around = int(min(max(0.5 * period, 0.08 * rate), 0.4 * rate))
    first, last = max(leave - around, 0), min(leave + around, total)
    radius = int((BEAT_WAVE_SECONDS if metric else GRAIN_WAVE_SECONDS) * rate)
    match = wave_match(material, (first, last), enter - (leave - first), radius)
    # a poor match of the waves is noise: trust the onsets
    shift = 0 if metric and match.agreement < _WAVES_AGREE else match.shift_frames
    return enter + shift, match.agreement


def confident_onset_shift(
    music: Music, here: int, there: int, before: float, after: float, total: int
) -> int:
    """The onset match's shift where it is good and stays inside the source, else 0."""
    match = onset_match(music.features, music.units.period_frames, here, there, before, after)
    good = match.agreement > _ONSETS_AGREE and 0 < there + match.shift_frames < total
    return match.shift_frames if good else 0


def onset_match(heard: Features, period: float, here: int, there: int, before: float, after: float) -> Match:  # noqa: PLR0913
    """Shift `there` by up to 0.55 beat so that the onsets around it fall like those around `here`.

    Args:
        heard: the features that hold the onset patterns.
        period: the beat, in frames.
        here: frame of the pattern to match.
        there: frame to be shifted.
        before: frames of pattern before both that count.
        after: frames of pattern after both that count.
    """
    patterns, hop = heard.onset_patterns, heard.frames_per_window
    radius = max(1, int(_ONSET_REACH_BEATS * period / hop))
    i, j = round(here / hop), round(there / hop)
    remainder = (there / hop - j) - (here / hop - i)
    low = max(1, i - int(before / hop), i - (j - radius))
    high = min(len(patterns) - 1, i + int(after / hop), i + len(patterns) - j - radius)
    length = high - low
    if length < max(2 * radius, 20):
        return Match(0, 0.0)
    reference = patterns[low:high]
    start = j + low - i - radius
    views = np.lib.stride_tricks.sliding_window_view(
        patterns[start : start + length + 2 * radius], length, axis=0
    )
    near = np.exp(-np.abs(np.arange(low, high) - i) * hop / (2.5 * period))[:, None]
    products = np.einsum("kbl,lb->k", views, reference * near)
    energies = np.einsum("kbl,kbl,l->k", views, views, near[:, 0])
    agreement = products / np.sqrt(energies * (reference**2 * near).sum() + 1e-9)
    best = _likeliest(agreement, radius)
    offset = best + _parabola(agreement, best) - radius - remainder
    return Match(round(offset * hop), float(agreement[best]))


def _likeliest(agreement: Floats, radius: int) -> int:
    """Index of the best shift, 0 shift being `radius`; a far one only on real evidence."""
    shifts = np.arange(-radius, radius + 1)
    best = int((agreement - 0.12 * (shifts / radius) ** 2).argmax())
    if abs(best - radius) > 2 and agreement[best] < agreement[radius] + 0.03:
        near = max(0, radius - 2)
        best = near + int(agreement[near : radius + 3].argmax())
    return best


def _parabola(values: Floats, top: int) -> float:
    """Where between the indices the top really is, -0.5 to 0.5."""
    if not 0 < top < len(values) - 1:
        return 0.0
    left, middle, right = values[top - 1 : top + 2]
    curve = left - 2 * middle + right
    return float(np.clip(0.5 * (left - right) / curve, -0.5, 0.5)) if abs(curve) > 1e-9 else 0.0


def wave_match(material: Material, reference: tuple[int, int], start: int, radius: int) -> Match:
    """Shift `start` so that the wave from there on is most like the wave of the reference span of frames."""
    length = reference[1] - reference[0]
    radius = min(radius, start, len(material.samples) - length - start)
    if radius < 1 or length < 8:
        return Match(0, 0.0)
    wanted = mono(material.samples[reference[0] : reference[1]], material.downmix)
    wave = mono(material.samples[start - radius : start + length + radius], material.downmix)
    return _correlate(wanted, wave, radius)


def _correlate(wanted: Floats, wave: Floats, radius: int) -> Match:
    """Normalised cross-correlation over shifts -radius to radius; small shifts are preferred a little."""
    length = len(wanted)
    size = 1 << int(np.ceil(np.log2(len(wave) + length)))
    spectrum = np.fft.rfft(wave, size) * np.conj(np.fft.rfft(wanted, size))
    products = np.fft.irfft(spectrum, size)[: 2 * radius + 1]
    sums = np.concatenate([[0.0], np.cumsum(wave**2)])
    energies = sums[length : length + 2 * radius + 1] - sums[: 2 * radius + 1]
    agreement = products / np.sqrt(np.maximum(energies * (wanted @ wanted), 1e-18))
    shifts = np.arange(-radius, radius + 1)
    best = int((agreement - 0.15 * (shifts / radius) ** 2 * (1 - np.clip(agreement, 0, 1))).argmax())
    return Match(int(shifts[best]), float(agreement[best]))


def _fade_frames(music: Music, sample_rate: int, agreement: float) -> int:
    """25 to 70 ms with a beat, up to 300 ms without: the better the waves agree, the shorter."""
    if music.units.metric:
        seconds = 0.025 if agreement > 0.8 else 0.045 if agreement > 0.5 else 0.070
    else:
        longest = min(0.30, 0.35 * music.units.period_frames / sample_rate)
        seconds = min(longest, 0.08) if agreement > 0.8 else longest
    return max(8, int(seconds * sample_rate))


def _best_cut(material: Material, music: Music, leave: int, enter: int, fade: int) -> int:
    """How far to move the cut in both streams: to where they agree best, ahead of the beat, not on an attack."""
    rate, period, total = material.sample_rate, music.units.period_frames, len(material.samples)
    first = max(-int(min(0.4 * period, 0.3 * rate)), fade - leave, fade - enter)
    last = min(int(0.1 * period), total - fade - leave, total - fade - enter)
    if last - first < 32:
        return 0
    a = mono(material.samples[leave + first : leave + last], material.downmix)
    b = mono(material.samples[enter + first : enter + last], material.downmix)
    disagreement = running_mean((a - b) ** 2, fade) / (
        running_mean(a**2, fade) + running_mean(b**2, fade) + 1e-8
    )
    at = np.arange(first, last)
    off_place = 0.15 * np.abs(at + _CUT_AHEAD_SECONDS * rate) / (0.4 * period + 1)
    energy = np.log(running_mean(a**2 + b**2, max(8, int(0.01 * rate))) + 1e-7)
    attack = np.clip(energy - np.roll(energy, int(0.02 * rate)), 0, 3)
    return int(at[int((disagreement + off_place + 0.1 * attack).argmin())])

"""Finding an inaudible crossfade from one place in the source to another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.engine.alignment import onset_match, wave_match
from outpaint_mcp.audio.fades import blend
from outpaint_mcp.audio.levels import mono, running_mean
from outpaint_mcp.audio.pulse import SLIP_LIMIT_SECONDS, slip_seconds
from outpaint_mcp.audio.seams import CLICK_SECONDS, flux_around, strongest_click

if TYPE_CHECKING:
    from outpaint_mcp.audio.engine.analysis import Material, Music
    from outpaint_mcp.audio.types import Floats

_BEAT_SHIFT_SECONDS, _GRAIN_SHIFT_SECONDS = 0.015, 0.080
"""Largest shift to align the waveforms, with a beat and without."""
_ONSETS_AGREE, _WAVES_AGREE = 0.3, 0.4
"""Correlations below which a match is noise."""
_PATTERN_BEATS = 4
_AHEAD_SECONDS = 0.03
"""The preferred position of the cut: this much ahead of the beat."""
_HARSH = 0.5
"""Share of the click limit above which a cut near a click is penalised."""
_CUTS_TRIED, _CUTS_APART_SECONDS = 4, 0.025
_BASS_FADE_SECONDS = 0.16
_LONGER_FADES = (2, 4)
"""Factors by which the fade is stretched where every cut clicks or jumps."""
_EXCERPT_SECONDS = 0.15


@dataclass(frozen=True, slots=True)
class Crossfade:
    """A jump inside the source with its crossfade.

    Attributes:
        leave: the frame where playback leaves.
        enter: the frame where it continues.
        fade_frames: length of the fade, centred on both.
        bass_frames: length of the fade of the bass, at least as long.
    """

    leave: int
    enter: int
    fade_frames: int
    bass_frames: int


@dataclass(frozen=True, slots=True)
class _Rendered:
    """A crossfade, and the flux and click that it has as rendered, relative to their limits."""

    cut: Crossfade
    flux: float
    click: float

    @property
    def worst(self) -> float:
        """The larger of both, in steps of 0.2 so that ordinary values tie."""
        return float(np.floor(max(self.flux, self.click, 0.6) * 5)) / 5


def find_crossfade(material: Material, music: Music, leave: int, enter: int) -> Crossfade:
    """Find the best crossfade near two given places.

    Args:
        material: the analysed region.
        music: its musical analysis.
        leave: roughly where to leave.
        enter: roughly where to continue.
    """
    enter, agreement = _aligned(material, music, leave, enter)
    fade = _fade_frames(music, material.sample_rate, agreement)
    cuts = [
        Crossfade(leave + move, enter + move, fade, fade)
        for move in _best_moves(material, music, leave, enter, fade)
    ]
    best = _cleanest(material, music, cuts)
    for longer in _LONGER_FADES:
        if best.worst <= 1:
            break
        stretched = [
            replace(cut, fade_frames=longer * fade, bass_frames=longer * fade)
            for cut in cuts
            if _has_room(material, cut, longer * fade)
        ]
        if stretched:
            best = min(best, _cleanest(material, music, stretched), key=lambda found: found.worst)
    return _with_long_bass(material, music, best).cut


def _with_long_bass(material: Material, music: Music, plain: _Rendered) -> _Rendered:
    """Let the bass fade over longer where that makes less of a jump and no click."""
    bass = round(_BASS_FADE_SECONDS * material.sample_rate)
    if bass <= plain.cut.fade_frames or not _has_room(material, plain.cut, bass):
        return plain
    split = _render(material, music, replace(plain.cut, bass_frames=bass))
    return split if split.flux < plain.flux and split.click <= max(plain.click, _HARSH) else plain


def _has_room(material: Material, cut: Crossfade, fade: int) -> bool:
    return fade <= 2 * min(cut.leave, cut.enter, len(material.samples) - max(cut.leave, cut.enter))


def _cleanest(material: Material, music: Music, cuts: list[Crossfade]) -> _Rendered:
    """The first of the best cuts, as rendered."""
    return min((_render(material, music, cut) for cut in cuts), key=lambda rendered: rendered.worst)


def _aligned(material: Material, music: Music, leave: int, enter: int) -> tuple[int, float]:
    """Move `enter` so that what follows it lines up with what would have followed `leave`.

    Returns:
        The moved frame, and the correlation of the waveforms there.
    """
    rate, period, total = material.sample_rate, music.units.period_frames, len(material.samples)
    metric = music.units.metric
    if metric:
        enter = _on_the_beat(music, leave, enter, total, rate)
    around = int(min(max(0.5 * period, 0.08 * rate), 0.4 * rate))
    first, last = max(leave - around, 0), min(leave + around, total)
    radius = int((_BEAT_SHIFT_SECONDS if metric else _GRAIN_SHIFT_SECONDS) * rate)
    match = wave_match(material, (first, last), enter - (leave - first), radius)
    # a poor waveform match is noise, so rely on the onsets
    shift = 0 if metric and match.agreement < _WAVES_AGREE else match.shift_frames
    return enter + shift, match.agreement


def _on_the_beat(music: Music, leave: int, enter: int, total: int, sample_rate: int) -> int:
    """Move `enter` to where the onsets agree, unless that would make the beat slip."""
    period = music.units.period_frames
    reach = _PATTERN_BEATS * period
    match = onset_match(music.features, period, leave, enter, reach, reach)
    moved = enter + match.shift_frames
    if music.beats is None or match.agreement <= _ONSETS_AGREE or not 0 < moved < total:
        return enter
    if abs(match.shift_frames) <= SLIP_LIMIT_SECONDS * sample_rate:
        return moved
    slips = [slip_seconds(music.features, music.beats, leave, place) for place in (moved, enter)]
    shares = [SLIP_LIMIT_SECONDS if slip is None else abs(slip) for slip in slips]
    return moved if shares[0] < shares[1] else enter


def _fade_frames(music: Music, sample_rate: int, agreement: float) -> int:
    """25 to 70 ms with a beat, up to 300 ms without; the better the waveforms agree, the shorter."""
    alike, fairly_alike = agreement > 0.8, agreement > 0.5  # noqa: PLR2004 - rule-of-thumb thresholds
    if music.units.metric:
        seconds = 0.025 if alike else 0.045 if fairly_alike else 0.070
    else:
        longest = min(0.30, 0.35 * music.units.period_frames / sample_rate)
        seconds = min(longest, 0.08) if alike else longest
    return max(8, int(seconds * sample_rate))


def _best_moves(material: Material, music: Music, leave: int, enter: int, fade: int) -> list[int]:
    """Offsets of the cut in both signals at which they agree best, just before the beat and not on an attack."""
    rate, period, total = material.sample_rate, music.units.period_frames, len(material.samples)
    first = max(-int(min(0.4 * period, 0.3 * rate)), fade - leave, fade - enter)
    last = min(int(0.1 * period), total - fade - leave, total - fade - enter)
    if last - first < fade:
        return [0]
    a = mono(material.samples[leave + first : leave + last], material.downmix)
    b = mono(material.samples[enter + first : enter + last], material.downmix)
    disagreement = running_mean((a - b) ** 2, fade) / (
        running_mean(a**2, fade) + running_mean(b**2, fade) + 1e-8
    )
    at = np.arange(first, last)
    off_place = 0.15 * np.abs(at + _AHEAD_SECONDS * rate) / (0.4 * period + 1)
    energy = np.log(running_mean(a**2 + b**2, max(8, int(0.01 * rate))) + 1e-7)
    attack = np.clip(energy - np.roll(energy, int(0.02 * rate)), 0, 3)
    harsh = np.maximum(_clicks(a, rate), _clicks(b, rate)) / music.limits.click
    cost = disagreement + off_place + 0.1 * attack + np.maximum(harsh - _HARSH, 0)
    return [int(at[index]) for index in _lowest(cost, int(_CUTS_APART_SECONDS * rate))]


def _lowest(cost: Floats, apart: int) -> list[int]:
    """Indices of the lowest values, best first, at least `apart` from each other."""
    left, found = cost.copy(), []
    for _ in range(_CUTS_TRIED):
        best = int(left.argmin())
        if not np.isfinite(left[best]):
            break
        found.append(best)
        left[max(0, best - apart) : best + apart] = np.inf
    return found


def _clicks(wave: Floats, sample_rate: int) -> Floats:
    """Largest fourth difference within 3 to 4 ms of every frame."""
    block = max(1, sample_rate // 1000)
    sharp = np.abs(np.diff(wave, 4, prepend=np.full(2, wave[0]), append=np.full(2, wave[-1])))
    blocks = np.pad(sharp, (3 * block, 3 * block + -len(sharp) % block)).reshape(-1, block).max(axis=1)
    near = np.lib.stride_tricks.sliding_window_view(blocks, 7).max(axis=1)
    return np.asarray(near.repeat(block)[: len(wave)])


def _render(material: Material, music: Music, cut: Crossfade) -> _Rendered:
    """Render an excerpt around a crossfade and measure it."""
    rate = material.sample_rate
    reach, half = int(_EXCERPT_SECONDS * rate), cut.bass_frames // 2
    lead = min(max(reach, half), cut.leave, cut.enter)
    tail = min(max(reach, half), len(material.samples) - max(cut.leave, cut.enter))
    half = min(half, lead, tail)
    a = mono(material.samples[cut.leave - lead : cut.leave + half], material.downmix)
    b = mono(material.samples[cut.enter - half : cut.enter + tail], material.downmix)
    ahead = len(a) - 2 * half
    faded = blend(a[ahead:], b[: 2 * half], min(cut.fade_frames, 2 * half), rate)
    wave = np.concatenate([a[:ahead], faded, b[2 * half :]])
    near = round(CLICK_SECONDS * rate)
    click = strongest_click(wave[max(0, lead - near) : lead + near])
    flux = flux_around(wave, lead, rate, music.features)
    return _Rendered(cut, flux / music.limits.flux_db, click / music.limits.click)

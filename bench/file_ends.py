"""What a file's outer end is, and how a file joins itself, measured on nothing but the samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage
import scipy.signal
from bench.beats import track_beats
from bench.listening import downmix, hear
from bench.measures import SeamMeasures, click_at, measure_seams
from bench.verdict import MOST_SLIP_MS, failures

from outpaint_mcp.audio.engine.analysis import analyse
from outpaint_mcp.audio.sides import Side

if TYPE_CHECKING:
    from bench.track import Track

    from outpaint_mcp.audio.types import Floats, Ints, Samples

PARTS = 8
"""How many stretches the shares of struck sounds are given for."""

_BLOCK_SECONDS, _MOMENT_BLOCKS = 0.05, 6
_FADED_DB, _QUIET_DB, _SOUND_DB = 6.0, -25.0, 50.0
_NEAR_SECONDS, _SHAPED_SECONDS = 60.0, 16.0
_GRID_BEATS, _SAME_TEMPO_OCTAVES = 12, 0.06
"""A grid of another tempo than the recording's, octaves aside, went wrong."""
_AGREEING_SECONDS, _AGREEING_SHARE = 180.0, 0.8
_AROUND_SECONDS = 20.0
_MEDIAN_WINDOWS, _MEDIAN_BINS = 17, 17


@dataclass(frozen=True, slots=True)
class OuterEnd:
    """One end of a file.

    Attributes:
        last_db: level of the outermost 50 ms against the recording's usual one.
        moment_db: the same of the loudest of the outermost six.
        faded_seconds: how long the outermost stretch is that stays more than 6 dB under the usual.
        line_ms: how far the end of the full music is from the nearest beat of the bench's own grid, which is carried on
            from the twelve beats before; NaN without a beat, or where the grid is not the recording's there.
        click: the strongest within 3 ms of the end of the full music, against the recording's 99th percentile, or
            against what the recording has at that place where that is more.
        struck: share of struck sounds (median filtering) in each eighth of the outermost 16 s, the outermost last.
    """

    last_db: float
    moment_db: float
    faded_seconds: float
    line_ms: float
    click: float
    struck: tuple[float, ...]

    @property
    def is_quiet(self) -> bool:
        """Whether the music has ended there."""
        return self.last_db <= _QUIET_DB


@dataclass(frozen=True, slots=True)
class Join:
    """A file's end and its beginning, as they follow each other when it is played over and over.

    Attributes:
        measures: against the recording's own beats.
        failures: the limits it breaks.
        edges_own: those of them that the beginning breaks when the music simply runs backwards before it.
    """

    measures: SeamMeasures
    failures: tuple[str, ...]
    edges_own: tuple[str, ...]

    @property
    def passes(self) -> bool:
        """Whether it breaks no limit but those that are its beginning's own."""
        return set(self.failures) <= set(self.edges_own)


def measure_end(
    samples: Samples, side: Side, shaped_frames: int, track: Track, material_frame: int | None
) -> OuterEnd:
    """Measure one end of a file.

    Args:
        samples: the whole file.
        side: which end.
        shaped_frames: how much of it is no full music.
        track: the recording that was extended.
        material_frame: the frame of it that plays where the full music ends; None where that is not known.
    """
    rate = track.sample_rate
    outward = samples if side is Side.AFTER else samples[::-1]
    levels = _block_levels(outward, rate) - usual_db(track.samples, rate)
    loud = np.flatnonzero(levels[::-1] > -_FADED_DB)
    near = outward[-round(_NEAR_SECONDS * rate) :]
    line = len(near) - shaped_frames
    sound = hear(downmix(near if side is Side.AFTER else near[::-1]), rate)
    at = line if side is Side.AFTER else len(near) - line
    usual_click = float(np.percentile(track.reference.click, 99)) + 1e-12
    if material_frame is not None:
        usual_click = max(usual_click, click_at(track.sound, material_frame))
    return OuterEnd(
        last_db=float(levels[-1]),
        moment_db=float(levels[-_MOMENT_BLOCKS:].max()),
        faded_seconds=float(loud[0] if len(loud) else len(levels)) * _BLOCK_SECONDS,
        line_ms=_off_beat_ms(track_beats(sound)[0], track.reference.period_frames, at, side, rate),
        click=click_at(sound, at) / usual_click,
        struck=tuple(struck_shares(near[-round(_SHAPED_SECONDS * rate) :], rate)),
    )


def trackers_agree(track: Track) -> bool:
    """Whether the engine and the bench mostly hear a recording's beats at the same places, or halfway between."""
    known = analyse(track.samples[: round(_AGREEING_SECONDS * track.sample_rate)], track.sample_rate).music
    if known is None or known.beats is None or len(track.beats) < _GRID_BEATS:
        return False
    halves = np.sort(np.concatenate([track.beats, (track.beats[:-1] + track.beats[1:]) // 2]))
    away = [np.abs(halves - beat).min() for beat in known.beats.frames]
    return bool(np.mean(np.array(away) < MOST_SLIP_MS / 1000 * track.sample_rate) > _AGREEING_SHARE)


def measure_join(ending: Samples, beginning: Samples, track: Track) -> Join:
    """Measure how what ends leads into what begins, by the rule for seams.

    Args:
        ending: music up to the join.
        beginning: what is played from there on.
        track: the recording whose own beats say what is usual.
    """
    reach = round(_AROUND_SECONDS * track.sample_rate)
    ending, beginning = ending[-reach:], beginning[:reach]
    measured, broken = _judged(ending, beginning, track)
    _, own = _judged(beginning[::-1], beginning, track)
    return Join(measured, broken, tuple(cause for cause in broken if cause in own and cause != "phase"))


def _judged(ending: Samples, beginning: Samples, track: Track) -> tuple[SeamMeasures, tuple[str, ...]]:
    sound = hear(downmix(np.concatenate([ending, beginning])), track.sample_rate)
    measured = measure_seams(track.reference, sound, [len(ending)])[0]
    edge, is_reliable = track.edges[Side.BEFORE], track.reference.phase_is_reliable
    return measured, tuple(failures(measured, edge=edge, phase_is_reliable=is_reliable))


def usual_db(samples: Samples, sample_rate: int) -> float:
    """The median level of 50 ms, of those that sound."""
    levels = _block_levels(samples, sample_rate)
    return float(np.median(levels[levels > levels.max() - _SOUND_DB]))


def struck_shares(samples: Samples, sample_rate: int) -> list[float]:
    """Share of the energy that is struck rather than held, in equal parts; 0 where nothing sounds (Fitzgerald 2010)."""
    wave = downmix(samples)
    _, _, spectrum = scipy.signal.stft(wave, sample_rate, nperseg=2048, noverlap=1536)
    power = np.abs(spectrum)
    held = scipy.ndimage.median_filter(power, (1, _MEDIAN_WINDOWS))
    struck = scipy.ndimage.median_filter(power, (_MEDIAN_BINS, 1))
    mask = struck**2 / (struck**2 + held**2 + 1e-20)
    shares = []
    for part, share in zip(
        np.array_split(power**2, PARTS, axis=1), np.array_split(mask, PARTS, axis=1), strict=True
    ):
        shares.append(float((part * share).sum()))
    return [share / (max(float((power**2).sum()) / PARTS, 1e-20)) for share in shares]


def _off_beat_ms(beats: Ints, period: float | None, at: int, side: Side, sample_rate: int) -> float:
    inner = beats[beats <= at][-_GRID_BEATS:] if side is Side.AFTER else beats[beats >= at][:_GRID_BEATS]
    if period is None or len(inner) < _GRID_BEATS:
        return float("nan")
    slope, offset = np.polyfit(np.arange(len(inner)), inner, 1)
    octaves = np.log2(slope / period)
    if abs(octaves - round(octaves)) > _SAME_TEMPO_OCTAVES:
        return float("nan")
    beat = (at - offset) / slope
    return float(abs(beat - round(beat)) * slope / sample_rate * 1000)


def _block_levels(samples: Samples, sample_rate: int) -> Floats:
    """Level of every 50 ms `[blocks]`, the last one whole, dB re full scale."""
    block = round(_BLOCK_SECONDS * sample_rate)
    whole = samples[len(samples) % block :]
    return np.asarray(
        10 * np.log10((whole.astype(np.float64) ** 2).mean(axis=1).reshape(-1, block).mean(axis=1) + 1e-12)
    )

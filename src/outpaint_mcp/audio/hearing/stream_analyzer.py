"""Streaming analysis of a recording of any length.

The recording is downmixed and analysed in regions of two to four minutes, each with the same features and
beat tracking as in the engine. Only compact summaries of the regions stay in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soxr

from outpaint_mcp.audio.beats import Beats, find_beats
from outpaint_mcp.audio.features import extract_features
from outpaint_mcp.audio.files.tail_buffer import TailBuffer
from outpaint_mcp.audio.hearing.tempo import Pulse, feel
from outpaint_mcp.audio.levels import downmix

if TYPE_CHECKING:
    from outpaint_mcp.audio.features import Features
    from outpaint_mcp.audio.types import Floats, Samples

ANALYSIS_HZ = 22_050
"""Sample rate of the analysis."""
MONO = np.ones(1)
"""Channel weights of a signal that is mono already."""

_GRID_FRAMES = 1024
"""Hop of the chroma windows, a multiple of the other hop; regions begin on this grid."""
_REGION_FRAMES = 235 * 11 * _GRID_FRAMES
_CONTEXT_FRAMES = 22 * _GRID_FRAMES
"""About a second on either side, so that no region begins or ends with a spurious attack."""
_WINDOW_FRAMES = 256
_MOMENT_WINDOWS = 44
"""About half a second, and a whole number of chroma windows."""
_WRAP_SECONDS = 3.0
_LEAST_FRAMES = ANALYSIS_HZ * 3 // 100
_LEAST_FRAMES_FOR_BEATS = 4 * ANALYSIS_HZ
_CANCELS = 0.02
"""Share of the loudest channel's power below which the channels cancel out, as in `levels.downmix`."""


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of the recording at 22,050 Hz.

    Attributes:
        first_seconds: where it begins.
        signal: `[frames, 1]`.
        features: its features over time.
        beats: its beat grid; None without a steady pulse.
    """

    first_seconds: float
    signal: Samples
    features: Features
    beats: Beats | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """A recording's features over time.

    Attributes:
        windows_per_second: rate of `power` and `flux_db`.
        power: loudness `[windows]`, roughly K-weighted, as power.
        flux_db: mean rise of all bands `[windows]`, dB.
        moment_seconds: duration of a moment, about half a second.
        bands: mean power of the mel bands `[moments, 40]`.
        tones: strength of the pitch classes `[chroma windows, 12]`.
        pulses: the beats of each region.
        wrap: the last seconds followed by the first ones `[frames, 1]` at 22,050 Hz.
        wrap_frame: where the first ones begin in it.
        tail: the last region.
    """

    windows_per_second: float
    power: Floats
    flux_db: Floats
    moment_seconds: float
    bands: Floats
    tones: Floats
    pulses: tuple[Pulse, ...]
    wrap: Samples
    wrap_frame: int
    tail: Region


class Mixer:
    """Downmixes a recording block by block."""

    def __init__(self, channels: int) -> None:
        self._weights = np.full(channels, 1.0 / channels, np.float32)

    def mix(self, block: Samples) -> Samples:
        """Mix `[frames, channels]` down to `[frames]`.

        The weights change only when the channels cancel out, because a change may click.
        """
        wave = block @ self._weights
        if wave @ wave < _CANCELS * np.einsum("fc,fc->c", block, block).max():
            self._weights = downmix(block)[0].astype(np.float32)
            wave = block @ self._weights
        return wave


class StreamAnalyzer:
    """Analyses a recording block by block."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._mixer = Mixer(channels)
        self._resampler = soxr.ResampleStream(sample_rate, ANALYSIS_HZ, 1, dtype="float32", quality="MQ")
        self._signal: list[Samples] = []
        self._held_from = self._analysed_to = self._stop = 0
        self._summaries: list[RegionSummary] = []
        self._rate = sample_rate
        self._first: Samples = np.zeros(0, np.float32)
        self._wrap_frames = round(_WRAP_SECONDS * sample_rate)
        self._last = TailBuffer(self._wrap_frames)

    def add(self, block: Samples) -> None:
        """Analyse the next frames `[frames, channels]`, which must be finite."""
        wave = self._mixer.mix(block)
        self._first = np.concatenate([self._first, wave[: self._wrap_frames - len(self._first)]])
        self._last.add(wave)
        self._append(self._resampler.resample_chunk(wave))
        while self._stop - self._analysed_to >= 2 * _REGION_FRAMES + _CONTEXT_FRAMES:
            self._analyse_region(self._analysed_to + _REGION_FRAMES)

    def finish(self) -> Timeline | None:
        """Return the timeline; None for a recording shorter than 30 ms. Nothing may be added afterwards."""
        self._append(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        if self._stop < _LEAST_FRAMES:
            return None
        tail = self._analyse_region(self._stop)
        last = self._last.unroll()[-self._wrap_frames :]
        # The stream's resampled edges differ from what they would be mid-stream.
        wrap = soxr.resample(np.concatenate([last, self._first]), self._rate, ANALYSIS_HZ, quality="MQ")
        return Timeline(
            windows_per_second=ANALYSIS_HZ / _WINDOW_FRAMES,
            power=np.concatenate([summary.power for summary in self._summaries]),
            flux_db=np.concatenate([summary.flux_db for summary in self._summaries]),
            moment_seconds=_MOMENT_WINDOWS * _WINDOW_FRAMES / ANALYSIS_HZ,
            bands=np.concatenate([summary.bands for summary in self._summaries]),
            tones=np.concatenate([summary.tones for summary in self._summaries]),
            pulses=tuple(summary.pulse for summary in self._summaries),
            wrap=wrap[:, None],
            wrap_frame=round(len(last) * ANALYSIS_HZ / self._rate),
            tail=tail,
        )

    def _append(self, signal: Samples) -> None:
        self._signal.append(signal)
        self._stop += len(signal)

    def _analyse_region(self, stop: int) -> Region:
        """Analyse what precedes `stop` and was not analysed yet.

        Afterwards it is dropped, except for the context of the next region.
        """
        held = np.concatenate(self._signal)[:, None]
        signal = held[: stop + _CONTEXT_FRAMES - self._held_from]
        region_features = extract_features(signal, ANALYSIS_HZ, MONO)
        beats = find_beats(region_features, len(signal)) if len(signal) >= _LEAST_FRAMES_FOR_BEATS else None
        region = Region(self._held_from / ANALYSIS_HZ, signal, region_features, beats)
        last = stop == self._stop
        self._summaries.append(
            _summarise(region, self._analysed_to - self._held_from, None if last else stop - self._held_from)
        )
        self._analysed_to, self._held_from = stop, stop - _CONTEXT_FRAMES
        self._signal = [held[-_CONTEXT_FRAMES - (self._stop - stop) :, 0].copy()]
        return region


@dataclass(frozen=True, slots=True)
class RegionSummary:
    """What stays in memory of a region, without its context; the arrays are as in `Timeline`."""

    power: Floats
    flux_db: Floats
    bands: Floats
    tones: Floats
    pulse: Pulse


def _summarise(region: Region, start: int, stop: int | None) -> RegionSummary:
    """Summarise a region from `start` to `stop`, frames of its signal."""
    features = region.features
    end = len(region.signal) if stop is None else stop
    windows = slice(start // _WINDOW_FRAMES, None if stop is None else stop // _WINDOW_FRAMES)
    chroma = slice(start // _GRID_FRAMES, None if stop is None else stop // _GRID_FRAMES)
    bands = 10 ** (features.bands_db[windows] / 10)
    moments = np.arange(0, len(bands), _MOMENT_WINDOWS)
    return RegionSummary(
        power=features.power[windows].copy(),
        flux_db=features.flux_db[windows].copy(),
        bands=np.add.reduceat(bands, moments) / np.diff(moments, append=len(bands))[:, None],
        tones=features.tones[chroma].copy(),
        pulse=_pulse(region, start, end),
    )


def _pulse(region: Region, start: int, stop: int) -> Pulse:
    seconds = (stop - start) / ANALYSIS_HZ
    if region.beats is None:
        return Pulse(seconds, np.zeros(0), None)
    frames = region.beats.frames
    frames = frames[(frames >= start) & (frames < stop)]
    onsets, windows = region.features.onsets, frames / _WINDOW_FRAMES
    return Pulse(
        seconds,
        region.first_seconds + frames / ANALYSIS_HZ,
        feel(onsets, windows, _WINDOW_FRAMES / ANALYSIS_HZ),
    )

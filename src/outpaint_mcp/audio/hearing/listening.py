"""What is heard when in a recording of any length, as it passes by in blocks.

It is mixed down and listened to in regions of two to four minutes, each with the features and the beats that
the engine finds in a region; of these, only small things are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soxr

from outpaint_mcp.audio.beats import Beats, find_beats
from outpaint_mcp.audio.features import features
from outpaint_mcp.audio.hearing.tempo import Pulse, feel
from outpaint_mcp.audio.joining.strips import Recent
from outpaint_mcp.audio.waves import downmix

if TYPE_CHECKING:
    from outpaint_mcp.audio.features import Features
    from outpaint_mcp.audio.shapes import Floats, Samples

LISTENING_HZ = 22_050
"""Everything is listened to at this rate."""
MONO = np.ones(1)
"""The weights of a signal that is mono already."""

_GRID_FRAMES = 1024
"""Frames between two chroma windows, and a whole number of the others: regions begin on these."""
_REGION_FRAMES = 235 * 11 * _GRID_FRAMES
_CONTEXT_FRAMES = 22 * _GRID_FRAMES
"""About a second on either side, so that no region begins or ends with a false attack."""
_WINDOW_FRAMES = 256
_MOMENT_WINDOWS = 44
"""About half a second, and a whole number of chroma windows."""
_WRAP_SECONDS = 3.0
_LEAST_FRAMES = LISTENING_HZ * 3 // 100
_LEAST_FRAMES_FOR_BEATS = 4 * LISTENING_HZ
_CANCELS = 0.02
"""Share of the loudest channel's power below which the channels cancel each other out, as in `waves.downmix`."""


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of the recording at 22,050 Hz, as the engine hears it.

    Attributes:
        first_seconds: where it begins.
        signal: `[frames, 1]`.
        features: its sound over time.
        beats: its beat grid, None where there is no steady pulse.
    """

    first_seconds: float
    signal: Samples
    features: Features
    beats: Beats | None


@dataclass(frozen=True, slots=True)
class Course:
    """What was kept of a recording.

    Attributes:
        windows_per_second: of `power` and `flux_db`.
        power: loudness `[windows]`, roughly K-weighted.
        flux_db: mean rise of all bands `[windows]`, dB.
        moment_seconds: how long a moment is, about half a second.
        bands: mean power of the mel bands `[moments, 40]`.
        tones: strength of the pitch classes `[chroma windows, 12]`.
        pulses: the beats of each region.
        wrap: the last seconds and, after them, the first ones `[frames, 1]` at 22,050 Hz.
        wrap_frame: where the first begin in it.
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
    """Mixes a recording down block by block."""

    def __init__(self, channels: int) -> None:
        self._weights = np.full(channels, 1.0 / channels, np.float32)

    def mix(self, block: Samples) -> Samples:
        """Mix `[frames, channels]` down to `[frames]`; the weights stay while nothing cancels, lest it clicks."""
        wave = block @ self._weights
        if wave @ wave < _CANCELS * np.einsum("fc,fc->c", block, block).max():
            self._weights = downmix(block)[0].astype(np.float32)
            wave = block @ self._weights
        return wave


class Listener:
    """Takes in a recording block by block."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._mixer = Mixer(channels)
        self._resampler = soxr.ResampleStream(sample_rate, LISTENING_HZ, 1, dtype="float32", quality="MQ")
        self._signal: list[Samples] = []
        self._held_from = self._heard_to = self._stop = 0
        self._kept: list[Kept] = []
        self._rate = sample_rate
        self._first: Samples = np.zeros(0, np.float32)
        self._wrap_frames = round(_WRAP_SECONDS * sample_rate)
        self._last = Recent(self._wrap_frames)

    def add(self, block: Samples) -> None:
        """Take in the next frames `[frames, channels]`, finite."""
        wave = self._mixer.mix(block)
        self._first = np.concatenate([self._first, wave[: self._wrap_frames - len(self._first)]])
        self._last.add(wave)
        self._take(self._resampler.resample_chunk(wave))
        while self._stop - self._heard_to >= 2 * _REGION_FRAMES + _CONTEXT_FRAMES:
            self._hear(self._heard_to + _REGION_FRAMES)

    def finish(self) -> Course | None:
        """What was heard; nothing may be added after this. None where it is but an instant."""
        self._take(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        if self._stop < _LEAST_FRAMES:
            return None
        tail = self._hear(self._stop)
        last = self._last.unroll()[-self._wrap_frames :]
        # The edges of what was resampled as it came are not what they would be in mid-stream.
        wrap = soxr.resample(np.concatenate([last, self._first]), self._rate, LISTENING_HZ, quality="MQ")
        return Course(
            windows_per_second=LISTENING_HZ / _WINDOW_FRAMES,
            power=np.concatenate([kept.power for kept in self._kept]),
            flux_db=np.concatenate([kept.flux_db for kept in self._kept]),
            moment_seconds=_MOMENT_WINDOWS * _WINDOW_FRAMES / LISTENING_HZ,
            bands=np.concatenate([kept.bands for kept in self._kept]),
            tones=np.concatenate([kept.tones for kept in self._kept]),
            pulses=tuple(kept.pulse for kept in self._kept),
            wrap=wrap[:, None],
            wrap_frame=round(len(last) * LISTENING_HZ / self._rate),
            tail=tail,
        )

    def _take(self, signal: Samples) -> None:
        self._signal.append(signal)
        self._stop += len(signal)

    def _hear(self, stop: int) -> Region:
        """Listen to what comes before `stop` and was not heard yet, and forget it but for the context of the next."""
        held = np.concatenate(self._signal)[:, None]
        signal = held[: stop + _CONTEXT_FRAMES - self._held_from]
        heard = features(signal, LISTENING_HZ, MONO)
        beats = find_beats(heard, len(signal)) if len(signal) >= _LEAST_FRAMES_FOR_BEATS else None
        region = Region(self._held_from / LISTENING_HZ, signal, heard, beats)
        last = stop == self._stop
        self._kept.append(
            _keep(region, self._heard_to - self._held_from, None if last else stop - self._held_from)
        )
        self._heard_to, self._held_from = stop, stop - _CONTEXT_FRAMES
        self._signal = [held[-_CONTEXT_FRAMES - (self._stop - stop) :, 0].copy()]
        return region


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a region, without its context; the arrays are as in `Course`."""

    power: Floats
    flux_db: Floats
    bands: Floats
    tones: Floats
    pulse: Pulse


def _keep(region: Region, start: int, stop: int | None) -> Kept:
    """Keep little of a region from `start` to `stop`, frames inside its signal."""
    heard = region.features
    end = len(region.signal) if stop is None else stop
    windows = slice(start // _WINDOW_FRAMES, None if stop is None else stop // _WINDOW_FRAMES)
    chroma = slice(start // _GRID_FRAMES, None if stop is None else stop // _GRID_FRAMES)
    bands = 10 ** (heard.bands_db[windows] / 10)
    moments = np.arange(0, len(bands), _MOMENT_WINDOWS)
    return Kept(
        power=heard.power[windows].copy(),
        flux_db=heard.flux_db[windows].copy(),
        bands=np.add.reduceat(bands, moments) / np.diff(moments, append=len(bands))[:, None],
        tones=heard.tones[chroma].copy(),
        pulse=_pulse(region, start, end),
    )


def _pulse(region: Region, start: int, stop: int) -> Pulse:
    seconds = (stop - start) / LISTENING_HZ
    if region.beats is None:
        return Pulse(seconds, np.zeros(0), None)
    frames = region.beats.frames
    frames = frames[(frames >= start) & (frames < stop)]
    onsets, windows = region.features.onsets, frames / _WINDOW_FRAMES
    return Pulse(
        seconds,
        region.first_seconds + frames / LISTENING_HZ,
        feel(onsets, windows, _WINDOW_FRAMES / LISTENING_HZ),
    )

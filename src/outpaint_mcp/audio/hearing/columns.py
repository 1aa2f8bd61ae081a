"""The data of a recording's picture by column: waveform extremes and spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.files.decode import AudioReader
from outpaint_mcp.audio.hearing.outline import finite
from outpaint_mcp.audio.hearing.stream_analyzer import Mixer

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from outpaint_mcp.audio.types import Floats, Ints, Progress, Samples

LOWEST_HZ, _HIGHEST_HZ = 40.0, 16_000.0
_WINDOW_SECONDS, _SHORTEST_WINDOW_SECONDS = 0.093, 0.023
_WINDOWS_PER_COLUMN = 4
"""The maximum: in an hour-long recording a column spans three seconds, which these sample well enough."""
_TOGETHER = 64
"""Windows transformed at a time."""
_LEAST_BINS = 1.2
"""Smallest half-width of a row in bins; narrower rows could fall between two bins."""
_TILT_DB_PER_OCTAVE = 3.0
"""Music falls off roughly like pink noise; without this tilt, nothing above 2 kHz would be visible."""
_SILENT_POWER = 1e-11
_STEPS = 127
"""Full scale in eight bits."""


@dataclass(frozen=True, slots=True)
class Columns:
    """A recording over time, in as many columns as are drawn.

    Attributes:
        lowest: lowest value of any channel `[columns]`.
        highest: highest value of any channel `[columns]`.
        rms: root mean square over frames and channels `[columns]`.
        spectrum_db: level by pitch `[rows, columns]`, highest first, dB.
        highest_hz: frequency of the top row; that of the bottom row is `LOWEST_HZ`.
    """

    lowest: Floats
    highest: Floats
    rms: Floats
    spectrum_db: Floats
    highest_hz: float


def read_columns(
    path: Path, frames: int, *, count: int, rows: int, on_progress: Progress = lambda _fraction: None
) -> Columns:
    """Decode a recording and compute its columns.

    Args:
        path: the recording.
        frames: its length as counted.
        count: number of columns; a shorter recording gets one column per frame.
        rows: number of pitches.
        on_progress: called with the fraction done.

    Raises:
        SourceUnreachable: if the file no longer exists.
        UnsupportedAudio: if it can no longer be decoded.
    """
    with AudioReader(path) as source:
        rate, channels = source.probe.sample_rate, source.probe.channels
        count = min(count, frames)
        swing, spectrum, mixer = _Swing(frames, count), _Spectrum(rate, frames, count, rows), Mixer(channels)
        for block in source.blocks(np.float32):
            samples = finite(block)[: frames - swing.frames]
            if not len(samples):
                break
            swing.add(samples)
            spectrum.add(mixer.mix(samples))
            on_progress(min(swing.frames / frames, 1.0))
    return Columns(
        lowest=swing.lowest,
        highest=swing.highest,
        rms=swing.rms(),
        spectrum_db=spectrum.finish(),
        highest_hz=highest_hz(rate),
    )


def read_swing(
    path: Path, frames: int, *, count: int, on_progress: Progress = lambda _fraction: None
) -> npt.NDArray[np.int8]:
    """Decode a recording and return the extremes of each column as steps of 1/127, `[columns, 2]`; lowest first.

    Args and errors are those of `read_columns`.
    """
    with AudioReader(path) as source:
        swing = _Swing(frames, min(count, frames))
        for block in source.blocks(np.float32):
            samples = finite(block)[: frames - swing.frames]
            if not len(samples):
                break
            swing.add(samples)
            on_progress(min(swing.frames / frames, 1.0))
    steps = np.stack([np.floor(swing.lowest * _STEPS), np.ceil(swing.highest * _STEPS)], axis=1)
    return np.asarray(np.clip(steps, -_STEPS, _STEPS), np.int8)


def highest_hz(sample_rate: int) -> float:
    """The highest frequency that is drawn."""
    return min(_HIGHEST_HZ, 0.48 * sample_rate)


class _Swing:
    """Extremes and power of each column."""

    def __init__(self, frames: int, count: int) -> None:
        self.frames = 0
        self.lowest: Floats = np.zeros(count)
        self.highest: Floats = np.zeros(count)
        self._power, self._held = np.zeros(count), np.zeros(count)
        self._edges: Ints = np.arange(count + 1) * frames // count

    def add(self, samples: Samples) -> None:
        first = int(np.searchsorted(self._edges, self.frames, side="right")) - 1
        stop = self.frames + len(samples)
        last = int(np.searchsorted(self._edges, stop, side="left"))
        # with fewer frames than columns, some columns share a frame
        starts = np.clip(self._edges[first:last] - self.frames, 0, len(samples) - 1)
        columns = slice(first, last)
        planes = np.ascontiguousarray(samples.T)  # contiguous channels are processed far faster
        lowest, highest = planes.min(axis=0), planes.max(axis=0)
        self.lowest[columns] = np.minimum(self.lowest[columns], np.minimum.reduceat(lowest, starts))
        self.highest[columns] = np.maximum(self.highest[columns], np.maximum.reduceat(highest, starts))
        power = np.square(planes).mean(axis=0)
        self._power[columns] += np.add.reduceat(power, starts, dtype=np.float64)
        self._held[columns] += np.maximum(np.diff(starts, append=len(samples)), 1)
        self.frames = stop

    def rms(self) -> Floats:
        return np.asarray(np.sqrt(self._power / np.maximum(self._held, 1)))


class _Spectrum:
    """Mean power spectrum of a few windows per column, on a logarithmic frequency axis."""

    def __init__(self, rate: int, frames: int, count: int, rows: int) -> None:
        column_seconds = frames / count / rate
        seconds = float(np.clip(4 * column_seconds, _SHORTEST_WINDOW_SECONDS, _WINDOW_SECONDS))
        self._size = 1 << max(4, round(np.log2(seconds * rate)))
        self._each = int(np.clip(column_seconds / _WINDOW_SECONDS * 2, 1, _WINDOWS_PER_COLUMN))
        middles = (np.arange(count * self._each) + 0.5) * frames / (count * self._each)
        self._starts = np.rint(middles).astype(np.int64)
        self._taper = np.hanning(self._size + 1)[:-1].astype(np.float32)
        self._bank = _bank(rate, self._size, rows)
        self._held = np.zeros(self._size // 2, np.float32)
        self._held_from = 0
        self._rows: list[Floats] = []
        self._done = 0

    def add(self, wave: Samples) -> None:
        """Add the next frames `[frames]`. A window centred on a frame begins half a window before it."""
        self._held = np.concatenate([self._held, wave])
        stop = self._held_from + len(self._held) - self._size
        ready = int(np.searchsorted(self._starts, stop, side="right"))
        starts = self._starts[self._done : ready] - self._held_from
        for first in range(0, len(starts), _TOGETHER):
            frames = starts[first : first + _TOGETHER, None] + np.arange(self._size)
            spectra = np.fft.rfft(self._held[frames] * self._taper, axis=1)
            power = (spectra.real**2 + spectra.imag**2)[:, : self._bank.shape[1]]
            self._rows.append(power @ self._bank.T)
        self._done = ready
        drop = max(0, len(self._held) - self._size)
        self._held, self._held_from = self._held[drop:], self._held_from + drop

    def finish(self) -> Floats:
        """Return the levels `[rows, columns]` in dB, highest pitch first."""
        self.add(np.zeros(self._size, np.float32))
        power = np.concatenate(self._rows) / (self._taper.sum() / 2) ** 2
        columns = power.reshape(-1, self._each, power.shape[1]).mean(axis=1)
        levels: Floats = 10 * np.log10(columns.T[::-1] + _SILENT_POWER)
        return levels


def _bank(rate: int, size: int, rows: int) -> Floats:
    """Triangular filters `[rows, bins]` of unit sum, evenly spaced in pitch, times the tilt."""
    top = highest_hz(rate)
    centres = np.geomspace(LOWEST_HZ, top, rows)
    half = np.maximum(np.gradient(centres) * size / rate, _LEAST_BINS)[:, None]
    bins = np.arange(int(top * size / rate) + 4)
    weights = np.clip(1 - np.abs(bins - centres[:, None] * size / rate) / half, 0, None)
    tilt = 10 ** (_TILT_DB_PER_OCTAVE * np.log2(centres / 1000) / 10)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True) * tilt[:, None], np.float32)

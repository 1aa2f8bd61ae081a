"""Loudness and true peak (ITU-R BS.1770-4, EBU R 128), measured by FFmpeg's `ebur128` filter."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import log10
from typing import TYPE_CHECKING

import av
import numpy as np
from av.filter import Graph

from outpaint_mcp.audio.levels import CHUNK_FRAMES, SILENCE_DB

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Samples

_LAYOUTS = ("mono", "stereo", "2.1", "quad", "5.0", "5.1", "6.1", "7.1")
"""FFmpeg's names of the channel layouts of WAV and FLAC, by channel count; they determine the channel weights."""

_LEAST_SECONDS = 0.4
"""One gating block; shorter signals have no loudness."""
_SILENT_LUFS = -70.0
"""The absolute gate; anything below it has no loudness."""


@dataclass(frozen=True, slots=True)
class Loudness:
    """Measured loudness.

    Attributes:
        lufs: integrated loudness; None where the signal is shorter than 0.4 s or silent.
        range_lu: loudness range (EBU Tech 3342).
        true_peak_dbtp: true peak, found by fourfold oversampling; -100 for silence, or if not requested.
    """

    lufs: float | None
    range_lu: float
    true_peak_dbtp: float


class LoudnessMeter:
    """Measures audio that arrives in blocks."""

    def __init__(self, sample_rate: int, channels: int, *, true_peak: bool = True) -> None:
        """Create a meter.

        Args:
            sample_rate: frames per second.
            channels: 1 to 8.
            true_peak: whether to measure the true peak as well, which takes three times as long.
        """
        self._rate = sample_rate
        self._channels = channels
        self._layout = _LAYOUTS[channels - 1]
        self._frames = 0
        self._metadata: dict[str, str] = {}
        graph = Graph()
        begin = graph.add_abuffer(
            format="flt", sample_rate=sample_rate, layout=self._layout, time_base=Fraction(1, sample_rate)
        )
        peak = ":peak=true" if true_peak else ""
        meter = graph.add("ebur128", f"metadata=1:framelog=quiet:dualmono=0{peak}")
        end = graph.add("abuffersink")
        begin.link_to(meter)
        meter.link_to(end)
        graph.configure()
        # The endpoints do not keep the graph alive.
        self._graph, self._begin, self._end = graph, begin, end

    def add(self, samples: Samples) -> None:
        """Measure the next frames `[frames, channels]`, which must be finite."""
        for first in range(0, len(samples), CHUNK_FRAMES):
            block = np.ascontiguousarray(samples[first : first + CHUNK_FRAMES], np.float32)
            frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="flt", layout=self._layout)
            frame.sample_rate, frame.pts = self._rate, self._frames
            self._frames += len(block)
            self._begin.push(frame)
            self._drain()

    def finish(self) -> Loudness:
        """Return the result. Nothing may be added afterwards."""
        measured, frames = dict(self._metadata), self._frames
        # The filter works in steps of 0.1 s. The remainder may hold a peak but is not a gating block.
        if frames:
            self.add(np.zeros((self._rate // 10 + 1, self._channels), np.float32))
        self._begin.push(None)
        self._drain()
        integrated = float(measured.get("lavfi.r128.I", _SILENT_LUFS))
        true_peak = float(self._metadata.get("lavfi.r128.true_peak", 0.0))
        has_loudness = frames >= _LEAST_SECONDS * self._rate and integrated > _SILENT_LUFS
        return Loudness(
            lufs=integrated if has_loudness else None,
            range_lu=float(measured.get("lavfi.r128.LRA", 0.0)),
            true_peak_dbtp=20 * log10(max(true_peak, 10 ** (SILENCE_DB / 20))),
        )

    def _drain(self) -> None:
        while True:
            try:
                metadata = self._end.pull().metadata
            except (av.BlockingIOError, av.EOFError):
                return
            if metadata:  # the last frame, shorter than 0.1 s, has none
                self._metadata = dict(metadata)


def loudness_of(samples: Samples, sample_rate: int, *, true_peak: bool = False) -> Loudness:
    """Measure audio in memory `[frames, channels]`."""
    meter = LoudnessMeter(sample_rate, samples.shape[1], true_peak=true_peak)
    meter.add(samples)
    return meter.finish()

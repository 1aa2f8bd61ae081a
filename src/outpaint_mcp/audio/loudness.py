"""Loudness and true peak by ITU-R BS.1770-4 and EBU R 128, as FFmpeg's `ebur128` filter measures them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import log10
from typing import TYPE_CHECKING

import av
import numpy as np
from av.filter import Graph

from outpaint_mcp.audio.waves import CHUNK_FRAMES, SILENCE_DB

if TYPE_CHECKING:
    from outpaint_mcp.audio.shapes import Samples

_LAYOUTS = ("mono", "stereo", "2.1", "quad", "5.0", "5.1", "6.1", "7.1")
"""What so many channels of WAV and FLAC are, as FFmpeg calls it; it tells which are weighted, and how."""

_LEAST_SECONDS = 0.4
"""One gating block: of less there is no loudness."""
_SILENT_LUFS = -70.0
"""The absolute gate: what stays under it has no loudness."""


@dataclass(frozen=True, slots=True)
class Loudness:
    """What was measured.

    Attributes:
        lufs: integrated loudness; None where there is too little to measure, or nothing but silence.
        range_lu: loudness range (EBU Tech 3342).
        true_peak_dbtp: the largest value between the samples, too, found at four times the rate;
            -100 where it was not asked for, or all is silent.
    """

    lufs: float | None
    range_lu: float
    true_peak_dbtp: float


class LoudnessMeter:
    """Measures audio that passes by in blocks."""

    def __init__(self, sample_rate: int, channels: int, *, true_peak: bool = True) -> None:
        """Begin to measure.

        Args:
            sample_rate: frames per second.
            channels: 1 to 8.
            true_peak: whether to find that, too; it takes three times as long.
        """
        self._rate = sample_rate
        self._channels = channels
        self._layout = _LAYOUTS[channels - 1]
        self._frames = 0
        self._seen: dict[str, str] = {}
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
        # The graph itself has to live as long as its ends.
        self._graph, self._begin, self._end = graph, begin, end

    def add(self, samples: Samples) -> None:
        """Take in the next frames `[frames, channels]`, finite."""
        for first in range(0, len(samples), CHUNK_FRAMES):
            block = np.ascontiguousarray(samples[first : first + CHUNK_FRAMES], np.float32)
            frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="flt", layout=self._layout)
            frame.sample_rate, frame.pts = self._rate, self._frames
            self._frames += len(block)
            self._begin.push(frame)
            self._drain()

    def finish(self) -> Loudness:
        """Return what was measured; nothing may be added after this."""
        measured, frames = dict(self._seen), self._frames
        # It looks at a tenth of a second at a time; what is left over may hold a peak, but is no block.
        if frames:
            self.add(np.zeros((self._rate // 10 + 1, self._channels), np.float32))
        self._begin.push(None)
        self._drain()
        integrated = float(measured.get("lavfi.r128.I", _SILENT_LUFS))
        true_peak = float(self._seen.get("lavfi.r128.true_peak", 0.0))
        heard = frames >= _LEAST_SECONDS * self._rate and integrated > _SILENT_LUFS
        return Loudness(
            lufs=integrated if heard else None,
            range_lu=float(measured.get("lavfi.r128.LRA", 0.0)),
            true_peak_dbtp=20 * log10(max(true_peak, 10 ** (SILENCE_DB / 20))),
        )

    def _drain(self) -> None:
        while True:
            try:
                seen = self._end.pull().metadata
            except (av.BlockingIOError, av.EOFError):
                return
            if seen:  # the last piece, of less than a tenth of a second, has none
                self._seen = dict(seen)


def loudness_of(samples: Samples, sample_rate: int, *, true_peak: bool = False) -> Loudness:
    """Measure audio `[frames, channels]` that is in memory."""
    meter = LoudnessMeter(sample_rate, samples.shape[1], true_peak=true_peak)
    meter.add(samples)
    return meter.finish()

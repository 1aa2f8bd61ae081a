"""Properties of a recording's raw samples: envelope, DC offset, clipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.levels import to_gain

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Floats, Samples

_STEPS_PER_SECOND = 100
"""Half the peak-to-peak range in 10 ms is, unlike a peak, independent of a DC offset."""
_FULL_SCALE = 0.9999
"""Slightly below the highest 16-bit value, 0.99997."""
_AUDIBLE_RANGE_DB, _AUDIBLE_DB = -60.0, -80.0
"""Anything this far below the loudest step is inaudible beside it; 16-bit dither lies at -90 dB."""
_LOUDEST = 64.0
"""36 dB over full scale: float files may contain anything, and the squares have to stay finite."""


@dataclass(frozen=True, slots=True)
class Outline:
    """The outline of a recording.

    Attributes:
        envelope: half the peak-to-peak range of the loudest channel in each step `[steps]`.
        step_seconds: duration of a step, about 10 ms.
        full_scale_frames: frames in which some channel is at full scale or beyond.
        dc_offset: the mean of the channel whose mean is farthest from 0.
    """

    envelope: Floats
    step_seconds: float
    full_scale_frames: int
    dc_offset: float

    def sounding(self) -> tuple[float, float] | None:
        """Find where the recording is audible.

        Audible means within 60 dB of the loudest step, and above -80 dB re full scale.

        Returns:
            Start of the first and end of the last audible step, in seconds; None for silence.
        """
        least = max(self.envelope.max(initial=0.0) * to_gain(_AUDIBLE_RANGE_DB), to_gain(_AUDIBLE_DB))
        audible = np.flatnonzero(self.envelope >= least).tolist()
        return (audible[0] * self.step_seconds, (audible[-1] + 1) * self.step_seconds) if audible else None


def finite(block: Samples) -> Samples:
    """Replace NaN and infinity with silence, and clip at 36 dB over full scale."""
    clean = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(clean, -_LOUDEST, _LOUDEST, out=clean)


class Outliner:
    """Measures a recording block by block."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._step = round(sample_rate / _STEPS_PER_SECOND)
        self._rate = sample_rate
        self._left = np.zeros((channels, 0), np.float32)
        self._sums: Floats = np.zeros(channels)
        self._frames = 0
        self._full = 0
        self._envelope: list[Samples] = []

    def add(self, block: Samples) -> None:
        """Measure the next frames `[frames, channels]`, which must be finite."""
        self._frames += len(block)
        planes = np.ascontiguousarray(block.T)  # contiguous channels are processed far faster
        self._sums = self._sums + planes.sum(axis=1, dtype=np.float64)
        if max(planes.max(), -planes.min()) >= _FULL_SCALE:
            self._full += int((np.abs(planes) >= _FULL_SCALE).any(axis=0).sum())
        whole = np.concatenate([self._left, planes], axis=1)
        steps = whole.shape[1] // self._step
        self._left = whole[:, steps * self._step :].copy()
        self._measure(whole[:, : steps * self._step].reshape(len(whole), steps, self._step))

    def finish(self) -> Outline:
        """Return the outline. Nothing may be added afterwards."""
        if self._left.size:
            self._measure(self._left[:, None])
        means = self._sums / max(self._frames, 1)
        return Outline(
            envelope=np.concatenate([np.zeros(0), *self._envelope]),
            step_seconds=self._step / self._rate,
            full_scale_frames=self._full,
            dc_offset=float(means[np.abs(means).argmax()]),
        )

    def _measure(self, steps: Samples) -> None:
        """Append the envelope of `[channels, steps, frames]`."""
        self._envelope.append((steps.max(axis=2) - steps.min(axis=2)).max(axis=0) / 2)

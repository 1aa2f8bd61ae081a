"""Where an extension is silent, fades or clips, against the source beside it; time runs outwards here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.levels import CHUNK_FRAMES, median, percentile, running_mean
from outpaint_mcp.audio.verdict.records import Extent

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Floats, Samples

_BLOCK_SECONDS = 0.05
_UNDER_LOUD_DB, _INAUDIBLE_DB = 60.0, -80.0
_LOUD_PERCENT = 95.0
_SMOOTHED_BLOCKS = 20
_NEARLY_FULL_DB, _FADED_DB = 6.0, 26.0
_FULL_SCALE = 0.999


def silence_db(samples: Samples, sample_rate: int) -> float:
    """The level below which nothing is audible beside this music, dB re full scale."""
    levels = _levels_db(samples, sample_rate)
    loud = percentile(levels, _LOUD_PERCENT) if len(levels) else _INAUDIBLE_DB
    return max(loud - _UNDER_LOUD_DB, _INAUDIBLE_DB)


def measure_extent(samples: Samples, sample_rate: int, threshold_db: float) -> Extent:
    """Measure a stretch that runs outwards `[frames, channels]`; `threshold_db` is where silence begins."""
    levels = _levels_db(samples, sample_rate)
    sounding = np.flatnonzero(levels > threshold_db)
    if not len(sounding):
        return Extent(silence_seconds=len(samples) / sample_rate)
    last = int(sounding[-1]) + 1
    gaps = np.diff(sounding, prepend=-1) - 1
    longest = int(gaps.argmax())
    silence = max(0.0, len(samples) / sample_rate - last * _BLOCK_SECONDS)
    fade = _fade_blocks(levels[:last]) * _BLOCK_SECONDS
    return Extent(
        silence_seconds=silence,
        gap_seconds=float(gaps[longest]) * _BLOCK_SECONDS,
        gap_at_seconds=float(sounding[longest] - gaps[longest]) * _BLOCK_SECONDS,
        fade_seconds=fade,
        clipped=_clipped_share(samples),
    )


def _levels_db(samples: Samples, sample_rate: int) -> Floats:
    """Level of each twentieth of a second `[blocks]`, the last one shorter or none."""
    size = max(1, round(_BLOCK_SECONDS * sample_rate))
    powers = [
        np.square(samples[first : first + size]).mean(dtype=np.float64)
        for first in range(0, len(samples) - size // 2, size)
    ]
    return 10 * np.log10(np.array(powers, dtype=np.float64) + 1e-12)


def _fade_blocks(levels: Floats) -> int:
    """How many blocks before its end music that fades away was last nearly as loud as it usually is."""
    smooth = running_mean(levels, _SMOOTHED_BLOCKS)
    usual = median(smooth[smooth >= median(smooth)])
    if smooth[-1] > usual - _FADED_DB:
        return 0
    return len(smooth) - 1 - int(np.flatnonzero(smooth > usual - _NEARLY_FULL_DB)[-1])


def _clipped_share(samples: Samples) -> float:
    clipped = 0
    for first in range(0, len(samples), CHUNK_FRAMES):
        clipped += int((np.abs(samples[first : first + CHUNK_FRAMES]) >= _FULL_SCALE).any(axis=1).sum())
    return clipped / max(1, len(samples))

"""Matching the loudness of generated music to the music beside it.

Time runs outward here, away from the source, which is never modified.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.levels import to_gain
from outpaint_mcp.audio.loudness import loudness_of

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Samples

_COMPARED_SECONDS = 3.0
"""The window of short-term loudness in EBU R 128."""
_LEFT_ALONE_LU, _MOST_DB = 1.5, 6.0
"""Steps up to this are left alone, and the largest gain."""
_RISE_SECONDS, _SETTLED_SECONDS = 0.1, 10.0
"""The gain is at its full value after the first and back at 0 dB after the second."""
_QUIET_EDGE_LU = 6.0
"""An edge this much quieter than the music before it is fading; what follows need not be as quiet."""
_STEP_SECONDS = 1.0


def loudness_step(edge: Samples, new: Samples, sample_rate: int) -> float:
    """Measure how much louder new music begins than the edge that it follows.

    Steps of up to 1.5 LU, or as large as those of the edge itself within its last ten seconds, are left
    alone, and so is everything that follows silence or a fade, and anything shorter than 3 s.

    Args:
        edge: the music before the seam, outward `[frames, channels]`.
        new: the music after it, with as many channels.
        sample_rate: of both, frames per second.

    Returns:
        The step in LU; 0 where it needs no correction.
    """
    length, step = (int(seconds * sample_rate) for seconds in (_COMPARED_SECONDS, _STEP_SECONDS))
    if min(len(edge), len(new)) < length:
        return 0.0
    own = [_lufs(edge[stop - length : stop], sample_rate) for stop in range(len(edge), length - 1, -step)]
    beyond = _lufs(new[:length], sample_rate)
    if own[0] is None or beyond is None:
        return 0.0
    measured = [each for each in own if each is not None]
    steps = [
        abs(late - early)
        for late, early in zip(own, own[length // step :], strict=False)
        if late is not None and early is not None
    ]
    jump = beyond - own[0]
    usual = max([_LEFT_ALONE_LU, *steps])
    return jump if abs(jump) > usual and max(measured) - own[0] <= _QUIET_EDGE_LU else 0.0


def _lufs(samples: Samples, sample_rate: int) -> float | None:
    return loudness_of(samples, sample_rate).lufs


def settle(new: Samples, step_lu: float, sample_rate: int) -> tuple[Samples, float]:
    """Remove a step in loudness with a gain that fades out.

    The gain begins at 0 dB, because a step of the gain itself would be audible. It reaches its full value 0.1
    s after the seam and returns to 0 dB after ten seconds, or at the end.

    Args:
        new: the new music, outward `[frames, channels]`.
        step_lu: the step, as returned by `loudness_step`.
        sample_rate: frames per second.

    Returns:
        The new music, and the largest gain in dB, within ±6.
    """
    most_db = float(np.clip(-step_lu, -_MOST_DB, _MOST_DB))
    if not most_db:
        return new, 0.0
    frames = min(len(new), int(_SETTLED_SECONDS * sample_rate))
    rising = np.minimum(1, np.arange(frames) / (_RISE_SECONDS * sample_rate))
    shape = (0.5 - 0.5 * np.cos(np.pi * rising)) * (0.5 + 0.5 * np.cos(np.pi * np.arange(frames) / frames))
    settled = new.copy()
    settled[:frames] *= to_gain(most_db * shape)[:, None].astype(np.float32)
    return settled, most_db

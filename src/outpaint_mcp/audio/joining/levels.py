"""The loudness of what a model made, brought to that of the music beside it.

Time runs outwards here, away from the source, which is never touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.loudness import loudness_of
from outpaint_mcp.audio.waves import to_gain

if TYPE_CHECKING:
    from outpaint_mcp.audio.shapes import Samples

_COMPARED_SECONDS = 3.0
"""What EBU R 128 calls short-term loudness."""
_LEFT_ALONE_LU, _MOST_DB = 1.5, 6.0
_RISE_SECONDS, _SETTLED_SECONDS = 0.1, 10.0
_QUIET_EDGE_LU = 6.0
"""Music that has become so much quieter is on its way out; what follows it need not be as quiet."""
_STEP_SECONDS = 1.0


def loudness_step(edge: Samples, new: Samples, sample_rate: int) -> float:
    """How much louder new music begins than the edge that it follows, in LU; 0 where that is no fault.

    Up to 1.5 LU, or what the edge itself does within its last ten seconds, is left alone, and so is all that
    follows silence or a fade, and where either lasts less than 3 s.

    Args:
        edge: outwards `[frames, channels]`.
        new: as many channels.
        sample_rate: of both, frames per second.
    """
    length, step = (int(seconds * sample_rate) for seconds in (_COMPARED_SECONDS, _STEP_SECONDS))
    if min(len(edge), len(new)) < length:
        return 0.0
    own = [_lufs(edge[stop - length : stop], sample_rate) for stop in range(len(edge), length - 1, -step)]
    beyond = _lufs(new[:length], sample_rate)
    if own[0] is None or beyond is None:
        return 0.0
    heard = [each for each in own if each is not None]
    steps = [
        abs(late - early)
        for late, early in zip(own, own[length // step :], strict=False)
        if late is not None and early is not None
    ]
    jump = beyond - own[0]
    usual = max([_LEFT_ALONE_LU, *steps])
    return jump if abs(jump) > usual and max(heard) - own[0] <= _QUIET_EDGE_LU else 0.0


def _lufs(samples: Samples, sample_rate: int) -> float | None:
    return loudness_of(samples, sample_rate).lufs


def settle(new: Samples, step_lu: float, sample_rate: int) -> tuple[Samples, float]:
    """Take a step of loudness away by a gain that is whole 0.1 s after the seam and none ten seconds on, or at the end.

    It begins at none: a gain that steps is heard, too.

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

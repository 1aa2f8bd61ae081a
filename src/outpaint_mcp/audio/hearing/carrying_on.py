"""Where a recording is carried on from, if not from its end: the engine's own answer, before anything is extended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.audio.engine.full_music import edge_of
from outpaint_mcp.audio.sides import Side

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Samples


def carry_on_from(tail: Samples, sample_rate: int, frames: int) -> float | None:
    """Return where the full music ends, in seconds.

    Args:
        tail: the recording's last `full_music.NEAR_SECONDS`, `[frames, channels]`.
        sample_rate: frames per second.
        frames: length of the recording.

    Returns:
        None where that is the recording's own end.
    """
    behind, _ = edge_of(tail, sample_rate, Side.AFTER, frames)
    return round((frames - behind) / sample_rate, 3) if behind else None

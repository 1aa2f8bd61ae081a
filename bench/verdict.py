"""Which seams pass, and why the others fail."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.measures import SeamMeasures

UNUSUAL_PCT = 99.5
"""What is beyond this percentile of the source's own beats does not happen in the source."""

MOST_CLICK_RATIO = 1.5
"""Times the source's 99th percentile."""

MOST_SLIP_MS = 40.0


def failures(seam: SeamMeasures, *, edge: str, phase_is_reliable: bool) -> list[str]:
    """The names of the limits that a seam breaks.

    Args:
        seam: its measures.
        edge: `in` inside the extension, `loud` or `quiet` at the source's edge, where quiet means
            18 dB under the source's mean; loudness and chroma are waived there.
        phase_is_reliable: whether the source itself shows a steady beat.
    """
    broken = []
    if seam.flux_pct >= UNUSUAL_PCT:
        broken.append("flux")
    if seam.click_ratio > MOST_CLICK_RATIO:
        broken.append("click")
    if edge != "quiet":
        if seam.lufs_pct >= UNUSUAL_PCT:
            broken.append("loudness")
        if seam.chroma_pct >= UNUSUAL_PCT:
            broken.append("chroma")
    if phase_is_reliable and not math.isnan(seam.phase) and seam.phase > MOST_SLIP_MS:
        broken.append("phase")
    return broken

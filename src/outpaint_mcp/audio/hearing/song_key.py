"""The key of a whole recording, named only where it holds up."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import TYPE_CHECKING

from outpaint_mcp.audio.keys import find_key, steadiness

if TYPE_CHECKING:
    from outpaint_mcp.audio.tonality import Key
    from outpaint_mcp.audio.types import Floats

LEAST_CONFIDENCE = 0.4
"""Below it there is no clear key. `bench/README.md` has what this is measured on: another part of the same recording
agrees with a key that is named.
"""


def find_song_key(tones: Floats) -> Key | None:
    """Find the key that holds for a whole recording.

    Its confidence is the square root of its lead over the keys of other signatures, times the share of the recording
    in which none of those fits better: a piece that is in one key half of the time is in none.

    Args:
        tones: strength of the pitch classes from C, `[windows, 12]`, as in `Features.tones`.

    Returns:
        None for what has no clear key.
    """
    key = find_key(tones)
    if key is None:
        return None
    confidence = round(sqrt(max(key.confidence, 0.0)) * steadiness(tones, key), 2)
    return replace(key, confidence=confidence) if confidence >= LEAST_CONFIDENCE else None

"""Where new music is best put inside a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.engine.analysis import analyse
from outpaint_mcp.audio.engine.bars import clear_lines
from outpaint_mcp.audio.engine.leaps import leap_costs
from outpaint_mcp.errors import InvalidRequest

if TYPE_CHECKING:
    from outpaint_mcp.audio.engine.analysis import Music
    from outpaint_mcp.audio.types import Ints, Samples

_FROM_SHARE, _TO_SHARE = 0.4, 0.9
"""Late enough for there to be material before it, early enough for the ending to remain one."""
_LEAST_UNITS = 16
_LATER = 0.5
"""What a place at the very beginning would cost more than one at the very end: later ones have more material."""


def choose_place(region: Samples, sample_rate: int) -> int:
    """Choose the frame at which music goes on best from elsewhere: at a bar line, where there are bars.

    Args:
        region: the recording, or its end `[frames, channels]`.
        sample_rate: frames per second.

    Raises:
        InvalidRequest: it is too short, or silent.
    """
    music = analyse(region, sample_rate).music
    if music is None or len(music.units) < _LEAST_UNITS:
        raise InvalidRequest(
            "The source is too short, or too quiet, for music to be put inside it: use another placement.",
            field="placement",
        )
    bounds = music.units.bounds
    places = _places(music)
    near = places[(bounds[places] >= _FROM_SHARE * len(region)) & (bounds[places] <= _TO_SHARE * len(region))]
    places = near if len(near) else places
    costs = leap_costs(music.units, music.similarity)
    best = costs[places - 1].min(axis=1) - _LATER * bounds[places] / len(region)
    return int(bounds[places[int(best.argmin())]])


def _places(music: Music) -> Ints:
    """Units before which music could be put: at bar lines where these are clear."""
    inner = np.arange(_LEAST_UNITS // 2, len(music.units) - 1)
    clear = clear_lines(music)
    if clear is None:
        return inner
    lines = np.searchsorted(music.units.bounds, clear)
    return inner[np.isin(inner, lines)] if np.isin(inner, lines).any() else inner

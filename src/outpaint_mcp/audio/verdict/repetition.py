"""How much of an extension repeats what came just before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soxr

from outpaint_mcp.audio.joining.locate import wave_agreements
from outpaint_mcp.audio.levels import downmix

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Floats, Samples

WITHIN_SECONDS = 16.0
"""Music that returns after longer than this does not sound stuck."""

_RATE_HZ = 3_500
_PIECE_SECONDS, _LEAST_SECONDS = 1.0, 0.75
_AGAIN = 0.85
_FAINT = 1e-4


def agreements_with_past(samples: Samples, sample_rate: int) -> Floats:
    """How well each second of music agrees with the 16 s before it, wave by wave.

    Returns:
        Normalised correlation of each whole second with its best match `[seconds]`, 0 to 1; 0 for silence.
    """
    rate = min(_RATE_HZ, sample_rate)
    wave = soxr.resample(samples @ downmix(samples)[0].astype(np.float32), sample_rate, rate, quality="MQ")[
        :, None
    ]
    slope = np.diff(wave, axis=0, prepend=wave[:1])
    piece, least = round(_PIECE_SECONDS * rate), round(_LEAST_SECONDS * rate)
    found = np.zeros(len(slope) // piece)
    for number in range(1, len(found)):
        at = number * piece
        past = slope[max(0, at - round(WITHIN_SECONDS * rate)) : at + piece - least]
        wanted = slope[at : at + piece]
        if float((wave[at : at + piece] ** 2).mean()) > _FAINT**2:
            found[number] = max(0.0, float(wave_agreements(wanted, past).max()))
    return found


def repeated_share(agreements: Floats) -> float:
    """Share of the seconds that repeat what came before."""
    return float((agreements >= _AGAIN).mean()) if len(agreements) else 0.0


def usual_share(agreements: Floats, seconds: int) -> float:
    """The largest such share in any stretch of `seconds`."""
    again = (agreements >= _AGAIN).astype(np.float64)
    span = min(max(1, seconds), len(again))
    return float(np.convolve(again, np.ones(span) / span, "valid").max()) if len(again) else 0.0

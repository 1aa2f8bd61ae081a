"""How much of an extension repeats what came just before."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

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
_AGAIN, _NEARLY_AS_WELL = 0.85, 0.04
_FAINT = 1e-4
_SAME_LAG_SECONDS = 0.004


class Repeats(NamedTuple):
    """What of each second of music was there before.

    Attributes:
        agreements: normalised correlation of each whole second with its best match in the 16 s before it
            `[seconds]`, 0 to 1; 0 for silence.
        lags_seconds: how long before the latest match that is as good was `[seconds]`.
    """

    agreements: Floats
    lags_seconds: Floats


class Run(NamedTuple):
    """A stretch in which the same few seconds are played over and over again.

    Attributes:
        first: its first second.
        seconds: its length, without the first pass.
        lag_seconds: how long a pass is.
    """

    first: int
    seconds: int
    lag_seconds: float

    @property
    def passes(self) -> float:
        """How often it is played; 0 where nothing returns."""
        return self.seconds / self.lag_seconds + 1 if self.lag_seconds else 0.0


def repeats(samples: Samples, sample_rate: int) -> Repeats:
    """Compare each second of music with the 16 s before it, wave by wave."""
    rate = min(_RATE_HZ, sample_rate)
    wave = soxr.resample(samples @ downmix(samples)[0].astype(np.float32), sample_rate, rate, quality="MQ")[
        :, None
    ]
    slope = np.diff(wave, axis=0, prepend=wave[:1])
    piece, least = round(_PIECE_SECONDS * rate), round(_LEAST_SECONDS * rate)
    found = np.zeros(len(slope) // piece)
    lags = np.zeros(len(found))
    for number in range(1, len(found)):
        at = number * piece
        first = max(0, at - round(WITHIN_SECONDS * rate))
        wanted = slope[at : at + piece]
        if float((wave[at : at + piece] ** 2).mean()) > _FAINT**2:
            waves = wave_agreements(wanted, slope[first : at + piece - least])
            best = float(waves.max())
            found[number] = max(0.0, best)
            lags[number] = (at - first - int(np.flatnonzero(waves >= best - _NEARLY_AS_WELL)[-1])) / rate
    return Repeats(found, lags)


def repeated_share(agreements: Floats) -> float:
    """Share of the seconds that repeat what came before."""
    return float((agreements >= _AGAIN).mean()) if len(agreements) else 0.0


def usual_share(agreements: Floats, seconds: int) -> float:
    """The largest such share in any stretch of `seconds`."""
    again = (agreements >= _AGAIN).astype(np.float64)
    span = min(max(1, seconds), len(again))
    return float(np.convolve(again, np.ones(span) / span, "valid").max()) if len(again) else 0.0


def longest_run(found: Repeats) -> Run:
    """The stretch that returns most often at the same distance; a second may differ now and then."""
    best = Run(0, 0, 0.0)
    again = found.agreements >= _AGAIN
    for first in np.flatnonzero(again).tolist():
        lag = float(found.lags_seconds[first])
        if first and again[first - 1] and abs(found.lags_seconds[first - 1] - lag) < _SAME_LAG_SECONDS:
            continue
        same = again & (np.abs(found.lags_seconds - lag) < _SAME_LAG_SECONDS)
        stop, missed = first + 1, 0
        for number in range(first + 1, len(same)):
            missed = 0 if same[number] else missed + 1
            if missed > 1:
                break
            stop = number + 1 if same[number] else stop
        run = Run(first, stop - first, lag)
        if run.passes > best.passes:
            best = run
    return best

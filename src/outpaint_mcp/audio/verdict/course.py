"""What goes wrong in the course of added music, away from any seam: clicks, changes of gain, a beat that drifts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from outpaint_mcp.audio.beats import find_beats
from outpaint_mcp.audio.levels import mono
from outpaint_mcp.audio.verdict.reference import fall_db
from outpaint_mcp.audio.verdict.spikes import click_shares

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from outpaint_mcp.audio.features import Features
    from outpaint_mcp.audio.types import Floats, Ints, Samples
    from outpaint_mcp.audio.verdict.reference import Reference
    from outpaint_mcp.audio.verdict.spikes import Bends

_NEAR_SEAM_SECONDS, _NEAR_END_SECONDS, _NEAR_STEP_SECONDS = 0.02, 0.1, 1.5
"""What is nearer to a seam is checked there; a first note stands alone at the beginning of a file."""
_DROP_MARGIN_SECONDS = 1.0
_LEAST_FALL_DB, _FALL_SHARE = 4.0, 1.2
_LEAST_DRIFT_SECONDS = 10.0
_METRES = (0.5, 2 / 3, 1.0, 1.5, 2.0)
_MOST_DRIFT = 0.02
"""What is faster or slower than this has another tempo."""
_STRAY_SECONDS = 0.02
_FEWEST_BEATS = 12


class Found(NamedTuple):
    """The most of something, and where; seconds from the beginning of the added music."""

    amount: float
    at_seconds: float


NOTHING = Found(0.0, 0.0)


def find_click(reference: Reference, bends: Bends, new: Samples, seams: Sequence[int]) -> Found:
    """Find what is most of a click in added music away from known seams; above 1 it is one.

    Args:
        reference: what the source does.
        bends: how sharply that, or all of the source, bends.
        new: the added music `[frames, channels]`.
        seams: frames in it that are checked otherwise.
    """
    if bends.limit is None or not len(new):
        return NOTHING
    rate = reference.sample_rate
    places, found = click_shares(bends, mono(new, reference.weights), rate)
    if not len(places):
        return NOTHING
    near = _near(places, seams, round(_NEAR_SEAM_SECONDS * rate))
    near |= _near(places, (0, len(new)), round(_NEAR_END_SECONDS * rate))
    found = np.where(near, 0.0, found)
    most = int(found.argmax())
    return Found(float(found[most]), float(places[most]) / rate)


def find_drop(
    reference: Reference, added: Features, within: tuple[float, float], seams: Sequence[float]
) -> tuple[Found, float]:
    """Find where added music is turned down at once in all bands, away from known seams.

    Args:
        reference: what the source does.
        added: features of the added music.
        within: first and last second to look at.
        seams: seconds in it that are checked otherwise.

    Returns:
        How abruptly, as a share of the most that the source does, and by how much in dB.
    """
    rate = added.windows_per_second
    places = np.arange(
        round((within[0] + _DROP_MARGIN_SECONDS) * rate), round((within[1] - _DROP_MARGIN_SECONDS) * rate)
    )
    falls, sustained = fall_db(added)
    places = places[(places >= 0) & (places < len(falls))]
    if not len(places):
        return NOTHING, 0.0
    falls = np.where(_near(places / rate, seams, _NEAR_STEP_SECONDS), 0.0, falls[places])
    most = int(falls.argmax())
    share = float(falls[most]) / max(_LEAST_FALL_DB, _FALL_SHARE * reference.fall_db)
    return Found(share, float(places[most]) / rate), float(sustained[places[most]])


def measure_drift(reference: Reference, added: Features, new_frames: int) -> tuple[float, float] | None:
    """Measure how far the beat of added music drifts from the source's.

    Args:
        reference: what the source does.
        added: features of the added music.
        new_frames: its length.

    Returns:
        By how many milliseconds it is late at the end, and how far the source's own beat drifts in as long; None where
        either has no steady beat.
    """
    rate = reference.sample_rate
    if reference.beats is None or new_frames < _LEAST_DRIFT_SECONDS * rate:
        return None
    beats = find_beats(added, new_frames)
    own = _steady_period(reference.beats.frames, rate)
    new = _steady_period(beats.frames, rate) if beats else None
    if own is None or new is None:
        return None
    ratio = apart_from_metre(new / own)
    if abs(ratio - 1) > _MOST_DRIFT:
        return None
    parts = [_period(part) for part in np.array_split(reference.beats.frames, 3)]
    wander = max(abs(part / own - 1) for part in parts)
    milliseconds = 1000 * new_frames / rate
    return (ratio - 1) * milliseconds, wander * milliseconds


def apart_from_metre(ratio: float) -> float:
    """Of two tempos that a tracker may have heard at another level of the metre, the ratio that is left."""
    return min((ratio * metre for metre in _METRES), key=lambda each: abs(float(np.log(each))))


def _steady_period(beats: Ints, sample_rate: int) -> float | None:
    """The distance of beats in frames; None where they stray from an even grid."""
    if len(beats) < _FEWEST_BEATS:
        return None
    period = _period(beats)
    stray = beats - period * np.arange(len(beats))
    spread = float(np.std(stray - np.median(stray)))
    return period if spread <= _STRAY_SECONDS * sample_rate else None


def _period(beats: Ints) -> float:
    """The slope of the line through beats, by least squares."""
    numbers = np.arange(len(beats)) - (len(beats) - 1) / 2
    return float(numbers @ beats / (numbers @ numbers))


def _near(places: Ints | Floats, seams: Sequence[float], reach: float) -> npt.NDArray[np.bool_]:
    if not len(seams):
        return np.zeros(len(places), bool)
    ordered = np.sort(np.asarray(seams, dtype=np.float64))
    at = np.searchsorted(ordered, places)
    before, after = ordered[np.maximum(at - 1, 0)], ordered[np.minimum(at, len(ordered) - 1)]
    return np.asarray(np.minimum(np.abs(places - before), np.abs(places - after)) <= reach)

"""How a recording begins and ends: fades, cuts, and loops whose end leads back to the beginning."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.features import extract_features
from outpaint_mcp.audio.hearing.records import Beginning, Ending
from outpaint_mcp.audio.hearing.stream_analyzer import ANALYSIS_HZ, MONO
from outpaint_mcp.audio.levels import median, running_mean
from outpaint_mcp.audio.seams import usual_limits

if TYPE_CHECKING:
    from outpaint_mcp.audio.hearing.stream_analyzer import Timeline
    from outpaint_mcp.audio.types import Floats

_NEAR_SECONDS = 45.0
"""An edge is compared with the music up to this far from it."""
_SMOOTH_SECONDS = 0.4
_BODY_DB = 4.0
"""Music within this of its usual level is not fading."""
_FADED_DB = 15.0
"""Smallest drop in level that counts as a fade."""
_SHORTEST_FADE_SECONDS = 1.0
_SURE_FADE_SECONDS = 9.0
"""No struck sound rings this long at such a slope, so this counts as a fade even without attacks."""
_LEAST_STEADINESS = 0.85
"""Lowest correlation of a fade's level with time."""
_STILL_PLAYED = 0.45
"""Share of the usual attacks that remain audible where music fades but continues to be played."""
_CUT_SECONDS, _CUT_DB = 0.06, 20.0
"""A recording whose last moment is within this of its usual level was cut."""
_LOOP_SLACK_SECONDS = 0.03
"""Silence allowed at either end of a loop; encoders add as much."""
_BEAT_SLIP_SECONDS = 0.02
_LEAST_LOOP_SECONDS, _LONGEST_LOOP_SECONDS = 1.0, 30.0
"""Without beats, only durations in this range are taken for a loop."""
_GRAIN_SECONDS = 0.25
_FEWEST_BEATS = 2


def find_beginning(timeline: Timeline, starts_at_seconds: float) -> Beginning:
    """Classify the beginning, from the first audible second on."""
    first = int(starts_at_seconds * timeline.windows_per_second)
    power = timeline.power[first:]
    rise = _slope(power[::-1], timeline.windows_per_second)
    if rise is not None and rise.steadiness >= _LEAST_STEADINESS:
        return Beginning("fade-in", round(rise.seconds, 2))
    return Beginning("sudden" if _at_once(power[::-1], timeline.windows_per_second) else "grows", None)


def find_ending(
    timeline: Timeline, starts_at_seconds: float, ends_at_seconds: float, seconds: float
) -> Ending:
    """Classify the ending, up to the last audible second.

    Args:
        timeline: the recording's features over time.
        starts_at_seconds: the first audible instant.
        ends_at_seconds: the last audible instant.
        seconds: the recording's duration.
    """
    stop = round(ends_at_seconds * timeline.windows_per_second)
    power = timeline.power[:stop]
    fall = _slope(power, timeline.windows_per_second)
    if fall is not None and fall.steadiness >= _LEAST_STEADINESS and _plays_on(timeline, stop, fall):
        return Ending("fade-out", round(fall.seconds, 2), None)
    whole = starts_at_seconds <= _LOOP_SLACK_SECONDS and seconds - ends_at_seconds <= _LOOP_SLACK_SECONDS
    beats = _whole_beats(timeline, seconds)
    short = timeline.tail.beats is None and _LEAST_LOOP_SECONDS <= seconds <= _LONGEST_LOOP_SECONDS
    if fall is None and whole and (beats or short) and _leads_back(timeline):
        return Ending("loop-ready", None, beats)
    return Ending("hard cut" if _at_once(power, timeline.windows_per_second) else "rings out", None, None)


@dataclass(frozen=True, slots=True)
class Slope:
    """How the level falls towards an end.

    Attributes:
        windows: duration in windows.
        seconds: duration in seconds.
        steadiness: -1 to 1.
    """

    windows: int
    seconds: float
    steadiness: float


def _slope(power: Floats, per_second: float) -> Slope | None:
    """The descent to the end of a timeline of power; None where it is short or leads nowhere."""
    near = power[-int(_NEAR_SECONDS * per_second) :]
    level_db = 10 * np.log10(running_mean(near, int(_SMOOTH_SECONDS * per_second)) + 1e-10)
    usual = median(level_db)
    in_body = np.flatnonzero(level_db >= usual - _BODY_DB)
    falling = level_db[in_body[-1] :]
    seconds = len(falling) / per_second
    if seconds < _SHORTEST_FADE_SECONDS or falling[0] - falling[-1] < _FADED_DB:
        return None
    steadiness = -float(np.corrcoef(np.arange(len(falling)), falling)[0, 1])
    return Slope(len(falling), seconds, steadiness)


def _plays_on(timeline: Timeline, stop: int, fall: Slope) -> bool:
    """Whether attacks continue while the level falls, as in a fade and unlike in a decaying chord."""
    flux = timeline.flux_db[: stop - int(0.3 * timeline.windows_per_second)]
    first = stop - fall.windows
    body = flux[max(0, first - int(_NEAR_SECONDS * timeline.windows_per_second)) : first]
    sinking = flux[first + int(0.3 * timeline.windows_per_second) :]
    if not len(body) or not len(sinking):
        return False
    return bool(sinking.mean() >= _STILL_PLAYED * body.mean()) or fall.seconds >= _SURE_FADE_SECONDS


def _at_once(power: Floats, per_second: float) -> bool:
    """Whether the end of a timeline of power is about as loud as usual."""
    near = power[-int(_NEAR_SECONDS * per_second) :]
    usual = median(running_mean(near, int(_SMOOTH_SECONDS * per_second)))
    last = near[-max(2, int(_CUT_SECONDS * per_second)) :].max(initial=0.0)
    return bool(last > usual * 10 ** (-_CUT_DB / 10))


def _whole_beats(timeline: Timeline, seconds: float) -> int | None:
    """Number of beats in the loop; None unless the first beat follows the last by a whole number of periods."""
    first, last = timeline.pulses[0].beats_seconds, timeline.pulses[-1].beats_seconds
    if len(first) < _FEWEST_BEATS or len(last) < _FEWEST_BEATS:
        return None
    period = median(np.diff(last))
    gap = seconds - float(last[-1]) + float(first[0])
    if abs(gap - max(1, round(gap / period)) * period) > _BEAT_SLIP_SECONDS:
        return None
    return round(seconds / period)


def _leads_back(timeline: Timeline) -> bool:
    """Whether jumping from the end to the beginning is no more unusual than the music itself.

    The music is measured at the same phase of every beat, because the grid may lie on the off-beat, or every
    quarter of a second if it has no beats.
    """
    tail = timeline.tail
    end = len(tail.signal)
    if tail.beats is None:
        places = np.arange(0, end, round(_GRAIN_SECONDS * ANALYSIS_HZ))
    else:
        beats = tail.beats.frames
        places = beats[1:] - (2 * beats[-1] - beats[-2] - end)
    usual = usual_limits(tail.features, places, tail.signal, ANALYSIS_HZ, MONO)
    around = extract_features(timeline.wrap, ANALYSIS_HZ, MONO)
    here = usual_limits(around, np.array([timeline.wrap_frame]), timeline.wrap, ANALYSIS_HZ, MONO)
    return all(one <= most for one, most in zip(astuple(here), astuple(usual), strict=True))

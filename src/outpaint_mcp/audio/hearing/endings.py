"""How a recording begins and ends: what its level does there, and whether the end leads back to the beginning."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from outpaint_mcp.audio.features import features
from outpaint_mcp.audio.hearing.listening import LISTENING_HZ, MONO
from outpaint_mcp.audio.seams import usual_limits
from outpaint_mcp.audio.waves import median, running_mean

if TYPE_CHECKING:
    from outpaint_mcp.audio.hearing.listening import Course
    from outpaint_mcp.audio.shapes import Floats

EndingKind = Literal["fade-out", "hard cut", "loop-ready", "rings out", "silence"]
BeginningKind = Literal["fade-in", "sudden", "grows", "silence"]

_NEAR_SECONDS = 45.0
"""What is told about an edge is told beside the music up to this far from it."""
_SMOOTH_SECONDS = 0.4
_BODY_DB = 4.0
"""Within this of its usual level, music does not fade."""
_FADED_DB = 15.0
_SHORTEST_FADE_SECONDS = 1.0
_SURE_FADE_SECONDS = 9.0
"""Nothing that is struck rings for so long at such a slope; without attacks to go by, this long is a fade."""
_LEAST_STEADINESS = 0.85
"""Correlation of a fade's level with time."""
_STILL_PLAYED = 0.45
"""Share of the usual attacks that are heard where music fades but is played on."""
_CUT_SECONDS, _CUT_DB = 0.06, 20.0
_LOOP_SLACK_SECONDS = 0.03
"""Silence at either end of a loop; encoders leave as much."""
_BEAT_SLIP_SECONDS = 0.02
_LEAST_LOOP_SECONDS, _LONGEST_LOOP_SECONDS = 1.0, 30.0
"""Without beats, only what is short is taken for a loop."""
_GRAIN_SECONDS = 0.25
_FEWEST_BEATS = 2


@dataclass(frozen=True, slots=True)
class Ending:
    """How a recording ends.

    Attributes:
        kind: `fade-out`: its level sinks steadily by 15 dB or more while it is played on; `hard cut`: it stops
            within 20 dB of its usual level; `loop-ready`: its end leads back into its beginning, a whole number
            of beats later where it has beats, and that is no more unusual than what happens at its own beats;
            `rings out`: its last sounds die away; `silence`: nothing sounds.
        fade_seconds: from when the level was last within 4 dB of the usual one; None where there is no fade.
        loop_beats: how many beats a loop has; None where there are none, or it is no loop.
    """

    kind: EndingKind
    fade_seconds: float | None
    loop_beats: int | None


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a recording begins.

    Attributes:
        kind: `fade-in`: its level rises steadily by 15 dB or more; `sudden`: it is within 20 dB of its usual
            level at once; `grows`: neither; `silence`: nothing sounds.
        fade_seconds: until the level is first within 4 dB of the usual one; None where there is no fade.
    """

    kind: BeginningKind
    fade_seconds: float | None


def find_beginning(course: Course, starts_at_seconds: float) -> Beginning:
    """How it begins, from the first second that is heard."""
    first = int(starts_at_seconds * course.windows_per_second)
    power = course.power[first:]
    rise = _slope(power[::-1], course.windows_per_second)
    if rise is not None and rise.steadiness >= _LEAST_STEADINESS:
        return Beginning("fade-in", round(rise.seconds, 2))
    return Beginning("sudden" if _at_once(power[::-1], course.windows_per_second) else "grows", None)


def find_ending(course: Course, starts_at_seconds: float, ends_at_seconds: float, seconds: float) -> Ending:
    """How it ends, from the last second that is heard."""
    stop = round(ends_at_seconds * course.windows_per_second)
    power = course.power[:stop]
    fall = _slope(power, course.windows_per_second)
    if fall is not None and fall.steadiness >= _LEAST_STEADINESS and _plays_on(course, stop, fall):
        return Ending("fade-out", round(fall.seconds, 2), None)
    whole = starts_at_seconds <= _LOOP_SLACK_SECONDS and seconds - ends_at_seconds <= _LOOP_SLACK_SECONDS
    beats = _whole_beats(course, seconds)
    short = course.tail.beats is None and _LEAST_LOOP_SECONDS <= seconds <= _LONGEST_LOOP_SECONDS
    if fall is None and whole and (beats or short) and _leads_back(course):
        return Ending("loop-ready", None, beats)
    return Ending("hard cut" if _at_once(power, course.windows_per_second) else "rings out", None, None)


@dataclass(frozen=True, slots=True)
class Slope:
    """How the level sinks towards an end: for how long, in windows and seconds, and how steadily (-1 to 1)."""

    windows: int
    seconds: float
    steadiness: float


def _slope(power: Floats, per_second: float) -> Slope | None:
    """The descent to the end of a course of power; None where it is short or leads nowhere."""
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


def _plays_on(course: Course, stop: int, fall: Slope) -> bool:
    """Whether attacks go on while the level sinks, as when a fader is drawn and not when a chord dies away."""
    flux = course.flux_db[: stop - int(0.3 * course.windows_per_second)]
    first = stop - fall.windows
    body = flux[max(0, first - int(_NEAR_SECONDS * course.windows_per_second)) : first]
    sinking = flux[first + int(0.3 * course.windows_per_second) :]
    if not len(body) or not len(sinking):
        return False
    return bool(sinking.mean() >= _STILL_PLAYED * body.mean()) or fall.seconds >= _SURE_FADE_SECONDS


def _at_once(power: Floats, per_second: float) -> bool:
    """Whether the end of a course of power is about as loud as usual."""
    near = power[-int(_NEAR_SECONDS * per_second) :]
    usual = median(running_mean(near, int(_SMOOTH_SECONDS * per_second)))
    last = near[-max(2, int(_CUT_SECONDS * per_second)) :].max(initial=0.0)
    return bool(last > usual * 10 ** (-_CUT_DB / 10))


def _whole_beats(course: Course, seconds: float) -> int | None:
    """How many beats once round is, where the first one comes a whole number of them after the last one."""
    first, last = course.pulses[0].beats_seconds, course.pulses[-1].beats_seconds
    if len(first) < _FEWEST_BEATS or len(last) < _FEWEST_BEATS:
        return None
    period = median(np.diff(last))
    gap = seconds - float(last[-1]) + float(first[0])
    if abs(gap - max(1, round(gap / period)) * period) > _BEAT_SLIP_SECONDS:
        return None
    return round(seconds / period)


def _leads_back(course: Course) -> bool:
    """Whether going on from the end at the beginning is no more unusual than the music itself.

    The music is measured at the same place of every beat, as the grid may lie on the off-beat; every quarter of
    a second where it has no beats.
    """
    tail = course.tail
    end = len(tail.signal)
    if tail.beats is None:
        places = np.arange(0, end, round(_GRAIN_SECONDS * LISTENING_HZ))
    else:
        beats = tail.beats.frames
        places = beats[1:] - (2 * beats[-1] - beats[-2] - end)
    usual = usual_limits(tail.features, places, tail.signal, LISTENING_HZ, MONO)
    around = features(course.wrap, LISTENING_HZ, MONO)
    here = usual_limits(around, np.array([course.wrap_frame]), course.wrap, LISTENING_HZ, MONO)
    return all(one <= most for one, most in zip(astuple(here), astuple(usual), strict=True))

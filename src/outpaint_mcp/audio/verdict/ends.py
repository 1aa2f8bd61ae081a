"""How a file begins and ends, and whether that is what was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.layout import PartKind
from outpaint_mcp.audio.levels import median, running_mean
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.kinds import Fault, FaultKind
from outpaint_mcp.audio.verdict.listeners import LEVEL_SECONDS
from outpaint_mcp.audio.verdict.records import End, EndKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from outpaint_mcp.audio.layout import Layout
    from outpaint_mcp.audio.steering_words import Energy
    from outpaint_mcp.audio.types import Floats
    from outpaint_mcp.audio.verdict.records import Asked

_MADE_TO_FADE = frozenset({"fade", "breakdown", "build"})
_OWN = frozenset({PartKind.OWN_BEGINNING, PartKind.OWN_ENDING, PartKind.SOURCE})
_LEAST_ADDED_SECONDS = 0.1
_LOOKED_AT_SECONDS = 40.0
_SMOOTHED_BLOCKS = 20
_UNDER_USUAL_DB, _INAUDIBLE_DB = 55.0, -80.0
_SILENT_SECONDS = 1.0
_NEARLY_FULL_DB, _GONE_DB = 6.0, 18.0
_LAST_SECONDS = 0.3
RING_SECONDS = 4.5
"""What dies away within four seconds rings out; as measured it may take a little longer."""
_LAST_BAR_SECONDS = 4.0
_LEAST_FADE_SECONDS = 1.5
"""From 6 dB below the usual level on; a fade over five seconds has come that far after two or three."""
_LEAST_DROP_DB = 1.5
_MOST_WISHED_LU = 6.0
"""What is asked to be calm, or loud, need not be that much so."""


def measure_end(levels: Floats, asked: str, *, is_own: bool, made_seconds: float = 0.0) -> End:
    """Measure how a file ends.

    Args:
        levels: its levels `[twentieths]`, dB; reversed, to measure how it begins.
        asked: what was asked for.
        is_own: whether that is the source's own end.
        made_seconds: how long the ending is that was made, if that is known; otherwise it is measured.
    """
    near = levels[max(0, len(levels) - round(_LOOKED_AT_SECONDS / LEVEL_SECONDS)) :]
    if not len(near):
        return End(EndKind.SILENT, asked=asked)
    smooth = running_mean(near, _SMOOTHED_BLOCKS)
    usual = median(smooth[smooth >= median(smooth)])
    sounding = np.flatnonzero(near > max(usual - _UNDER_USUAL_DB, _INAUDIBLE_DB))
    if not len(sounding):
        return End(EndKind.SILENT, len(near) * LEVEL_SECONDS, is_own, 0.0, asked)
    last = int(sounding[-1]) + 1
    silence = (len(near) - last) * LEVEL_SECONDS
    drop = usual - float(near[-round(_LAST_BAR_SECONDS / LEVEL_SECONDS) :].mean())
    if silence > _SILENT_SECONDS:
        return End(EndKind.SILENT, silence, is_own, drop, asked)
    tail = near[max(0, last - round(_LAST_SECONDS / LEVEL_SECONDS)) : last]
    if float(tail.max()) > usual - _GONE_DB and silence <= _LAST_SECONDS:
        return End(EndKind.FULL, 0.0, is_own, drop, asked)
    loud = np.flatnonzero(running_mean(near, 4) > usual - _NEARLY_FULL_DB)
    seconds = (last - 1 - int(loud[-1])) * LEVEL_SECONDS if len(loud) else last * LEVEL_SECONDS
    seconds = made_seconds or seconds
    fades = asked == "fade" or seconds > RING_SECONDS
    return End(EndKind.FADES if fades else EndKind.RINGS, seconds, is_own, drop, asked)


def measure_ends(
    levels: Floats, layout: Layout | None, asked: Asked, reaches: tuple[float, float]
) -> tuple[End | None, End | None]:
    """Measure how a file begins and ends, where music was added there.

    Args:
        levels: of the whole file `[twentieths]`, dB.
        layout: what it consists of.
        asked: what was asked.
        reaches: how many seconds were added before the source and after it.
    """
    parts = layout.parts if layout else ()
    found: list[End | None] = []
    for reach, course, wish, outer in (
        (reaches[0], levels[::-1], asked.beginning, parts[:1]),
        (reaches[1], levels, asked.ending, parts[-1:]),
    ):
        if reach <= _LEAST_ADDED_SECONDS:
            found.append(None)
            continue
        is_made = bool(outer) and outer[0].kind in {PartKind.LEAD_IN, PartKind.RING_OUT}
        is_own = bool(outer) and outer[0].kind in _OWN
        made_seconds = outer[0].frames / layout.sample_rate if layout and is_made else 0.0
        found.append(measure_end(course, wish, is_own=is_own, made_seconds=made_seconds))
    return found[0], found[1]


def without_what_was_asked(
    faults: Iterable[Fault], asked: Asked, beginning: End | None, ending: End | None
) -> Iterator[Fault]:
    """Leave out what was asked for, what is the source's own, and what another fault says better."""
    faults = tuple(faults)
    ends = {Side.BEFORE: beginning, Side.AFTER: ending}
    missing = {fault.side for fault in faults if fault.kind is FaultKind.ENDING}
    for fault in faults:
        is_at_an_end = fault.kind in {FaultKind.FADE, FaultKind.SILENCE} and fault.at_seconds is None
        end = ends.get(fault.side) if fault.side and is_at_an_end else None
        if end is not None:
            fades = fault.kind is FaultKind.FADE and end.asked in _MADE_TO_FADE
            if end.is_own or fades or fault.side in missing:
                continue
        if not _is_wished(fault, asked.energy):
            yield fault


def _is_wished(fault: Fault, energy: Energy | None) -> bool:
    """Whether the new music is quieter, or louder, than the source beside it as the tags want it."""
    if energy is None or fault.kind is not FaultKind.LOUDNESS_JUMP or fault.side is None:
        return False
    return 0 < fault.amount * (1 if energy == "loud" else -1) <= _MOST_WISHED_LU


def missing_end(end: End, side: Side, at_seconds: float) -> Fault | None:
    """Return the fault of an end that is not what was asked; None where it is.

    Args:
        end: what is there.
        side: the file's beginning or its end.
        at_seconds: where that is.
    """
    dies = end.kind in {EndKind.RINGS, EndKind.FADES}
    is_there = {
        "fade": dies and end.seconds >= _LEAST_FADE_SECONDS,
        "cut": end.kind is EndKind.FULL,
        "loop": end.kind is EndKind.FULL,
        "breakdown": end.drop_db >= _LEAST_DROP_DB,
        "build": end.drop_db >= _LEAST_DROP_DB,
    }
    if is_there.get(end.asked, True):
        return None
    return Fault(FaultKind.ENDING, side, end.seconds, at_seconds)

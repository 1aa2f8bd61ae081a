"""Finds what is wrong with an extended recording from its measures; false alarms are rare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.records import Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outpaint_mcp.audio.verdict.records import Addition, Seam, Survival


_LENGTH_SECONDS = 0.25
"""Durations of ACE-Step are right to about 0.2 s: it works in steps of 93 ms."""
_SHIFT_SECONDS = 0.03
_DRIFT_PERCENT = 0.02
_GAIN_DB = 0.8
"""LAME alone takes away half a decibel."""
_AGREEING = 0.8
_CLICK, _FLUX = 1.0, 1.15
_ABRUPT_LU = 12.0
"""From one moment to the next, whatever else the music does."""
_STEP_DB, _STEP_SHARE, _AUDIBLE_LU = 1.5, 1.15, 1.0
_SLIP_MS, _WANDER_MS = 30.0, 15.0
_TEMPO_PERCENT = 5.0
_FIFTHS = 4
_TIMBRE = 2.5
_SILENCE_SECONDS, _GAP_SHARE = 1.0, 1.5
_FADE_SECONDS = 4.0
_CLIPPED, _CLIPPED_TIMES = 0.001, 4.0
_REPEATED = 0.4


def find_faults(
    survival: Survival, additions: tuple[Addition, ...], seams: tuple[Seam, ...]
) -> tuple[Fault, ...]:
    """Find whatever is beyond the usual, in the order of the kinds."""
    found = [*_of_source(survival)]
    for addition in additions:
        found += _of_addition(addition)
    for seam in seams:
        found += _of_seam(seam)
    order = list(FaultKind)
    return tuple(sorted(found, key=lambda fault: order.index(fault.kind)))


def _of_source(survival: Survival) -> Iterator[Fault]:
    if survival.found is False:
        yield Fault(FaultKind.SOURCE_NOT_FOUND, None, survival.correlation)
    if not survival.found:
        return
    if survival.agreeing < _AGREEING or 0 < survival.changed < 1 - _AGREEING:
        yield Fault(FaultKind.SOURCE_DAMAGED, None, max(survival.changed, 1 - survival.agreeing))
    elif survival.lost_seconds:
        yield Fault(FaultKind.SOURCE_LOST, None, survival.lost_seconds)
    if abs(survival.offset_seconds) > _SHIFT_SECONDS:
        yield Fault(FaultKind.SOURCE_SHIFTED, None, survival.offset_seconds)
    if abs(survival.drift_percent) > _DRIFT_PERCENT:
        yield Fault(FaultKind.SOURCE_RESAMPLED, None, survival.drift_percent)
    if abs(survival.gain_db) > _GAIN_DB:
        yield Fault(FaultKind.SOURCE_GAIN, None, survival.gain_db)
    if not survival.bit_exact:
        yield Fault(FaultKind.SOURCE_RECODED, None, survival.correlation)


def _of_addition(addition: Addition) -> Iterator[Fault]:
    side, new, own = addition.side, addition.new, addition.own
    if addition.actual_seconds is not None:
        missing = addition.asked_seconds - addition.actual_seconds
        if abs(missing) > _LENGTH_SECONDS:
            kind = FaultKind.TOO_SHORT if missing > 0 else FaultKind.TOO_LONG
            yield Fault(kind, side, abs(missing))
    if new.silence_seconds >= max(_SILENCE_SECONDS, _GAP_SHARE * own.silence_seconds):
        yield Fault(FaultKind.SILENCE, side, new.silence_seconds)
    elif new.gap_seconds >= max(_SILENCE_SECONDS, _GAP_SHARE * own.gap_seconds):
        yield Fault(FaultKind.SILENCE, side, new.gap_seconds)
    if new.fade_seconds >= max(_FADE_SECONDS, own.fade_seconds):
        yield Fault(FaultKind.FADE, side, new.fade_seconds)
    if new.clipped > max(_CLIPPED, _CLIPPED_TIMES * own.clipped):
        yield Fault(FaultKind.CLIPPING, side, new.clipped)
    if addition.repeated >= addition.own_repeated + _REPEATED:
        yield Fault(FaultKind.REPETITION, side, addition.repeated)


def _of_seam(seam: Seam) -> Iterator[Fault]:
    if seam.click is not None and seam.click > _CLICK:
        yield Fault(FaultKind.CLICK, seam.side, seam.click)
    if seam.flux is not None and seam.flux > _FLUX:
        yield Fault(FaultKind.FLUX, seam.side, seam.flux)
    yield from _of_level(seam)
    yield from _of_time(seam)
    away, usual = seam.key_fifths, seam.usual_fifths
    if away is not None and usual is not None and away >= _FIFTHS + usual:
        yield Fault(FaultKind.KEY_CHANGE, seam.side, float(away))
    if seam.timbre is not None and seam.timbre > _TIMBRE:
        yield Fault(FaultKind.TIMBRE_CHANGE, seam.side, seam.timbre)


def _of_level(seam: Seam) -> Iterator[Fault]:
    """A step larger than the source's own that the plain loudness on both sides confirms."""
    step, usual, jump = seam.level_step_db, seam.usual_step_db, seam.loudness_jump_lu
    if jump is not None and abs(jump) > _ABRUPT_LU:
        yield Fault(FaultKind.LOUDNESS_JUMP, seam.side, jump if seam.side is Side.AFTER else -jump)
        return
    if step is None or usual is None or jump is None:
        return
    if abs(step) > max(_STEP_DB, _STEP_SHARE * usual) and step * jump > 0 and abs(jump) > _AUDIBLE_LU:
        yield Fault(FaultKind.LOUDNESS_JUMP, seam.side, jump if seam.side is Side.AFTER else -jump)


def _of_time(seam: Seam) -> Iterator[Fault]:
    """Only where the source keeps time; a beat that is found again on the other side has not changed its tempo."""
    if seam.usual_slip_ms is None or seam.usual_slip_ms > _WANDER_MS:
        return
    if seam.beat_slip_ms is not None:
        if abs(seam.beat_slip_ms) > _SLIP_MS:
            yield Fault(FaultKind.BEAT_SLIP, seam.side, seam.beat_slip_ms)
    elif seam.tempo_ratio is not None and abs(seam.tempo_ratio - 1) * 100 > _TEMPO_PERCENT:
        yield Fault(FaultKind.TEMPO_CHANGE, seam.side, 100 * (seam.tempo_ratio - 1))

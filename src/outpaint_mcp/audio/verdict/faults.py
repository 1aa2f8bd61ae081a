"""Finds what is wrong with an extended recording from its measures; false alarms are rare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.audio.gain_steps import LEAST_STEP_DB, STEP_SHARE
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
_AUDIBLE_LU = 1.5
_SLIP_MS, _WANDER_MS = 30.0, 15.0
_TEMPO_PERCENT = 5.0
_FIFTHS = 4
_TIMBRE = 2.5
_SILENCE_SECONDS, _GAP_SHARE = 1.0, 1.5
_ALL_SILENT = 0.9
_FADE_SECONDS = 4.6
"""A ring-out of four seconds is none; as measured it may take a little longer."""
_PASSES = 5.0
_LONE_CLICK = 1.0
_DROP_DB = 3.0
_DRIFT_MS, _DRIFT_MS_PER_SECOND, _DRIFT_TIMES = 25.0, 0.7, 3.0
_FRAME_SECONDS = 1e-9
_SAME_SECONDS = 0.5
"""Where a hole begins, the music is turned down as well."""
_CLIPPED, _CLIPPED_TIMES = 0.001, 4.0
_REPEATED = 0.4


def find_faults(
    survival: Survival,
    additions: tuple[Addition, ...],
    seams: tuple[Seam, ...],
    others: tuple[Fault, ...] = (),
) -> tuple[Fault, ...]:
    """Find whatever is beyond the usual, in the order of the kinds.

    Args:
        survival: what became of the source.
        additions: the added music.
        seams: all that were checked.
        others: what was found otherwise.
    """
    found = [*_of_source(survival), *others]
    for addition in additions:
        found += _of_addition(addition)
    for seam in seams:
        found += _of_seam(seam)
    order = list(FaultKind)
    return tuple(sorted(_worst(found), key=lambda fault: order.index(fault.kind)))


def _worst(faults: list[Fault]) -> Iterator[Fault]:
    """Of those inside of the same kind only the worst; of a hole not that the level drops there, too."""
    inside: dict[FaultKind, Fault] = {}
    for fault in faults:
        if fault.side is not None or fault.at_seconds is None:
            yield fault
        elif fault.kind not in inside or abs(fault.amount) > abs(inside[fault.kind].amount):
            inside[fault.kind] = fault
    hole, drop = inside.get(FaultKind.HOLE), inside.get(FaultKind.LOUDNESS_JUMP)
    if hole and drop and abs((hole.at_seconds or 0) - (drop.at_seconds or 0)) < _SAME_SECONDS:
        del inside[FaultKind.LOUDNESS_JUMP]
    yield from inside.values()


def length_fault(missing_seconds: float, side: Side) -> Fault | None:
    """Return the fault of a file of which the length is to be exact; what is far off is one of an addition."""
    if not _FRAME_SECONDS < abs(missing_seconds) <= _LENGTH_SECONDS:
        return None
    return Fault(
        FaultKind.TOO_SHORT if missing_seconds > 0 else FaultKind.TOO_LONG, side, abs(missing_seconds)
    )


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
    length = addition.asked_seconds if addition.actual_seconds is None else addition.actual_seconds
    enough = min(_ALL_SILENT * length, _GAP_SHARE * own.silence_seconds)
    if new.silence_seconds >= max(_SILENCE_SECONDS, enough):
        yield Fault(FaultKind.SILENCE, side, new.silence_seconds)
    elif new.gap_seconds >= max(_SILENCE_SECONDS, _GAP_SHARE * own.gap_seconds):
        yield Fault(FaultKind.SILENCE, side, new.gap_seconds, new.gap_at_seconds)
    if new.fade_seconds >= max(_FADE_SECONDS, own.fade_seconds):
        yield Fault(FaultKind.FADE, side, new.fade_seconds)
    if new.clipped > max(_CLIPPED, _CLIPPED_TIMES * own.clipped):
        yield Fault(FaultKind.CLIPPING, side, new.clipped)
    if addition.passes >= _PASSES:
        yield Fault(FaultKind.STUCK, side, addition.passes, addition.passes_at_seconds, addition.pass_seconds)
    elif addition.repeated >= addition.own_repeated + _REPEATED:
        yield Fault(FaultKind.REPETITION, side, addition.repeated)
    yield from _of_course(addition)


def _of_course(addition: Addition) -> Iterator[Fault]:
    """What is wrong in the course of added music, away from its seams."""
    if addition.click > _LONE_CLICK:
        yield Fault(FaultKind.CLICK, None, addition.click, addition.click_at_seconds)
    if addition.drop > 1 and addition.drop_db < -_DROP_DB:
        yield Fault(FaultKind.LOUDNESS_JUMP, None, addition.drop_db, addition.drop_at_seconds)
    drift, usual = addition.drift_ms, addition.usual_drift_ms
    if drift is None or usual is None:
        return
    seconds = addition.actual_seconds or addition.asked_seconds
    if abs(drift) > max(_DRIFT_MS, _DRIFT_MS_PER_SECOND * seconds, _DRIFT_TIMES * usual):
        yield Fault(FaultKind.DRIFT, addition.side, drift, None, seconds)


def _of_seam(seam: Seam) -> Iterator[Fault]:
    if seam.click is not None and seam.click > _CLICK:
        yield _at(seam, FaultKind.CLICK, seam.click)
    if seam.flux is not None and seam.flux > _FLUX:
        yield _at(seam, FaultKind.FLUX, seam.flux)
    yield from _of_level(seam)
    yield from _of_time(seam)
    away, usual = seam.key_fifths, seam.usual_fifths
    if away is not None and usual is not None and away >= _FIFTHS + usual:
        yield Fault(FaultKind.KEY_CHANGE, seam.side, float(away))
    if seam.timbre is not None and seam.timbre > _TIMBRE:
        yield Fault(FaultKind.TIMBRE_CHANGE, seam.side, seam.timbre)


def _at(seam: Seam, kind: FaultKind, amount: float) -> Fault:
    return Fault(kind, seam.side, amount, seam.at_seconds)


def _of_level(seam: Seam) -> Iterator[Fault]:
    """A step larger than the source's own that the plain loudness on both sides confirms."""
    step, usual, jump = seam.level_step_db, seam.usual_step_db, seam.loudness_jump_lu
    if jump is not None and abs(jump) > _ABRUPT_LU:
        yield _at(seam, FaultKind.LOUDNESS_JUMP, -jump if seam.side is Side.BEFORE else jump)
        return
    if step is None or usual is None or jump is None:
        return
    if abs(step) > max(LEAST_STEP_DB, STEP_SHARE * usual) and step * jump > 0 and abs(jump) > _AUDIBLE_LU:
        yield _at(seam, FaultKind.LOUDNESS_JUMP, -jump if seam.side is Side.BEFORE else jump)


def _of_time(seam: Seam) -> Iterator[Fault]:
    """Only where the source keeps time; a beat that is found again on the other side has not changed its tempo."""
    if seam.usual_slip_ms is None or seam.usual_slip_ms > _WANDER_MS:
        return
    if seam.beat_slip_ms is not None:
        if abs(seam.beat_slip_ms) > _SLIP_MS:
            yield _at(seam, FaultKind.BEAT_SLIP, seam.beat_slip_ms)
    elif seam.tempo_ratio is not None and abs(seam.tempo_ratio - 1) * 100 > _TEMPO_PERCENT:
        yield Fault(FaultKind.TEMPO_CHANGE, seam.side, 100 * (seam.tempo_ratio - 1))

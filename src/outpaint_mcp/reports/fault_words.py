"""A phrase for every fault of an extended recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.audio.clock import clock
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.records import EndKind, Fault, FaultKind

if TYPE_CHECKING:
    from outpaint_mcp.audio.verdict.records import End, Verdict

_LEAST_SECONDS = 0.05
_ENDS = {
    EndKind.SILENT: "ends with {:.1f} s of silence",
    EndKind.FULL: "ends at full level",
    EndKind.RINGS: "rings out over {:.1f} s",
    EndKind.FADES: "fades out over {:.0f} s",
}
_BEGINNINGS = {
    EndKind.SILENT: "begins with {:.1f} s of silence",
    EndKind.FULL: "begins at full level",
    EndKind.RINGS: "leads in over {:.1f} s",
    EndKind.FADES: "fades in over {:.0f} s",
}


def in_words(fault: Fault, verdict: Verdict) -> str:  # noqa: C901, PLR0911, PLR0912 - a phrase for each kind
    """Name a fault with its amount and its place."""
    amount, there, music = fault.amount, _place(fault), _music(fault, verdict)
    match fault.kind:
        case FaultKind.UNREADABLE:
            return "the file holds no audio that can be decoded"
        case FaultKind.SOURCE_NOT_FOUND:
            return "the source cannot be recognised in it: this may be other music altogether"
        case FaultKind.SOURCE_DAMAGED:
            return f"{amount:.0%} of the source is altered"
        case FaultKind.SOURCE_LOST:
            return f"the source cannot be recognised in the {amount:.0f} s next to the new music"
        case FaultKind.SOURCE_SHIFTED:
            return f"the source begins {abs(1000 * amount):.0f} ms {'late' if amount > 0 else 'early'}"
        case FaultKind.SOURCE_RESAMPLED:
            return f"the source runs {abs(amount):.2f} % {'slower' if amount > 0 else 'faster'}"
        case FaultKind.SOURCE_GAIN:
            return f"the source is {abs(amount):.1f} dB {'louder' if amount > 0 else 'quieter'} than it was"
        case FaultKind.SOURCE_RECODED:
            return f"the source is as the model rendered it (correlation {amount:.2f})"
        case FaultKind.TOO_SHORT:
            return f"{_seconds(amount)} of {_asked(fault, verdict):g} are missing {fault.side}"
        case FaultKind.TOO_LONG:
            return f"{_seconds(amount)} more than the {_asked(fault, verdict):g} requested were added {fault.side}"
        case FaultKind.SILENCE:
            where = "" if fault.at_seconds is None else f", from {clock(fault.at_seconds)}"
            return f"{amount:.1f} s of {music} are silent{where}"
        case FaultKind.HOLE:
            lasts = fault.lasts_seconds or 0.0
            return f"a hole of {lasts:.1f} s {there}, {amount:.0f} dB below the softest moments of the source"
        case FaultKind.ENDING:
            return _ending(fault, verdict)
        case FaultKind.FADE:
            return f"{music} fades away over its outer {amount:.0f} s"
        case FaultKind.CLIPPING:
            return f"{music} clips ({amount:.1%} of it at full scale)"
        case FaultKind.REPETITION:
            return f"{amount:.0%} of {music} repeats the 16 s next to it"
        case FaultKind.STUCK:
            return (
                f"the same {fault.lasts_seconds or 0.0:.1f} s are played {amount:.0f} times in a row {there}"
            )
        case FaultKind.CLICK:
            return f"a click {there}, {amount:.1f} times as sharp as any attack of the source"
        case FaultKind.FLUX:
            return f"the sound changes {there} {amount:.1f} times as abruptly as the source ever does"
        case FaultKind.LOUDNESS_JUMP:
            what = "the music goes on" if fault.side is None else "the new music is"
            return f"{what} {abs(amount):.1f} LU {'louder' if amount > 0 else 'quieter'} {there}"
        case FaultKind.BEAT_SLIP:
            return f"the beat comes {abs(amount):.0f} ms {'late' if amount > 0 else 'early'} {there}"
        case FaultKind.DRIFT:
            late = "late" if amount > 0 else "early"
            return f"the beat drifts: {abs(amount):.0f} ms {late} after {fault.lasts_seconds or 0.0:.0f} s of {music}"
        case FaultKind.TEMPO_CHANGE:
            return f"{music} is {abs(amount):.0f} % {'faster' if amount > 0 else 'slower'}"
        case FaultKind.KEY_CHANGE:
            return f"{music} is in another key, {amount:.0f} fifths away"
        case FaultKind.TIMBRE_CHANGE:
            return f"{music} sounds unlike any part of the source"


def end_words(verdict: Verdict, side: Side) -> str:
    """Say how a file begins or ends; empty where nothing was added there, or a fault says it."""
    is_ending = side is Side.AFTER
    end = verdict.ending if is_ending else verdict.beginning
    if end is None or any(_denies(fault, end, side, verdict) for fault in verdict.real_faults):
        return ""
    if end.is_own:
        own = (
            "fade-out" if is_ending and end.kind is EndKind.FADES else "ending" if is_ending else "beginning"
        )
        return f"{'ends' if is_ending else 'begins'} with its own {own}"
    if end.asked == "loop" and end.kind is EndKind.FULL:
        return "its end leads back into its beginning" if is_ending else ""
    if end.asked == "breakdown":
        return "breaks down towards its end"
    if end.asked == "build":
        return "builds up at its beginning"
    return (_ENDS if is_ending else _BEGINNINGS)[end.kind].format(end.seconds)


def _denies(fault: Fault, end: End, side: Side, verdict: Verdict) -> bool:
    """Whether a fault says that a beginning or an ending is not what was asked."""
    is_wrap = fault.side is None and fault.at_seconds == verdict.seconds
    return (fault.kind is FaultKind.ENDING and fault.side is side) or (end.asked == "loop" and is_wrap)


def _ending(fault: Fault, verdict: Verdict) -> str:
    side = fault.side or Side.AFTER
    end = verdict.ending if side is Side.AFTER else verdict.beginning
    if end is None:
        return f"the {'ending' if side is Side.AFTER else 'beginning'} that was requested is not there"
    there = (_ENDS if side is Side.AFTER else _BEGINNINGS)[end.kind].format(end.seconds)
    return f"the {end.asked} that was requested is not there: the file {there}"


def _seconds(amount: float) -> str:
    return f"{amount:.1f} s" if amount >= _LEAST_SECONDS else f"{1000 * amount:.2f} ms"


def _music(fault: Fault, verdict: Verdict) -> str:
    is_inside = any(addition.is_inside for addition in verdict.additions if addition.side is fault.side)
    return "the music inside" if is_inside or fault.side is None else f"the music {fault.side}"


def _place(fault: Fault) -> str:
    if fault.side is None or fault.kind is FaultKind.STUCK:
        return "inside" if fault.at_seconds is None else f"at {clock(fault.at_seconds)}"
    where = "where the source begins" if fault.side is Side.BEFORE else "where the source ends"
    return where if fault.at_seconds is None else f"{where} ({clock(fault.at_seconds)})"


def _asked(fault: Fault, verdict: Verdict) -> float:
    return sum(addition.asked_seconds for addition in verdict.additions if addition.side is fault.side)

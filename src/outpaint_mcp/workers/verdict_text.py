"""What a verdict says in words, and how bad what it found is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.audio.verdict.faults import Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.audio.verdict.judge import Verdict

_TOLD = 3
"""More is not read; the rest is counted."""

_WEIGHTS: dict[FaultKind, tuple[float, float]] = {
    FaultKind.UNREADABLE: (100.0, 0.0),
    FaultKind.SOURCE_NOT_FOUND: (50.0, 0.0),
    FaultKind.SOURCE_DAMAGED: (20.0, 10.0),
    FaultKind.SOURCE_LOST: (10.0, 1.0),
    FaultKind.SILENCE: (6.0, 0.5),
    FaultKind.TOO_SHORT: (3.0, 0.5),
    FaultKind.TOO_LONG: (2.0, 0.1),
    FaultKind.TIMBRE_CHANGE: (4.0, 2.0),
    FaultKind.KEY_CHANGE: (3.0, 0.5),
    FaultKind.TEMPO_CHANGE: (3.0, 0.2),
    FaultKind.BEAT_SLIP: (3.0, 0.02),
    FaultKind.LOUDNESS_JUMP: (2.0, 0.4),
    FaultKind.CLICK: (3.0, 0.3),
    FaultKind.FLUX: (2.0, 1.0),
    FaultKind.REPETITION: (2.0, 4.0),
    FaultKind.CLIPPING: (2.0, 20.0),
    FaultKind.FADE: (2.0, 0.2),
    FaultKind.SOURCE_SHIFTED: (1.0, 1.0),
    FaultKind.SOURCE_RESAMPLED: (2.0, 2.0),
    FaultKind.SOURCE_GAIN: (1.0, 0.3),
    FaultKind.SOURCE_RECODED: (0.0, 0.0),
}
"""How much a fault is worth by itself, and for each unit of its amount: takes are ranked by the sum."""

_OF_THE_SOURCE = frozenset(
    {
        FaultKind.SOURCE_DAMAGED,
        FaultKind.SOURCE_LOST,
        FaultKind.SOURCE_SHIFTED,
        FaultKind.SOURCE_RESAMPLED,
        FaultKind.SOURCE_GAIN,
    }
)
_ANOTHER_MUSIC = frozenset(
    {
        FaultKind.SOURCE_NOT_FOUND,
        FaultKind.TIMBRE_CHANGE,
        FaultKind.KEY_CHANGE,
        FaultKind.TEMPO_CHANGE,
        FaultKind.BEAT_SLIP,
        FaultKind.LOUDNESS_JUMP,
    }
)
_OF_A_FADED_EDGE = frozenset({FaultKind.LOUDNESS_JUMP, FaultKind.FLUX, FaultKind.CLICK, FaultKind.BEAT_SLIP})
_FADED_SECONDS = 1.0
_OUT_OF_BREATH = frozenset(
    {FaultKind.TOO_SHORT, FaultKind.TOO_LONG, FaultKind.SILENCE, FaultKind.FADE, FaultKind.REPETITION}
)


def real_faults(verdict: Verdict) -> list[Fault]:
    """What is wrong, the worst first, without what is expected of any model."""
    return sorted((fault for fault in verdict.faults if not fault.kind.is_mild), key=_weight, reverse=True)


def is_sound(verdict: Verdict) -> bool:
    """Whether nothing is wrong."""
    return not real_faults(verdict)


def badness(verdict: Verdict) -> float:
    """How bad it is: 0 where nothing is wrong. Of two takes the one with less of it is to be kept."""
    return sum(map(_weight, verdict.faults))


def _weight(fault: Fault) -> float:
    alone, each = _WEIGHTS[fault.kind]
    return alone + each * abs(fault.amount)


def in_words(verdict: Verdict, *, provider: str, can_restore: bool = False) -> str:
    """Say in a few sentences how a longer recording came out, and what to try where something is wrong.

    Args:
        verdict: what was measured.
        provider: who made it, `runcomfy` or `local`.
        can_restore: whether there is an options into which the source's own samples were put back.
    """
    found = real_faults(verdict)
    if not found:
        return _sound(verdict)
    told = [_words(fault, verdict) for fault in found[:_TOLD]]
    more = len(found) - len(told)
    rest = f" {more} more {'fault is' if more == 1 else 'faults are'} in the figures." if more else ""
    return f"{_sentence(told)}{rest} {_advice(found, verdict, provider, can_restore=can_restore)}"


def _sentence(parts: Sequence[str]) -> str:
    joined = "; ".join(parts)
    return f"{joined[0].upper()}{joined[1:]}."


def _sound(verdict: Verdict) -> str:
    added = [
        f"{addition.actual_seconds:.1f} s {addition.side}"
        for addition in verdict.additions
        if addition.actual_seconds is not None
    ]
    what = f"{' and '.join(added)} the source" if added else "nothing added"
    return f"Sound: {what}, {_source(verdict)}; {_at_the_seams(verdict)}."


def _source(verdict: Verdict) -> str:
    survival = verdict.survival
    if survival.bit_exact:
        crossfaded = survival.crossfaded_seconds
        but = f" but for {1000 * crossfaded:.0f} ms of crossfade" if crossfaded else ""
        return f"which is kept bit for bit{but}"
    if survival.found:
        return f"which is there as the model rendered it (correlation {survival.correlation:.2f})"
    return "which is silent or too short to be recognised"


def _at_the_seams(verdict: Verdict) -> str:
    if not any(seam.click is not None for seam in verdict.seams):
        return "too little sounds at the seams to judge them"
    return "nothing at the seams that the source does not do itself"


def _words(fault: Fault, verdict: Verdict) -> str:  # noqa: C901, PLR0911, PLR0912 - a phrase for each kind
    amount, there = fault.amount, _place(fault)
    match fault.kind:
        case FaultKind.UNREADABLE:
            return "the file holds no audio that can be decoded"
        case FaultKind.SOURCE_NOT_FOUND:
            return "the source cannot be recognised in it: this may be other music altogether"
        case FaultKind.SOURCE_DAMAGED:
            return f"{amount:.0%} of the source is not itself any more"
        case FaultKind.SOURCE_LOST:
            return f"the source is not itself in the {amount:.0f} s next to the new music"
        case FaultKind.SOURCE_SHIFTED:
            return f"the source begins {abs(1000 * amount):.0f} ms {'late' if amount > 0 else 'early'}"
        case FaultKind.SOURCE_RESAMPLED:
            return f"the source runs {abs(amount):.2f} % {'slower' if amount > 0 else 'faster'}"
        case FaultKind.SOURCE_GAIN:
            return f"the source is {abs(amount):.1f} dB {'louder' if amount > 0 else 'softer'} than it was"
        case FaultKind.SOURCE_RECODED:
            return f"the source is as the model rendered it (correlation {amount:.2f})"
        case FaultKind.TOO_SHORT:
            return f"{amount:.1f} s of {_asked(fault, verdict):g} are missing {fault.side}"
        case FaultKind.TOO_LONG:
            return f"{amount:.1f} s more than the {_asked(fault, verdict):g} asked were added {fault.side}"
        case FaultKind.SILENCE:
            return f"{amount:.1f} s of the music {fault.side} are silent"
        case FaultKind.FADE:
            return f"the music {fault.side} fades away over its outer {amount:.0f} s"
        case FaultKind.CLIPPING:
            return f"the music {fault.side} clips ({amount:.1%} of it at full scale)"
        case FaultKind.REPETITION:
            return f"{amount:.0%} of the music {fault.side} was heard in the 16 s next to it already"
        case FaultKind.CLICK:
            return f"a click {there}, {amount:.1f} times the sharpest attack of the source"
        case FaultKind.FLUX:
            return f"the sound changes {there} {amount:.1f} times as abruptly as the source ever does"
        case FaultKind.LOUDNESS_JUMP:
            return f"the new music is {abs(amount):.1f} LU {'louder' if amount > 0 else 'softer'} {there}"
        case FaultKind.BEAT_SLIP:
            return f"the beat comes {abs(amount):.0f} ms {'late' if amount > 0 else 'early'} {there}"
        case FaultKind.TEMPO_CHANGE:
            return f"the music {fault.side} is {abs(amount):.0f} % {'faster' if amount > 0 else 'slower'}"
        case FaultKind.KEY_CHANGE:
            return f"the music {fault.side} is in another key, {amount:.0f} fifths away"
        case FaultKind.TIMBRE_CHANGE:
            return f"the music {fault.side} sounds unlike any part of the source"


def _place(fault: Fault) -> str:
    return "where the source begins" if fault.side == "before" else "where the source ends"


def _asked(fault: Fault, verdict: Verdict) -> float:
    return sum(addition.asked_seconds for addition in verdict.additions if addition.side is fault.side)


def _advice(found: Sequence[Fault], verdict: Verdict, provider: str, *, can_restore: bool) -> str:
    """Say what to try."""
    kinds = {fault.kind for fault in found}
    if verdict.survival.found is None:
        return "The source is silent, or too short to be carried on from."
    if kinds <= _OF_THE_SOURCE and can_restore:
        return "The source's own samples are in the options with restore_source=true."
    if where := _where_it_fades(found, verdict):
        return f"{where}, or try another seed."
    if provider == "local":
        return "Try another seed, or a second or two more or less."
    ways = ["another seed"]
    if kinds & _ANOTHER_MUSIC:
        ways.append("the tags that analyze_audio proposes")
    if FaultKind.TIMBRE_CHANGE in kinds:
        ways.append(
            "lyrics [inst] if the source is instrumental and none were given, since the model may have sung"
        )
    if kinds & _OUT_OF_BREATH:
        ways.append("a shorter extension, in several steps")
    return f"Try {_either(ways)}."


def _where_it_fades(found: Sequence[Fault], verdict: Verdict) -> str:
    """Say where to cut a source that fades or is silent where the new music begins, if that is what is heard."""
    abrupt = {fault.side for fault in found if fault.kind in _OF_A_FADED_EDGE}
    added = sum(each.actual_seconds or 0.0 for each in verdict.additions)
    for addition in verdict.additions:
        faded = addition.own.fade_seconds + addition.own.silence_seconds
        if addition.side not in abrupt or faded < _FADED_SECONDS:
            continue
        if addition.side == "before":
            return f"The source begins softly: submit it with source_start_seconds={faded:.0f}"
        end = verdict.seconds - added - faded
        return f"The source fades out there: submit it with source_end_seconds={end:.0f}"
    return ""


def _either(ways: Sequence[str]) -> str:
    return ", or ".join(ways) if len(ways) < _TOLD else f"{', '.join(ways[:-1])}, or {ways[-1]}"

"""Verdicts in words: how an extended recording came out, how bad its faults are, and what to try."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.records import Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.audio.verdict.records import Verdict
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.storage.records import Delivery

_MOST_FAULTS = 3
"""Nobody reads more; the rest is counted."""

_REFUSED_BADNESS = 10.0
"""As bad as losing the source next to the added music."""

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
"""How bad a fault is as such, and for each unit of its amount; takes are ranked by the sum."""

_SOURCE_FAULTS = frozenset(
    {
        FaultKind.SOURCE_DAMAGED,
        FaultKind.SOURCE_LOST,
        FaultKind.SOURCE_SHIFTED,
        FaultKind.SOURCE_RESAMPLED,
        FaultKind.SOURCE_GAIN,
    }
)
_STYLE_FAULTS = frozenset(
    {
        FaultKind.SOURCE_NOT_FOUND,
        FaultKind.TIMBRE_CHANGE,
        FaultKind.KEY_CHANGE,
        FaultKind.TEMPO_CHANGE,
        FaultKind.BEAT_SLIP,
        FaultKind.LOUDNESS_JUMP,
    }
)
_FADED_EDGE_FAULTS = frozenset(
    {FaultKind.LOUDNESS_JUMP, FaultKind.FLUX, FaultKind.CLICK, FaultKind.BEAT_SLIP}
)
_FADED_SECONDS = 1.0
_PAIR = 2
_LENGTH_FAULTS = frozenset(
    {FaultKind.TOO_SHORT, FaultKind.TOO_LONG, FaultKind.SILENCE, FaultKind.FADE, FaultKind.REPETITION}
)


def badness(verdict: Verdict, *, restore_refusal: str | None = None) -> float:
    """How bad a result is: 0 where nothing is wrong. Of two takes, the one with less of it is the better one."""
    refused = _REFUSED_BADNESS if restore_refusal is not None else 0.0
    return refused + sum(map(_weight, verdict.faults))


def _weight(fault: Fault) -> float:
    alone, each = _WEIGHTS[fault.kind]
    return alone + each * abs(fault.amount)


def describe(
    verdict: Verdict,
    vocabulary: Vocabulary,
    *,
    is_generative: bool,
    can_restore: bool = False,
    restore_refusal: str | None = None,
) -> str:
    """Describe in a few sentences how an extended recording came out, and what to try where something is wrong.

    Args:
        verdict: what was measured.
        vocabulary: the words of the surface that shows it.
        is_generative: whether the provider is a model that tags and lyrics steer.
        can_restore: whether there is another file of it, into which the source's own samples were put back.
        restore_refusal: why they were not, where that was tried in vain.
    """
    refusal = "" if restore_refusal is None else f"{_refusal_note(restore_refusal)} "
    faults = sorted(verdict.real_faults, key=_weight, reverse=True)
    if not faults:
        return f"{refusal}{_good(verdict)}"
    listed = [_words(fault, verdict) for fault in faults[:_MOST_FAULTS]]
    more = len(faults) - len(listed)
    rest = f" {more} more {'fault is' if more == 1 else 'faults are'} in the figures." if more else ""
    advice = _advice(faults, verdict, vocabulary, is_generative=is_generative, can_restore=can_restore)
    return f"{refusal}{_sentence(listed)}{rest} {advice}"


def file_notes(delivery: Delivery, vocabulary: Vocabulary) -> str:
    """What there is to say about a delivered file beside its note and its verdict."""
    if delivery.has_as_made:
        return f"The model's own file is available with {vocabulary.input('restore_source', False)}."
    if delivery.restore_refusal is not None:
        return _refusal_note(delivery.restore_refusal)
    return ""


def _refusal_note(restore_refusal: str) -> str:
    return f"The source was not put back into it: {restore_refusal}."


def _sentence(parts: Sequence[str]) -> str:
    joined = "; ".join(parts)
    return f"{joined[0].upper()}{joined[1:]}."


def _good(verdict: Verdict) -> str:
    added = [
        f"{addition.actual_seconds:.1f} s {addition.side}"
        for addition in verdict.additions
        if addition.actual_seconds is not None
    ]
    what = f"{' and '.join(added)} the source" if added else "nothing added"
    return f"Good: {what}, {_source(verdict)}; {_at_the_seams(verdict)}."


def _source(verdict: Verdict) -> str:
    survival = verdict.survival
    if survival.bit_exact:
        crossfaded = survival.crossfaded_seconds
        but = f" except for {1000 * crossfaded:.0f} ms of crossfade" if crossfaded else ""
        return f"which is preserved bit for bit{but}"
    if survival.found:
        return f"which is there as the model rendered it (correlation {survival.correlation:.2f})"
    return "which is silent or too short to be recognised"


def _at_the_seams(verdict: Verdict) -> str:
    if not any(seam.click is not None for seam in verdict.seams):
        return "there is too little sound at the seams to judge them"
    return "nothing at the seams stands out from the source itself"


def _words(fault: Fault, verdict: Verdict) -> str:  # noqa: C901, PLR0911, PLR0912 - a phrase for each kind
    amount, there = fault.amount, _place(fault)
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
            return f"{amount:.1f} s of {_asked(fault, verdict):g} are missing {fault.side}"
        case FaultKind.TOO_LONG:
            return (
                f"{amount:.1f} s more than the {_asked(fault, verdict):g} requested were added {fault.side}"
            )
        case FaultKind.SILENCE:
            return f"{amount:.1f} s of the music {fault.side} are silent"
        case FaultKind.FADE:
            return f"the music {fault.side} fades away over its outer {amount:.0f} s"
        case FaultKind.CLIPPING:
            return f"the music {fault.side} clips ({amount:.1%} of it at full scale)"
        case FaultKind.REPETITION:
            return f"{amount:.0%} of the music {fault.side} repeats the 16 s next to it"
        case FaultKind.CLICK:
            return f"a click {there}, {amount:.1f} times as sharp as any attack of the source"
        case FaultKind.FLUX:
            return f"the sound changes {there} {amount:.1f} times as abruptly as the source ever does"
        case FaultKind.LOUDNESS_JUMP:
            return f"the new music is {abs(amount):.1f} LU {'louder' if amount > 0 else 'quieter'} {there}"
        case FaultKind.BEAT_SLIP:
            return f"the beat comes {abs(amount):.0f} ms {'late' if amount > 0 else 'early'} {there}"
        case FaultKind.TEMPO_CHANGE:
            return f"the music {fault.side} is {abs(amount):.0f} % {'faster' if amount > 0 else 'slower'}"
        case FaultKind.KEY_CHANGE:
            return f"the music {fault.side} is in another key, {amount:.0f} fifths away"
        case FaultKind.TIMBRE_CHANGE:
            return f"the music {fault.side} sounds unlike any part of the source"


def _place(fault: Fault) -> str:
    return "where the source begins" if fault.side is Side.BEFORE else "where the source ends"


def _asked(fault: Fault, verdict: Verdict) -> float:
    return sum(addition.asked_seconds for addition in verdict.additions if addition.side is fault.side)


def _advice(
    faults: Sequence[Fault],
    verdict: Verdict,
    vocabulary: Vocabulary,
    *,
    is_generative: bool,
    can_restore: bool,
) -> str:
    """Say what to try."""
    kinds = {fault.kind for fault in faults}
    if verdict.survival.found is None:
        return "The source is silent, or too short to be continued."
    if kinds <= _SOURCE_FAULTS and can_restore:
        return f"The source's own samples are in the other file ({vocabulary.input('restore_source', True)})."
    if where := _where_it_fades(faults, verdict, vocabulary):
        return f"{where}, or try another seed."
    if not is_generative:
        return "Try another seed, or a second or two more or less."
    ways = ["another seed"]
    if kinds & _STYLE_FAULTS:
        ways.append(f"the tags that {vocabulary.analysis} proposes")
    if FaultKind.TIMBRE_CHANGE in kinds:
        ways.append(
            f"{vocabulary.input('lyrics', '[inst]')} if the source is instrumental and none were given, since the"
            " model may have sung"
        )
    if kinds & _LENGTH_FAULTS:
        ways.append("a shorter extension, in several steps")
    return f"Try {_either(ways)}."


def _where_it_fades(faults: Sequence[Fault], verdict: Verdict, vocabulary: Vocabulary) -> str:
    """Say where to cut a source that fades or is silent where the new music begins, if that explains the faults."""
    abrupt = {fault.side for fault in faults if fault.kind in _FADED_EDGE_FAULTS}
    added = sum(each.actual_seconds or 0.0 for each in verdict.additions)
    for addition in verdict.additions:
        faded = addition.own.fade_seconds + addition.own.silence_seconds
        if addition.side not in abrupt or faded < _FADED_SECONDS:
            continue
        if addition.side is Side.BEFORE:
            cut = vocabulary.input("source_start_seconds", round(faded))
            return f"The source begins softly: submit it with {cut}"
        cut = vocabulary.input("source_end_seconds", round(verdict.seconds - added - faded))
        return f"The source fades out there: submit it with {cut}"
    return ""


def _either(ways: Sequence[str]) -> str:
    return ", or ".join(ways) if len(ways) <= _PAIR else f"{', '.join(ways[:-1])}, or {ways[-1]}"

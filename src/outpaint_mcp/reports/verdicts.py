"""Verdicts in words: how an extended recording came out, how bad its faults are, and what to try."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from outpaint_mcp.audio.clock import clock
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.audio.verdict.records import Fault, FaultKind
from outpaint_mcp.reports.fault_words import end_words, in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.audio.verdict.records import Addition, Verdict
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.storage.records import Delivery

_MOST_FAULTS = 3
"""Nobody reads more; the rest is counted."""

_MOST_STRETCHES = 4
_STREAMING_LUFS, _AS_LOUD_LU = -14.0, 1.0
_OVER_DBTP = 0.05

_REFUSED_BADNESS = 10.0
"""As bad as losing the source next to the added music."""

_WEIGHTS: dict[FaultKind, tuple[float, float]] = {
    FaultKind.UNREADABLE: (100.0, 0.0),
    FaultKind.SOURCE_NOT_FOUND: (50.0, 0.0),
    FaultKind.SOURCE_DAMAGED: (20.0, 10.0),
    FaultKind.SOURCE_LOST: (10.0, 1.0),
    FaultKind.SILENCE: (6.0, 0.5),
    FaultKind.HOLE: (6.0, 0.05),
    FaultKind.ENDING: (4.0, 0.0),
    FaultKind.STUCK: (4.0, 0.1),
    FaultKind.DRIFT: (2.0, 0.01),
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
_SEEDLESS_FAULTS = _SOURCE_FAULTS | {
    FaultKind.ENDING,
    FaultKind.FADE,
    FaultKind.TOO_SHORT,
    FaultKind.TOO_LONG,
}
"""What the built-in provider does alike with every seed."""
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
    {
        FaultKind.TOO_SHORT,
        FaultKind.TOO_LONG,
        FaultKind.SILENCE,
        FaultKind.FADE,
        FaultKind.REPETITION,
        FaultKind.STUCK,
    }
)


def badness(verdict: Verdict, *, restore_refusal: str | None = None) -> float:
    """How bad a result is: 0 where nothing is wrong. Of two takes, the one with less of it is the better one."""
    refused = _REFUSED_BADNESS if restore_refusal is not None else 0.0
    return refused + sum(map(_weight, verdict.faults))


def _weight(fault: Fault) -> float:
    alone, each = _WEIGHTS[fault.kind]
    return alone + each * abs(fault.amount)


def describe(  # noqa: PLR0913 - a verdict, and what is known beside it
    verdict: Verdict,
    vocabulary: Vocabulary,
    *,
    is_generative: bool,
    can_restore: bool = False,
    restore_refusal: str | None = None,
    seeds_differ: bool = True,
) -> str:
    """Describe in a few sentences how an extended recording came out, and what to try where something is wrong.

    Args:
        verdict: what was measured.
        vocabulary: the words of the surface that shows it.
        is_generative: whether the provider is a model that tags and lyrics steer.
        can_restore: whether there is another file of it, into which the source's own samples were put back.
        restore_refusal: why they were not, where that was tried in vain.
        seeds_differ: whether another seed would give another take.
    """
    refusal = "" if restore_refusal is None else f"{_refusal_note(restore_refusal)} "
    faults = sorted(verdict.real_faults, key=_weight, reverse=True)
    if not faults:
        return f"{refusal}{_good(verdict)}{_facts(verdict)}"
    listed = [in_words(fault, verdict) for fault in faults[:_MOST_FAULTS]]
    more = len(faults) - len(listed)
    rest = f" {more} more {'fault is' if more == 1 else 'faults are'} in the figures." if more else ""
    advice = _advice(
        faults,
        verdict,
        vocabulary,
        is_generative=is_generative,
        can_restore=can_restore,
        seeds_differ=seeds_differ,
    )
    return f"{refusal}{_sentence(listed)}{rest} {advice}{_facts(verdict)}"


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
        f"{addition.actual_seconds:.1f} s {'inside' if addition.is_inside else addition.side}"
        for addition in verdict.additions
        if addition.actual_seconds is not None
    ]
    what = f"{' and '.join(added)} the source" if added else "nothing added"
    return f"Good: {what}, {_source(verdict)}; {_at_the_seams(verdict)}."


def played(verdict: Verdict) -> str:
    """Say which stretches of the recording the new music plays; empty where only a model knows."""
    stretches = [f"{clock(each.start_seconds)}–{clock(each.stop_seconds)}" for each in verdict.reused]  # noqa: RUF001 - as printed
    if not stretches:
        return ""
    more = len(stretches) - _MOST_STRETCHES
    rest = f" and {more} more" if more > 0 else ""
    return f"plays {', then '.join(stretches[:_MOST_STRETCHES])}{rest}"


def _facts(verdict: Verdict) -> str:
    """Say what is played, how the file begins and ends, and how loud it is."""
    ends = end_words(verdict, Side.BEFORE), end_words(verdict, Side.AFTER)
    parts = list(filter(None, (played(verdict), *ends, _loudness(verdict))))
    return f" {_sentence(parts)}" if parts else ""


def _loudness(verdict: Verdict) -> str:
    """Say how loud the file is, and what follows from that."""
    if verdict.lufs is None or verdict.true_peak_dbtp is None:
        return ""
    away = verdict.lufs - _STREAMING_LUFS
    side = "above" if away > 0 else "below"
    beside = "about" if abs(away) < _AS_LOUD_LU else f"{abs(away):.1f} LU {side}"
    over = ", over full scale" if verdict.true_peak_dbtp > _OVER_DBTP else ""
    peak = f"peaks at {verdict.true_peak_dbtp:+.1f} dBTP{over}"
    return f"{verdict.lufs:.1f} LUFS, {beside} the {_STREAMING_LUFS:.0f} of streaming services, {peak}"


def _source(verdict: Verdict) -> str:
    survival = verdict.survival
    if survival.bit_exact:
        crossfaded = survival.crossfaded_seconds
        but = f" except for {1000 * crossfaded:.0f} ms of crossfade" if crossfaded else ""
        span = ""
        if survival.from_seconds is not None and survival.to_seconds is not None:
            span = f" from {clock(survival.from_seconds)} to {clock(survival.to_seconds)}"
        return f"which is preserved bit for bit{span}{but}"
    if survival.found:
        return f"which is there as the model rendered it (correlation {survival.correlation:.2f})"
    return "which is silent or too short to be recognised"


def _at_the_seams(verdict: Verdict) -> str:
    judged = [seam.click is not None for seam in verdict.seams]
    if not any(judged):
        return "there is too little sound at the seams to judge them"
    if not all(judged):
        return "nothing stands out at those of the seams that have enough sound to be judged"
    return "nothing at the seams stands out from the source itself"


def _advice(  # noqa: PLR0913 - as `describe` has it
    faults: Sequence[Fault],
    verdict: Verdict,
    vocabulary: Vocabulary,
    *,
    is_generative: bool,
    can_restore: bool,
    seeds_differ: bool,
) -> str:
    """Say what to try."""
    kinds = {fault.kind for fault in faults}
    if verdict.survival.found is None:
        return "The source is silent, or too short to be continued."
    if kinds <= _SOURCE_FAULTS and can_restore:
        return f"The source's own samples are in the other file ({vocabulary.input('restore_source', True)})."
    if where := _where_it_fades(faults, verdict, vocabulary):
        return f"{where}, or try another seed." if is_generative else f"{where}."
    if not is_generative:
        seed = "another seed, or " if seeds_differ and not kinds <= _SEEDLESS_FAULTS else ""
        return f"Try {seed}a second or two more or less."
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
    holes = [each for each in faults if each.kind is FaultKind.HOLE and each.at_seconds is not None]
    added = sum(each.actual_seconds or 0.0 for each in verdict.additions)
    for addition in verdict.additions:
        faded = addition.own.fade_seconds + addition.own.silence_seconds
        if faded < _FADED_SECONDS or not (addition.side in abrupt or _is_at_seam(holes, addition, verdict)):
            continue
        if addition.side is Side.BEFORE:
            cut = vocabulary.input("source_start_seconds", math.ceil(faded))
            return f"The source begins softly: submit it with {cut}"
        ends = "is silent" if addition.own.silence_seconds >= _FADED_SECONDS else "fades out"
        cut = vocabulary.input("source_end_seconds", math.floor(verdict.seconds - added - faded))
        return f"The source {ends} there: submit it with {cut}"
    return ""


def _is_at_seam(holes: Sequence[Fault], addition: Addition, verdict: Verdict) -> bool:
    """Whether one of these holes is where an addition meets the source."""
    added = addition.actual_seconds or 0.0
    seam_seconds = added if addition.side is Side.BEFORE else verdict.seconds - added
    return any(
        (each.at_seconds or 0.0) - _FADED_SECONDS
        < seam_seconds
        < (each.at_seconds or 0.0) + (each.lasts_seconds or 0.0) + _FADED_SECONDS
        for each in holes
    )


def _either(ways: Sequence[str]) -> str:
    return ", or ".join(ways) if len(ways) <= _PAIR else f"{', '.join(ways[:-1])}, or {ways[-1]}"

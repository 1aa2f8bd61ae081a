"""Takes: the best first, beside each other, and each verdict in words and in figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from outpaint_mcp.reports.verdicts import badness, describe, played

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.audio.sides import Side
    from outpaint_mcp.audio.verdict.records import Addition, Seam, Survival
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.storage.records import Delivery

    Value = float | int | str | None

_A_TIE = 0.05
"""A smaller difference in badness is inaudible."""
_LIMITS = "click above 1, flux 1.15, beat_slip_ms beyond 30 stand out; + is louder, later, faster"
_UNSTEADY_MS = 15.0
"""In a source whose own beat is measured to wander this far, figures about the beat mean nothing."""


def in_words(
    delivery: Delivery,
    vocabulary: Vocabulary,
    *,
    is_generative: bool,
    can_restore: bool = False,
    seeds_differ: bool = True,
) -> str | None:
    """How a file came out; None where that was not measured. See `describe`."""
    if delivery.verdict is None:
        return None
    return describe(
        delivery.verdict,
        vocabulary,
        is_generative=is_generative,
        can_restore=can_restore,
        restore_refusal=delivery.restore_refusal,
        seeds_differ=seeds_differ,
    )


def figures(delivery: Delivery) -> dict[str, object] | None:
    """The main figures behind a verdict, small enough for an agent."""
    verdict = delivery.verdict
    if verdict is None:
        return None
    sides = {_name(each.side, inside=each.is_inside): _of_addition(each) for each in verdict.additions}
    for seam in verdict.seams:
        if seam.side is not None:
            sides[seam.side.value] |= _of_seam(seam)
    return {
        "faults": [fault.kind.value for fault in verdict.real_faults],
        "limits": _LIMITS,
        "source": _of_source(verdict.survival),
        **sides,
        **_known(
            seams_checked=verdict.seams_checked, lufs=verdict.lufs, true_peak_dbtp=verdict.true_peak_dbtp
        ),
    }


def _name(side: Side, *, inside: bool) -> str:
    return "inside" if inside else side.value


def best_first(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Takes in the order in which to listen to them; equals stay as they come."""
    return sorted(deliveries, key=_badness)


def is_one_for_all(deliveries: Sequence[Delivery]) -> bool:
    """Whether several takes are there and all of them the same, value by value: then no seed gives another."""
    return len(deliveries) > 1 and len({_audio(each) for each in deliveries}) == 1


def compared(takes: Sequence[Delivery | None]) -> str:
    """Recommend a take, and say why, in a sentence or two.

    Args:
        takes: in their order; None for one without a file.
    """
    numbered = [(number, take) for number, take in enumerate(takes, 1) if take is not None]
    numbered.sort(key=lambda each: _badness(each[1]))
    (number, best), *others = numbered
    if not others:
        return f"Only take {number} of {len(takes)} was generated."
    rivals = [take for _, take in others if _audio(take) != _audio(best)]
    if not rivals:
        return "All takes are the same, value by value: this source has only one good continuation. Use any of them."
    if best.verdict is None:
        return "The takes could not be measured; let the person listen to all of them."
    why = f"it has the fewest faults ({_listed(best)})" if _kinds(best) else "nothing is wrong with it"
    tied = [each for each, take in numbered if _is_tied(take, best)]
    if _is_tied(rivals[0], best):
        advice = _choice(numbered, tied, why)
    else:
        advice = f"Keep take {number} (seed {best.seed}): {why}."
    worse = [
        f"take {each}: {_listed(take)}" for each, take in others if _kinds(take) and not _is_tied(take, best)
    ]
    return f"{advice} {'; '.join(worse).capitalize()}." if worse else advice


def _choice(numbered: Sequence[tuple[int, Delivery]], tied: Sequence[int], why: str) -> str:
    """Say what differs between takes that measure equally well."""
    plays = {
        number: played(take.verdict)
        for number, take in numbered
        if number in tied and take.verdict is not None
    }
    first = tied[0]  # whose file and verdict the answer has
    if all(plays.values()) and len(set(plays.values())) > 1:
        each = "; ".join(f"take {number} {plays[number]}" for number in sorted(plays))
        return f"{each[0].upper()}{each[1:]} ({why}); let the person choose, take {first} first."
    names = ", ".join(map(str, sorted(tied)))
    return f"Takes {names} measure equally well ({why}); let the person listen, take {first} first."


def _is_tied(take: Delivery, best: Delivery) -> bool:
    return _badness(take) - _badness(best) < _A_TIE


def _badness(delivery: Delivery) -> float:
    if delivery.verdict is None:
        return math.inf
    return badness(delivery.verdict, restore_refusal=delivery.restore_refusal)


def _audio(delivery: Delivery) -> str:
    """What differs between takes that differ in more than their tags."""
    return delivery.audio_sha256 or delivery.sha256


def _kinds(delivery: Delivery) -> list[str]:
    faults = delivery.verdict.real_faults if delivery.verdict is not None else ()
    refused = ["source not put back"] if delivery.restore_refusal is not None else []
    return refused + list(dict.fromkeys(fault.kind.replace("_", " ") for fault in faults))


def _listed(delivery: Delivery) -> str:
    return ", ".join(_kinds(delivery))


def _of_source(survival: Survival) -> dict[str, Value]:
    return _known(
        bit_exact=survival.bit_exact,
        correlation=survival.correlation,
        gain_db=survival.gain_db,
        offset_seconds=survival.offset_seconds,
        drift_percent=survival.drift_percent,
    )


def _of_addition(addition: Addition) -> dict[str, Value]:
    return _known(
        asked_seconds=addition.asked_seconds,
        actual_seconds=addition.actual_seconds,
        true_peak_dbtp=addition.true_peak_dbtp,
        silence_seconds=addition.new.silence_seconds,
        fade_seconds=addition.new.fade_seconds,
    )


def _of_seam(seam: Seam) -> dict[str, Value]:
    keeps_time = (seam.usual_slip_ms or _UNSTEADY_MS) < _UNSTEADY_MS
    return _known(
        click=seam.click,
        flux=seam.flux,
        loudness_jump_lu=seam.loudness_jump_lu,
        key_fifths=seam.key_fifths,
        tempo_ratio=seam.tempo_ratio if keeps_time else None,
        beat_slip_ms=seam.beat_slip_ms if keeps_time else None,
    )


def _known(**measures: Value) -> dict[str, Value]:
    """Those of the measures that are known, with as many digits as mean anything."""
    return {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in measures.items()
        if value is not None
    }

"""Verdicts as they were written down: the best first, beside each other, and in figures.

They are plain JSON here: reading them takes nothing of what measuring them took.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.storage.records import Delivery

_SURVIVAL = ("bit_exact", "correlation", "gain_db", "offset_seconds", "drift_percent")
_SEAM = ("click", "flux", "loudness_jump_lu", "key_fifths")
_TIME = ("tempo_ratio", "beat_slip_ms")
_UNSTEADY_MS = 15.0
"""A source whose own beat wanders so far, as measured, tells nothing of the beat."""


def in_words(delivery: Delivery) -> str | None:
    """How it came out; None where nobody listened, as to what earlier versions made."""
    return None if delivery.verdict is None else str(delivery.verdict["words"])


def figures(delivery: Delivery) -> dict[str, Any] | None:
    """The main figures behind a verdict, small enough for an agent."""
    verdict = delivery.verdict
    if verdict is None:
        return None
    told: dict[str, Any] = {
        "faults": [fault["kind"] for fault in verdict["faults"] if fault["kind"] != "source_recoded"],
        "source": _rounded(verdict["survival"], _SURVIVAL),
    }
    for addition in verdict["additions"]:
        told[addition["side"]] = {
            **_rounded(addition, ("asked_seconds", "actual_seconds", "true_peak_dbtp")),
            **_rounded(addition["new"], ("silence_seconds", "fade_seconds")),
        }
    for seam in verdict["seams"]:
        keeps_time = (seam["usual_slip_ms"] or _UNSTEADY_MS) < _UNSTEADY_MS
        told[seam["side"]] |= _rounded(seam, _SEAM + (_TIME if keeps_time else ()))
    return told


def best_first(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Takes in the order in which one would listen to them; equals stay as they come."""
    return sorted(deliveries, key=_badness)


def compared(takes: Sequence[Delivery | None]) -> str:
    """Say which take to keep, and why, in a sentence or two.

    Args:
        takes: in their order; None for one that was not made.
    """
    made = [(number, take) for number, take in enumerate(takes, 1) if take is not None]
    made.sort(key=lambda each: _badness(each[1]))
    told = []
    (number, best), *others = made
    if not others:
        return f"Only take {number} of {len(takes)} was made."
    rivals = [each for each in others if _audio(each[1]) != _audio(best)]
    if not rivals:
        return "All takes are the same, value by value: this source has one good way on. Keep any."
    why = (
        "nothing is wrong with it"
        if not _kinds(best)
        else f"it has the least wrong ({_listed(_kinds(best))})"
    )
    if _badness(rivals[0][1]) - _badness(best) < _A_TIE:
        tied = [str(each) for each, take in made if _badness(take) - _badness(best) < _A_TIE]
        told.append(
            f"Takes {', '.join(tied)} measure equally well ({why}); let the person listen, take {number} first."
        )
    else:
        told.append(f"Keep take {number} (seed {best.seed}): {why}.")
    worse = [
        f"take {each}: {_listed(_kinds(take))}"
        for each, take in others
        if _kinds(take) and _badness(take) - _badness(best) >= _A_TIE
    ]
    if worse:
        told.append(f"{'; '.join(worse)}.".capitalize())
    return " ".join(told)


_A_TIE = 0.05
"""Less of a difference in badness is none that anybody would hear."""


def _badness(delivery: Delivery) -> float:
    return math.inf if delivery.verdict is None else float(delivery.verdict["badness"])


def _audio(delivery: Delivery) -> str:
    """What tells takes apart that differ in more than in what their tags say."""
    return str((delivery.verdict or {}).get("audio_sha256", delivery.sha256))


def _kinds(delivery: Delivery) -> list[str]:
    verdict = delivery.verdict or {"faults": []}
    kinds = [fault["kind"].replace("_", " ") for fault in verdict["faults"]]
    return list(dict.fromkeys(kind for kind in kinds if kind != "source recoded"))


def _listed(kinds: Sequence[str]) -> str:
    return ", ".join(kinds) or "nothing"


def _rounded(values: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Those of the values that are known, in as many digits as mean anything."""
    known = {name: values[name] for name in names if values[name] is not None}
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in known.items()}

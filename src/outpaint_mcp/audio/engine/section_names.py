"""What a chorus, a verse or a bridge is in a recording, as far as that can be measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.sections import Stretch

if TYPE_CHECKING:
    from collections.abc import Sequence

_SILENT_DB = -60.0


def find_section(name: str, stretches: Sequence[Stretch]) -> tuple[Stretch, ...] | str:
    """Find the stretches that a section's name or letter stands for.

    The chorus is the letter that is loudest among those that come more than once; the verse lasts longest among the
    others, again those that come more than once before the rest. The bridge is the last one inside that comes only
    once; intro and outro are the first and the last.

    Args:
        name: `chorus`, `verse`, `bridge`, `intro`, `outro`, or a letter.
        stretches: the sections of the music in order.

    Returns:
        The stretches, or why there are none.
    """
    merged = _merged([each for each in stretches if each.level_db > _SILENT_DB])
    letters = {each.letter for each in merged}
    if not merged or (len(name) > 1 and len(merged) < 2):  # noqa: PLR2004 - one alone is like no other
        return "it is one section throughout"
    if name in {"intro", "outro"}:
        return (merged[0 if name == "intro" else -1],)
    if name == "bridge":
        inside = [each for each in merged[1:-1] if _times(each.letter, merged) == 1]
        return (inside[-1],) if inside else "no section inside it comes only once, as a bridge does"
    letter = name if len(name) == 1 else _most_sung(name, merged)
    missing = f"it has no section {name}, only {', '.join(sorted(letters))}" if len(name) == 1 else letter
    return tuple(each for each in merged if each.letter == letter) or missing


def _most_sung(name: str, merged: list[Stretch]) -> str:
    """The letter of the chorus or the verse, or why there is none."""
    letters = {each.letter for each in merged}
    repeated = {letter for letter in letters if _times(letter, merged) > 1}
    if not repeated:
        return f"no section comes again, as a {name} does"
    chorus = max(sorted(repeated), key=lambda letter: _level_db(letter, merged))
    others = (repeated - {chorus}) or (letters - {chorus})
    return chorus if name == "chorus" else max(sorted(others), key=lambda letter: _seconds(letter, merged))


def _merged(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Merge neighbours of the same letter."""
    merged: list[Stretch] = []
    for each in stretches:
        if merged and merged[-1].letter == each.letter:
            last = merged.pop()
            both = [last, each]
            merged.append(
                Stretch(last.start_seconds, each.end_seconds, each.letter, _level_db(each.letter, both))
            )
        else:
            merged.append(Stretch(*each[:4]))
    return merged


def _times(letter: str, stretches: Sequence[Stretch]) -> int:
    return sum(each.letter == letter for each in stretches)


def _seconds(letter: str, stretches: Sequence[Stretch]) -> float:
    return sum(each.end_seconds - each.start_seconds for each in stretches if each.letter == letter)


def _level_db(letter: str, stretches: Sequence[Stretch]) -> float:
    """Mean level of all stretches of a letter, dB."""
    power = sum(
        10 ** (each.level_db / 10) * (each.end_seconds - each.start_seconds)
        for each in stretches
        if each.letter == letter
    )
    return 10 * float(np.log10(power / max(_seconds(letter, stretches), 1e-9) + 1e-12))

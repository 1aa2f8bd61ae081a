"""What a key is; numpy is not loaded for this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mode = Literal["major", "minor"]

_MAJOR_NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_MINOR_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
"""Those with the fewest accidentals in their signature."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key.

    Attributes:
        tonic: semitones above C, 0 to 11.
        mode: major or minor.
        confidence: how much better it fits than any key with another signature, 0 (not at all) to 1.
    """

    tonic: int
    mode: Mode
    confidence: float

    @property
    def name(self) -> str:
        """As musicians write it: `A minor`, `Eb major`, `F# minor`."""
        names = _MAJOR_NAMES if self.mode == "major" else _MINOR_NAMES
        return f"{names[self.tonic]} {self.mode}"

"""In which form a result is delivered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Part = Literal["whole", "before", "after"]
Format = Literal["source", "wav16", "wav24", "wav_float", "flac", "mp3", "ogg", "opus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """In which form a result is delivered.

    Attributes:
        part: all of it, or only what was added on one side.
        format: `source` is lossless, and as deep as the source.
        restore_source: whether the person's own samples are in it, or the provider's rendering of them.
    """

    part: Part = "whole"
    format: Format = "source"
    restore_source: bool = True

    def __str__(self) -> str:
        return f"{self.part}, {self.format}{'' if self.restore_source else ', as made'}"

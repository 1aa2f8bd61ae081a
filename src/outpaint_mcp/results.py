"""What a provider made of a request, and in which form it is delivered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Part = Literal["whole", "before", "after"]
Format = Literal["source", "wav16", "wav24", "wav_float", "flac", "mp3", "ogg", "opus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """In which form a result is delivered.

    Attributes:
        part: all of it, or only what was added on one side.
        format: `source` is lossless, and as deep as the source.
        restore_source: whether the person's own samples are in it, or what the provider made of them.
    """

    part: Part = "whole"
    format: Format = "source"
    restore_source: bool = True

    def __str__(self) -> str:
        return f"{self.part}, {self.format}{'' if self.restore_source else ', as made'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a provider made; durations in seconds.

    Attributes:
        path: the longer file, in the provider's own keeping until it is delivered.
        seed: the seed that was used.
        note: one sentence on how it was made.
        url: where a hosted provider keeps the very same file; it can be signed, and is shown nowhere else.
        verdict: how it came out, as `audio.verdict` measures it, in JSON; None where nobody has listened.
        as_made: the provider's own file, where it is another one: the person's samples were put back into this.
    """

    path: Path
    sha256: str
    size_bytes: int
    duration_seconds: float
    before_seconds: float
    after_seconds: float
    seed: int
    note: str
    url: str | None = None
    verdict: dict[str, Any] | None = None
    as_made: Outcome | None = None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Outcome:
        """Read what a worker has told, and the database has kept."""
        as_made = told.get("as_made")
        return cls(
            **{**told, "path": Path(told["path"]), "as_made": None if as_made is None else cls.of(as_made)}
        )

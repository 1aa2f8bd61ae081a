"""What every task that makes a longer file ends with: listening to it, its tags, its place."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outpaint_mcp.audio.files.encode import seal
from outpaint_mcp.audio.files.tagging import carry_over
from outpaint_mcp.audio.joining.pieces import Piece
from outpaint_mcp.audio.verdict.judge import judge
from outpaint_mcp.verdicts import badness, in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outpaint_mcp.audio.engine.outpaint import Outpainted
    from outpaint_mcp.audio.joining.assemble import Assembled

MADE_SHARE = 0.7
"""Of the whole work, that on the file; the rest is listening to it."""


def finished(  # noqa: PLR0913 - what was made, of what, and what is to be said of it
    made: Outpainted | Assembled,
    part: Path,
    *,
    used: Path,
    original: Path,
    asked: tuple[float, float],
    seed: int,
    comment: str,
    provider: str,
    max_seconds: float,
    say: Callable[..., None],
) -> dict[str, Any]:
    """Listen to a longer file that is whole, and tag it; returns what `Outcome` has of it but for path and note."""
    say(progress=MADE_SHARE, step="listening to it")
    begins_seconds = made.before_frames / made.sample_rate
    verdict = judged(used, part, *asked, max_seconds, provider=provider, begins_seconds=begins_seconds)
    return tagged(original, part, comment) | {
        "duration_seconds": made.duration_seconds,
        "before_seconds": begins_seconds,
        "after_seconds": made.after_frames / made.sample_rate,
        "seed": seed,
        "verdict": verdict | {"audio_sha256": made.sha256},  # of the file before it was tagged
    }


def judged(  # noqa: PLR0913 - as `judge` has it
    source: Path,
    made: Path,
    before_seconds: float,
    after_seconds: float,
    max_seconds: float,
    *,
    provider: str,
    begins_seconds: float | None = None,
) -> dict[str, Any]:
    """Listen to a longer file, and say how it came out; see `audio.verdict.judge`."""
    verdict = judge(
        source,
        made,
        before_seconds=before_seconds,
        after_seconds=after_seconds,
        max_source_seconds=max_seconds,
        begins_seconds=begins_seconds,
    )
    return verdict.to_json() | {"words": in_words(verdict, provider=provider), "badness": badness(verdict)}


def tagged(original: Path, made: Path, comment: str) -> dict[str, Any]:
    """Give a finished file what its source says of itself, and what was done; returns what it is then."""
    carry_over(original, made, comment=comment)
    size_bytes, sha256 = seal(made)
    return {"size_bytes": size_bytes, "sha256": sha256}


def kept(made: Outpainted | Assembled) -> str:
    """Say how the source is inside."""
    return "bit for bit" if made.source_lossless else "as it decodes, at 24 bits"


def damage(intact: bool) -> str:  # noqa: FBT001 - as above
    """Say so where a file is damaged."""
    return "" if intact else "It is damaged, and ends where decoding it did."


@contextmanager
def in_its_place(output: Path) -> Iterator[Path]:
    """Write a file under a name of this process's own; it is in its place when it is whole."""
    part = output.with_name(f"{output.name}.{os.getpid()}.part")
    try:
        yield part
        if part.exists():
            part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def read_pieces(told: list[dict[str, Any]]) -> list[Piece]:
    """Read the pieces of an order."""
    return [Piece(Path(each["path"]), each["context_seconds"]) for each in told]

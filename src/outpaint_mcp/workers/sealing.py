"""What every task that makes a longer file ends with: listening to it, its tags, its place."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.files.encode import is_lossless, seal
from outpaint_mcp.audio.files.tagging import carry_over
from outpaint_mcp.audio.joining.pieces import Piece
from outpaint_mcp.audio.verdict.judge import judge
from outpaint_mcp.workers.verdict_text import badness, in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outpaint_mcp.audio.files.longer import Longer

_log = logging.getLogger(__name__)

MADE_SHARE = 0.7
"""Of the whole work, that on the file; the rest is listening to it."""


def finished(  # noqa: PLR0913 - what was made, of what, and what is to be said of it
    made: Longer,
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
    plain: bool = False,
) -> dict[str, Any]:
    """Listen to a longer file that is whole, and tag it; returns what `Outcome` has of it but for path and note.

    With `plain` neither is done, since that has failed before.
    """
    say(progress=MADE_SHARE, step="listening to it")
    begins_seconds = made.before_frames / made.sample_rate
    told: dict[str, Any] = {
        "duration_seconds": made.duration_seconds,
        "before_seconds": begins_seconds,
        "after_seconds": made.after_frames / made.sample_rate,
        "seed": seed,
        "verdict": None,
    }
    if plain:
        size_bytes, sha256 = seal(part)
        return told | {"size_bytes": size_bytes, "sha256": sha256}
    verdict = judged(used, part, *asked, max_seconds, provider=provider, begins_seconds=begins_seconds)
    if verdict is not None:
        told["verdict"] = verdict | {"audio_sha256": made.sha256}  # of the file before it was tagged
    return told | tagged(original, part, comment)


def judged(  # noqa: PLR0913 - as `judge` has it
    source: Path,
    made: Path,
    before_seconds: float,
    after_seconds: float,
    max_seconds: float,
    *,
    provider: str,
    begins_seconds: float | None = None,
    can_restore: bool = False,
) -> dict[str, Any] | None:
    """Listen to a longer file, and say how it came out; see `judge`. None where that went wrong."""
    try:
        verdict = judge(
            source,
            made,
            before_seconds=before_seconds,
            after_seconds=after_seconds,
            max_source_seconds=max_seconds,
            begins_seconds=begins_seconds,
        )
    except Exception as exc:  # noqa: BLE001 - a sound that nobody thought of must not cost the file that was made
        _log.warning("A longer file could not be judged: %r", exc)
        return None
    words = in_words(verdict, provider=provider, can_restore=can_restore)
    return verdict.to_json() | {"words": words, "badness": badness(verdict)}


def tagged(original: Path, made: Path, comment: str) -> dict[str, Any]:
    """Give a finished file what its source says of itself, and what was done; returns what it is then."""
    try:
        carry_over(original, made, comment=comment)
    except Exception as exc:  # noqa: BLE001 - nor must tags that nobody thought of
        _log.warning("A longer file could not be tagged: %r", exc)
    size_bytes, sha256 = seal(made)
    return {"size_bytes": size_bytes, "sha256": sha256}


def kept(original: Path) -> str:
    """Say how a source, or a part that was cut out of it, is inside."""
    return "bit for bit" if is_lossless(probe(original)) else "as it decodes, at 24 bits"


def damage(intact: bool) -> str:  # noqa: FBT001 - as above
    """Say so where the source is damaged."""
    return "" if intact else "The source is damaged, and ends where decoding it did."


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

"""Tasks of a worker process that make a file: the longer one, or what leads to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from outpaint_mcp.audio.engine.outpaint import outpaint_file
from outpaint_mcp.audio.files import crop as cutting
from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.files.formats import format_of, write_as
from outpaint_mcp.audio.files.measure import measure
from outpaint_mcp.audio.joining.contexts import write_context
from outpaint_mcp.audio.shapes import Side
from outpaint_mcp.errors import GenerationFailed
from outpaint_mcp.workers.sealing import MADE_SHARE, damage, finished, in_its_place, kept, read_pieces, tagged

if TYPE_CHECKING:
    from collections.abc import Callable

    from outpaint_mcp.audio.engine.outpaint import Outpainted

    Say = Callable[..., None]

# A predecessor on the same job dies with its server, within moments.
_LOCK_TIMEOUT_SECONDS = 10

_METHODS = {
    "beats": "is its own beats, carried on",
    "texture": "is its own texture, carried on without a beat",
    "loop": "repeats the source, which is too short for more",
    "silence": "is silence, as the source is",
}


def crop(  # noqa: PLR0913 - the order, spelled out
    *,
    source: str,
    destination: str,
    start_seconds: float,
    end_seconds: float,
    max_seconds: float,
    say: Say,  # noqa: ARG001 - one signature for all tasks
) -> dict[str, Any]:
    """Cut the part out of a source that is to be extended."""
    with in_its_place(Path(destination)) as part:
        made = cutting.crop(
            Path(source), part, start_seconds=start_seconds, end_seconds=end_seconds, max_seconds=max_seconds
        )
    return {"seconds": made.frames / made.sample_rate}


def context(  # noqa: PLR0913 - the order, spelled out
    *,
    source: str,
    side: str,
    pieces: list[dict[str, Any]],
    destination: str,
    seconds: float,
    max_bytes: int | None,
    say: Say,  # noqa: ARG001 - as above
) -> dict[str, Any]:
    """Write what a hosted model is sent."""
    with in_its_place(Path(destination)) as part:
        made = write_context(
            Path(source), Side(side), read_pieces(pieces), part, seconds=seconds, max_bytes=max_bytes
        )
    return {"seconds": made.seconds, "media_type": made.media_type}


def extend(  # noqa: PLR0913 - the order, spelled out
    *,
    source: str,
    folder: str,
    before_seconds: float,
    after_seconds: float,
    start_seconds: float,
    end_seconds: float,
    seed: int,
    comment: str,
    max_seconds: float,
    say: Say,
) -> dict[str, Any]:
    """Carry a request of the local provider out."""
    here, original = Path(folder), Path(source)
    here.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(here / "lock", timeout=_LOCK_TIMEOUT_SECONDS):
            used, is_intact = original, True
            if start_seconds or end_seconds:
                say(progress=0.0, step="cutting")
                used = here / "cut"
                cropped = cutting.crop(
                    original,
                    used,
                    start_seconds=start_seconds,
                    end_seconds=end_seconds,
                    max_seconds=max_seconds,
                )
                is_intact = cropped.source_intact
            part = here / "output.part"
            made = outpaint_file(
                used,
                part,
                before_seconds=before_seconds,
                after_seconds=after_seconds,
                seed=seed,
                max_source_seconds=max_seconds,
                on_progress=lambda share, step: say(progress=share * MADE_SHARE, step=step),
            )
            outcome = finished(
                made,
                part,
                used=used,
                original=original,
                asked=(before_seconds, after_seconds),
                seed=seed,
                comment=comment,
                provider="local",
                max_seconds=max_seconds,
                say=say,
            )
            output = here / f"output{'.flac' if made.container == 'FLAC' else '.wav'}"
            part.replace(output)
            if used != original:
                used.unlink()
    except Timeout as exc:
        raise GenerationFailed("Another process is still working on this request; submit it again.") from exc
    return outcome | {
        "path": str(output),
        "note": _note(made, original, intact=is_intact and made.source_intact),
    }


def convert(  # noqa: PLR0913 - the order, spelled out
    *,
    made: str,
    folder: str,
    part: str,
    format: str,  # noqa: A002 - as the tool has it
    before_seconds: float,
    after_seconds: float,
    say: Say,
) -> dict[str, Any]:
    """Write another edition of a finished file: in another format, or only what was added on one side."""
    whole = Path(made)
    found = measure(whole, float("inf"))
    begin, end = 0, None
    if part == "before":
        end = round(before_seconds * found.sample_rate)
    elif part == "after":
        begin = found.frames - round(after_seconds * found.sample_rate)
    output = Path(folder, f"options-{os.getpid()}{format_of(format, probe(whole)).suffix}")
    with in_its_place(output) as writing:
        written = write_as(
            whole,
            writing,
            format=format,
            start_frame=begin,
            stop_frame=end,
            on_progress=lambda share: say(progress=share, step="writing"),
        )
        sealed = tagged(whole, writing, "" if part == "whole" else f"Only the music added {part}.")
    return sealed | {
        "path": str(output),
        "duration_seconds": written.frames / written.sample_rate,
        "before_seconds": before_seconds if part != "after" else 0.0,
        "after_seconds": after_seconds if part != "before" else 0.0,
    }


def _note(made: Outpainted, original: Path, *, intact: bool) -> str:
    """Say in a few sentences how the longer file was made."""
    methods = {method for method in (made.method_before, made.method_after) if method}
    how = "; ".join(_METHODS[method] for method in sorted(methods))
    if made.tempo_bpm is not None:
        how += f" ({made.tempo_bpm:.0f} bpm)"
    note = (
        f"The source is inside {kept(original)}.",
        damage(intact),
        f"The music added {how}. Tags and lyrics did not steer it.",
    )
    return " ".join(filter(None, note))

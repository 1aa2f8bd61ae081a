"""Tasks of a worker process that make the longer file of what a hosted model returned."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.files.encode import delivery_format, seal
from outpaint_mcp.audio.files.measure import measure
from outpaint_mcp.audio.joining import assemble as joining
from outpaint_mcp.audio.joining.restore import restore
from outpaint_mcp.workers.sealing import MADE_SHARE, damage, finished, in_its_place, judged, kept, read_pieces

if TYPE_CHECKING:
    from collections.abc import Callable

    Say = Callable[..., None]

_SUFFIXES = {"WAV": ".wav", "WAVEX": ".wav", "RF64": ".wav", "FLAC": ".flac", "MP3": ".mp3", "OGG": ".ogg"}


def assemble(  # noqa: PLR0913 - the order, spelled out
    *,
    source: str,
    original: str,
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    folder: str,
    asked: tuple[float, float],
    seed: int,
    comment: str,
    max_source_seconds: float,
    say: Say,
) -> dict[str, Any]:
    """Join what a hosted model made in several steps to the source."""
    used = Path(source)
    output = Path(folder, f"output{delivery_format(probe(used)).suffix}")
    with in_its_place(output) as part:
        made = joining.assemble(
            used,
            read_pieces(before),
            read_pieces(after),
            part,
            max_source_seconds=max_source_seconds,
            on_progress=lambda share, step: say(progress=share * MADE_SHARE, step=step),
        )
        outcome = finished(
            made,
            part,
            used=used,
            original=Path(original),
            asked=asked,
            seed=seed,
            comment=comment,
            provider="runcomfy",
            max_seconds=max_source_seconds,
            say=say,
        )
    loose = sum(not join.aligned for join in made.joins)
    note = (
        f"What RunComfy added is joined to the source, which is inside {kept(made)}.",
        f"At {loose} of the joins what came back is unlike what was sent: listen there." if loose else "",
        damage(made.source_intact),
    )
    return outcome | {"path": str(output), "note": " ".join(filter(None, note))}


def finish(  # noqa: PLR0913 - the order, spelled out
    *,
    source: str,
    original: str,
    made: str,
    folder: str,
    asked: tuple[float, float],
    seed: int,
    comment: str,
    max_source_seconds: float,
    say: Say,
) -> dict[str, Any]:
    """Put the person's own samples back into what a hosted model made in one step, where that can be trusted."""
    used = Path(source)
    as_made = _as_made(used, Path(made), Path(folder), asked, seed, max_source_seconds)
    output = Path(folder, f"output{delivery_format(probe(used)).suffix}")
    with in_its_place(output) as part:
        restored = restore(
            used,
            Path(made),
            part,
            before_seconds=asked[0],
            after_seconds=asked[1],
            max_source_seconds=max_source_seconds,
            on_progress=lambda share, step: say(progress=share * MADE_SHARE, step=step),
        )
        if restored.assembled is None:
            untouched = f"{as_made['note']} The source was not put back into it: {restored.reason}."
            return as_made | {"note": untouched}
        whole = restored.assembled
        outcome = finished(
            whole,
            part,
            used=used,
            original=Path(original),
            asked=asked,
            seed=seed,
            comment=comment,
            provider="runcomfy",
            max_seconds=max_source_seconds,
            say=say,
        )
    note = (
        f"The source is put back into what RunComfy made, {kept(whole)}.",
        "restore_source=false gives RunComfy's own file.",
        damage(whole.source_intact),
    )
    return outcome | {"path": str(output), "note": " ".join(filter(None, note)), "as_made": as_made}


def _as_made(  # noqa: PLR0913 - as above
    source: Path, made: Path, folder: Path, asked: tuple[float, float], seed: int, max_seconds: float
) -> dict[str, Any]:
    """Give a hosted model's own file its suffix, and look at it."""
    found = measure(made, max_seconds)
    output = folder / f"made{_SUFFIXES.get(found.container, '.wav')}"
    output.unlink(missing_ok=True)
    try:
        output.hardlink_to(made)
    except OSError:  # a disk without hard links
        shutil.copyfile(made, output)
    added = found.seconds - measure(source, max_seconds).seconds
    before = asked[0] if asked[1] else added
    size_bytes, sha256 = seal(output)
    note = (
        f"RunComfy's file as it came ({found.container}, {found.sample_rate} Hz).",
        "The model decodes the source anew, so it is not bit for bit inside.",
        damage(found.intact),
    )
    return {
        "path": str(output),
        "size_bytes": size_bytes,
        "sha256": sha256,
        "duration_seconds": found.seconds,
        "before_seconds": before if asked[0] else 0.0,
        "after_seconds": added - before if asked[0] else added,
        "seed": seed,
        "note": " ".join(filter(None, note)),
        "verdict": judged(source, output, *asked, max_seconds, provider="runcomfy"),
    }

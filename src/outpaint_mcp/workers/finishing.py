"""Tasks of a worker process that make the longer file of what a hosted model returned."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.files.encode import delivery_format, fingerprint
from outpaint_mcp.audio.files.measure import Measured, measure
from outpaint_mcp.audio.joining import assemble as joining
from outpaint_mcp.audio.joining.restore import restore
from outpaint_mcp.workers.sealing import MADE_SHARE, damage, finished, in_its_place, judged, kept, read_pieces

if TYPE_CHECKING:
    from outpaint_mcp.audio.engine.outpaint import Report
    from outpaint_mcp.audio.files.longer import Longer

Say = Callable[..., None]

_SUFFIXES = {"WAV": ".wav", "WAVEX": ".wav", "RF64": ".wav", "FLAC": ".flac", "MP3": ".mp3", "OGG": ".ogg"}

_REFUSED_BADNESS = 10.0
"""As bad as losing the source next to the new music."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What both tasks are told.

    Attributes:
        source: what was extended.
        original: the same, or the recording that it was cut out of.
        folder: where the longer file is written.
        asked: seconds before and after.
        seed: that was used.
        comment: for the file's own tags.
        max_source_seconds: the longest source to accept.
        plain: whether to do without all that is not needed, since it has failed before.
    """

    source: str
    original: str
    folder: str
    asked: tuple[float, float]
    seed: int
    comment: str
    max_source_seconds: float
    plain: bool

    @property
    def output(self) -> Path:
        """The longer file, in the format of the source."""
        return Path(self.folder, f"output{delivery_format(probe(Path(self.source))).suffix}")

    def finished(self, made: Longer, part: Path, say: Say) -> dict[str, Any]:
        """Listen to the longer file and tag it; see `sealing.finished`."""
        return finished(
            made,
            part,
            used=Path(self.source),
            original=Path(self.original),
            asked=self.asked,
            seed=self.seed,
            comment=self.comment,
            provider="runcomfy",
            max_seconds=self.max_source_seconds,
            say=say,
            plain=self.plain,
        )


def _reporting(say: Say) -> Report:
    return lambda share, step: say(progress=share * MADE_SHARE, step=step)


def assemble(
    *,
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    say: Say,
    **told: Any,  # noqa: ANN401 - an `_Order`
) -> dict[str, Any]:
    """Join what a hosted model made in several steps to the source."""
    order = _Order(**told)
    with in_its_place(order.output) as part:
        made = joining.assemble(
            Path(order.source),
            read_pieces(before),
            read_pieces(after),
            part,
            max_source_seconds=order.max_source_seconds,
            on_progress=_reporting(say),
        )
        outcome = order.finished(made, part, say)
    loose = sum(not join.aligned for join in made.joins)
    note = (
        f"What RunComfy added is joined to the source, which is inside {kept(Path(order.original))}.",
        damage(made.source_intact),
        f"At {loose} of the joins what came back is unlike what was sent: listen there." if loose else "",
    )
    return outcome | {"path": str(order.output), "note": " ".join(filter(None, note))}


def finish(*, made: str, say: Say, **told: Any) -> dict[str, Any]:  # noqa: ANN401 - an `_Order`
    """Put the person's own samples back into what a hosted model made in one step, where that can be trusted."""
    order = _Order(**told)
    if order.plain:
        as_made = _as_made(order, Path(made), can_restore=False)
        return as_made | {"note": f"{as_made['note']} Putting the source back into it went wrong."}
    with in_its_place(order.output) as part:
        restored = restore(
            Path(order.source),
            Path(made),
            part,
            before_seconds=order.asked[0],
            after_seconds=order.asked[1],
            max_source_seconds=order.max_source_seconds,
            on_progress=_reporting(say),
        )
        as_made = _as_made(order, Path(made), can_restore=restored.trusted)
        if restored.assembled is None:
            return _refused(as_made, restored.reason)
        outcome = order.finished(restored.assembled, part, say)
    note = (
        f"The source is put back into what RunComfy made, {kept(Path(order.original))}.",
        damage(restored.assembled.source_intact),
        "restore_source=false gives RunComfy's own file.",
    )
    return outcome | {"path": str(order.output), "note": " ".join(filter(None, note)), "as_made": as_made}


def _as_made(order: _Order, made: Path, *, can_restore: bool) -> dict[str, Any]:
    """Give a hosted model's own file its suffix, and look at it; nothing in it is changed."""
    source, asked, most = Path(order.source), order.asked, order.max_source_seconds
    found = measure(made, most)
    output = Path(order.folder) / f"made{_SUFFIXES.get(found.container, '.wav')}"
    output.unlink(missing_ok=True)
    try:
        output.hardlink_to(made)
    except OSError:  # a disk without hard links
        shutil.copyfile(made, output)
    verdict = (
        None
        if order.plain
        else judged(source, output, *asked, most, provider="runcomfy", can_restore=can_restore)
    )
    before, after = _added(verdict) or _by_length(found, measure(source, most), asked)
    size_bytes, sha256 = fingerprint(output)
    is_same = verdict is not None and verdict["survival"]["bit_exact"]
    note = (
        f"RunComfy's file as it came ({found.container}, {found.sample_rate} Hz).",
        "" if is_same else "The model decodes the source anew, so it is not bit for bit inside.",
        "" if found.intact else "It is damaged, and ends where decoding it did.",
    )
    return {
        "path": str(output),
        "size_bytes": size_bytes,
        "sha256": sha256,
        "duration_seconds": found.seconds,
        "before_seconds": before,
        "after_seconds": after,
        "seed": order.seed,
        "note": " ".join(filter(None, note)),
        "verdict": verdict,
    }


def _refused(as_made: dict[str, Any], reason: str) -> dict[str, Any]:
    """Say of a file, wherever it is spoken of, that the source was not put back into it."""
    told = f"The source was not put back into it: {reason}."
    verdict = as_made["verdict"]
    if verdict is not None:
        verdict |= {"words": f"{told} {verdict['words']}", "badness": verdict["badness"] + _REFUSED_BADNESS}
    return as_made | {"note": f"{as_made['note']} {told}"}


def _added(verdict: dict[str, Any] | None) -> tuple[float, float] | None:
    """What was added before and after the source, if that was found."""
    if verdict is None or not verdict["survival"]["found"]:
        return None
    seconds = {each["side"]: each["actual_seconds"] for each in verdict["additions"]}
    return seconds.get("before", 0.0), seconds.get("after", 0.0)


def _by_length(made: Measured, source: Measured, asked: tuple[float, float]) -> tuple[float, float]:
    """The same where only lengths tell: what was asked on one side, and the rest on the other."""
    added = max(0.0, made.seconds - source.seconds)
    before = min(asked[0], added) if asked[1] else added
    return (before, added - before) if asked[0] else (0.0, added)

"""The whole: new music before a source, the source, new music after it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.files.decode import Probe, Source, probe
from outpaint_mcp.audio.files.encode import Delivery, carrier, is_lossless, seal
from outpaint_mcp.audio.files.forms import Form, as_sound
from outpaint_mcp.audio.files.longer import Longer
from outpaint_mcp.audio.joining.joins import EDGE_SECONDS, Join
from outpaint_mcp.audio.joining.strips import Recent, grow, outwards, read_edge
from outpaint_mcp.audio.shapes import Side
from outpaint_mcp.errors import GenerationFailed, SourceUnreachable, UnsupportedAudio

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from outpaint_mcp.audio.engine.outpaint import Report
    from outpaint_mcp.audio.joining.pieces import Piece
    from outpaint_mcp.audio.shapes import Samples

_SOURCE_SHARE = 4.0
"""How long the source takes beside a piece, roughly."""
_NEWS = 0.01
"""Progress smaller than this is not reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled(Longer):
    """A file that was made longer by a model.

    Attributes:
        joins: one for each piece, those before the source first, each side in the order of its pieces.
    """

    joins: tuple[Join, ...]


def assemble(  # noqa: PLR0913 - one file, each part of it named
    source: Path,
    before: Sequence[Piece],
    after: Sequence[Piece],
    destination: Path,
    *,
    max_source_seconds: float,
    on_progress: Report,
) -> Assembled:
    """Write `source` to `destination` with the new music of the pieces before and after it.

    The source's frames come through exactly as they decode (see `delivery_format` for lossy sources), from the
    first to the last. The same files make the same bytes. Whatever stops the work leaves an unfinished
    `destination` behind, the caller's to remove.

    Args:
        source: any audio that libsndfile decodes.
        before: the pieces before it in the order in which they were made, so the innermost first.
        after: likewise.
        destination: where to write, in the format that `delivery_format` names, whatever its suffix.
        max_source_seconds: the longest source to accept.
        on_progress: told the fraction done and the step: joining or writing.

    Raises:
        SourceUnreachable: if the source or a piece is not there, or the source changed while being read.
        SourceTooLarge: if it lasts longer than `max_source_seconds`.
        UnsupportedAudio: if it cannot be decoded.
        GenerationFailed: if a piece has no new music, or the destination cannot be written.
    """
    found = probe(source)
    total = found.frames + round(sum(map(_new_seconds, (*before, *after))) * found.sample_rate)
    with Delivery(destination, found, total) as delivery:
        work = _Work(source, found, delivery, on_progress, len(before), len(after))
        joins = work.lead_in(before)
        decoded = work.copy(max_source_seconds)
        joins += work.go_on(after)
    size_bytes, sha256 = seal(destination)
    on_progress(1.0, "writing")
    new = {side: sum(join.new_frames for join in joins if join.side is side) for side in Side}
    return Assembled(
        sample_rate=found.sample_rate,
        channels=found.channels,
        container=delivery.container,
        subtype=delivery.subtype,
        source_frames=decoded.frames,
        source_lossless=is_lossless(found),
        source_intact=decoded.intact,
        before_frames=new[Side.BEFORE],
        after_frames=new[Side.AFTER],
        size_bytes=size_bytes,
        sha256=sha256,
        joins=joins,
    )


def _new_seconds(piece: Piece) -> float:
    """How much new music a piece claims to have; only the choice of the container hangs on it."""
    try:
        return max(0.0, probe(piece.path).seconds - piece.context_seconds)
    except UnsupportedAudio as exc:
        raise GenerationFailed(f"What the model returned cannot be decoded: {exc}") from exc


class _Work:
    """One file on its way into the delivery, from the first frame of that to the last.

    The source is decoded once, straight into the delivery, some seconds of it behind: its end is not known to
    be that before it is reached.
    """

    def __init__(  # noqa: PLR0913 - what all steps share
        self, source: Path, found: Probe, delivery: Delivery, report: Report, before: int, after: int
    ) -> None:
        self._source = source
        self._found = found
        self._form = Form(found.sample_rate, found.channels)
        self._delivery = delivery
        self._report = report
        total = before + _SOURCE_SHARE + after
        self._copied_from, self._copied_to = before / total, (before + _SOURCE_SHARE) / total
        self._least_frames, self._most_frames = 1.0, inf
        self._recent = Recent(EDGE_SECONDS * found.sample_rate)

    def lead_in(self, pieces: Sequence[Piece]) -> tuple[Join, ...]:
        """Write what leads into the source."""
        if not pieces:
            return ()
        self._report(0.0, "joining")
        edge = self._as_delivered(read_edge(self._source, Side.BEFORE, self._form, EDGE_SECONDS))
        strip = grow(edge, pieces, Side.BEFORE, self._form, goes_on=False)
        self._least_frames = len(edge)
        if len(edge) < round(EDGE_SECONDS * self._found.sample_rate):
            self._most_frames = len(edge)
        self._delivery.write(outwards(strip.samples[len(edge) :], Side.BEFORE))
        return strip.joins

    def copy(self, max_seconds: float) -> Source:
        """Write the source itself but for its last seconds."""
        self._report(self._copied_from, "writing")
        told, share = self._copied_from, self._copied_to - self._copied_from
        with Source(self._source, max_seconds=max_seconds) as decoded:
            if decoded.probe == self._found:
                for block in decoded.blocks(carrier(self._found)):
                    for passed in self._recent.add(block):
                        self._delivery.write(passed)
                    done = self._copied_from + share * min(1.0, decoded.frames / max(1, self._found.frames))
                    if done >= told + _NEWS:
                        told = done
                        self._report(done, "writing")
        if not self._least_frames <= decoded.frames <= self._most_frames:
            raise SourceUnreachable(
                f"{self._source.name} changed while being read. Try again once it stays as it is."
            )
        return decoded

    def go_on(self, pieces: Sequence[Piece]) -> tuple[Join, ...]:
        """Write the source's last seconds and what follows."""
        held = self._recent.unroll()
        self._delivery.write(held)
        if not pieces:
            return ()
        self._report(self._copied_to, "joining")
        strip = grow(self._as_delivered(as_sound(held)), pieces, Side.AFTER, self._form, goes_on=False)
        self._delivery.write(strip.samples[len(held) :])
        return strip.joins

    def _as_delivered(self, samples: Samples) -> Samples:
        """What loud lossy sources decode to beyond full scale is clipped in the delivery, and no measure of loud."""
        return samples if self._delivery.is_float else np.clip(samples, -1, 1)

"""Extending a file with its own material: decode, analyse, compose, write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from outpaint_mcp.audio.clock import clock
from outpaint_mcp.audio.engine.composing import Composer
from outpaint_mcp.audio.engine.full_music import edge_of, knows_full_music
from outpaint_mcp.audio.engine.inside import choose_place
from outpaint_mcp.audio.engine.regions import read_head, region_frames
from outpaint_mcp.audio.engine.step_progress import StepProgress
from outpaint_mcp.audio.files.conversion import to_samples
from outpaint_mcp.audio.files.decode import AudioReader, probe
from outpaint_mcp.audio.files.encode import AudioWriter, decode_dtype, seal
from outpaint_mcp.audio.files.extended_file import ExtendedFile
from outpaint_mcp.audio.files.refusals import shown_name
from outpaint_mcp.audio.files.tail_buffer import TailBuffer
from outpaint_mcp.audio.layout import Layout, Part, PartKind, Preserved
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.errors import InvalidRequest, SourceUnreachable

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    import numpy.typing as npt

    from outpaint_mcp.audio.engine.loop_end import LoopLength
    from outpaint_mcp.audio.engine.step_progress import Report
    from outpaint_mcp.audio.files.decoder import Probe
    from outpaint_mcp.audio.surroundings import EdgeName
    from outpaint_mcp.audio.types import Samples
    from outpaint_mcp.wishes import Wishes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outpainted(ExtendedFile):
    """A file extended with its own material.

    Attributes:
        method_before: how the music before the source was generated (see `Extension`); None if none was requested.
        method_after: the same for the music after it.
        tempo_bpm: the tempo near the source's end, or near its beginning if only that was extended; None without a
            steady beat.
        layout: what it consists of, part by part.
        preserved: which of the source's frames it has, and where.
        ending: how the source ends where the new music meets it.
        beginning: how it begins there.
        choice: what the tags that steer have come to; empty where none do.
        loop: the length of a file that loops; None where that was not asked.
        asked_frames: the length that was asked for.
    """

    method_before: str | None
    method_after: str | None
    tempo_bpm: float | None
    layout: Layout
    preserved: tuple[Preserved, ...]
    beginning: EdgeName
    ending: EdgeName
    choice: str
    loop: LoopLength | None
    asked_frames: int

    @property
    def methods(self) -> frozenset[str]:
        """How the music on either side was generated."""
        return frozenset(filter(None, (self.method_before, self.method_after)))


def outpaint_file(  # noqa: PLR0913 - one request, each part of it named
    source: Path,
    destination: Path,
    wishes: Wishes,
    *,
    seed: int,
    layout: Layout | None = None,
    max_source_seconds: float,
    on_progress: Report,
) -> Outpainted:
    """Write a source with music added before it, after it, or inside.

    The source's frames pass through exactly as they decode (see `delivery_format` for lossy sources). The file becomes
    exactly as much longer as requested, rounded to a frame, and what is added stays below -1 dBTP even where the source
    does not (see `limit_peaks`). The same seed produces the same bytes. If this fails, the caller has to delete the
    unfinished `destination`.

    Args:
        source: any audio that can be decoded.
        destination: where to write, in the format chosen by `delivery_format`, whatever its suffix.
        wishes: what is asked.
        seed: 0 or more; a different seed usually gives a different take, if the source allows several good ones.
        layout: what the source consists of, if it is an earlier result: it goes on from its last full music.
        max_source_seconds: the longest source to accept.
        on_progress: called with the completed fraction and the step: decoding, listening, composing or writing.

    Raises:
        InvalidRequest: if the source is longer than the total that is asked, or too short for music inside.
        SourceUnreachable: if the source does not exist, or changed while it was read.
        SourceTooLarge: if it is longer than `max_source_seconds`.
        UnsupportedAudio: if it cannot be decoded.
        GenerationFailed: if the destination cannot be written.
    """
    found = probe(source)
    rate = found.sample_rate
    about = max(
        wishes.total_seconds * rate, wishes.before_seconds * rate + found.frames + wishes.after_seconds * rate
    )
    with AudioWriter(destination, found, round(about)) as writer:
        outpainter = _Outpainter(
            source, found, writer, wishes, layout, seed, StepProgress(on_progress, wishes)
        )
        outpainter.begin()
        outpainter.copy(max_source_seconds)
        outpainter.end()
        outpainter.steps.begin("writing")
    size_bytes, sha256 = seal(destination)
    on_progress(1.0, "writing")
    return outpainter.summary(writer, size_bytes, sha256)


class _Outpainter:
    """Writes one extended file from first frame to last.

    The source is decoded once, straight into the output file. Only its beginning is decoded earlier, for the music that
    comes first, and its end is held back until it is known where the music goes on. Only one end of a long source is in
    memory at a time, so an hour needs no more memory than a few minutes.
    """

    def __init__(  # noqa: PLR0913 - what all steps share
        self,
        source: Path,
        found: Probe,
        writer: AudioWriter,
        wishes: Wishes,
        layout: Layout | None,
        seed: int,
        steps: StepProgress,
    ) -> None:
        self.steps = steps
        self._source = source
        self._found = found
        self._writer = writer
        self._wishes = wishes
        self._layout = layout
        rate = found.sample_rate
        is_inside = wishes.placement == "inside"
        self._before = 0 if is_inside else round(wishes.before_seconds * rate)
        self._after = round(wishes.after_seconds * rate) + (
            round(wishes.before_seconds * rate) if is_inside else 0
        )
        self._composer = Composer(rate, writer, wishes, seed, steps)
        self._start = 0
        self._beginning: EdgeName = "full"
        self._ending: EdgeName = "full"
        self._tail = TailBuffer(region_frames(found) if self._after or wishes.total_seconds else 1)
        self._frames = 0
        self._remark = ""
        self._loop: LoopLength | None = None
        self._asked_frames = 0
        self._parts: list[Part] = []
        self._preserved: list[Preserved] = []

    def begin(self) -> None:
        """Write the music that leads into the source."""
        if not self._before:
            return
        self.steps.begin("decoding")
        head = read_head(self._source)
        total = len(head.samples) if head.whole else max(self._found.frames, len(head.samples))
        self._start, self._beginning = self._edge(head.samples, Side.BEFORE, total)
        stop = len(head.samples)
        if head.whole:
            stop -= self._edge(head.samples, Side.AFTER, total)[0]
        self._composer.listen(
            head.samples[self._start : stop],
            self._start,
            all_frames=total if head.whole else None,
            may_loop=head.whole and (self._start, stop) == (0, total),
        )
        own = self._beginning not in {"full", "ours"}
        self._parts += self._composer.lead_in(self._before, head.samples[: self._start], keeps_beginning=own)

    def copy(self, max_seconds: float) -> None:
        """Write the source itself, except for what may not stay where it is."""
        progress = self.steps.begin("decoding")
        with AudioReader(self._source, max_seconds=max_seconds) as decoded:
            if decoded.probe == self._found:
                for block in decoded.blocks(decode_dtype(self._found)):
                    first = decoded.frames - len(block)
                    for passed in self._tail.add(block[max(0, self._start - first) :]):
                        self._writer.write(passed)
                    progress(decoded.frames / max(1, self._found.frames))
        if decoded.frames <= self._start or not self._composer.is_as_long(decoded.frames):
            raise SourceUnreachable(
                f"{shown_name(self._source)} changed while it was read. Try again when no other program is writing it."
            )
        self._frames, self._remark = decoded.frames, decoded.remark

    def end(self) -> None:
        """Write the source's end and the music that goes on from its last full music, or inside."""
        held = self._tail.unroll()
        if self._wishes.total_seconds:
            self._after = self._missing_frames()
        if not self._after:
            self._write_source(held, self._frames)
            return
        region, offset = to_samples(held), self._frames - len(held)
        first, stop, loops = offset, self._frames, self._wishes.ending == "loop"
        if loops and offset > self._start:
            raise InvalidRequest(
                f"The source is too long for a file that loops: {clock(len(held) / self._found.sample_rate)} at most."
                " Extend a part of it that ends earlier, or use another ending.",
                field="ending",
            )
        if not loops and self._layout and knows_full_music(self._layout, self._frames):
            first = max(offset, self._layout.full_from)
        if self._wishes.placement == "inside":
            stop = offset + choose_place(region[first - offset :], self._found.sample_rate) + first - offset
        else:
            frames, self._ending = self._edge(region, Side.AFTER, self._frames)
            stop -= frames
        may_loop = first == 0 and (stop == self._frames or self._known_layout is not None)
        self._composer.listen(region[first - offset : stop - offset], first, may_loop=may_loop)
        if loops:
            asked = self._before + self._frames + self._after
            self._loop = self._composer.loop_length(asked, self._before, stop, self._frames)
            self._asked_frames, self._after = asked, self._loop.frames - self._before - self._frames
        self._write_source(held[: stop - offset], stop)
        coda = held[stop - offset :]
        if self._wishes.placement == "inside":
            self._parts += self._composer.insert(self._after, region[stop - offset :])
            self._write_source(coda, self._frames)
        else:
            own = self._ending not in {"full", "ours"}
            self._parts += self._composer.lead_out(self._after, coda, keeps_ending=own)

    def summary(self, writer: AudioWriter, size_bytes: int, sha256: str) -> Outpainted:
        """Describe the file that was written."""
        return Outpainted(
            sample_rate=self._found.sample_rate,
            channels=self._found.channels,
            container=writer.container,
            subtype=writer.subtype,
            source_frames=self._frames,
            source_remark=self._remark,
            before_frames=self._before,
            after_frames=self._after,
            method_before=self._composer.methods.get(Side.BEFORE),
            method_after=self._composer.methods.get(Side.AFTER),
            tempo_bpm=self._composer.tempo_bpm,
            layout=Layout(self._found.sample_rate, tuple(self._parts)),
            preserved=tuple(self._preserved),
            beginning=self._beginning,
            ending=self._ending,
            choice=self._composer.choice,
            loop=self._loop,
            asked_frames=self._asked_frames or self._before + self._frames + self._after,
            size_bytes=size_bytes,
            sha256=sha256,
        )

    def _edge(self, samples: Samples, side: Side, total: int) -> tuple[int, EdgeName]:
        """How many frames at an edge of the source the new music does not meet, and what they are."""
        if self._wishes.placement != "natural":
            return 0, "full"
        return edge_of(samples, self._found.sample_rate, side, total, self._layout)

    @property
    def _known_layout(self) -> Layout | None:
        """What the source consists of, if that is known."""
        return self._layout if self._layout is not None and self._layout.frames == self._frames else None

    def _missing_frames(self) -> int:
        rate = self._found.sample_rate
        self._wishes.check_total(self._frames / rate)
        return round(self._wishes.total_seconds * rate) - self._frames - self._before

    def _write_source(self, frames: npt.NDArray[Any], stop: int) -> None:
        """Write the source's frames up to `stop`, of which these are the last, as they are."""
        self._writer.write(frames)
        start = self._preserved[-1].stop if self._preserved else self._start
        at = sum(part.frames for part in self._parts)
        self._preserved.append(Preserved(start, stop, at))
        if self._known_layout is not None:
            self._parts += self._known_layout.between(start, stop)
        else:
            self._parts.append(Part(PartKind.SOURCE, stop - start, start))

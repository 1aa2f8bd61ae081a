"""Assembling the extended file: new music before the source, the source, new music after it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.files.conversion import SampleSpec, to_samples
from outpaint_mcp.audio.files.decode import AudioReader, probe
from outpaint_mcp.audio.files.encode import AudioWriter, decode_dtype, seal
from outpaint_mcp.audio.files.extended_file import ExtendedFile
from outpaint_mcp.audio.files.refusals import shown_name
from outpaint_mcp.audio.files.tail_buffer import TailBuffer
from outpaint_mcp.audio.joining.joins import EDGE_SECONDS, Join
from outpaint_mcp.audio.joining.new_music import NewMusic, Shape
from outpaint_mcp.audio.joining.strips import outwards, read_edge
from outpaint_mcp.audio.layout import Layout, Part, PartKind
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.errors import GenerationFailed, SourceUnreachable, UnsupportedAudio

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from outpaint_mcp.audio.engine.step_progress import Report
    from outpaint_mcp.audio.files.decoder import Probe
    from outpaint_mcp.audio.joining.model_output import ModelOutput
    from outpaint_mcp.audio.types import Samples

_SOURCE_SHARE = 4.0
"""Approximate time that the source takes relative to one model output."""
_PROGRESS_STEP = 0.01
"""Smaller steps of progress are not reported."""
_AS_IT_CAME = Shape()
_NO_EDGE = np.zeros((0, 1), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled(ExtendedFile):
    """A file extended with a model's music.

    Attributes:
        joins: one for each model output; those before the source first, each side in the order of its
            outputs.
        lead_in_frames: how many of the first frames are a fade of ours.
        ring_out_frames: how many of the last.
    """

    joins: tuple[Join, ...]
    lead_in_frames: int
    ring_out_frames: int

    def layout(self, source: Sequence[Part]) -> Layout:
        """What the file consists of, given what the source does."""
        before, after = (
            [Part(PartKind.NEW, join.new_frames) for join in self.joins if join.side is side] for side in Side
        )
        inner = Layout(self.sample_rate, (*reversed(before), *source, *after))
        first, last = self.lead_in_frames, self.ring_out_frames
        parts = [*inner.between(first, inner.frames - last)]
        if first:
            parts.insert(0, Part(PartKind.LEAD_IN, first))
        if last:
            parts.append(Part(PartKind.RING_OUT, last))
        return Layout(self.sample_rate, tuple(parts))


def assemble(  # noqa: PLR0913 - one file, each part of it named
    source: Path,
    before: Sequence[ModelOutput],
    after: Sequence[ModelOutput],
    destination: Path,
    *,
    shape: Shape = _AS_IT_CAME,
    max_source_seconds: float,
    on_progress: Report,
) -> Assembled:
    """Write a source with the new music of model outputs before and after it.

    The source's frames pass through exactly as they decode (see `delivery_format` for lossy sources), from
    first to last. Where a model returned less than is to be used, the file is shorter. The same files produce the
    same bytes. If this fails, the caller has to delete the unfinished `destination`.

    Args:
        source: any audio that can be decoded.
        before: the model outputs before it in the order in which they were generated, innermost first.
        after: the model outputs after it, likewise.
        destination: where to write, in the format chosen by `delivery_format`, whatever its suffix.
        shape: how much of the new music is used, and how it begins and ends.
        max_source_seconds: the longest source to accept.
        on_progress: called with the completed fraction and the step: joining or writing.

    Raises:
        SourceUnreachable: if a file does not exist, or the source changed while it was read.
        SourceTooLarge: if the source is longer than `max_source_seconds`.
        UnsupportedAudio: if it cannot be decoded.
        GenerationFailed: if a model output has no new music, or the destination cannot be written.
    """
    found = probe(source)
    total = found.frames + round(sum(map(_new_seconds, (*before, *after))) * found.sample_rate)
    with AudioWriter(destination, found, total) as writer:
        assembler = _Assembler(source, found, writer, shape, on_progress, len(before), len(after))
        lead_in = assembler.lead_in(before)
        decoded = assembler.copy(max_source_seconds)
        lead_out = assembler.lead_out(after, decoded.frames)
    size_bytes, sha256 = seal(destination)
    on_progress(1.0, "writing")
    return Assembled(
        sample_rate=found.sample_rate,
        channels=found.channels,
        container=writer.container,
        subtype=writer.subtype,
        source_frames=decoded.frames,
        source_remark=decoded.remark,
        before_frames=lead_in.frames,
        after_frames=lead_out.frames,
        size_bytes=size_bytes,
        sha256=sha256,
        joins=(*lead_in.joins, *lead_out.joins),
        lead_in_frames=lead_in.shaped_frames,
        ring_out_frames=lead_out.shaped_frames,
    )


def _new_seconds(output: ModelOutput) -> float:
    """Duration of the new music that an output's header claims; it only decides which container is large enough."""
    try:
        return max(0.0, probe(output.path).seconds - output.context_seconds)
    except UnsupportedAudio as exc:
        raise GenerationFailed(f"The model's output cannot be decoded: {exc} Try another seed.") from exc


class _Assembler:
    """Writes one extended file from first frame to last.

    The source is decoded once, straight into the output file, a few seconds behind, because its end is not
    known in advance.
    """

    def __init__(  # noqa: PLR0913 - what all steps share
        self,
        source: Path,
        found: Probe,
        writer: AudioWriter,
        shape: Shape,
        report: Report,
        before: int,
        after: int,
    ) -> None:
        self._source = source
        self._found = found
        self._spec = SampleSpec(found.sample_rate, found.channels)
        self._writer = writer
        self._shape = shape
        self._report = report
        total = before + _SOURCE_SHARE + after
        self._copied_from, self._copied_to = before / total, (before + _SOURCE_SHARE) / total
        self._least_frames, self._most_frames = 1.0, inf
        self._recent = TailBuffer(EDGE_SECONDS * found.sample_rate)

    def lead_in(self, outputs: Sequence[ModelOutput]) -> NewMusic:
        """Write the music that leads into the source."""
        if not outputs:
            return self._new_music(_NO_EDGE, outputs, Side.BEFORE, None)
        self._report(0.0, "joining")
        edge = self._as_written(read_edge(self._source, Side.BEFORE, self._spec, EDGE_SECONDS))
        new = self._new_music(edge, outputs, Side.BEFORE, self._shape.before_frames)
        outward = np.concatenate(list(new.blocks()))
        self._least_frames = len(edge)
        if len(edge) < round(EDGE_SECONDS * self._found.sample_rate):
            self._most_frames = len(edge)
        self._writer.write(outwards(outward, Side.BEFORE))
        return new

    def copy(self, max_seconds: float) -> AudioReader:
        """Write the source itself except for its last seconds."""
        self._report(self._copied_from, "writing")
        reported, share = self._copied_from, self._copied_to - self._copied_from
        with AudioReader(self._source, max_seconds=max_seconds) as decoded:
            if decoded.probe == self._found:
                for block in decoded.blocks(decode_dtype(self._found)):
                    for passed in self._recent.add(block):
                        self._writer.write(passed)
                    done = self._copied_from + share * min(1.0, decoded.frames / max(1, self._found.frames))
                    if done >= reported + _PROGRESS_STEP:
                        reported = done
                        self._report(done, "writing")
        if not self._least_frames <= decoded.frames <= self._most_frames:
            raise SourceUnreachable(
                f"{shown_name(self._source)} changed while it was read. Try again when no other program is writing it."
            )
        return decoded

    def lead_out(self, outputs: Sequence[ModelOutput], source_frames: int) -> NewMusic:
        """Write the source's last seconds and the music that follows, as it is joined: there may be hours of it."""
        held = self._recent.unroll()
        self._writer.write(held)
        if not outputs:
            return self._new_music(_NO_EDGE, outputs, Side.AFTER, None)
        self._report(self._copied_to, "joining")
        edge = self._as_written(to_samples(held))
        new = self._new_music(edge, outputs, Side.AFTER, self._shape.most_after(source_frames))
        for block in new.blocks():
            self._writer.write(block)
        return new

    def _new_music(
        self, edge: Samples, outputs: Sequence[ModelOutput], side: Side, most_frames: int | None
    ) -> NewMusic:
        fades = self._shape.fades_in if side is Side.BEFORE else self._shape.fades_out
        return NewMusic(edge, outputs, side, self._spec, most_frames=most_frames, fades=fades)

    def _as_written(self, samples: Samples) -> Samples:
        """Clip what a loud lossy source decodes to beyond full scale, as the output file does.

        Otherwise its level would be overestimated.
        """
        return samples if self._writer.is_float else np.clip(samples, -1, 1)

"""Extending a file with its own material: decode, analyse, compose, write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from outpaint_mcp.audio.engine.analysis import Material, analyse
from outpaint_mcp.audio.engine.continuation import extend
from outpaint_mcp.audio.engine.regions import Tail, read_head
from outpaint_mcp.audio.files.decode import AudioReader, Probe, probe
from outpaint_mcp.audio.files.encode import AudioWriter, decode_dtype, seal
from outpaint_mcp.audio.files.extended_file import ExtendedFile
from outpaint_mcp.audio.peaks import ceiling_of, limit_peaks
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.errors import SourceUnreachable

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.types import Progress, Samples

Report = Callable[[float, str], None]
"""Called with the completed fraction of the whole, 0 to 1, and the current step. It may raise to stop the work."""

_SHARES = {"decoding": 3.0, "listening": 2.0, "composing": 2.0, "writing": 1.0}
"""Approximate relative duration of each step."""
_PROGRESS_STEP = 0.01
"""Smaller steps of progress are not reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outpainted(ExtendedFile):
    """A file extended with its own material.

    Attributes:
        method_before: how the music before the source was generated (see `Extension`); None if none was
            requested.
        method_after: the same for the music after it.
        tempo_bpm: the tempo near the source's end, or near its beginning if only that was extended; None
            without a steady beat.
    """

    method_before: str | None
    method_after: str | None
    tempo_bpm: float | None


class _ExtensionSummary(NamedTuple):
    """What is reported about an extension after its samples were written and freed."""

    method: str | None = None
    tempo_bpm: float | None = None


def outpaint_file(  # noqa: PLR0913 - one request, each part of it named
    source: Path,
    destination: Path,
    *,
    before_seconds: float,
    after_seconds: float,
    seed: int,
    max_source_seconds: float,
    on_progress: Report,
) -> Outpainted:
    """Write a source with music added before and after it.

    The source's frames pass through exactly as they decode (see `delivery_format` for lossy sources). Each
    side lasts exactly the requested seconds, rounded to a frame, and stays below -1 dBTP even where the
    source does not (see `limit_peaks`). The same seed produces the same bytes. If this fails, the caller has
    to delete the unfinished `destination`.

    Args:
        source: any audio that libsndfile decodes.
        destination: where to write, in the format chosen by `delivery_format`, whatever its suffix.
        before_seconds: duration of the music before the source, 0 for none.
        after_seconds: duration of the music after it, 0 for none.
        seed: 0 or more; a different seed usually gives a different take, if the source allows several good
            ones.
        max_source_seconds: the longest source to accept.
        on_progress: called with the completed fraction and the step: decoding, listening, composing or
            writing.

    Raises:
        SourceUnreachable: if the source does not exist, or changed while it was read.
        SourceTooLarge: if it is longer than `max_source_seconds`.
        UnsupportedAudio: if it cannot be decoded.
        GenerationFailed: if the destination cannot be written.
    """
    found = probe(source)
    before_frames = round(before_seconds * found.sample_rate)
    after_frames = round(after_seconds * found.sample_rate)
    steps = _StepProgress(on_progress, before=before_frames > 0, after=after_frames > 0)
    with AudioWriter(destination, found, before_frames + found.frames + after_frames) as writer:
        outpainter = _Outpainter(source, found, writer, seed, steps)
        before = outpainter.lead_in(before_frames) if before_frames else _ExtensionSummary()
        decoded = outpainter.copy(max_source_seconds, keep_end=after_frames > 0)
        after = outpainter.lead_out(after_frames) if after_frames else _ExtensionSummary()
        steps.begin("writing")
    size_bytes, sha256 = seal(destination)
    on_progress(1.0, "writing")
    return Outpainted(
        sample_rate=found.sample_rate,
        channels=found.channels,
        container=writer.container,
        subtype=writer.subtype,
        source_frames=decoded.frames,
        source_intact=decoded.intact,
        before_frames=before_frames,
        after_frames=after_frames,
        method_before=before.method,
        method_after=after.method,
        tempo_bpm=after.tempo_bpm if after_frames else before.tempo_bpm,
        size_bytes=size_bytes,
        sha256=sha256,
    )


class _Outpainter:
    """Writes one extended file from first frame to last.

    The source is decoded once, straight into the output file. Only its beginning is decoded earlier, for the
    music that comes first. Only one end of a long source is in memory at a time, so an hour needs no more
    memory than a few minutes.
    """

    def __init__(
        self, source: Path, found: Probe, writer: AudioWriter, seed: int, steps: _StepProgress
    ) -> None:
        self._source = source
        self._found = found
        self._writer = writer
        self._seed = seed
        self._steps = steps
        self._whole: Material | None = None
        self._tail = Tail(found)

    def lead_in(self, frames: int) -> _ExtensionSummary:
        """Write the music that leads into the source."""
        self._steps.begin("decoding")
        head = read_head(self._source)
        material = self._analyse(head.samples)
        if head.whole:
            self._whole = material
        return self._compose(material, Side.BEFORE, frames)

    def copy(self, max_seconds: float, *, keep_end: bool) -> AudioReader:
        """Write the source itself; buffer its end unless all of it is in memory already."""
        progress = self._steps.begin("decoding")
        keep_end = keep_end and not self._whole
        with AudioReader(self._source, max_seconds=max_seconds) as decoded:
            if decoded.probe == self._found:
                for block in decoded.blocks(decode_dtype(self._found)):
                    self._writer.write(block)
                    if keep_end:
                        self._tail.add(block)
                    progress(decoded.frames / max(1, self._found.frames))
        if not decoded.frames or (self._whole and decoded.frames != len(self._whole.samples)):
            raise SourceUnreachable(
                f"{self._source.name} changed while it was read. Try again when no other program is writing it."
            )
        return decoded

    def lead_out(self, frames: int) -> _ExtensionSummary:
        """Write the music that follows the source."""
        material = self._whole or self._analyse(self._tail.unroll())
        return self._compose(material, Side.AFTER, frames)

    def _analyse(self, region: Samples) -> Material:
        self._steps.begin("listening")
        return analyse(region, self._found.sample_rate)

    def _compose(self, material: Material, side: Side, frames: int) -> _ExtensionSummary:
        progress = self._steps.begin("composing")
        extension = extend(material, side, frames, seed=self._seed, on_progress=progress)
        outwards = slice(None, None, 1 if side is Side.AFTER else -1)
        ceiling = ceiling_of(material.peak if self._writer.is_float else min(material.peak, 1.0))
        held = limit_peaks(extension.samples[outwards], self._found.sample_rate, ceiling)
        self._writer.write(held[outwards])
        return _ExtensionSummary(extension.method, extension.tempo_bpm)


class _StepProgress:
    """Maps the completed fraction of each step to a fraction of the whole, which never decreases."""

    def __init__(self, report: Report, *, before: bool, after: bool) -> None:
        self._report = report
        side = _SHARES["listening"] + _SHARES["composing"]
        self._total = sum(
            ((_SHARES["decoding"] + side) * before, _SHARES["decoding"], side * after, _SHARES["writing"])
        )
        self._next = 0.0

    def begin(self, word: str) -> Progress:
        """Report the next step; return the callback for its own completed fraction."""
        share = _SHARES[word] / self._total
        start = reported = self._next
        self._next += share
        self._report(start, word)

        def progress(fraction: float) -> None:
            nonlocal reported
            done = start + share * min(1.0, fraction)
            if done >= reported + _PROGRESS_STEP:
                reported = done
                self._report(done, word)

        return progress

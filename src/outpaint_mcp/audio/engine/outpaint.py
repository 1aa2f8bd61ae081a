"""One file in, a longer one out: decode, listen, compose, write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from outpaint_mcp.audio.engine.analysis import Material, analyse
from outpaint_mcp.audio.engine.continuation import extend
from outpaint_mcp.audio.engine.regions import Tail, read_head
from outpaint_mcp.audio.files.decode import Probe, Source, probe
from outpaint_mcp.audio.files.encode import Delivery, carrier, is_lossless, seal
from outpaint_mcp.audio.files.longer import Longer
from outpaint_mcp.audio.peaks import ceiling_of, hold_peaks
from outpaint_mcp.audio.shapes import Side
from outpaint_mcp.errors import SourceUnreachable

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.shapes import Progress, Samples

Report = Callable[[float, str], None]
"""Told the fraction of the whole that is done, 0 to 1, and the step at hand; may raise to stop the work."""

_SHARES = {"decoding": 3.0, "listening": 2.0, "composing": 2.0, "writing": 1.0}
"""How long each step takes beside the others, roughly."""
_NEWS = 0.01
"""Progress smaller than this is not reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outpainted(Longer):
    """A file that was made longer by its own material.

    Attributes:
        method_before: how the music goes on there (see `Extension`); None where none was asked.
        method_after: likewise.
        tempo_bpm: the tempo near the source's end, or its beginning where only that was extended;
            None where there is no steady beat.
    """

    method_before: str | None
    method_after: str | None
    tempo_bpm: float | None


class _Music(NamedTuple):
    """What is told about an extension once it is written and gone from memory."""

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
    """Write `source` to `destination` with music added before and after it.

    The source's frames come through exactly as they decode (see `delivery_format` for lossy sources);
    each side lasts exactly the asked seconds, rounded to a frame, and stays under -1 dBTP even where the source
    does not (see `hold_peaks`); the same seed makes the same bytes.
    Whatever stops the work leaves an unfinished `destination` behind, the caller's to remove.

    Args:
        source: any audio that libsndfile decodes.
        destination: where to write, in the format that `delivery_format` names, whatever its suffix.
        before_seconds: length of the music before the source, 0 for none.
        after_seconds: length of the music after it, 0 for none.
        seed: 0 or more; another seed usually is another take, as far as the source has several good ones.
        max_source_seconds: the longest source to accept.
        on_progress: told the fraction done and the step: decoding, listening, composing, writing.

    Raises:
        SourceUnreachable: if the source is not there, or changed while being read.
        SourceTooLarge: if it lasts longer than `max_source_seconds`.
        UnsupportedAudio: if it cannot be decoded.
        GenerationFailed: if the destination cannot be written.
    """
    found = probe(source)
    before_frames = round(before_seconds * found.sample_rate)
    after_frames = round(after_seconds * found.sample_rate)
    steps = _Steps(on_progress, before=before_frames > 0, after=after_frames > 0)
    with Delivery(destination, found, before_frames + found.frames + after_frames) as delivery:
        work = _Work(source, found, delivery, seed, steps)
        before = work.lead_in(before_frames) if before_frames else _Music()
        decoded = work.copy(max_source_seconds, keep_end=after_frames > 0)
        after = work.go_on(after_frames) if after_frames else _Music()
        steps.begin("writing")
    size_bytes, sha256 = seal(destination)
    on_progress(1.0, "writing")
    return Outpainted(
        sample_rate=found.sample_rate,
        channels=found.channels,
        container=delivery.container,
        subtype=delivery.subtype,
        source_frames=decoded.frames,
        source_lossless=is_lossless(found),
        source_intact=decoded.intact,
        before_frames=before_frames,
        after_frames=after_frames,
        method_before=before.method,
        method_after=after.method,
        tempo_bpm=after.tempo_bpm if after_frames else before.tempo_bpm,
        size_bytes=size_bytes,
        sha256=sha256,
    )


class _Work:
    """One request on its way into the delivery, from the first frame of that to the last.

    The source is decoded once, straight into the delivery. Only its beginning is decoded before that, for
    the music that comes first; where the source is longer than what is kept of an end, that end is let
    go before the other is known, so that an hour needs no more memory than some minutes.
    """

    def __init__(self, source: Path, found: Probe, delivery: Delivery, seed: int, steps: _Steps) -> None:
        self._source = source
        self._found = found
        self._delivery = delivery
        self._seed = seed
        self._steps = steps
        self._whole: Material | None = None
        self._tail = Tail(found)

    def lead_in(self, frames: int) -> _Music:
        """Write music that leads into the source."""
        self._steps.begin("decoding")
        head = read_head(self._source)
        material = self._listen(head.samples)
        if head.whole:
            self._whole = material
        return self._compose(material, Side.BEFORE, frames)

    def copy(self, max_seconds: float, *, keep_end: bool) -> Source:
        """Write the source itself, and keep its end unless all of it is known already."""
        progress = self._steps.begin("decoding")
        keep_end = keep_end and not self._whole
        with Source(self._source, max_seconds=max_seconds) as decoded:
            if decoded.probe == self._found:
                for block in decoded.blocks(carrier(self._found)):
                    self._delivery.write(block)
                    if keep_end:
                        self._tail.add(block)
                    progress(decoded.frames / max(1, self._found.frames))
        if not decoded.frames or (self._whole and decoded.frames != len(self._whole.samples)):
            raise SourceUnreachable(
                f"{self._source.name} changed while being read. Try again once it stays as it is."
            )
        return decoded

    def go_on(self, frames: int) -> _Music:
        """Write music that follows the source."""
        material = self._whole or self._listen(self._tail.unroll())
        return self._compose(material, Side.AFTER, frames)

    def _listen(self, region: Samples) -> Material:
        self._steps.begin("listening")
        return analyse(region, self._found.sample_rate)

    def _compose(self, material: Material, side: Side, frames: int) -> _Music:
        progress = self._steps.begin("composing")
        extension = extend(material, side, frames, seed=self._seed, on_progress=progress)
        outwards = slice(None, None, 1 if side is Side.AFTER else -1)
        ceiling = ceiling_of(material.peak if self._delivery.is_float else min(material.peak, 1.0))
        held = hold_peaks(extension.samples[outwards], self._found.sample_rate, ceiling)
        self._delivery.write(held[outwards])
        return _Music(extension.method, extension.tempo_bpm)


class _Steps:
    """Maps the fraction of each step to one of the whole, which only grows."""

    def __init__(self, report: Report, *, before: bool, after: bool) -> None:
        self._report = report
        side = _SHARES["listening"] + _SHARES["composing"]
        self._total = sum(
            ((_SHARES["decoding"] + side) * before, _SHARES["decoding"], side * after, _SHARES["writing"])
        )
        self._next = 0.0

    def begin(self, word: str) -> Progress:
        """Report the next step; returns what to tell its own fraction to."""
        share = _SHARES[word] / self._total
        start = told = self._next
        self._next += share
        self._report(start, word)

        def progress(fraction: float) -> None:
            nonlocal told
            done = start + share * min(1.0, fraction)
            if done >= told + _NEWS:
                told = done
                self._report(done, word)

        return progress

"""One file in, a longer one out: decode, listen, compose, write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.analysis import Material, analyse
from outpaint_mcp.audio.continuation import extend
from outpaint_mcp.audio.decode import BLOCK_FRAMES, Probe, Source, probe
from outpaint_mcp.audio.encode import Delivery, carrier, delivery_format, seal
from outpaint_mcp.audio.regions import read_head, read_tail
from outpaint_mcp.audio.shapes import Side
from outpaint_mcp.errors import SourceUnreachable

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.shapes import Extension, Progress, Samples

Report = Callable[[float, str], None]
"""Told the fraction of the whole that is done, 0 to 1, and the step at hand; may raise to stop the work."""

_DECODING, _SIDES, _WRITING = 0.3, 0.4, 0.3
"""Shares of the whole; those of listening and composing are split between the sides."""
_NEWS = 0.01
"""Progress smaller than this is not reported."""


@dataclass(frozen=True, slots=True)
class Outpainted:
    """A file that was made longer.

    Attributes:
        sample_rate: frames per second, the source's.
        channels: the source's.
        container: `WAV`, `RF64` or `FLAC`.
        subtype: the encoding inside, in libsndfile's words.
        source_frames: how many frames of the source are in it, bit for bit.
        source_intact: False where the source was damaged and ends where decoding it did.
        before_frames: frames of music before the source.
        after_frames: frames of music after it.
        method_before: how the music goes on there (see `Extension`); None where none was asked.
        method_after: likewise.
        tempo_bpm: the tempo near the source's end, or its beginning where only that was extended;
            None where there is no steady beat.
        size_bytes: of the file.
        sha256: of the file.
    """

    sample_rate: int
    channels: int
    container: str
    subtype: str
    source_frames: int
    source_intact: bool
    before_frames: int
    after_frames: int
    method_before: str | None
    method_after: str | None
    tempo_bpm: float | None
    size_bytes: int
    sha256: str

    @property
    def duration_seconds(self) -> float:
        """The length of the whole."""
        return (self.before_frames + self.source_frames + self.after_frames) / self.sample_rate


@dataclass(frozen=True, slots=True)
class _Composed:
    source_frames: int
    source_intact: bool
    before: Extension | None
    after: Extension | None


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
    each side lasts exactly the asked seconds, rounded to a frame; the same seed makes the same bytes.
    Whatever stops the work leaves an unfinished `destination` behind, the caller's to remove.

    Args:
        source: any audio that libsndfile decodes.
        destination: where to write, in the format that `delivery_format` names, whatever its suffix.
        before_seconds: length of the music before the source, 0 for none.
        after_seconds: length of the music after it, 0 for none.
        seed: 0 or more; another seed is another take.
        max_source_seconds: the longest source to accept.
        on_progress: told the fraction done and the step: decoding, listening, composing, writing.

    Raises:
        SourceUnreachable: if the source is not there, or changed while being read.
        SourceTooLarge: if it lasts longer than `max_source_seconds`.
        UnsupportedAudio: if it cannot be decoded.
        GenerationFailed: if the destination cannot be written.
    """
    found = probe(source)
    steps = _Steps(on_progress)
    lengths = {
        Side.BEFORE: round(before_seconds * found.sample_rate),
        Side.AFTER: round(after_seconds * found.sample_rate),
    }
    composed = _compose(source, found, lengths, seed=seed, max_seconds=max_source_seconds, steps=steps)
    container = _write(source, destination, found, composed, steps.begin("writing", _WRITING))
    size_bytes, sha256 = seal(destination)
    on_progress(1.0, "writing")
    before, after = composed.before, composed.after
    near = after or before
    return Outpainted(
        sample_rate=found.sample_rate,
        channels=found.channels,
        container=container,
        subtype=delivery_format(found).subtype,
        source_frames=composed.source_frames,
        source_intact=composed.source_intact,
        before_frames=lengths[Side.BEFORE],
        after_frames=lengths[Side.AFTER],
        method_before=before.method if before else None,
        method_after=after.method if after else None,
        tempo_bpm=near.tempo_bpm if near else None,
        size_bytes=size_bytes,
        sha256=sha256,
    )


def _compose(  # noqa: PLR0913 - see outpaint_file
    source: Path, found: Probe, lengths: dict[Side, int], *, seed: int, max_seconds: float, steps: _Steps
) -> _Composed:
    """Make the music of both sides, holding one end of a long source at a time."""
    share = _SIDES / 2 / max(1, sum(frames > 0 for frames in lengths.values()))

    def listen(region: Samples) -> Material:
        steps.begin("listening", share)
        return analyse(region, found.sample_rate)

    def make(material: Material, side: Side) -> Extension:
        return extend(material, side, lengths[side], seed=seed, on_progress=steps.begin("composing", share))

    tail = read_tail(source, max_seconds=max_seconds, on_progress=steps.begin("decoding", _DECODING))
    frames, intact, whole = tail.source_frames, tail.intact, tail.whole
    material = listen(tail.samples) if lengths[Side.AFTER] or whole else None
    del tail
    after = make(material, Side.AFTER) if material and lengths[Side.AFTER] else None
    if lengths[Side.BEFORE] and not whole:
        material = None  # one end makes room for the other before that is read
        material = listen(read_head(source))
    before = make(material, Side.BEFORE) if material and lengths[Side.BEFORE] else None
    return _Composed(frames, intact, before, after)


def _write(source: Path, destination: Path, found: Probe, composed: _Composed, on_progress: Progress) -> str:
    """Write music, source and music, the source decoded again block by block; return the container."""
    sides = (composed.before, composed.after)
    total = composed.source_frames + sum(len(side.samples) for side in sides if side)
    changed = SourceUnreachable(f"{source.name} changed while being read. Try again once it stays as it is.")
    with Source(source) as middle:
        if middle.probe != found:
            raise changed
        with Delivery(destination, found, total) as delivery:
            if composed.before:
                delivery.write(composed.before.samples)
            block = np.empty((BLOCK_FRAMES, found.channels), carrier(found))
            while count := middle.read_into(block):
                delivery.write(block[:count])
                on_progress(middle.frames / composed.source_frames)
            if composed.after:
                delivery.write(composed.after.samples)
        if middle.frames != composed.source_frames:
            raise changed
    return delivery.container


class _Steps:
    """Maps the fraction of each step to one of the whole, which only grows."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._next = 0.0

    def begin(self, word: str, share: float) -> Progress:
        """Report a step that takes `share` of the whole; returns what to tell its own fraction to."""
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

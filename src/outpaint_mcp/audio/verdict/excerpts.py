"""Stretches of a recording in the form in which two of them are compared, decoded in one pass."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from outpaint_mcp.audio.files.conversion import STEREO, SampleSpec, stream_as
from outpaint_mcp.audio.files.decode import AudioReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from outpaint_mcp.audio.types import Samples


class Listener(Protocol):
    """Hears a recording block by block."""

    def add(self, samples: Samples) -> None:
        """Take the next frames `[frames, channels]`, which are valid until this returns."""


class Excerpts(NamedTuple):
    """Stretches of a recording; they may overlap.

    Attributes:
        head: its first frames `[frames, channels]`, finite.
        tail: its last.
        frames: how many there are in all.
        stored_frames: the same at the recording's own rate.
        others: further stretches, each with its first frame.
    """

    head: Samples
    tail: Samples
    frames: int
    stored_frames: int
    others: tuple[tuple[int, Samples], ...] = ()

    def between(self, start: int, stop: int) -> tuple[Samples, int]:
        """Return as much of a stretch as there is in one piece, and the frame at which that begins."""
        pieces = ((0, self.head), (self.frames - len(self.tail), self.tail), *self.others)
        spans = [(max(start, first), min(stop, first + len(piece)), first, piece) for first, piece in pieces]
        begin, end, first, piece = max(spans, key=lambda span: span[1] - span[0])
        begin = min(max(begin, first), first + len(piece))
        return piece[begin - first : max(begin, end) - first], begin


def read_excerpts(  # noqa: PLR0913 - what is wanted of one pass
    path: Path,
    form: SampleSpec,
    head_seconds: float,
    tail_seconds: float,
    *,
    start_frame: int = 0,
    stop_frame: float = inf,
    spans: Sequence[tuple[int, int]] = (),
    listeners: Iterable[Listener] = (),
    max_seconds: float = inf,
) -> Excerpts:
    """Decode a recording once and return both of its ends, and further stretches of it.

    Args:
        path: any audio that can be decoded.
        form: at any rate, with one channel or two.
        head_seconds: 0 for nothing.
        tail_seconds: likewise.
        start_frame: the first frame to count, in the form; what is before it is left out.
        stop_frame: the frame after the last.
        spans: first and last frame of each further stretch, in increasing order of the first.
        listeners: hear all that is counted, in the form.
        max_seconds: the longest recording to accept.

    Raises:
        SourceUnreachable: if there is no such file or it may not be read.
        SourceTooLarge: if it lasts longer than `max_seconds`.
        UnsupportedAudio: if it cannot be decoded.
    """
    head = _Span(0, round(head_seconds * form.sample_rate))
    others = [_Span(first, stop) for first, stop in spans]
    tail_frames = round(tail_seconds * form.sample_rate)
    tail: deque[Samples] = deque()
    frames = held = 0
    passed = 0
    with AudioReader(path, max_seconds=max_seconds) as source:
        for block in stream_as(source, SampleSpec(form.sample_rate, min(STEREO, source.probe.channels))):
            samples = _with_channels(block, form.channels)
            if source.probe.channels > STEREO:  # folding adds up: nothing is over full scale that was not
                samples *= np.float32(1 / _MOST_FOLDED)
            begin, end = max(0, start_frame - passed), int(min(len(samples), max(0, stop_frame - passed)))
            passed += len(samples)
            samples = samples[begin:end]
            if not len(samples):
                continue
            for listener in listeners:
                listener.add(samples)
            for span in (head, *others):
                span.add(samples, frames)
            tail.append(samples)
            frames += len(samples)
            held += len(samples)
            while tail and held - len(tail[0]) >= tail_frames:
                held -= len(tail.popleft())
        stored = source.frames
    return Excerpts(
        head=_joined(head.blocks, form),
        tail=_joined(tail, form)[max(0, held - tail_frames) :],
        frames=frames,
        stored_frames=stored,
        others=tuple((span.first, _joined(span.blocks, form)) for span in others),
    )


class _Span:
    """A stretch that is kept."""

    def __init__(self, first: int, stop: int) -> None:
        self.first, self._stop = max(0, first), stop
        self.blocks: list[Samples] = []

    def add(self, samples: Samples, at: int) -> None:
        begin, end = max(self.first - at, 0), min(self._stop - at, len(samples))
        if begin < end:
            self.blocks.append(samples[begin:end])


_MOST_FOLDED = 1 + 2 * 0.5**0.5
"""A front channel, the centre and one behind it."""


def _with_channels(block: Samples, channels: int) -> Samples:
    """A copy with one channel, the mean, or two."""
    if block.shape[1] == channels:
        return block.copy()
    if channels == 1:
        return np.asarray(block.mean(axis=1, keepdims=True), np.float32)
    return np.repeat(block, channels, axis=1)


def _joined(blocks: list[Samples] | deque[Samples], form: SampleSpec) -> Samples:
    return np.concatenate([np.zeros((0, form.channels), np.float32), *blocks])

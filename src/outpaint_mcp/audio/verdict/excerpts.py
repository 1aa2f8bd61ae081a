"""Both ends of a recording in the form in which two of them are compared."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from outpaint_mcp.audio.files.conversion import STEREO, SampleSpec, stream_as
from outpaint_mcp.audio.files.decode import AudioReader

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.types import Samples


class Ends(NamedTuple):
    """The beginning and the end of a recording, which may be the same frames.

    Attributes:
        head: its first frames `[frames, channels]`, finite.
        tail: its last.
        frames: how many there are in all.
    """

    head: Samples
    tail: Samples
    frames: int


def read_ends(
    path: Path, form: SampleSpec, head_seconds: float, tail_seconds: float, *, max_seconds: float = inf
) -> Ends:
    """Decode a recording once and return both of its ends.

    Args:
        path: any audio that libsndfile decodes.
        form: at any rate, with one channel or two.
        head_seconds: 0 for nothing.
        tail_seconds: likewise.
        max_seconds: the longest recording to accept.

    Raises:
        SourceUnreachable: if there is no such file or it may not be read.
        SourceTooLarge: if it lasts longer than `max_seconds`.
        UnsupportedAudio: if it cannot be decoded.
    """
    head_frames, tail_frames = round(head_seconds * form.sample_rate), round(tail_seconds * form.sample_rate)
    head: list[Samples] = []
    tail: deque[Samples] = deque()
    frames = held = 0
    with AudioReader(path, max_seconds=max_seconds) as source:
        for block in stream_as(source, SampleSpec(form.sample_rate, min(STEREO, source.probe.channels))):
            samples = _with_channels(block, form.channels)
            if source.probe.channels > STEREO:  # folding adds up: nothing is over full scale that was not
                samples *= np.float32(1 / _MOST_FOLDED)
            if frames < head_frames:
                head.append(samples[: head_frames - frames])
            tail.append(samples)
            frames += len(samples)
            held += len(samples)
            while tail and held - len(tail[0]) >= tail_frames:
                held -= len(tail.popleft())
    return Ends(_joined(head, form), _joined(tail, form)[max(0, held - tail_frames) :], frames)


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

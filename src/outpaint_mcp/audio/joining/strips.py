"""One side of a source with the music added there so far, step by step.

A strip is the source's own edge followed by the new part of each model output. Time runs outward in it, so it
is reversed before the source, and both sides work alike.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.files.conversion import stream_as
from outpaint_mcp.audio.files.decode import AudioReader
from outpaint_mcp.audio.files.refusals import shown_name
from outpaint_mcp.audio.files.tail_buffer import TailBuffer
from outpaint_mcp.audio.joining.joins import EDGE_SECONDS, join
from outpaint_mcp.audio.joining.model_output import read_model_output
from outpaint_mcp.audio.sides import Side
from outpaint_mcp.errors import UnsupportedAudio

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from outpaint_mcp.audio.files.conversion import SampleSpec
    from outpaint_mcp.audio.joining.joins import Join
    from outpaint_mcp.audio.joining.model_output import ModelOutput
    from outpaint_mcp.audio.types import Samples

DAMAGED_SECONDS = 0.05
"""How much of an output's outer end is dropped before the next one: an MP3's delay or padding, and a frame."""


def outwards(samples: Samples, side: Side) -> Samples:
    """Convert between playing order and outward order."""
    return samples if side is Side.AFTER else samples[::-1]


def read_edge(source: Path, side: Side, spec: SampleSpec, seconds: float) -> Samples:
    """Decode the outermost seconds of a source, outward; all of it if it is shorter.

    Raises:
        SourceUnreachable: if the file does not exist.
        UnsupportedAudio: if it cannot be decoded, or contains no frames.
    """
    frames = round(seconds * spec.sample_rate)
    count, buffer = 0, TailBuffer(frames if side is Side.AFTER else inf)
    with AudioReader(source) as opened:
        for block in stream_as(opened, spec):
            count += len(block)
            buffer.add(block)
            if side is Side.BEFORE and count >= frames:
                break
    if not count:
        raise UnsupportedAudio(
            f"{shown_name(source)} contains no audio that can be decoded. Check how it was saved or uploaded."
        )
    samples = buffer.unroll()
    return samples[-frames:] if side is Side.AFTER else samples[:frames][::-1]


def join_each(
    edge: Samples, outputs: Sequence[ModelOutput], side: Side, spec: SampleSpec, *, more_follow: bool
) -> Iterator[tuple[Samples, Join]]:
    """Yield the new music of each model output, outward, joined to what came before it; one is in memory at a time.

    If another output is to follow, the last 50 ms are dropped, because coding damages or mutes them.

    Args:
        edge: the last seconds of the source in this format, outward; at least `EDGE_SECONDS` if it is that
            long.
        outputs: in the order in which they were generated.
        side: the side of the source.
        spec: the source's format, or that of the context to send.
        more_follow: whether another output is to follow.

    Raises:
        GenerationFailed: if a model output has no new music.
        SourceUnreachable: if its file no longer exists.
    """
    recent, most = edge, int(EDGE_SECONDS * spec.sample_rate)
    for number, output in enumerate(outputs, 1):
        returned = outwards(read_model_output(output, spec), side)
        expected = round(output.context_seconds * spec.sample_rate)
        new, joined = join(recent, returned, expected, side, spec.sample_rate)
        if more_follow or number < len(outputs):
            damaged = round(DAMAGED_SECONDS * spec.sample_rate)
            new, joined = new[:-damaged], replace(joined, new_frames=joined.new_frames - damaged)
        yield new, joined
        recent = np.concatenate([recent, new])[-most:]

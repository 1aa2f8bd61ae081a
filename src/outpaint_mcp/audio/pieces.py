"""What a hosted model returned: what it is, and its samples in the form of the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from outpaint_mcp.audio.decode import Source
from outpaint_mcp.audio.forms import Form, streamed, with_channels
from outpaint_mcp.errors import GenerationFailed, UnsupportedAudio

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.shapes import Samples

_MOST_SECONDS = 600.0
"""More than this is never read: no model's canvas comes near it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One step outwards: the context that was sent, made anew, and new music on one side of it.

    Attributes:
        path: the file that the model returned.
        context_seconds: how much context was sent, exact to the frame (see `Context.seconds`).
    """

    path: Path
    context_seconds: float


class Measured(NamedTuple):
    """A file as it really is.

    Attributes:
        seconds: its length.
        frames: the same, as counted.
        sample_rate: frames per second.
        channels: 1 to 8.
        container: libsndfile's name of the file format.
        intact: False where it is damaged and was counted up to there.
    """

    seconds: float
    frames: int
    sample_rate: int
    channels: int
    container: str
    intact: bool


def measure(path: Path, max_seconds: float) -> Measured:
    """Decode all of a file to see how long it really is.

    Raises:
        SourceUnreachable: if there is no such file or it may not be read.
        SourceTooLarge: if it lasts longer than `max_seconds`.
        UnsupportedAudio: if it is not audio that can be decoded, or holds not a single frame.
    """
    with Source(path, max_seconds=max_seconds) as source:
        for _ in source.blocks(np.float32):
            pass
    found = source.probe
    if not source.frames:
        raise UnsupportedAudio(f"{path.name} holds no audio that can be decoded.")
    return Measured(
        seconds=source.frames / found.sample_rate,
        frames=source.frames,
        sample_rate=found.sample_rate,
        channels=found.channels,
        container=found.container,
        intact=source.intact,
    )


def read_piece(piece: Piece, form: Form) -> Samples:
    """Decode a piece to the form of the source.

    Raises:
        SourceUnreachable: if its file is not there any more.
        GenerationFailed: if it is not audio that can be decoded.
    """
    blocks, frames = [], 0
    try:
        with Source(piece.path) as source:
            channels = source.probe.channels
            for block in streamed(source, Form(form.sample_rate, channels)):
                blocks.append(block.copy())
                frames += len(block)
                if frames > _MOST_SECONDS * form.sample_rate:
                    break
    except UnsupportedAudio as exc:
        raise GenerationFailed(
            f"What the model returned cannot be decoded: {exc} Another seed may do better."
        ) from exc
    return (
        with_channels(np.concatenate(blocks), form.channels)
        if blocks
        else np.empty((0, form.channels), np.float32)
    )

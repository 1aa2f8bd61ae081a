"""What a hosted model returned: what it is, and its samples in the form of the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.files.decode import Source
from outpaint_mcp.audio.files.forms import Form, streamed, with_channels
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

"""What a hosted model returned: the file, and its samples in the source's format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.files.conversion import SampleSpec, remix, stream_as
from outpaint_mcp.audio.files.decode import AudioReader
from outpaint_mcp.errors import GenerationFailed, UnsupportedAudio

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.types import Samples

_MOST_SECONDS = 600.0
"""Nothing beyond this is read: no model's canvas comes near it."""


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """One outward step: the model's rendering of the context that was sent, and new music on one side of it.

    Attributes:
        path: the file that the model returned.
        context_seconds: how much context was sent, exact to the frame (see `Context.seconds`).
    """

    path: Path
    context_seconds: float


def read_model_output(output: ModelOutput, spec: SampleSpec) -> Samples:
    """Decode a model output.

    Args:
        output: the file that the model returned.
        spec: the sample rate and channel count to convert to.

    Raises:
        SourceUnreachable: if the file no longer exists.
        GenerationFailed: if it is not decodable audio.
    """
    blocks, frames = [], 0
    try:
        with AudioReader(output.path) as source:
            channels = source.probe.channels
            for block in stream_as(source, SampleSpec(spec.sample_rate, channels)):
                blocks.append(block.copy())
                frames += len(block)
                if frames > _MOST_SECONDS * spec.sample_rate:
                    break
    except UnsupportedAudio as exc:
        raise GenerationFailed(f"The model's output cannot be decoded: {exc} Try another seed.") from exc
    return (
        remix(np.concatenate(blocks), spec.channels) if blocks else np.empty((0, spec.channels), np.float32)
    )

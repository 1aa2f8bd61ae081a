"""The actual length of an audio file."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from outpaint_mcp.audio.files.decode import AudioReader
from outpaint_mcp.audio.files.refusals import shown_name
from outpaint_mcp.errors import UnsupportedAudio

if TYPE_CHECKING:
    from pathlib import Path


class Measured(NamedTuple):
    """The actual properties of an audio file.

    Attributes:
        seconds: its duration.
        frames: the number of frames decoded.
        sample_rate: frames per second.
        channels: 1 to 8.
        container: the file format, as in `Probe`.
        intact: False if it is damaged; then the frames before the damage were counted.
    """

    seconds: float
    frames: int
    sample_rate: int
    channels: int
    container: str
    intact: bool


def measure(path: Path, max_seconds: float) -> Measured:
    """Decode a whole file to measure its actual length.

    Raises:
        SourceUnreachable: if the file does not exist or cannot be read.
        SourceTooLarge: if it is longer than `max_seconds`.
        UnsupportedAudio: if it is not decodable audio, or contains no frames.
    """
    with AudioReader(path, max_seconds=max_seconds) as source:
        for _ in source.blocks(np.float32):
            pass
    found = source.probe
    if not source.frames:
        raise UnsupportedAudio(
            f"{shown_name(path)} contains no audio that can be decoded. Check how it was saved or uploaded."
        )
    return Measured(
        seconds=source.frames / found.sample_rate,
        frames=source.frames,
        sample_rate=found.sample_rate,
        channels=found.channels,
        container=found.container,
        intact=source.intact,
    )

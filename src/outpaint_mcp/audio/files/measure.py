"""How long a file really is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from outpaint_mcp.audio.files.decode import Source
from outpaint_mcp.errors import UnsupportedAudio

if TYPE_CHECKING:
    from pathlib import Path


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

"""The arrays and records that the audio rooms hand to each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""Audio, float32 `[frames, channels]`, full scale ±1."""

Floats = npt.NDArray[np.float64]
"""Any real-valued array."""

Ints = npt.NDArray[np.int64]
"""Any array of positions or indices."""

Progress = Callable[[float], None]
"""Told the fraction done, 0 to 1, from time to time; may raise to stop the work."""


class Side(StrEnum):
    """The side of the source on which music is added."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of the source's own frames inside an extension, before any crossfade is counted."""

    extension_frame: int
    source_frame: int
    frames: int


@dataclass(frozen=True, slots=True)
class Extension:
    """Music added on one side.

    Attributes:
        samples: exactly the asked frames, `[frames, channels]`.
        segments: where the material was taken from, in playing order.
        seams: frames inside the extension at which one segment hands over to the next; the join
            with the source itself (frame 0 after, frame `len(samples)` before) is not among them.
        method: how the music goes on: `beats`, `texture`, `loop` or `silence`.
        tempo_bpm: the tempo near the source's edge; None where there is no steady beat.
    """

    samples: Samples
    segments: tuple[Segment, ...]
    seams: tuple[int, ...]
    method: str
    tempo_bpm: float | None

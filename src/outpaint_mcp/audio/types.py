"""Array aliases and records shared by the audio packages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""Audio, float32 `[frames, channels]`, full scale ±1."""

Floats = npt.NDArray[np.float64]
"""Any real-valued array."""

Ints = npt.NDArray[np.int64]
"""Any array of frame positions or indices."""

Progress = Callable[[float], None]
"""Called from time to time with the completed fraction, 0 to 1. It may raise to stop the work."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of source frames inside an extension, measured before crossfades.

    Attributes:
        extension_frame: the first frame, counted from the extension's start.
        source_frame: the frame of the source that plays there.
        frames: the length of the run.
    """

    extension_frame: int
    source_frame: int
    frames: int


@dataclass(frozen=True, slots=True)
class Extension:
    """Music added on one side of the source.

    Attributes:
        samples: `[frames, channels]`; exactly as many frames as requested, unless the music returns to its edge.
        segments: where the material comes from, in playing order.
        seams: frames inside the extension where one segment crossfades into the next. The join with the
            source (frame 0 after it, frame `len(samples)` before it) is not included.
        method: how the music was generated: `beats`, `texture`, `loop` (the source is one), `repetition` (it is too
            short for more) or `silence`.
        tempo_bpm: the tempo near the source's edge; None without a steady beat.
        outer_frames: how many frames at the outer end are no full music: an ending or a beginning of ours.
        returned: whether the outer end leads back to the music at the edge, or to another wanted place.
        lines: beats or grains inside it, where it may be made a little longer or shorter; outward, if it returned.
        outer_unit: the outermost unit of the region that plays; None where units were not chosen.
    """

    samples: Samples
    segments: tuple[Segment, ...]
    seams: tuple[int, ...]
    method: str
    tempo_bpm: float | None
    outer_frames: int = 0
    returned: bool = False
    lines: tuple[int, ...] = ()
    outer_unit: int | None = None

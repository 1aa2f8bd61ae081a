"""The last frames of a stream."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


class TailBuffer:
    """Holds the last frames of a stream; older ones are passed on."""

    def __init__(self, frames: float) -> None:
        """Hold at least the last `frames`, as far as there are any."""
        self._least = frames
        self._blocks: deque[npt.NDArray[Any]] = deque()
        self._frames = 0

    def add(self, block: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Append the next frames; return the oldest blocks, which are no longer held."""
        self._blocks.append(block.copy())
        self._frames += len(block)
        passed = []
        while self._frames - len(self._blocks[0]) >= self._least:
            self._frames -= len(self._blocks[0])
            passed.append(self._blocks.popleft())
        return passed

    def unroll(self) -> npt.NDArray[Any]:
        """Return the held frames in order, and hold them no longer. At least one block must have been added."""
        held = np.concatenate(self._blocks)
        self._blocks.clear()
        self._frames = 0
        return held

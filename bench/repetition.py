"""How soon the ear meets the same material again, and how much of it there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from outpaint_mcp.audio.types import Extension, Floats, Ints

_CELL_WINDOWS = 10
_SAME_PASS_WINDOWS = 20
"""Meeting a cell again within 200 ms is still the same pass over it."""


@dataclass(frozen=True, slots=True)
class Repetition:
    """Shares of the added music, 0 to 1.

    Attributes:
        heard_again: what is heard again in less than 16 s, in the source or in the extension.
        unique: different 100 ms cells of the source, against the extension's length.
    """

    heard_again: float
    unique: float


def provenance(extension: Extension, sample_rate: int) -> Ints:
    """The source frame that each 10 ms of an extension comes from; -1 where from none."""
    times = np.arange(len(extension.samples) // (sample_rate // 100)) * (sample_rate // 100)
    origin = np.full(len(times), -1, np.int64)
    for part in extension.segments:
        inside = (times >= part.extension_frame) & (times < part.extension_frame + part.frames)
        origin[inside] = part.source_frame + times[inside] - part.extension_frame
    return origin


def repetition(before: Ints, source_frames: int, after: Ints, sample_rate: int) -> Repetition:
    """Judge the extensions by their provenance; the side before by how soon it is heard again."""
    window = sample_rate // 100
    source = np.arange(source_frames // window) * window
    origin = np.concatenate([before, source, after])
    cells = np.where(origin >= 0, origin // (sample_rate // 10), -1)
    extended = np.r_[np.arange(len(before)), np.arange(len(before) + len(source), len(cells))]
    ago, until = _since_last(cells), _since_last(cells[::-1])[::-1]
    soonest = np.where(extended < len(before), np.minimum(until[extended], ago[extended]), ago[extended])
    known = cells[extended] >= 0
    return Repetition(
        heard_again=float(np.mean(soonest[known] < 16)) if known.any() else float("nan"),
        unique=len(set(cells[extended][known].tolist())) / max(1, len(extended) / _CELL_WINDOWS),
    )


def _since_last(cells: Ints) -> Floats:
    """Seconds since each cell was heard before; infinite where never."""
    last: dict[int, int] = {}
    seconds = np.full(len(cells), np.inf)
    for now, cell in enumerate(cells.tolist()):
        if cell < 0:
            continue
        before = last.get(cell)
        if before is not None:
            seconds[now] = (now - before) / 100 if now - before > _SAME_PASS_WINDOWS else seconds[before]
        last[cell] = now
    return seconds

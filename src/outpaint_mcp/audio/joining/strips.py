"""One side of a source with the music that was added there so far, step by step.

A strip is the source's own edge and the new part of each piece behind it. Time runs outwards in it, so before
the source it is reversed and both sides are alike.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from outpaint_mcp.audio.files.decode import Source
from outpaint_mcp.audio.files.forms import streamed
from outpaint_mcp.audio.joining.joins import join
from outpaint_mcp.audio.joining.pieces import read_piece
from outpaint_mcp.audio.shapes import Side
from outpaint_mcp.errors import UnsupportedAudio

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from outpaint_mcp.audio.files.forms import Form
    from outpaint_mcp.audio.joining.joins import Join
    from outpaint_mcp.audio.joining.pieces import Piece
    from outpaint_mcp.audio.shapes import Samples

DAMAGED_SECONDS = 0.05
"""How much of a piece's outer end is left out where another one is to follow: an MP3's delay or padding and a frame."""


class Strip(NamedTuple):
    """One side, outwards.

    Attributes:
        samples: the source's edge as it was given, and all new music.
        joins: one for each piece.
    """

    samples: Samples
    joins: tuple[Join, ...]


class Recent:
    """The last frames of a stream; what is older is passed on."""

    def __init__(self, frames: float) -> None:
        """Keep at least `frames`, as far as there are any."""
        self._least = frames
        self._blocks: deque[npt.NDArray[Any]] = deque()
        self._frames = 0

    def add(self, block: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Take in the next frames and return the oldest, which are not kept any more."""
        self._blocks.append(block.copy())
        self._frames += len(block)
        passed = []
        while self._frames - len(self._blocks[0]) >= self._least:
            self._frames -= len(self._blocks[0])
            passed.append(self._blocks.popleft())
        return passed

    def unroll(self) -> npt.NDArray[Any]:
        """Return what is kept, in order; at least one block must have been added."""
        return np.concatenate(self._blocks)


def outwards(samples: Samples, side: Side) -> Samples:
    """Turn audio so that time runs outwards, or back."""
    return samples if side is Side.AFTER else samples[::-1]


def read_edge(source: Path, side: Side, form: Form, seconds: float) -> Samples:
    """Decode the outermost seconds of a source, outwards; all of it if it is shorter.

    Raises:
        SourceUnreachable: if it is not there.
        UnsupportedAudio: if it cannot be decoded, or holds not a single frame.
    """
    frames = round(seconds * form.sample_rate)
    count, kept = 0, Recent(frames if side is Side.AFTER else inf)
    with Source(source) as opened:
        for block in streamed(opened, form):
            count += len(block)
            kept.add(block)
            if side is Side.BEFORE and count >= frames:
                break
    if not count:
        raise UnsupportedAudio(f"{source.name} holds no audio that can be decoded.")
    samples = kept.unroll()
    return samples[-frames:] if side is Side.AFTER else samples[:frames][::-1]


def grow(edge: Samples, pieces: Sequence[Piece], side: Side, form: Form, *, goes_on: bool) -> Strip:
    """Join pieces to the edge of a source, each to the one before it.

    Where music is to go on from a piece, the last 50 ms of that are left out: coding damages or silences them.

    Args:
        edge: the last seconds of the source in this form, outwards; at least `EDGE_SECONDS` if it has so many.
        pieces: in the order in which they were made.
        side: the side of the source.
        form: the source's, or that of the context that is sent.
        goes_on: whether another piece is to follow.

    Raises:
        GenerationFailed: if a piece has no new music.
        SourceUnreachable: if its file is not there any more.
    """
    samples, joins = edge, []
    for number, piece in enumerate(pieces, 1):
        returned = outwards(read_piece(piece, form), side)
        expected = round(piece.context_seconds * form.sample_rate)
        new, joined = join(samples, returned, expected, side, form.sample_rate)
        if goes_on or number < len(pieces):
            damaged = round(DAMAGED_SECONDS * form.sample_rate)
            new, joined = new[:-damaged], replace(joined, new_frames=joined.new_frames - damaged)
        samples = np.concatenate([samples, new])
        joins.append(joined)
    return Strip(samples, tuple(joins))

"""One side of a source with the music that was added there so far, step by step.

A strip is the source's own edge and the new part of each piece behind it. Time runs outwards in it, so before
the source it is reversed and both sides are alike. The frames before a crossfade are the strip's own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from math import inf, log10
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from outpaint_mcp.audio.decode import Source
from outpaint_mcp.audio.fades import crossfade_gains
from outpaint_mcp.audio.forms import in_stereo, streamed
from outpaint_mcp.audio.locate import HEARD_SECONDS, REACH_SECONDS, locate
from outpaint_mcp.audio.pieces import read_piece
from outpaint_mcp.audio.shapes import Side
from outpaint_mcp.audio.waves import correlation, peak
from outpaint_mcp.errors import GenerationFailed, UnsupportedAudio

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from outpaint_mcp.audio.forms import Form
    from outpaint_mcp.audio.pieces import Piece
    from outpaint_mcp.audio.shapes import Samples

EDGE_SECONDS = HEARD_SECONDS
"""How much of a source's edge joining a piece to it takes."""

DAMAGED_SECONDS = 0.05
"""How much of a piece's outer end is left out where another one is to follow: an MP3's delay or padding and a frame."""

_FADE_SECONDS = 0.05
_LEAST_FADE_FRAMES = 4
"""Fewer do not tell how alike two streams are."""
_MOST_GAIN = 10 ** (6 / 20)
_FAINTEST = 1e-12
_LIMITING_SECONDS = 0.01
_LEAST_NEW_SECONDS = 0.2
"""What returns with less than this has nothing new: lengths are right to about so much."""


@dataclass(frozen=True, slots=True)
class Join:
    """How a piece was joined to what was there before it.

    Attributes:
        side: of the source.
        offset_seconds: how far beyond its length the context reached in the piece; the model's own delay.
        agreement: how alike the context and what came back of it are there, -1 to 1: their waves where
            `exact`, otherwise, if aligned, the course of their levels.
        gain_db: the gain that was given to the piece, 0 unless it was aligned.
        aligned: False where nothing agreed: then the piece was joined as if it had not been shifted.
        exact: whether it was aligned to the frame.
        fade_frames: the crossfade, which ends where the strip ended.
        new_frames: the new music that it adds.
    """

    side: Side
    offset_seconds: float
    agreement: float
    gain_db: float
    aligned: bool
    exact: bool
    fade_frames: int
    new_frames: int


class Strip(NamedTuple):
    """One side, outwards.

    Attributes:
        samples: the source's edge and all new music.
        added: where in them the source is no longer itself: its last frames, crossfaded, and all that follows.
        joins: one for each piece.
    """

    samples: Samples
    added: int
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
        added, join = _join(samples, returned, expected, side, form.sample_rate)
        if goes_on or number < len(pieces):
            damaged = round(DAMAGED_SECONDS * form.sample_rate)
            added, join = added[:-damaged], replace(join, new_frames=join.new_frames - damaged)
        samples = np.concatenate([samples[: len(samples) - join.fade_frames], added])
        joins.append(join)
    untouched = len(edge) - joins[0].fade_frames if joins else len(edge)
    return Strip(samples, untouched, tuple(joins))


def _join(strip: Samples, piece: Samples, expected: int, side: Side, rate: int) -> tuple[Samples, Join]:
    """Make what comes in place of a strip's last frames and after them."""
    if len(piece) < expected - REACH_SECONDS * rate:
        raise _nothing_new(expected, len(piece), side, rate)
    edge = strip[-int(EDGE_SECONDS * rate) :]
    fade = min(int(_FADE_SECONDS * rate), len(edge) // 2, expected)
    place = locate(in_stereo(edge), in_stereo(piece), expected, fade, rate)
    end = place.end
    if len(piece) - end < _LEAST_NEW_SECONDS * rate:
        raise _nothing_new(expected, len(piece), side, rate)
    again = piece[max(0, end - min(len(edge), expected)) : end]
    gain = _gain(in_stereo(edge), in_stereo(again)) if place.aligned else 1.0
    full_scale = max(1.0, peak(edge))  # of floating point there may be more
    added = _limited(piece[end - fade :] * np.float32(gain), full_scale, rate)
    alike = correlation(edge[len(edge) - fade :], added[:fade]) if fade >= _LEAST_FADE_FRAMES else 1.0
    falling, rising = crossfade_gains(fade, alike)
    meeting = edge[len(edge) - fade :] * falling[:, None] + added[:fade] * rising[:, None]
    added[:fade] = np.clip(meeting, -full_scale, full_scale)
    return added, Join(
        side=side,
        offset_seconds=(end - expected) / rate,
        agreement=place.agreement,
        gain_db=20 * log10(gain),
        aligned=place.aligned,
        exact=place.exact,
        fade_frames=fade,
        new_frames=len(piece) - end,
    )


def _gain(edge: Samples, again: Samples) -> float:
    """What brings a context that was made anew to the level that it had, within limits."""
    had, has = (float(part.var(axis=0, dtype=np.float64).sum()) for part in (edge[-len(again) :], again))
    if min(had, has) < _FAINTEST:
        return 1.0
    return float(np.clip(np.sqrt(had / has), 1 / _MOST_GAIN, _MOST_GAIN))


def _limited(samples: Samples, full_scale: float, rate: int) -> Samples:
    """Scale down what is around peaks beyond full scale, gently enough to keep their shape."""
    if peak(samples) <= full_scale:
        return samples
    width = max(1, int(_LIMITING_SECONDS * rate))
    padded = np.pad(samples, ((0, -len(samples) % width), (0, 0)))
    loudest = np.abs(padded).reshape(-1, width * samples.shape[1]).max(axis=1)
    allowed = np.minimum(1, full_scale / np.maximum(loudest, full_scale))
    # from one border between blocks to the next, at no more than either block is allowed
    borders = np.minimum(np.append(allowed, 1), np.insert(allowed, 0, 1))
    gains = np.interp(np.arange(len(samples)), np.arange(len(borders)) * width, borders)
    return np.asarray(np.clip(samples * gains[:, None].astype(np.float32), -full_scale, full_scale))


def _nothing_new(context_frames: int, frames: int, side: Side, rate: int) -> GenerationFailed:
    return GenerationFailed(
        f"The model was sent {context_frames / rate:.1f} s of music to go on {side} it, and what came back "
        f"lasts {frames / rate:.1f} s: nothing new. Try another seed, or ask for fewer seconds."
    )

"""How a piece is joined to the music that it goes on from. Time runs outwards, away from the source.

That music stays as it is to its very last frame. There, the piece differs a little from it: the model coded it,
and its level may be another. This difference is carried on past the last frame and fades out over the new music.
On real recordings nothing of that can be measured, whereas a crossfade inside the music costs its last 50 ms, and
one from what the music alone foretells into the piece is heard (figures in `bench/README.md`, "Restoring").
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log10
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soxr

from outpaint_mcp.audio.fades import extrapolate
from outpaint_mcp.audio.files.forms import in_stereo
from outpaint_mcp.audio.joining.drift import MOST_DRIFT, TRACKED_SECONDS, drift_of
from outpaint_mcp.audio.joining.levels import loudness_step, settle
from outpaint_mcp.audio.joining.locate import HEARD_SECONDS, REACH_SECONDS, cut_out, locate
from outpaint_mcp.audio.peaks import ceiling_of, hold_peaks
from outpaint_mcp.audio.waves import peak
from outpaint_mcp.errors import NothingNew

if TYPE_CHECKING:
    from outpaint_mcp.audio.joining.locate import Place
    from outpaint_mcp.audio.shapes import Samples, Side

EDGE_SECONDS = TRACKED_SECONDS
"""How much of a source's edge joining a piece to it takes."""

_FADE_SECONDS = 0.025
_LEARNT_SECONDS = 0.12
"""What `extrapolate` learns from at most."""
_LEAST_CONTEXT_SECONDS = 0.05
_MOST_GAIN = 10 ** (12 / 20)
_FAINTEST = 1e-12
_LEAST_NEW_SECONDS = 0.2
"""What returns with less than this has nothing new: lengths are right to about so much."""


@dataclass(frozen=True, slots=True)
class Join:
    """How a piece was joined to what was there before it.

    Attributes:
        side: of the source.
        offset_seconds: how far beyond its length the context reached in the piece; the model's own delay.
        drift: by what share the context lasted longer in it, within ±0.006; the piece was resampled by so much.
        agreement: how alike the context and what came back of it are there, -1 to 1: their waves where
            `exact`, otherwise, if aligned, the course of their levels.
        gain_db: the gain that was given to all of the piece, 0 unless it was aligned.
        seam_db: what it was given beside that next to the seam, fading over ten seconds, to be as loud as what
            it goes on from.
        aligned: False where nothing agreed: then the piece was joined as if it had not been shifted.
        exact: whether it was aligned to the frame.
        fade_frames: over how many of the new frames the difference at the seam fades out.
        new_frames: the new music that it adds.
    """

    side: Side
    offset_seconds: float
    drift: float
    agreement: float
    gain_db: float
    seam_db: float
    aligned: bool
    exact: bool
    fade_frames: int
    new_frames: int


class _Found(NamedTuple):
    """A piece as it runs with the context, from some frame on."""

    piece: Samples
    place: Place
    drift: float
    offset_frames: float


def join(music: Samples, piece: Samples, expected: int, side: Side, rate: int) -> tuple[Samples, Join]:
    """Make what follows the last frame of the music.

    Args:
        music: outwards `[frames, channels]`, at least a frame.
        piece: outwards, as many channels.
        expected: where in the piece the music ends if it was not shifted, in frames.
        side: of the source.
        rate: of both, frames per second.

    Raises:
        NothingNew: if the piece has no new music.
    """
    edge = music[-int(EDGE_SECONDS * rate) :]
    found = _find(edge, piece, expected, side, rate)
    end, aligned = found.place.end, found.place.aligned
    again = found.piece[max(0, end - min(len(edge), expected)) : end]
    heard = slice(-int(HEARD_SECONDS * rate), None)
    gain = _gain(in_stereo(edge[heard]), in_stereo(again[heard])) if aligned else 1.0
    new = found.piece[end:] * np.float32(gain)
    new, seam_db = settle(new, loudness_step(edge, new, rate), rate)
    loudest = peak(edge)
    new = hold_peaks(new, rate, ceiling_of(loudest))
    fade = int(_FADE_SECONDS * rate)
    learnt = min(len(again), int(_LEARNT_SECONDS * rate))
    made = again[len(again) - learnt :] * np.float32(gain)
    meeting = new[:fade] + _ebbing(edge[len(edge) - learnt :] - made, fade, rate)
    # a copy, for where nothing else was done `new` is still the caller's
    new = np.concatenate([np.clip(meeting, -max(1.0, loudest), max(1.0, loudest)), new[fade:]])
    return new, Join(
        side=side,
        offset_seconds=found.offset_frames / rate,
        drift=found.drift,
        agreement=found.place.agreement,
        gain_db=20 * log10(gain),
        seam_db=seam_db,
        aligned=aligned,
        exact=found.place.exact,
        fade_frames=fade,
        new_frames=len(new),
    )


def _find(edge: Samples, piece: Samples, expected: int, side: Side, rate: int) -> _Found:
    """Undo the drift of a piece, and find where in it the music ends."""
    if len(piece) < expected - REACH_SECONDS * rate:
        raise _nothing_new(expected, len(piece), side, rate)
    length = min(len(edge), expected)
    reach = int(REACH_SECONDS * rate + MOST_DRIFT * expected)
    first = max(0, expected - length - reach)
    near = cut_out(piece, expected - length - reach, expected + reach)
    drift = drift_of(in_stereo(edge[len(edge) - length :]), in_stereo(near), reach, rate)
    even = soxr.resample(piece[first:], rate * (1 + drift), rate) if drift else piece[first:]
    due = round(expected - first / (1 + drift))
    least = min(due, int(_LEAST_CONTEXT_SECONDS * rate))
    place = locate(in_stereo(edge), in_stereo(even), due, least, rate)
    if len(even) - place.end < _LEAST_NEW_SECONDS * rate:
        raise _nothing_new(expected, len(piece), side, rate)
    return _Found(even, place, drift, first + place.end * (1 + drift) - expected)


def _gain(edge: Samples, again: Samples) -> float:
    """What brings a context that was made anew to the level that it had, within ±12 dB."""
    had, has = (float(part.var(axis=0, dtype=np.float64).sum()) for part in (edge[-len(again) :], again))
    if min(had, has) < _FAINTEST:
        return 1.0
    return float(np.clip(np.sqrt(had / has), 1 / _MOST_GAIN, _MOST_GAIN))


def _ebbing(difference: Samples, frames: int, rate: int) -> Samples:
    """Carry a difference on past its last frame while it fades; held where there is too little to foretell it."""
    ahead = extrapolate(difference, frames, rate)
    ahead = np.where(ahead.any(axis=0), ahead, difference[-1:])
    falling = 0.5 + 0.5 * np.cos(np.pi * (np.arange(frames) + 0.5) / frames)
    return np.asarray(ahead * falling[:, None], np.float32)


def _nothing_new(context_frames: int, frames: int, side: Side, rate: int) -> NothingNew:
    return NothingNew(
        f"The model was sent {context_frames / rate:.1f} s of music to go on {side} it, and what came back "
        f"lasts {frames / rate:.1f} s: nothing new. Try another seed, or ask for fewer seconds."
    )

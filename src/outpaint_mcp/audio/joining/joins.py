"""Joining a model output to the music that it continues. Time runs outward, away from the source.

That music is preserved to its very last frame. There, the model's rendering differs from it slightly, because
the model coded it and may have changed its level. This difference is extrapolated past the last frame and
fades out over the new music. On real recordings this leaves no measurable trace, whereas a crossfade inside
the music costs its last 50 ms, and one from an extrapolation of the music into the output is audible (figures
in `bench/README.md`, "Restoring").
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log10
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soxr

from outpaint_mcp.audio.fades import extrapolate
from outpaint_mcp.audio.files.conversion import to_stereo
from outpaint_mcp.audio.joining.drift import MOST_DRIFT, TRACKED_SECONDS, measure_drift
from outpaint_mcp.audio.joining.locate import COMPARED_SECONDS, REACH_SECONDS, cut_out, locate
from outpaint_mcp.audio.joining.loudness_match import loudness_step, settle
from outpaint_mcp.audio.levels import peak
from outpaint_mcp.audio.peaks import ceiling_of, limit_peaks
from outpaint_mcp.errors import NothingNew

if TYPE_CHECKING:
    from outpaint_mcp.audio.joining.locate import Location
    from outpaint_mcp.audio.sides import Side
    from outpaint_mcp.audio.types import Samples

EDGE_SECONDS = TRACKED_SECONDS
"""How much of a source's edge is needed to join an output to it."""

_FADE_SECONDS = 0.025
_TRAINING_SECONDS = 0.12
"""The most that `extrapolate` uses."""
_LEAST_CONTEXT_SECONDS = 0.05
_MOST_GAIN = 10 ** (12 / 20)
"""Bound of the level correction: 12 dB."""
_FAINTEST = 1e-12
_LEAST_NEW_SECONDS = 0.2
"""An output with less than this has nothing new: its length is accurate only to about this much."""


@dataclass(frozen=True, slots=True)
class Join:
    """How a model output was joined to the music before it.

    Attributes:
        side: the side of the source.
        offset_seconds: how much later than expected the context ends in the output: the model's own delay.
        drift: ratio by which the context lasts longer in the output, within ±0.006; the output was resampled
            to undo it.
        agreement: similarity of the context and its rendering, -1 to 1: of the waveforms where `exact`,
            otherwise, if aligned, of the level contours.
        gain_db: gain applied to the whole output; 0 unless it was aligned.
        aligned: False if nothing matched; then the output was joined as if it had no delay.
        exact: whether it was aligned to the frame.
        fade_frames: number of new frames over which the difference at the seam fades out.
        new_frames: number of frames of new music.
    """

    side: Side
    offset_seconds: float
    drift: float
    agreement: float
    gain_db: float
    aligned: bool
    exact: bool
    fade_frames: int
    new_frames: int


class _Found(NamedTuple):
    """A model output aligned with the context.

    Attributes:
        output: resampled to undo drift, from some frame on.
        location: where the context ends in it.
        drift: the drift that was undone.
        offset_frames: delay of the context's end, in frames of the original output.
    """

    output: Samples
    location: Location
    drift: float
    offset_frames: float


def join(music: Samples, output: Samples, expected: int, side: Side, rate: int) -> tuple[Samples, Join]:
    """Generate what follows the last frame of the music.

    Args:
        music: outward `[frames, channels]`, at least one frame.
        output: the model output, outward, with as many channels.
        expected: the frame of `output` at which the music ends if there was no delay.
        side: the side of the source.
        rate: sample rate of both.

    Returns:
        The new music, outward, and how it was joined.

    Raises:
        NothingNew: if the output has no new music.
    """
    edge = music[-int(EDGE_SECONDS * rate) :]
    found = _find(edge, output, expected, side, rate)
    end, aligned = found.location.end, found.location.aligned
    rendered = found.output[max(0, end - min(len(edge), expected)) : end]
    compared = slice(-int(COMPARED_SECONDS * rate), None)
    gain = _gain(to_stereo(edge[compared]), to_stereo(rendered[compared])) if aligned else 1.0
    new = found.output[end:] * np.float32(gain)
    new, _ = settle(new, loudness_step(edge, new, rate), rate)
    loudest = peak(edge)
    new = limit_peaks(new, rate, ceiling_of(loudest))
    fade = int(_FADE_SECONDS * rate)
    fitted = min(len(rendered), int(_TRAINING_SECONDS * rate))
    rendered_end = rendered[len(rendered) - fitted :] * np.float32(gain)
    first = new[:fade] + _fading_difference(edge[len(edge) - fitted :] - rendered_end, fade, rate)
    # copy, because `new` may still be a view of the caller's array
    new = np.concatenate([np.clip(first, -max(1.0, loudest), max(1.0, loudest)), new[fade:]])
    return new, Join(
        side=side,
        offset_seconds=found.offset_frames / rate,
        drift=found.drift,
        agreement=found.location.agreement,
        gain_db=20 * log10(gain),
        aligned=aligned,
        exact=found.location.exact,
        fade_frames=fade,
        new_frames=len(new),
    )


def _find(edge: Samples, output: Samples, expected: int, side: Side, rate: int) -> _Found:
    """Undo the drift of an output and find where the music ends in it."""
    if len(output) < expected - REACH_SECONDS * rate:
        raise _nothing_new(expected, len(output), side, rate)
    length = min(len(edge), expected)
    reach = int(REACH_SECONDS * rate + MOST_DRIFT * expected)
    first = max(0, expected - length - reach)
    near = cut_out(output, expected - length - reach, expected + reach)
    drift = measure_drift(to_stereo(edge[len(edge) - length :]), to_stereo(near), reach, rate)
    resampled = soxr.resample(output[first:], rate * (1 + drift), rate) if drift else output[first:]
    due = round(expected - first / (1 + drift))
    least = min(due, int(_LEAST_CONTEXT_SECONDS * rate))
    location = locate(to_stereo(edge), to_stereo(resampled), due, least, rate)
    if len(resampled) - location.end < _LEAST_NEW_SECONDS * rate:
        raise _nothing_new(expected, len(output), side, rate)
    return _Found(resampled, location, drift, first + location.end * (1 + drift) - expected)


def _gain(edge: Samples, rendered: Samples) -> float:
    """The gain that restores a rendered context to its original level, within ±12 dB."""
    had, has = (
        float(part.var(axis=0, dtype=np.float64).sum()) for part in (edge[-len(rendered) :], rendered)
    )
    if min(had, has) < _FAINTEST:
        return 1.0
    return float(np.clip(np.sqrt(had / has), 1 / _MOST_GAIN, _MOST_GAIN))


def _fading_difference(difference: Samples, frames: int, rate: int) -> Samples:
    """Extrapolate a difference past its last frame while fading it out; hold it where it cannot be extrapolated."""
    ahead = extrapolate(difference, frames, rate)
    ahead = np.where(ahead.any(axis=0), ahead, difference[-1:])
    falling = 0.5 + 0.5 * np.cos(np.pi * (np.arange(frames) + 0.5) / frames)
    return np.asarray(ahead * falling[:, None], np.float32)


def _nothing_new(context_frames: int, frames: int, side: Side, rate: int) -> NothingNew:
    return NothingNew(
        f"The model received {context_frames / rate:.1f} s of music to continue {side} it and returned "
        f"{frames / rate:.1f} s: nothing new. Try another seed, or request fewer seconds."
    )

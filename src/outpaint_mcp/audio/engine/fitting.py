"""Fitting music to an exact number of frames, and what it then consists of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import soxr

from outpaint_mcp.audio.layout import Layout, Part, PartKind
from outpaint_mcp.audio.sides import Side

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from outpaint_mcp.audio.types import Extension, Samples

_CLOSING_SECONDS, _BLEND_SECONDS = 0.01, 0.005
_NUDGE_FADE_SECONDS, _NUDGE_REACH_SECONDS, _NUDGE_AHEAD_SECONDS = 0.012, 0.005, 0.015


def parts_of(extension: Extension, side: Side, offset: int, sample_rate: int) -> list[Part]:
    """Return what an extension consists of, in playing order; `offset` is its region's first frame in the source."""
    total, parts, at = len(extension.samples), [], 0
    for segment in extension.segments:
        if segment.extension_frame > at:
            parts.append(Part(PartKind.NEW, segment.extension_frame - at))
        parts.append(Part(PartKind.NEW, segment.frames, offset + segment.source_frame))
        at = segment.extension_frame + segment.frames
    if at < total:
        parts.append(Part(PartKind.NEW, total - at))
    layout, outer = Layout(sample_rate, tuple(parts)), extension.outer_frames
    if not outer:
        return parts
    if side is Side.BEFORE:
        return [Part(PartKind.LEAD_IN, outer), *layout.between(outer, total)]
    return [*layout.between(0, total - outer), Part(PartKind.RING_OUT, outer)]


def fitted(coda: npt.NDArray[Any], frames: int, sample_rate: int) -> npt.NDArray[Any]:
    """An ending with exactly so many frames: silence follows it, or its last moment is left out."""
    if frames >= len(coda):
        silence = np.zeros((frames - len(coda), coda.shape[1]), coda.dtype)
        return np.concatenate([coda, silence])
    fitted = coda[: max(frames, 0)].copy()
    fade = min(round(_CLOSING_SECONDS * sample_rate), len(fitted))
    falling = np.linspace(1, 0, fade)[:, None]
    fitted[len(fitted) - fade :] = (fitted[len(fitted) - fade :] * falling).astype(coda.dtype)
    return fitted


def stretched(samples: Samples, frames: int, sample_rate: int) -> Samples:
    """Play music a little faster or slower, so that it has exactly so many frames; its ends stay as they are."""
    if len(samples) == frames:
        return samples
    found = soxr.resample(samples, len(samples), frames)
    found = np.pad(found, ((0, max(0, frames - len(found))), (0, 0)))[:frames]
    count = min(round(_BLEND_SECONDS * sample_rate), frames // 2, len(samples) // 2)
    share = np.linspace(0, 1, count, dtype=np.float32)[:, None]
    found[:count] = samples[:count] * (1 - share) + found[:count] * share
    found[frames - count :] = found[frames - count :] * (1 - share) + samples[len(samples) - count :] * share
    return np.asarray(found, np.float32)


def nudged(samples: Samples, lines: Sequence[int], frames: int, sample_rate: int) -> Samples:
    """Give each beat a few milliseconds more or less, so that music has exactly so many frames, at the same pitch.

    Just before each beat, where the least happens, some of the wave is played again or left out; where exactly is
    chosen by the similarity of the wave, as in WSOLA (Verhelst & Roelands 1993).

    Args:
        samples: `[frames, channels]`.
        lines: frames of the beats, in increasing order.
        frames: how many there are to be.
        sample_rate: frames per second.
    """
    fade, reach = round(_NUDGE_FADE_SECONDS * sample_rate), round(_NUDGE_REACH_SECONDS * sample_rate)
    missing, moved = frames - len(samples), 0
    places = [
        each - round(_NUDGE_AHEAD_SECONDS * sample_rate) for each in lines if 4 * reach < each < len(samples)
    ]
    pieces, begin = [], 0
    for count, place in enumerate(places, 1):
        wanted = round(missing * count / len(places)) - moved
        shift = wanted if count == len(places) else _likest(samples, place, wanted, fade, reach)
        resume = place - shift
        if not begin < place - fade or not fade <= resume < len(samples):
            continue
        moved += shift
        share = np.linspace(0, 1, fade, dtype=np.float32)[:, None]
        blend = samples[place - fade : place] * (1 - share) + samples[resume - fade : resume] * share
        pieces += [samples[begin : place - fade], blend]
        begin = resume
    found = np.concatenate([*pieces, samples[begin:]])
    return found if len(found) == frames else stretched(found, frames, sample_rate)


def nudging(lines: Sequence[int]) -> Callable[[Samples, int, int], Samples]:
    """`nudged` at these beats, to be called as `stretched` is."""
    return lambda samples, frames, sample_rate: nudged(samples, lines, frames, sample_rate)


def _likest(samples: Samples, place: int, wanted: int, fade: int, reach: int) -> int:
    """The shift near the wanted one at which the wave before a place is most like itself."""
    low, high = wanted - reach, wanted + reach
    first, stop = place - fade - high, place - low
    if first < 0 or stop > len(samples):
        return wanted
    here = samples[place - fade : place].mean(axis=1).astype(np.float64)
    there = samples[first:stop].mean(axis=1).astype(np.float64)
    products = np.correlate(there, here, "valid")
    sums = np.concatenate([[0.0], np.cumsum(there**2)])
    energies = sums[fade:] - sums[:-fade]
    return high - int((products / np.sqrt(energies + 1e-9)).argmax())


def scaled(parts: list[Part], frames: int) -> list[Part]:
    """Parts whose lengths add up to so many frames."""
    total, scaled, at = sum(part.frames for part in parts), [], 0
    if total == frames:
        return parts
    begin = 0
    for part in parts:
        at += part.frames
        stop = round(at * frames / total)
        scaled.append(Part(part.kind, stop - begin, part.source_frame))
        begin = stop
    return scaled

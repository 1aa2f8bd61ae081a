"""Audio at another sample rate, or in another number of channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import soxr

from outpaint_mcp.audio.waves import downmix

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from outpaint_mcp.audio.files.decode import Source
    from outpaint_mcp.audio.shapes import Floats, Samples

STEREO = 2

_LAYOUTS = {3: "LRC", 4: "LRLR", 5: "LRCLR", 6: "LRC-LR", 7: "LRC-CLR", 8: "LRC-LRLR"}
"""Where the channels of WAV and FLAC stand: left, right, in between, or nowhere (the deep effects)."""
_BEHIND = 0.5**0.5
"""How much of a channel other than the front pair is heard in stereo (ITU-R BS.775-4, annex 4)."""
_LOUDEST = 1e8
"""Values beyond this (+160 dB) are not sound but broken floating-point data."""


class Form(NamedTuple):
    """Sample rate and number of channels."""

    sample_rate: int
    channels: int


def streamed(source: Source, form: Form) -> Iterator[Samples]:
    """Decode to the end in another form, finite, in blocks of any length; each may be overwritten by the next.

    Args:
        source: just opened.
        form: at any rate, with as many channels as the source, or with two of more.
    """
    found = source.probe
    if found.sample_rate == form.sample_rate:
        for block in source.blocks(np.float32):
            yield _fold(as_sound(block), form.channels)
        return
    stream = soxr.ResampleStream(found.sample_rate, form.sample_rate, form.channels, dtype="float32")
    for block in source.blocks(np.float32):
        yield stream.resample_chunk(_fold(as_sound(block), form.channels))
    yield stream.resample_chunk(np.zeros((0, form.channels), np.float32), last=True)


def with_channels(samples: Samples, channels: int) -> Samples:
    """Give audio another number of channels.

    One channel becomes two that are alike, two become one by their mean, or by the louder where that cancels
    out. More than two are folded to stereo; stereo is spread over more so that folding gives it back.
    """
    if samples.shape[1] == channels:
        return samples
    if channels == 1:
        weights, _ = downmix(samples)
        return samples @ weights.astype(np.float32)[:, None]
    pair = np.repeat(samples, STEREO, axis=1) if samples.shape[1] == 1 else _fold(samples, STEREO)
    if channels == STEREO:
        return pair
    return np.asarray(pair @ np.linalg.pinv(_folding(channels)).T.astype(np.float32))


def in_stereo(samples: Samples) -> Samples:
    """Fold more than two channels to stereo; leave mono and stereo alone."""
    return _fold(samples, min(STEREO, samples.shape[1]))


def as_sound(block: npt.NDArray[Any]) -> Samples:
    """Floating point as it is or integers up to their full scale, as finite samples."""
    if block.dtype.kind == "i":
        return np.asarray(np.multiply(block, 1 / -float(np.iinfo(block.dtype).min), dtype=np.float32))
    with np.errstate(over="ignore"):
        samples = block.astype(np.float32, copy=False)
    sound = len(samples) == 0 or (samples.min() >= -_LOUDEST and samples.max() <= _LOUDEST)
    return samples if sound else np.where(np.abs(samples) <= _LOUDEST, samples, np.float32(0.0))


def _fold(samples: Samples, channels: int) -> Samples:
    if samples.shape[1] == channels:
        return samples
    return samples @ _folding(samples.shape[1]).T.astype(np.float32)


def _folding(channels: int) -> Floats:
    """How much of each channel is heard left and right, `[2, channels]`."""
    layout = _LAYOUTS[channels]
    weights = np.array([[place in (side, "C") for place in layout] for side in "LR"], dtype=np.float64)
    weights[:, STEREO:] *= _BEHIND
    return weights

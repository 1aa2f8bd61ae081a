"""Decoded values as arrays: of FFmpeg's frames, and in the type that is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    from av.audio.frame import AudioFrame
    from av.audio.layout import AudioLayout

_DTYPES = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "flt": np.float32, "dbl": np.float64}
_SPEAKERS = {
    name: bit
    for bit, name in enumerate("FL FR FC LFE BL BR FLC FRC BC SL SR TC TFL TFC TFR TBL TBC TBR".split())  # noqa: SIM905
}
"""The bits of WAV's channel mask, by FFmpeg's names of the speakers."""


def values_of(frame: AudioFrame) -> npt.NDArray[Any]:
    """Return a frame's values `[frames, channels]`, as they are."""
    kind, frames, channels = frame.format.name, frame.samples, frame.layout.nb_channels
    dtype = _DTYPES[kind.removesuffix("p")]
    if not frame.format.is_planar:
        return np.frombuffer(frame.planes[0], dtype, frames * channels).reshape(-1, channels)  # type: ignore[call-overload,no-any-return]
    values = np.empty((frames, channels), dtype)
    for channel, plane in enumerate(frame.planes):
        values[:, channel] = np.frombuffer(plane, dtype, frames)  # type: ignore[call-overload]
    return values


def convert(block: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
    """Write values in the type of a buffer, at their full scale."""
    if block.dtype == np.uint8:
        block = (block.astype(np.int16) - 128) << 8
    if block.dtype.kind == out.dtype.kind == "i":
        bits = 8 * (out.dtype.itemsize - block.dtype.itemsize)
        out[:] = block.astype(out.dtype) << bits if bits >= 0 else block >> -bits
    elif block.dtype.kind == "i":
        np.multiply(block, 1 / -float(np.iinfo(block.dtype).min), out=out, dtype=out.dtype)
    elif out.dtype.kind == "i":
        full = -float(np.iinfo(out.dtype).min)
        # In double precision: the largest integer of 32 bits is none in single.
        out[:] = np.rint(np.clip(block.astype(np.float64) * full, -full, full - 1))
    else:
        out[:] = block


def mask_of(layout: AudioLayout) -> int:
    """The bits of WAV's channel mask of a layout; 0 for channels without a place."""
    bits = [_SPEAKERS.get(channel.name) for channel in layout.channels]
    known = [bit for bit in bits if bit is not None]
    return sum(1 << bit for bit in known) if len({*known}) == len(bits) and known == sorted(known) else 0

"""Conversion of sample rate, channels and depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import soxr

from outpaint_mcp.audio.levels import downmix

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from outpaint_mcp.audio.files.decode import AudioReader
    from outpaint_mcp.audio.types import Floats, Samples

STEREO = 2

_USUAL = {3: "LRC", 4: "LRLR", 5: "LRCLR", 6: "LRC-LR", 7: "LRC-CLR", 8: "LRC-LRLR"}
"""Channel positions of WAV and FLAC by channel count: left, right, centre, or none (low-frequency effects)."""
_SPEAKERS = "LRC-LRLRCLRCLCRLCR"
"""The same of every speaker, by the bits of WAV's channel mask."""
_DOWNMIX_GAIN = 0.5**0.5
"""Stereo downmix gain of every channel but the front pair (ITU-R BS.775-4, annex 4)."""
_LOUDEST = 1e8
"""Values beyond this (+160 dB) are corrupt floating-point data rather than sound."""


class SampleSpec(NamedTuple):
    """Sample rate and channel count.

    Attributes:
        sample_rate: frames per second.
        channels: number of channels.
    """

    sample_rate: int
    channels: int


def stream_as(source: AudioReader, spec: SampleSpec) -> Iterator[Samples]:
    """Decode a file to its end at another sample rate and channel count.

    Args:
        source: a reader that was just opened.
        spec: any rate, and either the source's channel count or 2 for a source with more.

    Returns:
        Finite samples `[frames, channels]` in blocks of any length, each possibly overwritten by the next.
    """
    mixed = (
        _downmixed(to_samples(block), spec.channels, source.probe.layout)
        for block in source.blocks(np.float32)
    )
    return resampled(mixed, source.probe.sample_rate, spec)


def resampled(blocks: Iterable[Samples], sample_rate: int, spec: SampleSpec) -> Iterator[Samples]:
    """Convert blocks at a sample rate to another one; they have the right number of channels."""
    if sample_rate == spec.sample_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(sample_rate, spec.sample_rate, spec.channels, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros((0, spec.channels), np.float32), last=True)


def remix(samples: Samples, channels: int) -> Samples:
    """Convert audio to another number of channels.

    Mono is duplicated. Stereo is averaged to mono, or reduced to the louder channel where the average cancels
    out. More than two channels are downmixed to stereo. Stereo is spread over more channels so that
    downmixing restores it.
    """
    if samples.shape[1] == channels:
        return samples
    if channels == 1:
        weights, _ = downmix(samples)
        return samples @ weights.astype(np.float32)[:, None]
    pair = np.repeat(samples, STEREO, axis=1) if samples.shape[1] == 1 else _downmixed(samples, STEREO)
    if channels == STEREO:
        return pair
    return np.asarray(pair @ np.linalg.pinv(_downmix_matrix(channels)).T.astype(np.float32))


def to_stereo(samples: Samples) -> Samples:
    """Downmix more than two channels to stereo; mono and stereo are returned unchanged."""
    return _downmixed(samples, min(STEREO, samples.shape[1]))


def to_samples(block: npt.NDArray[Any]) -> Samples:
    """Convert floating point, or integers with their full scale, to float32 samples.

    NaN, infinity and absurdly large values become 0.
    """
    if block.dtype.kind == "i":
        return np.asarray(np.multiply(block, 1 / -float(np.iinfo(block.dtype).min), dtype=np.float32))
    with np.errstate(over="ignore"):
        samples = block.astype(np.float32, copy=False)
    valid = len(samples) == 0 or (samples.min() >= -_LOUDEST and samples.max() <= _LOUDEST)
    return samples if valid else np.where(np.abs(samples) <= _LOUDEST, samples, np.float32(0.0))


def dithered(samples: Samples, rng: np.random.Generator) -> Samples:
    """Add triangular dither, two 16-bit steps wide, unless every value lies on the 16-bit grid already.

    Dither makes the rounding error independent of the music (Lipshitz, Wannamaker & Vanderkooy, 1992,
    "Quantization and dither: a theoretical survey", J. Audio Eng. Soc. 40), so that fades stay clean down
    into the noise. Digital silence and audio that was 16 bits deep before are left unchanged.
    """
    steps = np.float32(1 << 15)
    if np.array_equal(np.rint(samples * steps), samples * steps):
        return samples
    noise = rng.random(samples.shape, np.float32) - rng.random(samples.shape, np.float32)
    return np.asarray(samples + noise / steps)


def _downmixed(samples: Samples, channels: int, layout: int = 0) -> Samples:
    if samples.shape[1] == channels:
        return samples
    return samples @ _downmix_matrix(samples.shape[1], layout).T.astype(np.float32)


def _downmix_matrix(channels: int, layout: int = 0) -> Floats:
    """Gain of each channel in the left and right of a stereo downmix, `[2, channels]`."""
    places = "".join(place for bit, place in enumerate(_SPEAKERS) if layout >> bit & 1)
    if len(places) != channels:
        places = _USUAL[channels]
    weights = np.array([[place in (side, "C") for place in places] for side in "LR"], dtype=np.float64)
    weights[:, STEREO:] *= _DOWNMIX_GAIN
    return weights

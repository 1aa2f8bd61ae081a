"""The context sent to a hosted model: the outermost seconds of the music so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soundfile

from outpaint_mcp.audio.files.conversion import STEREO, SampleSpec
from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.files.decoder import BLOCK_FRAMES, Probe
from outpaint_mcp.audio.files.encode import AudioWriter, delivery_format, is_lossless
from outpaint_mcp.audio.files.sound_file import SequentialFile
from outpaint_mcp.audio.joining.joins import EDGE_SECONDS
from outpaint_mcp.audio.joining.strips import join_each, outwards, read_edge
from outpaint_mcp.audio.levels import peak
from outpaint_mcp.errors import GenerationFailed, SourceTooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from outpaint_mcp.audio.joining.model_output import ModelOutput
    from outpaint_mcp.audio.sides import Side
    from outpaint_mcp.audio.types import Samples

CANVAS_SECONDS = 240.0
"""No supported model accepts more."""

_COMMON_RATES_HZ = frozenset({8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000})
"""Sample rates that both MP3 and FLAC support."""
_RATE_HZ = 48_000
_SHALLOW = frozenset({"PCM_S8", "PCM_U8", "PCM_16"})

_KBPS = (320, 256, 192, 160, 128)
_HIGHEST_KBPS, _KBPS_RANGE = 320, 288
"""libsndfile's compression level covers bit rates from the highest down by this range."""
_FULL_RATE_HZ = 32_000
_SCALES = ((_FULL_RATE_HZ, 1.0), (16_000, 0.5), (0, 0.2))
"""Lower sample rates (MPEG 2 and 2.5) have their own, lower bit rates; for the lowest, LAME resamples."""


class Context(NamedTuple):
    """A file to send.

    Attributes:
        path: the file.
        media_type: `audio/flac` or `audio/mpeg`.
        seconds: its exact duration.
        size_bytes: its size.
    """

    path: Path
    media_type: str
    seconds: float
    size_bytes: int


def write_context(  # noqa: PLR0913 - one file, each part of it named
    source: Path,
    side: Side,
    outputs: Sequence[ModelOutput],
    destination: Path,
    *,
    seconds: float,
    max_bytes: int | None,
) -> Context:
    """Write the outermost seconds of a source with the model outputs joined to it so far.

    The format is FLAC of the source's depth, at most 24 bits. If that exceeds `max_bytes`, 16-bit FLAC is
    tried, then MP3 from 320 down to 128 kb/s. More than two channels are downmixed to stereo, sample rates
    that MP3 or FLAC lacks are resampled to 48 kHz, and audio beyond full scale is scaled down. The same input
    produces the same bytes.

    Args:
        source: any audio that can be decoded.
        side: the side on which the music is to continue.
        outputs: the model outputs of that side, in the order in which they were generated.
        destination: where to write, whatever its suffix; an existing file is overwritten.
        seconds: how much to send; never more than 240.
        max_bytes: the size limit, if any.

    Raises:
        SourceUnreachable: if a file does not exist.
        SourceTooLarge: if even the smallest file exceeds the limit.
        UnsupportedAudio: if the source cannot be decoded.
        GenerationFailed: if a model output has no new music, or the destination cannot be written.
    """
    found = probe(source)
    spec = _spec(found)
    seconds = min(seconds, CANVAS_SECONDS)
    edge = read_edge(source, side, spec, max(seconds, EDGE_SECONDS))
    frames, strip = max(1, round(seconds * spec.sample_rate)), edge
    for new, _ in join_each(edge, outputs, side, spec, more_follow=True):
        strip = np.concatenate([strip, new])[-frames:]
    samples = outwards(strip[-frames:], side)
    loudest = peak(samples)
    if loudest > 1:
        samples = samples / np.float32(loudest)
    for media_type in _attempts(samples, spec, found, destination, max_bytes):
        size = destination.stat().st_size
        if max_bytes is None or size <= max_bytes:
            return Context(destination, media_type, len(samples) / spec.sample_rate, size)
    raise SourceTooLarge(
        f"{len(samples) / spec.sample_rate:.0f} s of the source exceed the {max_bytes} bytes that can be"
        " sent to the model, even as MP3. Raise the limit, or use a shorter part of the source."
    )


def _spec(found: Probe) -> SampleSpec:
    rate = found.sample_rate if found.sample_rate in _COMMON_RATES_HZ else _RATE_HZ
    return SampleSpec(rate, min(found.channels, STEREO))


def _attempts(
    samples: Samples, spec: SampleSpec, found: Probe, destination: Path, max_bytes: int | None
) -> Iterator[str]:
    """Write ever smaller files; yield the media type after each."""
    shallow = is_lossless(found) and delivery_format(found).subtype in _SHALLOW
    for subtype in ("PCM_16",) if shallow else ("PCM_24", "PCM_16"):
        with AudioWriter(destination, Probe("FLAC", subtype, *spec, len(samples)), len(samples)) as file:
            file.write(samples)
        yield "audio/flac"
    scale = next(scale for lowest, scale in _SCALES if spec.sample_rate >= lowest)
    for kbps in _KBPS if scale == 1 else _KBPS[:-1]:
        expected_bytes = len(samples) / spec.sample_rate * kbps * scale * 125
        # skip slow encoding where the constant bit rate already shows that the file is too large
        if max_bytes is None or expected_bytes * 0.9 <= max_bytes:
            _write_mp3(samples, spec, kbps, destination)
            yield "audio/mpeg"


def _write_mp3(samples: Samples, spec: SampleSpec, kbps: int, destination: Path) -> None:
    compression = (_HIGHEST_KBPS - kbps) / _KBPS_RANGE
    try:
        with SequentialFile(
            destination,
            "w",
            *spec,
            "MPEG_LAYER_III",
            format="MP3",
            compression_level=compression,
            bitrate_mode="CONSTANT",
        ) as file:
            for first in range(0, len(samples), BLOCK_FRAMES):
                file.write(samples[first : first + BLOCK_FRAMES])
    except (AssertionError, OSError, soundfile.LibsndfileError) as exc:  # AssertionError: a short write
        raise GenerationFailed(
            f"{destination.name} could not be written. Check whether the disk is full or write-protected."
        ) from exc

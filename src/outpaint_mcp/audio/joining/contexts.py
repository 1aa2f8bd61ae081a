"""The file that a hosted model is sent: the edge of the music so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soundfile

from outpaint_mcp.audio.files.decode import BLOCK_FRAMES, Probe, StraightFile, probe
from outpaint_mcp.audio.files.encode import Delivery, delivery_format, is_lossless
from outpaint_mcp.audio.files.forms import STEREO, Form
from outpaint_mcp.audio.joining.joins import EDGE_SECONDS
from outpaint_mcp.audio.joining.strips import grow, outwards, read_edge
from outpaint_mcp.audio.waves import peak
from outpaint_mcp.errors import GenerationFailed, SourceTooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from outpaint_mcp.audio.joining.pieces import Piece
    from outpaint_mcp.audio.shapes import Samples, Side

CANVAS_SECONDS = 240.0
"""No model that is served takes more."""

_COMMON_RATES_HZ = frozenset({8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000})
"""What MP3 can carry, and FLAC too."""
_RATE_HZ = 48_000
_SHALLOW = frozenset({"PCM_S8", "PCM_U8", "PCM_16"})

_KBPS = (320, 256, 192, 160, 128)
_HIGHEST_KBPS, _KBPS_RANGE = 320, 288
"""libsndfile's compression level runs over bit rates from the highest down to that much less."""
_FULL_RATE_HZ = 32_000
_SCALES = ((_FULL_RATE_HZ, 1.0), (16_000, 0.5), (0, 0.2))
"""Slower sample rates have their own, lower bit rates (MPEG 2 and 2.5); LAME resamples for the last of ours there."""


class Context(NamedTuple):
    """A file to send.

    Attributes:
        path: where it is.
        media_type: `audio/flac` or `audio/mpeg`.
        seconds: its exact length.
        size_bytes: its size.
    """

    path: Path
    media_type: str
    seconds: float
    size_bytes: int


def write_context(  # noqa: PLR0913 - one file, each part of it named
    source: Path,
    side: Side,
    pieces: Sequence[Piece],
    destination: Path,
    *,
    seconds: float,
    max_bytes: int | None,
) -> Context:
    """Write the outermost seconds of a source with the pieces joined to it so far.

    FLAC as deep as the source, at most 24 bits; if that is over `max_bytes`, FLAC of 16 bits, then MP3 from 320 down
    to 128 kb/s. What has more than two channels is folded to stereo, what has a rate that not all of these can
    carry is resampled to 48 kHz, what goes beyond full scale is scaled down. The same input makes the same bytes.

    Args:
        source: any audio that libsndfile decodes.
        side: the side on which the music is to go on.
        pieces: of that side, in the order in which they were made.
        destination: where to write, whatever its suffix; what is there is overwritten.
        seconds: how much to send; never more than 240.
        max_bytes: the most that can be sent, if there is a limit.

    Raises:
        SourceUnreachable: if the source or a piece is not there.
        SourceTooLarge: if not even the smallest file is small enough.
        UnsupportedAudio: if the source cannot be decoded.
        GenerationFailed: if a piece has no new music, or the destination cannot be written.
    """
    found = probe(source)
    form = _form(found)
    seconds = min(seconds, CANVAS_SECONDS)
    edge = read_edge(source, side, form, max(seconds, EDGE_SECONDS))
    strip = grow(edge, pieces, side, form, goes_on=True).samples
    samples = outwards(strip[-max(1, round(seconds * form.sample_rate)) :], side)
    loudest = peak(samples)
    if loudest > 1:
        samples = samples / np.float32(loudest)
    for media_type in _attempts(samples, form, found, destination, max_bytes):
        size = destination.stat().st_size
        if max_bytes is None or size <= max_bytes:
            return Context(destination, media_type, len(samples) / form.sample_rate, size)
    raise SourceTooLarge(
        f"{len(samples) / form.sample_rate:.0f} s of {source.name} are over the {max_bytes} bytes that can be sent "
        "to the model, even as MP3. Allow more bytes, or cut the source shorter."
    )


def _form(found: Probe) -> Form:
    rate = found.sample_rate if found.sample_rate in _COMMON_RATES_HZ else _RATE_HZ
    return Form(rate, min(found.channels, STEREO))


def _attempts(
    samples: Samples, form: Form, found: Probe, destination: Path, max_bytes: int | None
) -> Iterator[str]:
    """Write the file in ever fewer bytes; yields what it is each time."""
    shallow = is_lossless(found) and delivery_format(found).subtype in _SHALLOW
    for subtype in ("PCM_16",) if shallow else ("PCM_24", "PCM_16"):
        with Delivery(destination, Probe("FLAC", subtype, *form, len(samples)), len(samples)) as file:
            file.write(samples)
        yield "audio/flac"
    scale = next(scale for lowest, scale in _SCALES if form.sample_rate >= lowest)
    for kbps in _KBPS if scale == 1 else _KBPS[:-1]:
        expected_bytes = len(samples) / form.sample_rate * kbps * scale * 125
        # encoding takes long, and at a constant bit rate there is nothing to be surprised by
        if max_bytes is None or expected_bytes * 0.9 <= max_bytes:
            _write_mp3(samples, form, kbps, destination)
            yield "audio/mpeg"


def _write_mp3(samples: Samples, form: Form, kbps: int, destination: Path) -> None:
    compression = (_HIGHEST_KBPS - kbps) / _KBPS_RANGE
    try:
        with StraightFile(
            destination,
            "w",
            *form,
            "MPEG_LAYER_III",
            format="MP3",
            compression_level=compression,
            bitrate_mode="CONSTANT",
        ) as file:
            for first in range(0, len(samples), BLOCK_FRAMES):
                file.write(samples[first : first + BLOCK_FRAMES])
    except (AssertionError, OSError, soundfile.LibsndfileError) as exc:  # AssertionError: fewer than given
        raise GenerationFailed(
            f"{destination.name} could not be written. Is the disk full or write-protected?"
        ) from exc

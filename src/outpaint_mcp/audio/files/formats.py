"""Converting a finished file, or a part of it, to a requested format."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from outpaint_mcp.audio.files.compression import compression_level
from outpaint_mcp.audio.files.conversion import STEREO, SampleSpec, dithered, stream_as, to_samples
from outpaint_mcp.audio.files.crop import cut
from outpaint_mcp.audio.files.decode import AudioReader, probe
from outpaint_mcp.audio.files.encode import (
    BITS,
    AudioWriter,
    DeliveryFormat,
    decode_dtype,
    delivery_format,
    fits_flac,
    is_lossless,
    seal,
)
from outpaint_mcp.audio.files.measure import measure
from outpaint_mcp.audio.files.mp4_writing import ALAC_CHANNELS
from outpaint_mcp.audio.files.sound_file import VORBIS_ORDER
from outpaint_mcp.errors import GenerationFailed, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from outpaint_mcp.audio.files.decoder import Probe
    from outpaint_mcp.audio.types import Progress

_NAMED = {
    "wav16": DeliveryFormat("WAV", "PCM_16", ".wav"),
    "wav24": DeliveryFormat("WAV", "PCM_24", ".wav"),
    "wav_float": DeliveryFormat("WAV", "FLOAT", ".wav"),
    "mp3": DeliveryFormat("MP3", "MPEG_LAYER_III", ".mp3"),
    "m4a": DeliveryFormat("M4A", "AAC", ".m4a"),
    "ogg": DeliveryFormat("OGG", "VORBIS", ".ogg"),
    "opus": DeliveryFormat("OGG", "OPUS", ".opus"),
}
FORMATS = ("source", "flac", "alac", *_NAMED)
"""The formats that can be requested. `source` is lossless with the file's own depth; see `delivery_format`."""

_COMMON_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_RATES_HZ = {
    "MPEG_LAYER_III": _COMMON_RATES_HZ,
    "AAC": (7_350, *_COMMON_RATES_HZ, 64_000, 88_200, 96_000),
    "VORBIS": range(8_000, 192_001),  # libsndfile crashes the process beyond 200,000
    "OPUS": (8_000, 12_000, 16_000, 24_000, 48_000),
}
"""Sample rates of each lossy encoding; the lossless ones support every rate for which they are chosen."""
_OF_ALAC = (0x4, 0x3, 0x7, 0x37, 0x607, 0x3F, 0x60F)
"""The channel masks that ALAC has; 2.1 is none of them."""
_RATE_HZ = 48_000
"""Unsupported rates are resampled to this one, which all lossy encodings support."""

_DITHERED = "PCM_16"
"""The depth at which rounding is audible; at 24 bits its error is 50 dB below any converter's noise."""
_FLOAT_BITS = 24
"""Integers up to this depth are exact in single precision."""
_PROGRESS_STEP = 0.01
"""Smaller steps of progress are not reported."""


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file as it was written.

    Attributes:
        container: the file format, as in `Probe`.
        subtype: the encoding.
        suffix: the suffix that the file name should have.
        frames: its length; for lossy encodings, the number of frames it decodes to.
        sample_rate: frames per second.
        channels: number of channels.
        exact: whether it holds every value of the original.
        size_bytes: the file's size.
        sha256: the file's digest, in hexadecimal.
    """

    container: str
    subtype: str
    suffix: str
    frames: int
    sample_rate: int
    channels: int
    exact: bool
    size_bytes: int
    sha256: str


class _Part(NamedTuple):
    """What is to be written.

    Attributes:
        original: the file.
        found: its header.
        start_frame: the first of its frames.
        stop_frame: the one to stop before.
        spec: what it is converted to.
    """

    original: Path
    found: Probe
    start_frame: int
    stop_frame: int
    spec: SampleSpec

    @property
    def span(self) -> tuple[int, int]:
        """The first frame and the one to stop before, after conversion."""
        rate, found_rate = self.spec.sample_rate, self.found.sample_rate
        return self.start_frame * rate // found_rate, -(-self.stop_frame * rate // found_rate)

    @property
    def claimed_frames(self) -> int:
        """How many frames it has after conversion, if the header is right; resampling rounds to the nearest."""
        start, stop = self.span
        rate, found_rate = self.spec.sample_rate, self.found.sample_rate
        return max(0, min(stop, (2 * self.found.frames * rate + found_rate) // (2 * found_rate)) - start)


def format_of(name: str, found: Probe) -> DeliveryFormat:
    """Resolve one of `FORMATS` for a file like `found`.

    FLAC and ALAC get 16 bits where that is enough and 24 otherwise. Four, seven and eight channels, for which ALAC has
    no layout, become FLAC; what FLAC has no sample rate for becomes WAV.
    """
    if name in _NAMED:
        return _NAMED[name]
    chosen = delivery_format(found)
    depth = 16 if BITS[chosen.subtype] <= BITS["PCM_16"] else 24
    if name == "alac" and found.channels in ALAC_CHANNELS and found.layout in {0, *_OF_ALAC}:
        return DeliveryFormat("M4A", f"ALAC_{depth}", ".m4a")
    if name == "source" or chosen.container == "FLAC":
        return chosen
    if fits_flac(found.sample_rate):
        return DeliveryFormat("FLAC", f"PCM_{depth}", ".flac")
    return DeliveryFormat("WAV", f"PCM_{depth}", ".wav")


def write_as(  # noqa: PLR0913 - what, where to, how, which part
    original: Path,
    destination: Path,
    *,
    format: str,  # noqa: A002 - the word that people use for it
    bitrate_kbps: int | None = None,
    start_frame: int = 0,
    stop_frame: int | None = None,
    on_progress: Progress,
) -> WrittenFile:
    """Write a finished file, or a part of it, in another format.

    Values are preserved exactly where the format can hold them. Otherwise they are rounded, with dither at 16 bits, and
    clipped at full scale; floating point and lossy formats are not clipped. MP3 downmixes more than two channels to
    stereo. Sample rates that a lossy format lacks are resampled to 48 kHz. M4A decodes to exactly the frames that went
    into it, see `mp4_writing`. A whole file already in the requested lossy encoding is copied, because encoding it
    again would degrade it, unless a bit rate is requested. The same input produces the same bytes. If this fails, the
    caller has to delete the unfinished `destination`.

    Args:
        original: any audio that can be decoded.
        destination: where to write, whatever its suffix (see `format_of`).
        format: one of `FORMATS`.
        bitrate_kbps: of a lossy format; None for the usual one.
        start_frame: the first frame of `original` to write.
        stop_frame: the frame to stop before; None for the end.
        on_progress: called with the completed fraction.

    Raises:
        InvalidRequest: if the range has no frames, or too few for the lower sample rate.
        SourceUnreachable: if the file does not exist.
        UnsupportedAudio: if it cannot be decoded.
        GenerationFailed: if the destination cannot be written.
    """
    found = probe(original)
    target = format_of(format, found)
    spec = _spec(found, target)
    is_copy = (
        (start_frame, stop_frame) == (0, None)
        and target.subtype in _RATES_HZ
        and (found.container, found.subtype) == target[:2]
        and bitrate_kbps is None
    )
    if is_copy:
        _copy(original, destination)
        container = target.container
    else:
        level = compression_level(target.subtype, spec, bitrate_kbps)
        stop = sys.maxsize if stop_frame is None else stop_frame
        part = _Part(original, found, start_frame, stop, spec)
        container = _convert(part, destination, target, level, on_progress)
    size_bytes, sha256 = seal(destination)
    on_progress(1.0)
    return WrittenFile(
        container=container,
        subtype=target.subtype,
        suffix=target.suffix,
        frames=measure(destination, inf).frames,
        sample_rate=spec.sample_rate,
        channels=spec.channels,
        exact=is_copy or _holds(target, found),
        size_bytes=size_bytes,
        sha256=sha256,
    )


def _spec(found: Probe, target: DeliveryFormat) -> SampleSpec:
    rates = _RATES_HZ.get(target.subtype)
    rate = found.sample_rate if rates is None or found.sample_rate in rates else _RATE_HZ
    return SampleSpec(rate, min(found.channels, STEREO) if target.container == "MP3" else found.channels)


def _holds(target: DeliveryFormat, found: Probe) -> bool:
    """Whether the target format can represent every value of a file like `found`."""
    if target.subtype in _RATES_HZ:
        return False
    deep = delivery_format(found).subtype
    room = _FLOAT_BITS if target.subtype == "FLOAT" else BITS[target.subtype]
    return is_lossless(found) and (deep == target.subtype or BITS[deep] <= room)


def _copy(original: Path, destination: Path) -> None:
    try:
        shutil.copyfile(original, destination)
    except OSError as exc:
        raise GenerationFailed(f"{destination.name} could not be written: {exc.strerror}.") from exc


def _convert(
    part: _Part, destination: Path, target: DeliveryFormat, level: float | None, on_progress: Progress
) -> str:
    """Decode and encode again; return the container."""
    claimed = part.claimed_frames
    writer = _rewrite(part, destination, target, level, claimed, on_progress)
    if target.container == "M4A" and writer.frames != claimed:  # whose length has to be known beforehand
        writer = _rewrite(part, destination, target, level, writer.frames, on_progress)
    return writer.container


def _rewrite(  # noqa: PLR0913 - the same, and how long it is
    part: _Part,
    destination: Path,
    target: DeliveryFormat,
    level: float | None,
    frames: int,
    on_progress: Progress,
) -> AudioWriter:
    (start, stop), found = part.span, part.found
    last = min(part.stop_frame, found.frames or part.stop_frame)
    like = replace(found, sample_rate=part.spec.sample_rate, channels=part.spec.channels)
    reported = 0.0
    with (
        AudioReader(part.original) as source,
        AudioWriter(destination, like, frames, target, level) as writer,
    ):
        for block in cut(_blocks(source, target, part.spec), start, stop):
            writer.write(block)
            done = min(1.0, source.frames / max(1, last))
            if done >= reported + _PROGRESS_STEP:
                reported = done
                on_progress(done)
    if not writer.frames:
        last = min(part.stop_frame, source.frames)
        raise InvalidRequest(
            f"{part.original.name} has too few frames between {part.start_frame} and {last} to write any. Choose a"
            " longer part."
        )
    return writer


def _blocks(source: AudioReader, target: DeliveryFormat, spec: SampleSpec) -> Iterator[npt.NDArray[Any]]:
    """Decode for the target: as its integers where they hold every value, otherwise as float samples."""
    if target.subtype in _RATES_HZ:
        order = VORBIS_ORDER.get(spec.channels, ...) if target.container == "OGG" else ...
        for block in stream_as(source, spec):
            yield block[:, order]
        return
    exact = _holds(target, source.probe)
    rng = np.random.default_rng(0)
    for block in source.blocks(decode_dtype(source.probe)):
        if exact and (block.dtype.kind == "f" or target.subtype != "FLOAT"):
            yield block
        elif target.subtype == _DITHERED:
            yield dithered(to_samples(block), rng)
        else:
            yield to_samples(block)

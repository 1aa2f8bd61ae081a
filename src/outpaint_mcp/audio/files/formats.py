"""A finished file, or a part of it, in the format that somebody wants to have."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from outpaint_mcp.audio.files.crop import cut
from outpaint_mcp.audio.files.decode import VORBIS_ORDER, Source, probe
from outpaint_mcp.audio.files.encode import (
    BITS,
    Delivery,
    DeliveryFormat,
    carrier,
    delivery_format,
    fits_flac,
    is_lossless,
    seal,
)
from outpaint_mcp.audio.files.forms import STEREO, Form, as_sound, streamed
from outpaint_mcp.audio.files.measure import measure
from outpaint_mcp.errors import GenerationFailed, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from outpaint_mcp.audio.files.decode import Probe
    from outpaint_mcp.audio.shapes import Progress, Samples

_NAMED = {
    "wav16": DeliveryFormat("WAV", "PCM_16", ".wav"),
    "wav24": DeliveryFormat("WAV", "PCM_24", ".wav"),
    "wav_float": DeliveryFormat("WAV", "FLOAT", ".wav"),
    "mp3": DeliveryFormat("MP3", "MPEG_LAYER_III", ".mp3"),
    "ogg": DeliveryFormat("OGG", "VORBIS", ".ogg"),
    "opus": DeliveryFormat("OGG", "OPUS", ".opus"),
}
FORMATS = ("source", "flac", *_NAMED)
"""What can be asked for. `source` is lossless and as deep as what there is, as `delivery_format` has it."""

_RATES_HZ = {
    "MPEG_LAYER_III": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "VORBIS": range(8_000, 192_001),  # beyond 200,000 libsndfile crashes the process
    "OPUS": (8_000, 12_000, 16_000, 24_000, 48_000),
}
"""What each lossy encoding carries; the lossless ones carry any rate for which they are chosen."""
_RATE_HZ = 48_000
"""What is not carried becomes this, which all of them carry."""

_DITHERED = "PCM_16"
"""The depth at which rounding can be heard; at 24 bits its error is 50 dB under any converter's noise."""
_FLOAT_BITS = 24
"""What single precision holds of integers."""
_NEWS = 0.01
"""Progress smaller than this is not reported."""


@dataclass(frozen=True, slots=True)
class Written:
    """A file as it was written.

    Attributes:
        container: libsndfile's name of the file format.
        subtype: its name of the encoding inside.
        suffix: what the file's name should end with.
        frames: how many it has; of a lossy one, how many it decodes to.
        sample_rate: frames per second.
        channels: how many.
        exact: whether it has every value of what it was made from.
        size_bytes: the file's size.
        sha256: the file's, in hexadecimal.
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


def format_of(name: str, found: Probe) -> DeliveryFormat:
    """Tell what one of `FORMATS` is for a file like `found`.

    FLAC has 16 bits where these are enough and 24 otherwise. It becomes WAV where it cannot carry the sample rate.
    """
    if name in _NAMED:
        return _NAMED[name]
    chosen = delivery_format(found)
    if name == "source" or chosen.container == "FLAC":
        return chosen
    subtype = "PCM_16" if BITS[chosen.subtype] <= BITS["PCM_16"] else "PCM_24"
    return (
        DeliveryFormat("FLAC", subtype, ".flac")
        if fits_flac(found.sample_rate)
        else DeliveryFormat("WAV", subtype, ".wav")
    )


def write_as(  # noqa: PLR0913 - what, where to, how, which part
    made: Path,
    destination: Path,
    *,
    format: str,  # noqa: A002 - the word that people use for it
    start_frame: int = 0,
    stop_frame: int | None = None,
    on_progress: Progress,
) -> Written:
    """Write a finished file, or a part of it, in another format.

    Values are kept exactly where the format holds them. Fewer bits are rounded to, of 16 with dither, and clipped
    at full scale; floating point and lossy formats are not clipped. MP3 folds more than two channels to stereo; what
    a lossy format has no sample rate for is resampled to 48 kHz. What is whole and lossy in that very encoding is
    copied, for encoding it again would harm it. The same file makes the same bytes. Whatever stops the work leaves
    an unfinished `destination`, the caller's to remove.

    Args:
        made: any audio that libsndfile decodes.
        destination: where to write, whatever its suffix (see `format_of`).
        format: one of `FORMATS`.
        start_frame: the first frame of `made` to write.
        stop_frame: the frame to stop before, if that is not the end.
        on_progress: told the fraction done.

    Raises:
        InvalidRequest: if `made` has no frame in that range, or too few for a lower sample rate.
        SourceUnreachable: if it is not there.
        UnsupportedAudio: if it cannot be decoded.
        GenerationFailed: if the destination cannot be written.
    """
    found = probe(made)
    target = format_of(format, found)
    form = _form(found, target)
    stop = sys.maxsize if stop_frame is None else stop_frame
    copied = (
        (start_frame, stop_frame) == (0, None)
        and target.subtype in _RATES_HZ
        and (found.container, found.subtype) == target[:2]
    )
    if copied:
        _copy(made, destination)
        container = target.container
    else:
        container = _rewrite(made, destination, target, form, start_frame, stop, on_progress)
    size_bytes, sha256 = seal(destination)
    on_progress(1.0)
    return Written(
        container=container,
        subtype=target.subtype,
        suffix=target.suffix,
        frames=measure(destination, inf).frames,
        sample_rate=form.sample_rate,
        channels=form.channels,
        exact=copied or _holds(target, found),
        size_bytes=size_bytes,
        sha256=sha256,
    )


def _form(found: Probe, target: DeliveryFormat) -> Form:
    rates = _RATES_HZ.get(target.subtype)
    rate = found.sample_rate if rates is None or found.sample_rate in rates else _RATE_HZ
    return Form(rate, min(found.channels, STEREO) if target.container == "MP3" else found.channels)


def _holds(target: DeliveryFormat, found: Probe) -> bool:
    """Whether every value of a file like `found` has its like in that format."""
    if target.subtype in _RATES_HZ:
        return False
    deep = delivery_format(found).subtype
    room = _FLOAT_BITS if target.subtype == "FLOAT" else BITS[target.subtype]
    return is_lossless(found) and (deep == target.subtype or BITS[deep] <= room)


def _copy(made: Path, destination: Path) -> None:
    try:
        shutil.copyfile(made, destination)
    except OSError as exc:
        raise GenerationFailed(f"{destination.name} could not be written: {exc.strerror}.") from exc


def _rewrite(  # noqa: PLR0913 - the same
    made: Path,
    destination: Path,
    target: DeliveryFormat,
    form: Form,
    start_frame: int,
    stop_frame: int,
    on_progress: Progress,
) -> str:
    """Decode and encode; returns the container."""
    with Source(made) as source:
        found = source.probe
        start = start_frame * form.sample_rate // found.sample_rate
        stop = -(-stop_frame * form.sample_rate // found.sample_rate)
        last = min(stop_frame, found.frames or stop_frame)
        like = replace(found, sample_rate=form.sample_rate, channels=form.channels)
        written, told = 0, 0.0
        with Delivery(destination, like, min(last, found.frames) - start_frame, target) as delivery:
            for part in cut(_blocks(source, target, form), start, stop):
                delivery.write(part)
                written += len(part)
                done = min(1.0, source.frames / max(1, last))
                if done >= told + _NEWS:
                    told = done
                    on_progress(done)
    if not written:
        last = min(stop_frame, source.frames)
        raise InvalidRequest(f"{made.name} has too few frames between {start_frame} and {last} to write any.")
    return delivery.container


def _blocks(source: Source, target: DeliveryFormat, form: Form) -> Iterator[npt.NDArray[Any]]:
    """Decode in the form of the target: as its integers where these hold every value, otherwise as samples."""
    if target.subtype in _RATES_HZ:
        order = VORBIS_ORDER.get(form.channels, ...) if target.container == "OGG" else ...
        for block in streamed(source, form):
            yield block[:, order]
        return
    kept = _holds(target, source.probe)
    rng = np.random.default_rng(0)
    for block in source.blocks(carrier(source.probe)):
        if kept and (block.dtype.kind == "f" or target.subtype != "FLOAT"):
            yield block
        elif target.subtype == _DITHERED:
            yield _dithered(as_sound(block), rng)
        else:
            yield as_sound(block)


def _dithered(samples: Samples, rng: np.random.Generator) -> Samples:
    """Add noise of triangular density, two steps of 16 bits wide, unless every value is on such a step already.

    It makes the error of rounding independent of the music (Lipshitz, Wannamaker & Vanderkooy, 1992, "Quantization
    and dither: a theoretical survey", J. Audio Eng. Soc. 40): fades stay clean down into the noise. Digital silence
    and what was 16 bits deep before is left as it is.
    """
    steps = np.float32(1 << 15)
    if np.array_equal(np.rint(samples * steps), samples * steps):
        return samples
    noise = rng.random(samples.shape, np.float32) - rng.random(samples.shape, np.float32)
    return np.asarray(samples + noise / steps)

"""Writing what is delivered: the format that can hold a source, samples as its integers, the file."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import soundfile

from outpaint_mcp.audio.files import ogg
from outpaint_mcp.audio.files.decode import BLOCK_FRAMES, Probe, StraightFile
from outpaint_mcp.errors import GenerationFailed

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.shapes import Samples

BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64}
_FLOATS = {"FLOAT": np.float32, "DOUBLE": np.float64}

_WAV_SUBTYPES = {
    **{subtype: subtype for subtype in BITS},
    "PCM_S8": "PCM_U8",  # WAV knows no signed bytes
    "ALAC_32": "PCM_32",
    "DWVW_12": "PCM_16",
    "DWVW_16": "PCM_16",
    "DWVW_24": "PCM_24",
    **dict.fromkeys(("ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32", "G723_24"), "PCM_16"),
    **dict.fromkeys(("G723_40", "NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32"), "PCM_16"),
}
"""For each encoding with a fixed grid of values, the WAV encoding that has that grid.

The telephony codecs all decode to 16 bits; encoding their like anew would change what was decoded.
"""

_LEVELS = {"MPEG_LAYER_III": 0.0, "VORBIS": 0.2, "OPUS": 0.65}
"""libsndfile's compression levels, 0 to 1: 320 kb/s, a quality of 0.8 (some 260 kb/s), some 94 kb/s per channel.

High, for what is delivered may be made longer again.
"""

_FLAC_SUBTYPES = {"ALAC_16": "PCM_16", "ALAC_20": "PCM_24", "ALAC_24": "PCM_24"}
"""The same for lossless compression other than FLAC, which keeps its own."""

_WAV_LIMIT_BYTES = 2**32 - 2**16
"""WAV counts its bytes in 32 bits, the headers included."""
_FLAC_ANY_RATE_HZ, _FLAC_RATE_STEP_HZ, _FLAC_HIGHEST_RATE_HZ = 65_535, 10, 655_350
"""FLAC codes rates in 16 bits: in Hz, or in steps of 10 Hz."""


class DeliveryFormat(NamedTuple):
    """How an outpainted source is delivered.

    Attributes:
        container: `WAV` or `FLAC`; where asked for, `MP3` or `OGG`.
        subtype: the encoding inside, in libsndfile's words.
        suffix: what the file's name ends with.
    """

    container: str
    subtype: str
    suffix: str


def delivery_format(found: Probe) -> DeliveryFormat:
    """Choose the lossless format in which every decoded value of a source survives.

    FLAC stays FLAC and other lossless compression becomes it; whatever else has a grid of values or
    floating point becomes WAV with the same; lossy sources, which decode to floating point without
    a grid, become FLAC of 24 bits, each value rounded once and clipped at full scale as players do.
    What has a sample rate that FLAC cannot carry becomes WAV of as many bits.
    """
    if found.container == "FLAC":
        return DeliveryFormat("FLAC", found.subtype, ".flac")
    if subtype := _WAV_SUBTYPES.get(found.subtype):
        return DeliveryFormat("WAV", subtype, ".wav")
    subtype = _FLAC_SUBTYPES.get(found.subtype, "PCM_24")
    if fits_flac(found.sample_rate):
        return DeliveryFormat("FLAC", subtype, ".flac")
    return DeliveryFormat("WAV", subtype, ".wav")


def fits_flac(sample_rate: int) -> bool:
    """Whether FLAC can name that rate."""
    if sample_rate <= _FLAC_ANY_RATE_HZ:
        return True
    return sample_rate <= _FLAC_HIGHEST_RATE_HZ and sample_rate % _FLAC_RATE_STEP_HZ == 0


def is_lossless(found: Probe) -> bool:
    """Whether the source's values lie on a grid, or are floating point by themselves, and so survive exactly."""
    return found.container == "FLAC" or found.subtype in _WAV_SUBTYPES or found.subtype in _FLAC_SUBTYPES


def carrier(found: Probe) -> npt.DTypeLike:
    """Return the type to decode a source in so that `Delivery.write` passes its values on exactly.

    Floating point for lossy sources: what they decode to has no integer form until it is rounded.
    """
    return _stored(delivery_format(found).subtype) if is_lossless(found) else np.float32


def quantise(samples: Samples, subtype: str) -> npt.NDArray[Any]:
    """Round floating point to the grid of an integer encoding, clipped, in the top bits of the carrier.

    There is no dither: most of an extension is the source's own frames, which lie on the grid and
    come through unchanged; what dither would mend in the crossfades lies under their own noise.
    """
    bits = BITS[subtype]
    steps = 2.0 ** (bits - 1)
    # Scaling by a power of two is exact; only the largest 32-bit integer is beyond single precision.
    values = np.multiply(samples, steps, dtype=np.float64 if subtype == "PCM_32" else np.float32)
    values[np.isnan(values)] = 0.0
    np.clip(np.rint(values, out=values), -steps, steps - 1, out=values)
    stored = np.dtype(_stored(subtype))
    return values.astype(stored) << (8 * stored.itemsize - bits)


class Delivery:
    """The file that is delivered while it is written; a context manager.

    Attributes:
        container: as the delivery format has it, or `RF64` where the file outgrows WAV.
        subtype: as the delivery format has it.
    """

    def __init__(self, path: Path, found: Probe, frames: int, target: DeliveryFormat | None = None) -> None:
        """Create `path` for `frames` frames of a source like `found`.

        Args:
            path: where, whatever its suffix.
            found: of whose sample rate and channels it is to be.
            frames: how many are expected; whether WAV can hold them hangs on it.
            target: how it is to be written, if not as `delivery_format` chooses.

        Raises:
            GenerationFailed: if that is impossible.
        """
        container, self.subtype, _ = target or delivery_format(found)
        size = frames * found.channels * BITS.get(self.subtype, 0) // 8
        self.container = "RF64" if container == "WAV" and size > _WAV_LIMIT_BYTES else container
        self._path = path
        header = (found.sample_rate, found.channels, self.subtype)
        try:
            self._file = StraightFile(
                path,
                "w",
                *header,
                format=self.container,
                compression_level=_LEVELS.get(self.subtype),
                bitrate_mode="CONSTANT" if container == "MP3" else None,
            )
        except (OSError, soundfile.LibsndfileError) as exc:
            raise self._failure() from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.close()
        except soundfile.LibsndfileError as exc:
            raise self._failure() from exc

    @property
    def is_float(self) -> bool:
        """Whether it holds values beyond full scale."""
        return self.subtype in _FLOATS

    def write(self, samples: npt.NDArray[Any]) -> None:
        """Append samples: integers of the carrier as they are, floating point rounded where need be.

        In blocks, because libsndfile may need stack in proportion to what one call brings (its #1095).

        Raises:
            GenerationFailed: if the disk does not take them.
        """
        for first in range(0, len(samples), BLOCK_FRAMES):
            block = samples[first : first + BLOCK_FRAMES]
            if self.subtype in BITS and self.subtype not in _FLOATS and block.dtype.kind == "f":
                block = quantise(block, self.subtype)
            try:
                self._file.write(block)
            except (AssertionError, soundfile.LibsndfileError) as exc:  # AssertionError: fewer than given
                raise self._failure() from exc

    def _failure(self) -> GenerationFailed:
        return GenerationFailed(
            f"{self._path.name} could not be written. Is the disk full or write-protected?"
        )


def seal(path: Path) -> tuple[int, str]:
    """Make a written file the same for the same samples, and last; return its bytes and SHA-256.

    Raises:
        GenerationFailed: if the disk does not take it.
    """
    try:
        with path.open("r+b") as file:
            # libsndfile puts the time of day into the PEAK chunk of floating-point WAV.
            header = file.read(128)
            peak = header.partition(b"data")[0].find(b"PEAK")
            if peak >= 0:
                file.seek(peak + 12)
                file.write(bytes(4))
            if header.startswith(ogg.MARK):
                ogg.settle_serial(file)
    except OSError as exc:
        raise _unfinished(path, exc) from exc
    return fingerprint(path)


def fingerprint(path: Path) -> tuple[int, str]:
    """See that a file is on disk as it is; return its bytes and SHA-256.

    Raises:
        GenerationFailed: if it is not.
    """
    try:
        with path.open("r+b") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
            return file.tell(), digest
    except OSError as exc:
        raise _unfinished(path, exc) from exc


def _unfinished(path: Path, exc: OSError) -> GenerationFailed:
    return GenerationFailed(f"{path.name} could not be finished on disk: {exc.strerror}.")


def _stored(subtype: str) -> npt.DTypeLike:
    if subtype in _FLOATS:
        return _FLOATS[subtype]
    return np.int16 if BITS[subtype] <= np.iinfo(np.int16).bits else np.int32

"""Writing audio: the delivery format of a source, quantisation, and the output file."""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import soundfile
from mutagen import MutagenError

from outpaint_mcp.audio.files import ogg
from outpaint_mcp.audio.files.conversion import STEREO
from outpaint_mcp.audio.files.decoder import BLOCK_FRAMES, Probe
from outpaint_mcp.audio.files.mp4_writing import Mp4File
from outpaint_mcp.audio.files.sound_file import SequentialFile
from outpaint_mcp.audio.files.speakers import write_speakers
from outpaint_mcp.errors import GenerationFailed

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.types import Samples

_FLOATS = {"FLOAT": np.float32, "DOUBLE": np.float64}
BITS = {
    "PCM_S8": 8,
    "PCM_U8": 8,
    "PCM_16": 16,
    "PCM_24": 24,
    "PCM_32": 32,
    "FLOAT": 32,
    "DOUBLE": 64,
    "ALAC_16": 16,
    "ALAC_24": 24,
}
"""Bits per sample of each lossless encoding that is written."""

_GRIDS = {
    **{subtype: subtype for subtype in BITS},
    **dict.fromkeys(("ALAC_16", "DWVW_12", "DWVW_16"), "PCM_16"),
    **dict.fromkeys(("ALAC_20", "ALAC_24", "DWVW_24"), "PCM_24"),
    "ALAC_32": "PCM_32",
    **dict.fromkeys(("ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32", "G723_24"), "PCM_16"),
    **dict.fromkeys(("G723_40", "NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32"), "PCM_16"),
}
"""For each encoding that decodes to a fixed grid of values or to floating point, the plain one of the same values.

The telephony codecs all decode to 16 bits; encoding with them again would change the decoded values.
"""

_PLAIN = {**dict.fromkeys(("WAV", "WAVEX", "RF64", "BW64", "W64", "AU"), "WAV"), "AIFF": "AIFF", "CAF": "CAF"}
"""The containers of uncompressed audio, each with the one that it comes back as."""
_SUFFIXES = {"AIFF": ".aiff", "CAF": ".caf", "FLAC": ".flac", "M4A": ".m4a", "MP3": ".mp3", "OGG": ".ogg"}
"""All others are kinds of WAV."""
_BYTES = ("PCM_S8", "PCM_U8")
"""WAV has no signed ones, FLAC and CAF no others."""
_FLAC_SUBTYPES = (*_BYTES, "PCM_16", "PCM_24")

_LIMIT_BYTES = 2**32 - 2**16
"""WAV and AIFF store sizes in 32 bits, headers included."""
_FLAC_ANY_RATE_HZ, _FLAC_RATE_STEP_HZ, _FLAC_HIGHEST_RATE_HZ = 65_535, 10, 655_350
"""FLAC stores the rate in 16 bits, in Hz or in steps of 10 Hz."""


class DeliveryFormat(NamedTuple):
    """The format in which an extended file is written.

    Attributes:
        container: `WAV`, `AIFF`, `CAF`, `FLAC`, or on request `M4A`, `MP3` or `OGG`.
        subtype: libsndfile's name of the encoding, or `AAC`.
        suffix: the file name's suffix.
    """

    container: str
    subtype: str
    suffix: str


def delivery_format(found: Probe) -> DeliveryFormat:
    """Choose the lossless format that preserves every decoded value of a source.

    Uncompressed audio stays in its container: WAV and its relatives as WAV, AIFF (big-endian, and AIFF-C for floating
    point) and CAF. Lossless compression of any kind becomes FLAC. Lossy sources decode to floating point without a
    grid; they become 24-bit FLAC, each value rounded once and clipped at full scale, as players do. What FLAC cannot
    represent, such as 32 bits, floating point or an odd sample rate, becomes WAV of the same depth. A file beyond
    4 GiB is RF64, where the format would be WAV or AIFF.
    """
    subtype = _GRIDS.get(found.subtype, "PCM_24")
    is_plain = is_lossless(found) and not found.subtype.startswith("ALAC")
    container = _PLAIN.get(found.container, "FLAC") if is_plain else "FLAC"
    if container == "FLAC" and not (subtype in _FLAC_SUBTYPES and fits_flac(found.sample_rate)):
        container = "WAV"
    if subtype in _BYTES:
        subtype = "PCM_U8" if container == "WAV" else "PCM_S8"
    return DeliveryFormat(container, subtype, suffix_of(container))


def suffix_of(container: str) -> str:
    """The suffix that a file's name should have."""
    return _SUFFIXES.get(container, ".wav")


def fits_flac(sample_rate: int) -> bool:
    """Whether FLAC can represent the sample rate."""
    if sample_rate <= _FLAC_ANY_RATE_HZ:
        return True
    return sample_rate <= _FLAC_HIGHEST_RATE_HZ and sample_rate % _FLAC_RATE_STEP_HZ == 0


def is_lossless(found: Probe) -> bool:
    """Whether the source decodes to a fixed grid of values or to floating point, and so is preserved exactly."""
    return found.subtype in _GRIDS


def decode_dtype(found: Probe) -> npt.DTypeLike:
    """The dtype in which to decode a source so that `AudioWriter.write` preserves its values exactly.

    Lossy sources use floating point: they have no integer values until they are rounded.
    """
    return _storage_dtype(delivery_format(found).subtype) if is_lossless(found) else np.float32


def quantise(samples: Samples, subtype: str) -> npt.NDArray[Any]:
    """Round floating point to an integer encoding, clipped at full scale.

    No dither is applied. Most of an extension consists of the source's own frames, which lie on the grid and
    pass unchanged, and the rounding error of the crossfades lies below their own noise.

    Args:
        samples: `[frames, channels]`; NaN becomes 0.
        subtype: an integer encoding of `BITS`.

    Returns:
        Integers in the top bits of `int16` or `int32`.
    """
    bits = BITS[subtype]
    steps = 2.0 ** (bits - 1)
    # Scaling by a power of two is exact; only 32-bit integers exceed single precision.
    values = np.multiply(samples, steps, dtype=np.float64 if subtype == "PCM_32" else np.float32)
    values[np.isnan(values)] = 0.0
    np.clip(np.rint(values, out=values), -steps, steps - 1, out=values)
    stored = np.dtype(_storage_dtype(subtype))
    return values.astype(stored) << (8 * stored.itemsize - bits)


class AudioWriter:
    """Writes the output file; a context manager.

    Attributes:
        container: as in the delivery format, or `RF64` where the file is too large for WAV or AIFF.
        subtype: as in the delivery format.
        frames: how many were written.
    """

    def __init__(
        self,
        path: Path,
        found: Probe,
        frames: int,
        target: DeliveryFormat | None = None,
        level: float | None = None,
    ) -> None:
        """Create the file.

        Args:
            path: where to write, whatever its suffix.
            found: supplies the sample rate and the number of channels.
            frames: the expected length, which decides whether WAV or AIFF is large enough; that of M4A has to be exact.
            target: the format, if not the one chosen by `delivery_format`.
            level: how hard a lossy format is compressed, see `compression`.

        Raises:
            GenerationFailed: if the file cannot be created.
        """
        container, self.subtype, _ = target or delivery_format(found)
        size = frames * found.channels * BITS.get(self.subtype, 0) // 8
        is_too_large = container in {"WAV", "AIFF"} and size > _LIMIT_BYTES
        self.container = "RF64" if is_too_large else container
        self.frames = 0
        self._path = path
        self._speakers = (found.layout, found.channels)
        is_extensible = self.container == "WAV" and found.layout and found.channels > STEREO
        header = (found.sample_rate, found.channels, self.subtype)
        try:
            self._file: Mp4File | SequentialFile = (
                Mp4File(path, *header, frames=frames, kbps=level)
                if container == "M4A"
                else SequentialFile(
                    path,
                    "w",
                    *header,
                    format="WAVEX" if is_extensible else self.container,
                    compression_level=level,
                    bitrate_mode="CONSTANT" if container == "MP3" else None,
                )
            )
        except (OSError, soundfile.LibsndfileError) as exc:
            raise self._failure() from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.close()
            write_speakers(self._path, *self._speakers)
        except (OSError, MutagenError, soundfile.LibsndfileError) as exc:
            raise self._failure() from exc

    @property
    def is_float(self) -> bool:
        """Whether the file can hold values beyond full scale."""
        return self.subtype in _FLOATS

    def write(self, samples: npt.NDArray[Any]) -> None:
        """Append samples, rounding floating point where the encoding is integer.

        They are written in blocks, because libsndfile may need stack space proportional to one call's samples
        (its #1095).

        Args:
            samples: `[frames, channels]`, in the dtype of `decode_dtype` or floating point.

        Raises:
            GenerationFailed: if the file cannot be written.
        """
        for first in range(0, len(samples), BLOCK_FRAMES):
            block = samples[first : first + BLOCK_FRAMES]
            if self.subtype in BITS and self.subtype not in _FLOATS and block.dtype.kind == "f":
                block = quantise(block, self.subtype)
            try:
                self._file.write(block)
            # AssertionError: a short write
            except (AssertionError, OSError, soundfile.LibsndfileError) as exc:
                raise self._failure() from exc
            self.frames += len(block)

    def _failure(self) -> GenerationFailed:
        return GenerationFailed(
            f"{self._path.name} could not be written. Check whether the disk is full or write-protected."
        )


def seal(path: Path) -> tuple[int, str]:
    """Make a written file reproducible and flush it to disk.

    Returns:
        Its size in bytes and its SHA-256 in hexadecimal.

    Raises:
        GenerationFailed: if the disk reports an error.
    """
    try:
        with path.open("r+b") as file:
            # libsndfile writes a timestamp into the PEAK chunk of floating-point WAV and AIFF.
            header = file.read(128)
            peak = re.split(b"data|SSND", header)[0].find(b"PEAK")
            if peak >= 0:
                file.seek(peak + 12)
                file.write(bytes(4))
            if header.startswith(ogg.MARK):
                ogg.settle_serial(file)
    except OSError as exc:
        raise _unfinished(path, exc) from exc
    return fingerprint(path)


def fingerprint(path: Path) -> tuple[int, str]:
    """Flush a file to disk unchanged.

    Returns:
        Its size in bytes and its SHA-256 in hexadecimal.

    Raises:
        GenerationFailed: if the disk reports an error.
    """
    try:
        with path.open("r+b") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
            return file.tell(), digest
    except OSError as exc:
        raise _unfinished(path, exc) from exc


def _unfinished(path: Path, exc: OSError) -> GenerationFailed:
    return GenerationFailed(
        f"{path.name} could not be saved to disk: {exc.strerror}. Free some space and try again."
    )


def _storage_dtype(subtype: str) -> npt.DTypeLike:
    if subtype in _FLOATS:
        return _FLOATS[subtype]
    return np.int16 if BITS[subtype] <= np.iinfo(np.int16).bits else np.int32

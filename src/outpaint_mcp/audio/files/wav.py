"""What a WAV says of itself that libsndfile does not tell, and what it does wrongly.

Channel masks and sizes of containers: Microsoft, "Multiple Channel Audio Data and WAVE Files".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import SEEK_END
from typing import BinaryIO

import numpy as np

from outpaint_mcp.audio.files import chunks

_READ_BY_LIBSNDFILE = frozenset({0x01, 0x02, 0x03, 0x06, 0x07, 0x11, 0x31, 0x38, 0x40, 0x64, 0x65})
"""Format tags: PCM, floating point, µ-law, A-law, and the ADPCM and telephony codecs that libsndfile has."""
_PCM, _EXTENSIBLE = 0x01, 0xFFFE
_PLAIN = frozenset({_PCM, 0x03, 0x06, 0x07})
_UNKNOWN_BYTES, _ELSEWHERE = 0x7FFF_0000, 0xFFFF_FFFF
"""Programs that write into a pipe put the largest size there that they know, signed or not."""
_FMT = struct.Struct("<HHIIHH")
_EXTENSION = struct.Struct("<HHIH")
_MOST_FMT_BYTES = 64
_LOOK_BYTES = 1 << 20
_MOST_LOOKS = 64
_LOOSE_BITS = 24
_LOOSE_BYTES = 4


@dataclass(frozen=True, slots=True)
class WavHeader:
    """What the header of a WAV says.

    Attributes:
        format_tag: the encoding; of an extensible header the one inside.
        channels: their number.
        bits: per sample, without those that only fill it up.
        block_bytes: bytes of a frame.
        layout: the channel mask; 0 for none.
        first_byte: where the samples begin.
        stated_bytes: how many bytes of samples there are; 0 where nobody knew, as in a pipe.
        is_open: whether the sizes were never filled in, as where a recorder died or wrote into a pipe.
    """

    format_tag: int
    channels: int
    bits: int
    block_bytes: int
    layout: int
    first_byte: int
    stated_bytes: int
    is_open: bool

    @property
    def stated_frames(self) -> int:
        """The length that it states, of an encoding in which frames have a size; 0 of others."""
        return self.stated_bytes // self.block_bytes if self.format_tag in _PLAIN and self.block_bytes else 0

    @property
    def needs_ffmpeg(self) -> bool:
        """Whether libsndfile does not read all of it."""
        return self.is_open or self.format_tag not in _READ_BY_LIBSNDFILE


def read_header(file: BinaryIO) -> WavHeader | None:
    """Read the header of a WAV, RF64 or BW64 file; None where there are no samples.

    Raises:
        OSError: the file cannot be read.
    """
    size = file.seek(0, SEEK_END)
    file.seek(0)
    mark, claimed = file.read(4), int.from_bytes(file.read(4), "little")
    found, samples = b"", None
    for chunk in chunks.walk(file):
        if chunk.name == b"fmt ":
            file.seek(chunk.at)
            found = file.read(min(chunk.size, _MOST_FMT_BYTES))
        elif chunk.name == b"data":
            samples = chunk
            break
    if samples is None or len(found) < _FMT.size:
        return None
    tag, channels, _, _, block_bytes, bits = _FMT.unpack_from(found)
    layout = 0
    if tag == _EXTENSIBLE and len(found) >= _FMT.size + _EXTENSION.size:
        _, valid_bits, layout, tag = _EXTENSION.unpack_from(found, _FMT.size)
        bits = valid_bits or bits
    # One that holds nothing, and is right, may have other chunks behind.
    file.seek(samples.at)
    has_chunks = claimed + 8 > samples.at and _is_name(file.read(4))
    is_open = samples.size == 0 and samples.at < size and not has_chunks
    is_known = samples.size < _UNKNOWN_BYTES or (mark != chunks.RIFF and samples.size != _ELSEWHERE)
    stated = samples.size if is_known else 0
    return WavHeader(tag, channels, bits, block_bytes, layout, samples.at, stated, is_open)


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and name.isascii() and name.strip(b" ").isalnum()  # noqa: PLR2004 - as every chunk's


def low_bits(file: BinaryIO, header: WavHeader) -> int:
    """Return how many bits too low values of 24 bits lie in 4 bytes of PCM: 8, or 0 where they are at the top.

    Both exist. What lies at the bottom has its sign in the highest byte; at the top, nothing is in the lowest byte.

    Raises:
        OSError: the file cannot be read.
    """
    is_loose = header.bits == _LOOSE_BITS and header.block_bytes == _LOOSE_BYTES * header.channels
    if header.format_tag != _PCM or not is_loose:
        return 0
    file.seek(header.first_byte)
    for _ in range(_MOST_LOOKS):
        content = file.read(_LOOK_BYTES)
        values = np.frombuffer(content[: len(content) // _LOOSE_BYTES * _LOOSE_BYTES], "<i4")
        if values.any():
            is_low = bool((values << 8 >> 8 == values).all()) and bool((values & 0xFF).any())
            return 8 if is_low else 0
        if not content:
            break
    return 0

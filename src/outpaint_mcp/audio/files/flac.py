"""How long a FLAC is, whatever its header says: its last frame knows.

STREAMINFO has the total only where the encoder could go back to it: what is written into a pipe has none, and what was
joined or repaired by other programs a wrong one. Each frame has the number of its first sample. RFC 9639, 8.2 and 9.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import SEEK_END
from typing import BinaryIO

MARK = b"fLaC"
_STREAMINFO_BYTES = 34
_BLOCK_HEADER_BYTES = 4
_MOST_TAIL_BYTES = 1 << 20
"""Of the end of a file; a frame of 8 channels of 32 bits in blocks of 16,384 has half of it."""
_MOST_TRIES = 16
"""How many headers near the end are tried that turn out to begin no frame up to the end: each costs 0.1 s."""
_SYNC = re.compile(rb"\xff[\xf8\xf9]", re.DOTALL)
_ID3V1_BYTES = 128
_HEADER_BYTES, _FRAME_BYTES = 16, 9
"""The longest header of a frame, and the shortest frame."""
_CONTINUES, _CODED = 0xC0, 0x80
"""The bits that tell a further byte of a coded number, and what they are in one."""
_CODED_BLOCKS = {
    1: 192,
    **{code: 576 << code - 2 for code in range(2, 6)},
    **{code: 256 << code - 8 for code in range(8, 16)},
}
"""Samples of a block, by the code for them; codes 6 and 7 have 8 and 16 bits at the header's end."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """The first block of a FLAC.

    Attributes:
        block_frames: frames of the longest block; where blocks are numbered, of all but the last.
        sample_rate: frames per second.
        channels: 1 to 8.
        bits: per sample, 4 to 32.
        frames: the total; 0 for unknown.
    """

    block_frames: int
    sample_rate: int
    channels: int
    bits: int
    frames: int


def read_streaminfo(block: bytes) -> StreamInfo | None:
    """Read the first metadata block, without its header; None where it is none."""
    if len(block) < _STREAMINFO_BYTES:
        return None
    packed = int.from_bytes(block[10:18])
    return StreamInfo(
        block_frames=int.from_bytes(block[2:4]),
        sample_rate=packed >> 44,
        channels=(packed >> 41 & 7) + 1,
        bits=(packed >> 36 & 31) + 1,
        frames=packed & (1 << 36) - 1,
    )


def count_frames(file: BinaryIO, start: int) -> tuple[StreamInfo | None, int, bool]:
    """Read a FLAC's header and look for its last frame.

    Args:
        file: any file.
        start: where `fLaC` stands.

    Returns:
        What the header says, how many frames there are according to the last one that is whole (0 for unknown), and
        whether nothing follows it.

    Raises:
        OSError: the file cannot be read.
    """
    file.seek(start + len(MARK) + _BLOCK_HEADER_BYTES)
    info = read_streaminfo(file.read(_STREAMINFO_BYTES))
    if info is None:
        return None, 0, False
    size = file.seek(0, SEEK_END)
    file.seek(max(start, size - _MOST_TAIL_BYTES))
    tail = file.read()
    if tail[-_ID3V1_BYTES:].startswith(b"TAG"):
        tail = tail[:-_ID3V1_BYTES]
    end, tries = len(tail), _MOST_TRIES
    for mark in reversed([*_SYNC.finditer(tail)]):
        first = mark.start()
        stop = _frame_stop(tail[first : first + _HEADER_BYTES], info)
        if stop is None:
            continue
        if _crc(tail[first:end], 0x8005, 16) == 0:
            return info, stop, end == len(tail)
        end, tries = first, tries - 1
        if not tries:
            break
    return info, 0, False


def _frame_stop(frame: bytes, info: StreamInfo) -> int | None:
    """Return the number of the first sample behind the frame with this header; None if it is no header."""
    number, width = _coded_number(frame[4:11])
    if width == 0 or len(frame) < _FRAME_BYTES:
        return None
    block_code, rate_code = frame[2] >> 4, frame[2] & 15
    at = 4 + width
    if block_code in {6, 7}:
        count = int.from_bytes(frame[at : at + block_code - 5]) + 1
        at += block_code - 5
    else:
        count = _CODED_BLOCKS.get(block_code, 0)
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if not count or at >= len(frame) or _crc(frame[:at], 0x07, 8) != frame[at]:
        return None
    is_variable = bool(frame[1] & 1)
    return (number if is_variable else number * (info.block_frames or count)) + count


def _coded_number(content: bytes) -> tuple[int, int]:
    """Decode a number that is coded as UTF-8 codes characters, up to 7 bytes; returns it and its bytes, 0 for none."""
    if not content:
        return 0, 0
    ones = 8 - (content[0] ^ 0xFF).bit_length()
    width = max(1, ones)
    rest = content[1:width]
    if ones in {1, 8} or len(rest) < width - 1 or any(byte & _CONTINUES != _CODED for byte in rest):
        return 0, 0
    number = content[0] & (0x7F >> ones)
    for byte in rest:
        number = number << 6 | byte & 0x3F
    return number, width


def _crc(content: bytes, polynomial: int, bits: int) -> int:
    """A checksum with this polynomial, highest bit first, that begins with 0."""
    table = _TABLES[polynomial]
    value, mask, shift = 0, (1 << bits) - 1, bits - 8
    for byte in content:
        value = value << 8 & mask ^ table[value >> shift ^ byte]
    return value


def _table(polynomial: int, bits: int) -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        value = byte << bits - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> bits - 1 else 0)
            value &= (1 << bits) - 1
        entries.append(value)
    return tuple(entries)


_TABLES = {0x07: _table(0x07, 8), 0x8005: _table(0x8005, 16)}

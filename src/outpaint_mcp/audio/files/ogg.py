"""OGG pages, and serial numbers that depend only on the content.

A page (RFC 3533, 6) consists of `OggS`, 10 bytes of version, flags and position, then 4 bytes each for the
stream's serial number, the page's number and a checksum, then the number of segments, their sizes, and the
segments.
"""

from __future__ import annotations

import zlib
from io import SEEK_END
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = b"OggS"
HEADER_BYTES = 27
LONGEST_SEGMENT = 255
"""A packet continues after a segment of this many bytes."""
_SERIAL = slice(14, 18)
_CHECKSUM = slice(22, 26)

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Bit-reversed bytes: OGG's checksum processes bits in the opposite order to zlib's."""


def pages(file: BinaryIO) -> Iterator[tuple[int, bytearray]]:
    """Yield the offset and content of each page, up to the first byte that does not belong to one."""
    at = file.seek(0)
    while (header := file.read(HEADER_BYTES)).startswith(MARK) and len(header) == HEADER_BYTES:
        sizes = file.read(header[-1])
        page = bytearray(header + sizes + file.read(sum(sizes)))
        yield at, page
        at = file.seek(at + len(page))


def settle_serial(file: BinaryIO) -> None:
    """Replace the stream's serial number with one derived from its content.

    libsndfile picks a random one, because streams that are chained into one file must have different numbers.
    A file that is not a single stream from first byte to last is left unchanged.

    Args:
        file: an OGG file, open for reading and writing.

    Raises:
        OSError: if the file cannot be read or written.
    """
    content, end, serials = 0, 0, set()
    for at, page in pages(file):
        content, end = zlib.crc32(page[HEADER_BYTES:], content), at + len(page)
        serials.add(bytes(page[_SERIAL]))
    if len(serials) != 1 or end != file.seek(0, SEEK_END):
        return
    for at, page in pages(file):
        page[_SERIAL] = content.to_bytes(4, "little")
        page[_CHECKSUM] = bytes(4)
        page[_CHECKSUM] = _checksum(page)
        file.seek(at)
        file.write(page)


def _checksum(page: bytearray) -> bytes:
    """CRC-32 with polynomial 0x04c11db7, initial value 0 and no inversion, computed by mirroring zlib's."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return mirrored.to_bytes(4, "big").translate(_MIRRORED)

"""OGG's pages: the same stream made the same to the last byte.

A page (RFC 3533, 6): `OggS`, 10 bytes of version, flags and position, then, four bytes each, the stream's serial
number, the page's number and a checksum, then how many segments follow, their sizes, and they themselves.
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
"""A packet goes on after a segment of so many bytes."""
_SERIAL = slice(14, 18)
_CHECKSUM = slice(22, 26)

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""OGG's checksum takes each byte's bits from the other end than zlib's does."""


def pages(file: BinaryIO) -> Iterator[tuple[int, bytearray]]:
    """Where each page begins, and all of it, up to what is none."""
    at = file.seek(0)
    while (header := file.read(HEADER_BYTES)).startswith(MARK) and len(header) == HEADER_BYTES:
        sizes = file.read(header[-1])
        page = bytearray(header + sizes + file.read(sum(sizes)))
        yield at, page
        at = file.seek(at + len(page))


def settle_serial(file: BinaryIO) -> None:
    """Give the stream in `file` a serial number that follows from its content.

    libsndfile draws one by chance, so that streams that are played one after the other differ in it, as they must.
    A file that is not one stream from its first byte to its last is left alone.

    Args:
        file: an OGG file, open for reading and writing.

    Raises:
        OSError: if the disk does not take it.
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
    """CRC-32 of polynomial 0x04c11db7 from zero on, not inverted; zlib's is the mirror image of one that is."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return mirrored.to_bytes(4, "big").translate(_MIRRORED)

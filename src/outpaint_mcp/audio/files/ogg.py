"""OGG pages, the streams that they make up, and serial numbers that depend only on the content.

A page (RFC 3533, 6) consists of `OggS`, a byte of version, one of flags and 8 of position, then 4 bytes each for the
stream's serial number, the page's number and a checksum, then the number of segments, their sizes, and the segments.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from io import SEEK_END
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = b"OggS"
HEADER_BYTES = 27
LONGEST_SEGMENT = 255
"""A packet continues after a segment of this many bytes."""
_FLAGS_AT, _FIRST = 5, 0x02
_POSITION = slice(6, 14)
_SERIAL = slice(14, 18)
_CHECKSUM = slice(22, 26)

_FLAC, _OPUS, _SPEEX = b"\x7fFLAC", b"OpusHead", b"Speex   "
_AUDIO = (b"\x01vorbis", _OPUS, _FLAC, _SPEEX)
"""The beginnings of streams of audio."""
_OPUS_FAMILY_AT = 18
_LOOK_BYTES = 512
"""A header with all of its sizes, and the beginning of what follows."""
_MOST_PAGES = 2_000_000
"""Most pages; twelve hours have a tenth of them."""

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


@dataclass(slots=True)
class Link:
    """A stream of audio; recordings that follow each other in one file are links of a chain.

    Attributes:
        opening: its first page, without the header.
        runs: byte ranges (start, stop) of its pages.
        position: that of its last page.
        breaks_off: whether it ends within a page.
    """

    opening: bytes
    runs: list[tuple[int, int]] = field(default_factory=list)
    position: int = 0
    breaks_off: bool = False

    @property
    def is_flac(self) -> bool:
        """Whether it is FLAC."""
        return self.opening.startswith(_FLAC)

    @property
    def is_speex(self) -> bool:
        """Whether it is Speex."""
        return self.opening.startswith(_SPEEX)

    @property
    def is_in_vorbis_order(self) -> bool:
        """Whether its channels stand in the order of Vorbis: not so the discrete ones of Opus (RFC 7845, 5.1.1)."""
        is_opus = self.opening.startswith(_OPUS)
        return not is_opus or self.opening[_OPUS_FAMILY_AT : _OPUS_FAMILY_AT + 1] in {b"\0", b"\1"}


def links(file: BinaryIO) -> list[Link]:
    """Find the links of a file; of streams side by side, such as a film's, the first one of audio.

    Raises:
        OSError: the file cannot be read.
    """
    found: list[Link] = []
    followed, is_beginning = b"", False
    size = file.seek(0, SEEK_END)
    for at, stop, header in _walk(file):
        serial, is_first = header[_SERIAL], bool(header[_FLAGS_AT] & _FIRST)
        if is_first and not is_beginning:
            followed = b""
        is_beginning = is_first
        if is_first and not followed:
            opening = header[HEADER_BYTES + header[HEADER_BYTES - 1] :]
            if not opening.startswith(_AUDIO):
                continue
            followed = serial
            found.append(Link(opening))
        if serial != followed:
            continue
        link = found[-1]
        if stop > size:
            link.breaks_off = True
            break
        if link.runs and link.runs[-1][1] == at:
            link.runs[-1] = link.runs[-1][0], stop
        else:
            link.runs.append((at, stop))
        position = int.from_bytes(header[_POSITION], "little", signed=True)
        link.position = max(link.position, position)
    return found


def _walk(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Yield place, end and beginning of each page, of which the last may not be whole; other bytes are passed over."""
    size, at = file.seek(0, SEEK_END), 0
    for _ in range(_MOST_PAGES):
        file.seek(at)
        header = file.read(_LOOK_BYTES)
        if not header.startswith(MARK):
            skipped = header.find(MARK)
            if skipped < 0 and len(header) < _LOOK_BYTES:
                return
            at += skipped if skipped >= 0 else _LOOK_BYTES - len(MARK) + 1
            continue
        if len(header) < HEADER_BYTES:
            return
        count = header[HEADER_BYTES - 1]
        stop = at + HEADER_BYTES + count + sum(header[HEADER_BYTES : HEADER_BYTES + count])
        yield at, stop, header
        if stop > size:
            return
        at = stop


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

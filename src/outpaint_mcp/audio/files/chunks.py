"""The chunks of WAV (RIFF, RF64, BW64) and AIFF files, none of which is read unless it is asked for.

"Multimedia Programming Interface and Data Specifications 1.0" (RIFF), EBU Tech 3306 (RF64) and Apple's "Audio
Interchange File Format: AIFF", 1989.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

RIFF, RF64, BW64, FORM = b"RIFF", b"RF64", b"BW64", b"FORM"
MARKS = (RIFF, RF64, BW64, FORM)
"""How the files begin whose chunks are walked over here."""
_HEADER_BYTES, _FILE_HEADER_BYTES = 8, 12
_ELSEWHERE = 0xFFFF_FFFF
"""The size of RF64's samples, which its `ds64` chunk has in 64 bits behind that of the file."""
_MOST_CHUNKS = 1_000


class Chunk(NamedTuple):
    """A chunk of a file.

    Attributes:
        name: four bytes.
        at: offset of its content.
        size: bytes of its content, as its header claims.
    """

    name: bytes
    at: int
    size: int


def byte_order(opening: bytes) -> Literal["little", "big"]:
    """The order of a file's numbers by its first bytes: big in AIFF."""
    return "big" if opening.startswith(FORM) else "little"


def walk(file: BinaryIO, first: int = _FILE_HEADER_BYTES) -> Iterator[Chunk]:
    """Yield the first thousand chunks of a file, or of a list; those of an INFO list as if they were the file's own.

    Args:
        file: WAV, AIFF, or the content of a list.
        first: offset of the first chunk.
    """
    file.seek(0)
    order, at, samples_bytes = byte_order(file.read(4)), first, _ELSEWHERE
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES:
            return
        name, size = header[:4], int.from_bytes(header[4:], order)
        at += _HEADER_BYTES
        if name == b"ds64":
            samples_bytes = int.from_bytes(file.read(16)[8:], "little")
        elif name == b"LIST" and file.read(4) == b"INFO":
            at += 4
            continue
        elif name == b"data" and size == _ELSEWHERE:
            size = samples_bytes
        yield Chunk(name, at, size)
        at += size + size % 2


def read(file: BinaryIO, chunk: Chunk, most: int) -> bytes:
    """Return the content of a chunk; nothing of one that is larger than `most` or is cut off."""
    if chunk.size > most:
        return b""
    file.seek(chunk.at)
    content = file.read(chunk.size)
    return content if len(content) == chunk.size else b""


def pack(name: bytes, content: bytes, order: Literal["little", "big"]) -> bytes:
    """Return a chunk as it stands in a file."""
    return name + len(content).to_bytes(4, order) + content + bytes(len(content) % 2)


def append(file: BinaryIO, added: bytes) -> None:
    """Put packed chunks behind all others, and count them in the size of the file.

    Args:
        file: WAV or AIFF, open for reading and writing.
        added: what `pack` returned, of one chunk or more.

    Raises:
        OSError: if the file cannot be written.
    """
    file.seek(0)
    order = byte_order(file.read(4))
    end = file.seek(0, 2)
    file.write(bytes(end % 2) + added)
    size = file.tell() - _HEADER_BYTES
    file.seek(4)
    file.write(size.to_bytes(4, order))

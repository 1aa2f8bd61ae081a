"""Reading the tags of untrusted audio files of any container.

The readers of `mutagen` trust the sizes that a file claims, inflate compressed frames and copy the remaining
data for every frame and value, so a hostile file could keep them busy for hours. Therefore only the needed
parts are extracted from the containers here, and mutagen decodes ID3 texts, one frame at a time.

ID3: id3.org, "ID3 tag version 2.4.0 - Main Structure", with those of 2.3.0 and 2.2.0. Vorbis comments: Xiph's
"Vorbis I specification", 5. FLAC's blocks: RFC 9639, 8. OGG's packets: RFC 3533, 5. Chunks: "Multimedia
Programming Interface and Data Specifications 1.0" (RIFF) and Apple's "Audio Interchange File Format: AIFF",
1989.
"""

# mypy: allow-untyped-calls
# mutagen is only half typed.

from __future__ import annotations

import base64
import binascii
from contextlib import suppress
from io import SEEK_CUR, SEEK_END, BytesIO
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Literal

from mutagen import MutagenError
from mutagen.flac import Picture
from mutagen.id3 import ID3

from outpaint_mcp.audio.files import ogg
from outpaint_mcp.audio.files.tags import COMMENT, COVER_MARK, FIELDS, MOST_COVER_BYTES, TagCollector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from outpaint_mcp.audio.files.tags import Tags

_ID3_NAMES = frozenset(name.encode() for name in (
    *FIELDS.values(), "COMM", "TXXX", "APIC", "TYER",
    "TT2", "TP1", "TAL", "TP2", "TCM", "TYE", "TCO", "TRK", "TPA", "TBP", "TKE", "TCR", "COM", "TXX", "PIC",
))  # fmt: skip
_ID3_FIRST, _ID3_LATEST = 2, 4
_ID3_HIDDEN = {_ID3_FIRST: 0, 3: 0xC0, _ID3_LATEST: 0x0C}
"""The versions, each with its flags for compressed or encrypted frames."""
_ID3_HEADER_BYTES = 10
_UNSYNCHRONISED, _EXTENDED = 0x80, 0x40
"""Tag flags."""
_FRAME_UNSYNCHRONISED, _HAS_LENGTH = 0x02, 0x01
"""Frame flags in the latest version."""
_PICTURES = {b"APIC", b"PIC"}
_PIC_KIND_AT = 4
"""Offset of the picture type in the first version; later versions put a text in front of it."""
_SHIFTS = (21, 14, 7, 0)
_SYNC = 0x80
_ID3V1_BYTES = 128
_ID3V1 = {
    "title": slice(3, 33),
    "artist": slice(33, 63),
    "album": slice(63, 93),
    "date": slice(93, 97),
    COMMENT: slice(97, 125),
}

_CHUNKS = {
    b"INAM": "title", b"IART": "artist", b"IPRD": "album", b"ICRD": "date", b"IGNR": "genre", b"ITRK": "tracknumber",
    b"ICOP": "copyright", b"ICMT": COMMENT, b"NAME": "title", b"AUTH": "artist", b"(c) ": "copyright", b"ANNO": COMMENT,
}  # fmt: skip
"""Text chunks of RIFF's INFO list and of AIFF."""
_COMMENT_BLOCK, _PICTURE_BLOCK, _LAST_BLOCK = 4, 6, 0x80
_PICTURE_COMMENT = b"metadata_block_picture"
_PACKET_MARKS = (b"\x03vorbis", b"OpusTags")
"""The start of OGG's comment packet."""

_MOST_TEXT_BYTES = 1 << 16
_MOST_PICTURE_BYTES = MOST_COVER_BYTES + _MOST_TEXT_BYTES
"""A picture with its description."""
_MOST_FRAME_BYTES = 1 << 14
"""Largest text frame. Twice as much is read in total, because mutagen copies the rest for every value in a
frame.
"""
_MOST_BYTES = 1 << 24
"""Most data extracted from a file: the largest FLAC block."""
_MOST_LOOKS = 1_000
"""Most frames, blocks, chunks or comments examined."""
_MOST_PAGES = 4_000
"""Most OGG pages; typical pages have 4 kB, the largest 64 kB."""


def read_tags(path: Path) -> Tags:
    """Read the tags of a file. Whatever is broken or exceeds the limits is left out.

    Raises:
        OSError: if the file cannot be read.
    """
    found = TagCollector()
    with path.open("rb") as file:
        match file.read(4):
            case b"fLaC":
                _read_flac(file, found)
            case b"OggS":
                _read_comments(_second_packet(file), found)
            case b"RIFF" | b"RF64":
                _read_chunks(file, found, "little")
            case b"FORM":
                _read_chunks(file, found, "big")
            case _:
                _read_id3(file, 0, found)
                _read_id3v1(file, found)
    return found.tags()


def _read_flac(file: BinaryIO, found: TagCollector) -> None:
    at = file.tell()
    for _ in range(_MOST_LOOKS):
        file.seek(at)
        kind, size = int.from_bytes(file.read(1)), int.from_bytes(file.read(3))
        if kind & ~_LAST_BLOCK == _COMMENT_BLOCK:
            _read_comments(file.read(size), found)
        elif kind & ~_LAST_BLOCK == _PICTURE_BLOCK:
            _read_picture(file.read(size), found)
        if kind & _LAST_BLOCK:
            return
        at += 4 + size


def _second_packet(file: BinaryIO) -> bytes:
    """Return OGG's comment block, without the mark in front of it."""
    packet, ended = bytearray(), 0
    for _, page in islice(ogg.pages(file), _MOST_PAGES):
        at = ogg.HEADER_BYTES + page[ogg.HEADER_BYTES - 1]
        for size in page[ogg.HEADER_BYTES : at]:
            if ended == 1:
                packet += page[at : at + size]
            at += size
            ended += size < ogg.LONGEST_SEGMENT
            if ended > 1:
                return next(
                    (bytes(packet[len(mark) :]) for mark in _PACKET_MARKS if packet.startswith(mark)), b""
                )
    return b""


def _read_comments(block: bytes, found: TagCollector) -> None:
    """Read Vorbis comments: a vendor string, a count, and that many texts, each preceded by its size."""
    file = BytesIO(block)
    file.seek(int.from_bytes(file.read(4), "little"), SEEK_CUR)
    count = int.from_bytes(file.read(4), "little")
    for _ in range(min(count, _MOST_LOOKS)):
        name, _, value = file.read(int.from_bytes(file.read(4), "little")).partition(b"=")
        if name.lower() == _PICTURE_COMMENT:
            with suppress(binascii.Error):
                _read_picture(base64.b64decode(value), found)
        elif len(name) + len(value) <= _MOST_TEXT_BYTES:
            found.add(name.decode("ascii", "replace").lower(), value.decode("utf-8", "replace"))


def _read_picture(block: bytes, found: TagCollector) -> None:
    with suppress(MutagenError):
        picture = Picture(block)
        found.add_picture(picture.type, picture.data)


def _read_chunks(file: BinaryIO, found: TagCollector, order: Literal["little", "big"]) -> None:
    """Walk RIFF or AIFF chunks, including those of the INFO list; values from an ID3 chunk take precedence."""
    texts, has_id3 = [], False
    at = 12
    for _ in range(_MOST_LOOKS):
        file.seek(at)
        name, size = file.read(4), int.from_bytes(file.read(4), order)
        if not name:
            break
        if name == b"LIST" and file.read(4) == b"INFO":
            at += 12
            continue
        if name.upper() == b"ID3 " and not has_id3:
            has_id3 = True
            _read_id3(file, at + 8, found)
        elif name in _CHUNKS and size <= _MOST_TEXT_BYTES:
            texts.append((_CHUNKS[name], _decoded(file.read(size))))
        at += 8 + size + size % 2
    for field, text in texts:
        found.add_missing(field, text)


def _decoded(text: bytes) -> str:
    """Decode text without a declared encoding: UTF-8, or else Western European Windows."""
    text = text.partition(b"\0")[0]
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("cp1252", "replace")


def _read_id3(file: BinaryIO, at: int, found: TagCollector) -> None:
    file.seek(at)
    header = file.read(_ID3_HEADER_BYTES)
    if len(header) < _ID3_HEADER_BYTES or not header.startswith(b"ID3") or header[3] not in _ID3_HIDDEN:
        return
    version, flags = header[3], header[5]
    at += len(header)
    end = at + _syncsafe(header[6:])
    if version < _ID3_LATEST and flags & _UNSYNCHRONISED:
        file = BytesIO(file.read(min(end - at, _MOST_BYTES)).replace(b"\xff\0", b"\xff"))
        at, end = 0, len(file.getbuffer())
    if version > _ID3_FIRST and flags & _EXTENDED:
        file.seek(at)
        size = file.read(4)
        at += _syncsafe(size) if version == _ID3_LATEST else 4 + int.from_bytes(size)
    for name, content in _frames(file, at, end, version, unsynchronised=bool(flags & _UNSYNCHRONISED)):
        if name in _PICTURES:
            kind_at = content.find(b"\0", 1) + 1 if name == b"APIC" else _PIC_KIND_AT
            if picture := COVER_MARK.search(content, kind_at + 1, _MOST_FRAME_BYTES):
                found.add_picture(content[kind_at], content[picture.start() :])
        else:
            _read_frame(version, name, content, found)


def _frames(
    file: BinaryIO, at: int, end: int, version: int, *, unsynchronised: bool
) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and content of the wanted frames that are neither compressed nor encrypted."""
    width = 3 if version == _ID3_FIRST else 4
    header_bytes = 6 if version == _ID3_FIRST else _ID3_HEADER_BYTES
    room = 2 * _MOST_FRAME_BYTES
    for _ in range(_MOST_LOOKS):
        file.seek(at)
        header = file.read(header_bytes)
        name, size_field, flags = header[:width], header[width : 2 * width], header[-1:]
        if len(header) < header_bytes or at + header_bytes > end or not name.strip(b"\0"):
            return
        # iTunes wrote plain numbers into 2.4 as well
        size = (
            _syncsafe(size_field)
            if version == _ID3_LATEST and max(size_field) < _SYNC
            else int.from_bytes(size_field)
        )
        at += header_bytes + size
        most = _MOST_PICTURE_BYTES if name in _PICTURES else min(room, _MOST_FRAME_BYTES)
        if name not in _ID3_NAMES or not 0 < size <= most or flags[0] & _ID3_HIDDEN[version]:
            continue
        content = file.read(size)
        if version == _ID3_LATEST and flags[0] & _HAS_LENGTH:
            content = content[4:]
        if version == _ID3_LATEST and (unsynchronised or flags[0] & _FRAME_UNSYNCHRONISED):
            content = content.replace(b"\xff\0", b"\xff")
        room -= 0 if name in _PICTURES else size
        yield name, content


def _read_frame(version: int, name: bytes, content: bytes, found: TagCollector) -> None:
    """Let mutagen decode one frame, whatever its version and text encoding."""
    size = _synchronised(len(content)) if version == _ID3_LATEST else len(content).to_bytes(len(name))
    frame = name + size + bytes(0 if version == _ID3_FIRST else 2) + content
    try:
        frames = ID3(
            BytesIO(b"ID3" + bytes([version, 0, 0]) + _synchronised(len(frame)) + frame), load_v1=False
        )
    except MutagenError:
        return
    for field, frame_id in FIELDS.items():
        for value in frames.getall(frame_id):
            for text in value.genres if frame_id == "TCON" else value.text:
                found.add(field, str(text))
    for comment in frames.getall("COMM"):
        if not comment.desc:
            found.add(COMMENT, "\n".join(comment.text))
    for custom in frames.getall("TXXX"):
        found.add(custom.desc.lower(), "\n".join(custom.text))


def _read_id3v1(file: BinaryIO, found: TagCollector) -> None:
    """Fill missing fields from the last 128 bytes, where ID3v1 stores them truncated."""
    file.seek(-min(_ID3V1_BYTES, file.seek(0, SEEK_END)), SEEK_END)
    tag = file.read()
    if tag.startswith(b"TAG"):
        for name, place in _ID3V1.items():
            found.add_missing(name, _decoded(tag[place]))


def _syncsafe(encoded: bytes) -> int:
    """Decode a number stored with seven bits per byte."""
    return sum((byte & 0x7F) << shift for byte, shift in zip(encoded, _SHIFTS, strict=False))


def _synchronised(number: int) -> bytes:
    """Encode a number with seven bits per byte."""
    return bytes(number >> shift & 0x7F for shift in _SHIFTS)

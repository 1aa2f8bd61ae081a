"""What a file is, by its content, and which of the two decoders reads it: the rule, with the reason of each row.

libsndfile reads what it is the reference for, as it is built on the codecs' own libraries; FFmpeg reads the rest, and
what libsndfile would cut short. A file's name decides nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable

_ID3_HEADER_BYTES, _ID3_HAS_FOOTER = 10, 0x10
_MOST_ID3_TAGS = 16
_LOOK_BYTES = 1 << 16
_ADTS_HEADER_BYTES, _ADTS_LOOK_BYTES = 7, 8_192
_ADTS_SYNC = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]")
_CAF_CODEC = slice(28, 32)
_CAF_OF_LIBSNDFILE = frozenset({b"lpcm", b"alaw", b"ulaw"})
MP4_MARKS = frozenset({b"ftyp", b"moov", b"wide", b"mdat", b"free", b"skip", b"pnot"})
"""Names of the atoms that an MP4 or MOV can begin with."""
_WMA = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"
_W64 = b"riff\x2e\x91\xcf\x11"
_W64_TAG, _W64_INNER_TAG = slice(64, 66), slice(88, 90)
_EXTENSIBLE, _PCM = b"\xfe\xff", b"\1\0"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is.

    Attributes:
        container: as in `Probe`.
        demuxer: FFmpeg's name of the format; empty for what libsndfile reads.
        start: where it begins, behind ID3v2 tags.
    """

    container: str
    demuxer: str = ""
    start: int = 0


def _starts(*marks: bytes) -> Callable[[bytes], bool]:
    return lambda opening: opening.startswith(marks)


def _is_form(opening: bytes) -> bool:
    return opening.startswith(b"FORM") and opening[8:12] in {b"AIFF", b"AIFC"}


def _is_riff(*marks: bytes) -> Callable[[bytes], bool]:
    return lambda opening: opening.startswith(marks) and opening[8:12] == b"WAVE"


def _is_mp4(opening: bytes) -> bool:
    return opening[4:8] in MP4_MARKS


def _is_adts(opening: bytes) -> bool:
    """Whether frames of AAC follow each other from near the beginning, which may lie within one.

    Their layer is 0, unlike that of MPEG audio (ISO/IEC 13818-7).
    """
    return any(
        _follow_adts(opening, mark.start(), 3 if mark.start() else 2)
        for mark in _ADTS_SYNC.finditer(opening, 0, _ADTS_LOOK_BYTES)
    )


def _follow_adts(opening: bytes, at: int, count: int) -> bool:
    for _ in range(count):
        if not _ADTS_SYNC.match(opening, at):
            return False
        size = int.from_bytes(opening[at + 3 : at + 6]) >> 5 & 0x1FFF
        if size <= _ADTS_HEADER_BYTES:
            return False
        at += size
    return True


def _is_odd_w64(opening: bytes) -> bool:
    is_extensible = opening.startswith(_W64) and opening[_W64_TAG] == _EXTENSIBLE
    return is_extensible and opening[_W64_INNER_TAG] != _PCM


def _has_odd_caf(opening: bytes) -> bool:
    return opening.startswith(b"caff") and opening[_CAF_CODEC] not in _CAF_OF_LIBSNDFILE


RULES: tuple[tuple[Callable[[bytes], bool], Kind, str], ...] = (
    (_is_riff(b"BW64"), Kind("WAV", "wav"), "libsndfile does not know BW64"),
    (
        _is_riff(b"RIFF", b"RF64", b"RIFX"),
        Kind("WAV"),
        "libsndfile; FFmpeg where sizes are missing, and for other codecs",
    ),
    (_is_odd_w64, Kind("W64", "w64"), "libsndfile takes whatever is in an extensible one for integers"),
    (_starts(_W64), Kind("W64"), "libsndfile"),
    (_is_form, Kind("AIFF"), "libsndfile"),
    (_starts(b".snd"), Kind("AU"), "libsndfile"),
    (_has_odd_caf, Kind("CAF", "caf"), "libsndfile has no AAC, and reads some ALAC only"),
    (_starts(b"caff"), Kind("CAF"), "libsndfile"),
    (
        _starts(b"fLaC"),
        Kind("FLAC", "flac"),
        "libsndfile takes a wrong total for true, and 8, 16 and 24 bits only",
    ),
    (
        _starts(b"OggS"),
        Kind("OGG"),
        "libsndfile, link by link and without other streams; FFmpeg for FLAC and Speex in it",
    ),
    (_is_mp4, Kind("M4A", "mov"), "libsndfile has no AAC and no MP4"),
    (_starts(b"\x1a\x45\xdf\xa3"), Kind("MKV", "matroska"), "libsndfile does not know it"),
    (_starts(_WMA), Kind("WMA", "asf"), "libsndfile does not know it"),
    (_is_adts, Kind("ADTS", "aac"), "libsndfile takes some of it for MPEG layer II"),
)
"""Openings, what they are, and why that decoder. What no row recognises is MP3, whose frames may begin anywhere."""


def recognise(file: BinaryIO) -> Kind:
    """Return what a file is by its beginning.

    Raises:
        OSError: the file cannot be read.
    """
    start = _behind_id3(file)
    file.seek(start)
    opening = file.read(_LOOK_BYTES)
    for is_it, kind, _ in RULES:
        if is_it(opening):
            return Kind(kind.container, kind.demuxer, start)
    return Kind("MP3", start=start)


def _behind_id3(file: BinaryIO) -> int:
    """Where the file begins behind the ID3v2 tags in front of it (id3.org, "ID3 tag version 2.4.0", 3.1)."""
    at = 0
    for _ in range(_MOST_ID3_TAGS):
        file.seek(at)
        header = file.read(_ID3_HEADER_BYTES)
        if not header.startswith(b"ID3") or len(header) < _ID3_HEADER_BYTES or max(header[6:]) > 0x7F:  # noqa: PLR2004
            break
        size = 0
        for byte in header[6:]:
            size = size << 7 | byte
        footer_bytes = _ID3_HEADER_BYTES if header[5] & _ID3_HAS_FOOTER else 0
        at += _ID3_HEADER_BYTES + size + footer_bytes
    return at

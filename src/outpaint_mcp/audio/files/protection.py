"""Containers out of which nobody gets sound: copy-protected ones, silent videos, and those that broke off too early.

MP4 and MOV are ISO/IEC 14496-12, protected sample entries its 8.12; Windows Media is Microsoft's Advanced Systems
Format, revision 01.20.03. Only the names and sizes of their parts are read, and a bounded number of these.
"""

from __future__ import annotations

import os
import struct
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, NamedTuple
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_ATOMS = 10_000
"""At the outermost level, where a recording in fragments has two for each second."""
_MOST_INNER_ATOMS = 64
_MOST_OBJECTS = 64

_FIRST_ATOMS = frozenset({b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_PROTECTED_ENTRIES = {b"drms": " by iTunes", b"aavd": " by Audible", b"enca": ""}
"""Names of sample descriptions, and who protects what they describe."""

_ASF_HEADER = UUID("75b22630-668e-11cf-a6d9-00aa0062ce6c").bytes_le
_ASF_ENCRYPTIONS = {
    UUID("2211b3fb-bd23-11d2-b4b7-00a0c955fc6e").bytes_le,  # content encryption
    UUID("298ae614-2622-4c17-b935-dae07ee9289c").bytes_le,  # extended content encryption
}
_ASF_PREAMBLE_BYTES = 30
"""Of the header object: its name, its size, the number of objects in it, and two reserved bytes."""

_UNLOCKED = "Give a copy without copy protection."
_AGAIN = "Download, copy or export it again."


class _Atom(NamedTuple):
    """A part of an MP4: its name, and where its content begins and ends."""

    kind: bytes
    start: int
    end: int


def protected_or_broken(file: BinaryIO, name: str) -> str | None:
    """Say why no sound can be had from an MP4, MOV or Windows Media file, and what to do; None where nothing is wrong.

    A file that breaks off later, behind what says where its sound lies, is not refused: what there is can be decoded.

    Args:
        file: can seek; where it stands afterwards is undefined.
        name: as messages have it.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    opening = file.read(16)
    if opening == _ASF_HEADER:
        return _asf_problem(file, name, size)
    if opening[4:8] in _FIRST_ATOMS:
        return _mp4_problem(file, name, size)
    return None


def _mp4_problem(file: BinaryIO, name: str, size: int) -> str | None:
    movie = next((each for each in islice(_atoms(file, 0, size), _MOST_ATOMS) if each.kind == b"moov"), None)
    if movie is None or movie.end > size:
        return (
            f"{name} is an incomplete MP4 file: the index of its sound is missing, as after a download or a recording"
            f" that broke off. {_AGAIN}"
        )
    inner = islice(_atoms(file, movie.start, movie.end), _MOST_INNER_ATOMS)
    tracks = [_sound_of(file, each) for each in inner if each.kind == b"trak"]
    sounds = [each for each in tracks if each is not None]
    if tracks and not sounds:
        return f"{name} is a video without sound. Give a recording that has sound."
    protections = [_PROTECTED_ENTRIES.get(each) for each in sounds]
    if not sounds or None in protections:
        return None
    return f"{name} is copy-protected{protections[0]} and cannot be decoded. {_UNLOCKED}"


def _sound_of(file: BinaryIO, track: _Atom) -> bytes | None:
    """Return the name of the first sample description of a track that has sound; empty where it has none."""
    media = _find(file, track, b"mdia")
    kind = media and _find(file, media, b"hdlr")
    if media is None or kind is None:
        return None
    file.seek(kind.start + 8)  # behind the version and, in QuickTime, the kind of component
    if file.read(4) != b"soun":
        return None
    found: _Atom | None = media
    for each in (b"minf", b"stbl", b"stsd"):
        found = found and _find(file, found, each)
    if found is None:
        return b""
    file.seek(found.start + 12)  # behind the version, the number of descriptions, and the size of the first
    return file.read(4)


def _find(file: BinaryIO, parent: _Atom, kind: bytes) -> _Atom | None:
    inner = islice(_atoms(file, parent.start, parent.end), _MOST_INNER_ATOMS)
    return next((each for each in inner if each.kind == kind), None)


def _atoms(file: BinaryIO, start: int, end: int) -> Iterator[_Atom]:
    """The atoms between two places, one behind the other; the last may claim to reach further."""
    while start + 8 <= end:
        file.seek(start)
        header = file.read(16)
        length, content = int.from_bytes(header[:4], "big"), start + 8
        if length == 1:
            length, content = int.from_bytes(header[8:16], "big"), start + 16
        elif length == 0:
            length = end - start
        if len(header) < 8 or start + length < content:  # noqa: PLR2004 - size and name
            return
        yield _Atom(header[4:8], content, start + length)
        start += length


def _asf_problem(file: BinaryIO, name: str, size: int) -> str | None:
    file.seek(len(_ASF_HEADER))
    (header_bytes,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
    if header_bytes >= size:
        return f"{name} is incomplete: it ends before its sound begins. {_AGAIN}"
    place = _ASF_PREAMBLE_BYTES
    for _ in range(_MOST_OBJECTS):
        file.seek(place)
        kind, length = file.read(16), int.from_bytes(file.read(8), "little")
        if kind in _ASF_ENCRYPTIONS:
            return f"{name} is copy-protected (Windows Media DRM) and cannot be decoded. {_UNLOCKED}"
        place += max(length, 24)
        if place >= header_bytes:
            break
    return None

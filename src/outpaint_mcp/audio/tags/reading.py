"""Reading the tags of untrusted audio files of any container.

`mutagen` keeps more than PyAV and tinytag (`bench/tags.py`). What it does not know are the texts of WAV, AIFF
and CAF, which are chunks, and Matroska. It trusts the sizes that a file claims and copies the rest of a tag for every
frame of ID3, so a hostile file could keep it busy for hours: see `bounded`.
"""

# mypy: allow-untyped-calls
# mutagen is only half typed.

from __future__ import annotations

import base64
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import av
from mutagen.apev2 import APEBinaryValue, APENoHeaderError, APEv2
from mutagen.asf import ASF
from mutagen.flac import FLAC, FLACNoHeaderError, Picture
from mutagen.mp4 import MP4
from mutagen.oggflac import OggFLAC
from mutagen.oggopus import OggOpus
from mutagen.oggspeex import OggSpeex
from mutagen.oggvorbis import OggVorbis

from outpaint_mcp.audio.files import chunks
from outpaint_mcp.audio.files.kinds import MP4_MARKS
from outpaint_mcp.audio.tags import caf, id3, matroska
from outpaint_mcp.audio.tags.bounded import BoundedFile, OutOfTime, bounded_time
from outpaint_mcp.audio.tags.fields import CUE_SHEET, FRONT, TagCollector, decode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from outpaint_mcp.audio.tags.fields import Tags

    Reader = Callable[[Any, TagCollector], None]

ENCODINGS = {b"\1vorbis": OggVorbis, b"OpusHead": OggOpus, b"\x7fFLAC": OggFLAC, b"Speex   ": OggSpeex}
"""How the first packet begins of what OGG holds."""
OPENING_BYTES = 64
"""Enough to identify the container, and the encoding inside OGG."""
_ABSENT = (FLACNoHeaderError, APENoHeaderError)
_BROKEN = "tags that are damaged or too large"
_TEXT_BYTES = 1 << 16


def read_tags(path: Path) -> Tags:
    """Read the tags of a file. Whatever is broken or exceeds the limits is left out.

    Raises:
        OSError: if the file cannot be read.
    """
    found = TagCollector()
    with path.open("rb") as file:
        try:
            with bounded_time():
                for reader in _readers(file):
                    _read(reader, file, found)
        except OutOfTime:
            found.leave_out(_BROKEN)
    return found.tags()


def _read(reader: Reader, file: BinaryIO, found: TagCollector) -> None:
    """Complete what was found with what one reader finds before anything is broken."""
    part = TagCollector()
    try:
        reader(BoundedFile(file), part)
    except _ABSENT:
        pass
    except Exception:  # noqa: BLE001 - mutagen raises whatever comes of a broken file
        part.leave_out(_BROKEN)
    finally:
        found.complete(part)


def _readers(file: BinaryIO) -> list[Reader]:
    """What reads the tags of a file, the best first; several are in one file with MPEG audio, and with FLAC."""
    opening = file.read(OPENING_BYTES)
    if opening.startswith(chunks.MARKS):
        return [_read_id3_chunk, _read_texts]
    if opening.startswith(b"OggS"):
        return [_reader_of(kind) for mark, kind in ENCODINGS.items() if mark in opening]
    for mark, reader in _READERS.items():
        if opening.startswith(mark):
            return [reader]
    if opening[4:8] in MP4_MARKS:
        return [_reader_of(MP4), _read_quicktime]
    return [_reader_of(FLAC), id3.read, _reader_of(APEv2), id3.read_v1]


def _reader_of(kind: Callable[[Any], Any]) -> Reader:
    def read(file: BoundedFile, found: TagCollector) -> None:
        opened = kind(file)
        for picture in getattr(opened, "pictures", ()):
            found.add_picture(picture.type, picture.data)
        if getattr(opened, "cuesheet", None) or getattr(opened, "chapters", None):
            found.add(CUE_SHEET, "")
        tags = getattr(opened, "tags", opened) or {}
        for key, values in tags if isinstance(tags, list) else tags.items():
            name = str(key).rpartition(":")[2].removeprefix("WM/").lower()
            for value in values if isinstance(values, list) else [values]:
                _add(name, value, found)

    return read


def _add(name: str, value: Any, found: TagCollector) -> None:  # noqa: ANN401 - text, number or picture
    """Add a value of Vorbis comments, APEv2, MP4 or Windows Media."""
    if name == "covr":
        found.add_picture(FRONT, bytes(value))
    elif name == "metadata_block_picture":
        picture = Picture(base64.b64decode(value))
        found.add_picture(picture.type, picture.data)
    elif name == "picture":  # its type, its size, two texts
        found.add_picture(value.value[0], value.value[-int.from_bytes(value.value[1:5], "little") :])
    elif isinstance(value, APEBinaryValue):  # a file name, the file
        found.add_picture(FRONT if "front" in name else 0, (value.value or b"").partition(b"\0")[2])
    elif isinstance(value, tuple):  # a number, and how many there are; 0 for unknown
        if value[0]:
            found.add(name, "/".join(str(number) for number in value if number))
    elif isinstance(value, bytes):
        found.add(name, value.decode("utf-8", "replace"))
    else:
        for text in [value] if isinstance(value, str) else str(value).split("\0"):  # as APEv2 has several
            found.add(name, text)


_READERS: dict[bytes, Reader] = {
    matroska.MARK: matroska.read,
    caf.MARK: caf.read,
    bytes.fromhex("3026b2758e66cf11"): _reader_of(ASF),
}
"""What reads the tags of containers that have one kind of them."""


def _read_quicktime(file: Any, found: TagCollector) -> None:  # noqa: ANN401 - a bounded file
    """Collect the texts of QuickTime, which mutagen does not know."""
    with av.open(file, format="mov", metadata_errors="replace") as opened:
        for name, text in opened.metadata.items():
            if not text.startswith("0/"):  # how many there are, and not the number of one
                found.add(name, text)


def _read_id3_chunk(file: Any, found: TagCollector) -> None:  # noqa: ANN401 - a bounded file
    for chunk in chunks.walk(file):
        if chunk.name.upper() == b"ID3 ":
            file.seek(chunk.at)
            id3.read(BoundedFile(BytesIO(file.read(chunk.size))), found)
            return


def _read_texts(file: Any, found: TagCollector) -> None:  # noqa: ANN401 - a bounded file
    for chunk in chunks.walk(file):
        if chunk.name[:1] == b"I" or chunk.name in {b"NAME", b"AUTH", b"(c) ", b"ANNO"}:
            found.add(chunk.name.decode("latin-1"), decode(chunks.read(file, chunk, _TEXT_BYTES)))

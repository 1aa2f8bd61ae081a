"""Reading the tags of Matroska and WebM.

mutagen does not know them, and FFmpeg needs a minute for a file that has 80,000 different ones. Elements: RFC 9559, 5;
their numbers: RFC 8794, 4 to 6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from outpaint_mcp.audio.tags.fields import CUE_SHEET, FRONT, MOST_COVER_BYTES

if TYPE_CHECKING:
    from outpaint_mcp.audio.tags.fields import TagCollector

MARK = b"\x1a\x45\xdf\xa3"
_OPENED = {0x18538067, 0x1549A966, 0x1254C367, 0x7373, 0x63C0, 0x67C8, 0x1941A469, 0x61A7}
"""Elements whose parts are looked at: segment, its description, tags, tag, its target, its value, attachments, file."""
_CHAPTERS, _TITLE, _TAG, _LEVEL, _NAME, _VALUE = 0x1043A770, 0x7BA9, 0x7373, 0x68CA, 0x45A3, 0x4487
_FILE_NAME, _CONTENT = 0x466E, 0x465C
_ALBUM = 50
"""The level of a tag that describes an album."""
_OF_ALBUM = {"title": "album", "artist": "albumartist", "part_number": "discnumber"}
_MOST_TEXT_BYTES = 1 << 16
_UNKNOWN = 2**56 - 1


def read(file: BinaryIO, found: TagCollector) -> None:
    """Collect the tags, the title and the pictures of a file."""
    level, name = 0, ""
    while (kind := _number(file, keeps_mark=True)) is not None:
        size = _number(file) or 0
        after = file.tell() + size
        if kind == _TAG:
            level = 0
        if kind in _OPENED or size == _UNKNOWN:
            continue
        if kind == _CONTENT:
            found.add_picture(FRONT * name.startswith("cover"), file.read(min(size, MOST_COVER_BYTES + 1)))
        elif kind == _CHAPTERS:
            found.add(CUE_SHEET, "")
        elif kind == _LEVEL:
            level = int.from_bytes(file.read(min(size, 8)))
        elif kind in {_TITLE, _NAME, _VALUE, _FILE_NAME}:
            text = file.read(min(size, _MOST_TEXT_BYTES)).decode("utf-8", "replace")
            if kind in {_NAME, _FILE_NAME}:
                name = text.lower()
            elif kind == _TITLE:
                found.add("title", text)
            else:
                found.add(_OF_ALBUM.get(name, name) if level == _ALBUM else name, text)
        file.seek(after)


def _number(file: BinaryIO, *, keeps_mark: bool = False) -> int | None:
    """Read a number that begins with its length: as many zero bits, and a one; None at the end of the file."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    bits = first[0].bit_length()
    value = int.from_bytes(
        (first if keeps_mark else bytes([first[0] - (1 << bits - 1)])) + file.read(8 - bits)
    )
    return _UNKNOWN if value == 2 ** (7 * (9 - bits)) - 1 and not keeps_mark else value

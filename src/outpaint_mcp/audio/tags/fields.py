"""Tags of a recording (title, artist, cover and so on), with bounded sizes."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

FIELDS = {
    "title": "TIT2",
    "artist": "TPE1",
    "album": "TALB",
    "albumartist": "TPE2",
    "composer": "TCOM",
    "date": "TDRC",
    "genre": "TCON",
    "tracknumber": "TRCK",
    "discnumber": "TPOS",
    "bpm": "TBPM",
    "key": "TKEY",
    "copyright": "TCOP",
}
"""The tags that are carried over besides comment and cover: Vorbis comment name to ID3 frame.

Tempo and key describe the music whatever its length. Left out is everything that would be wrong for an
extended file or would identify it as the original: lengths, delay and padding, seek tables, cue sheets and
chapters, ReplayGain and R128 gains, lyrics, ISRC, MusicBrainz, AcoustID and shop identifiers, ratings, the
encoder; and links and unknown fields.
"""

COMMENT = "comment"
CUE_SHEET = "cuesheet"
LOOPS = ("loopstart", "loopend", "looplength")
"""Frames of a loop in the music of games (RPG Maker and others), in tags of their own."""
_OTHER_NAMES = {
    "description": COMMENT, "album artist": "albumartist", "album_artist": "albumartist", "albumtitle": "album",
    "author": "artist", "year": "date", "date_recorded": "date", "initialkey": "key", "initial_key": "key",
    "beatsperminute": "bpm", "track": "tracknumber", "part_number": "tracknumber", "disc": "discnumber",
    "partofset": "discnumber", "©nam": "title", "©art": "artist", "©alb": "album", "aart": "albumartist",
    "©wrt": "composer", "©day": "date", "©gen": "genre", "trkn": "tracknumber", "disk": "discnumber", "tmpo": "bpm",
    "cprt": "copyright", "©cmt": COMMENT, "inam": "title", "iart": "artist", "iprd": "album", "icrd": "date",
    "ignr": "genre", "itrk": "tracknumber", "iprt": "tracknumber", "icop": "copyright", "icmt": COMMENT,
    "comments": COMMENT, "track number": "tracknumber", "tempo": "bpm", "key signature": "key", "recorded date": "date",
    "name": "title", "auth": "artist", "(c) ": "copyright", "anno": COMMENT,
}  # fmt: skip
"""What the fields are called in APEv2, Matroska, Windows Media and CAF, as atoms of MP4, as chunks of WAV and AIFF."""

_MOST_FIELD, MOST_COMMENT = 500, 2_000
"""Most characters of a field, and of the comment."""
_MOST_VALUES = 8
"""Most values of one field, such as artists or genres."""
MOST_COVER_BYTES = (1 << 24) - (1 << 16)
"""FLAC's largest block, without what is around the picture."""

_COVERS = {
    "image/jpeg": rb"\xff\xd8\xff",
    "image/png": rb"\x89PNG\r\n\x1a\n",
    "image/gif": rb"GIF8",
    "image/webp": rb"RIFF....WEBP",
    "image/bmp": rb"BM....\0\0\0\0",
}
"""How a picture file begins."""
FRONT = 3
"""The picture type of a front cover in ID3 and FLAC."""

_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?(?!\d)")
"""The date format that every container accepts."""


@dataclass(frozen=True, slots=True)
class Cover:
    """A picture, which is never decoded.

    Attributes:
        media_type: derived from its first bytes.
        content: the picture file.
    """

    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of a recording.

    Attributes:
        fields: values by the names in `FIELDS` and `LOOPS`, and `comment`.
        cover: the front cover, or else the first picture.
        left_out: why something is missing, as parts of a sentence.
    """

    fields: dict[str, list[str]]
    cover: Cover | None
    left_out: tuple[str, ...] = ()


class TagCollector:
    """Collects tags while a file is read: the first few distinct values of a field, and the best picture."""

    def __init__(self) -> None:
        self._fields: dict[str, list[str]] = {}
        self._cover: Cover | None = None
        self._has_front = False
        self._left_out: dict[str, None] = {}

    def add(self, name: str, text: str) -> None:
        """Add a value to a field, under any name in any container."""
        name = _OTHER_NAMES.get(name.lower(), name.lower())
        if name.startswith("chapter") or name == CUE_SHEET:
            self.leave_out("chapters, which would be at other times")
        if name not in FIELDS and name != COMMENT and name not in LOOPS:
            return
        most = MOST_COMMENT if name == COMMENT else _MOST_FIELD
        value = clean(text, most) if name == COMMENT else " ".join(clean(text, most).split())
        if len(text) > most:
            self.leave_out("the end of a very long text")
        if name == "date" and value:
            date = _DATE.match(value)
            value = date[0] if date else ""
            if not date:
                self.leave_out("a date that does not begin with the year")
        values = self._fields.setdefault(name, [])
        if not value or value in values:
            return
        if len(values) < _MOST_VALUES:
            values.append(value)
        else:
            self.leave_out(f"more than {_MOST_VALUES} values of a field")

    def add_picture(self, kind: int, content: bytes) -> None:
        """Add a picture. `kind` is the picture type, which ID3 and FLAC number alike."""
        media_type = next(
            (name for name, mark in _COVERS.items() if re.match(mark, content, re.DOTALL)), None
        )
        is_better = self._cover is None or (kind == FRONT and not self._has_front)
        if media_type and len(content) > MOST_COVER_BYTES:
            self.leave_out(f"a picture of {len(content) / (1 << 20):.1f} MiB, which is too large")
        elif media_type and is_better:
            self._cover, self._has_front = Cover(media_type, content), kind == FRONT

    def leave_out(self, what: str) -> None:
        """Note something that is not carried over."""
        self._left_out[what] = None

    def complete(self, other: TagCollector) -> None:
        """Take over the fields that have no value yet, and the picture if there is none, from a lesser tag."""
        self._fields = other._fields | {name: values for name, values in self._fields.items() if values}
        self._cover = self._cover or other._cover
        self._left_out |= other._left_out

    def tags(self) -> Tags:
        """Return what was collected."""
        fields = {name: values for name, values in self._fields.items() if values}
        return Tags(fields, self._cover, tuple(self._left_out))


def clean(text: str, most: int) -> str:
    """Truncate a text; replace control characters other than line breaks, and lone surrogates, with spaces."""
    return "".join(
        " " if unicodedata.category(character) in {"Cc", "Cs"} and character != "\n" else character
        for character in text[:most]
    ).strip()


def decode(text: bytes) -> str:
    """Decode text without a declared encoding: UTF-8, or else Western European Windows."""
    text = text.partition(b"\0")[0]
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("cp1252", "replace")

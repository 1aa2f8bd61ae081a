"""What a recording says of itself: title, artist, cover and so on, within bounds."""

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
"""What is carried, besides comment and cover, by its name in Vorbis comments and in ID3.

Tempo and key are the music's, whatever its length. Not carried is what would be false of a longer file or say that it
is the same recording: lengths, delay and padding, seek tables, cue sheets and chapters, ReplayGain and R128 gains,
lyrics, ISRC, MusicBrainz, AcoustID and shop identifiers, ratings, the encoder; nor links, nor anything unheard of.
"""

COMMENT = "comment"

_OTHER_NAMES = {"description": COMMENT, "album artist": "albumartist", "year": "date", "initialkey": "key"}
_MOST_FIELD, MOST_COMMENT = 500, 2_000
"""Characters of a field, and of the comment."""
_MOST_VALUES = 8
"""As of artists, or genres."""
MOST_COVER_BYTES = 4 << 20

_COVERS = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif"}
COVER_MARK = re.compile(b"|".join(map(re.escape, _COVERS)))
"""How a picture begins."""
FRONT = 3
"""The kind of picture that is a front cover, in ID3 and FLAC."""

_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?(?!\d)")
"""What is a date in every container."""


@dataclass(frozen=True, slots=True)
class Cover:
    """A picture, never decoded.

    Attributes:
        media_type: what its first bytes say that it is.
        content: the file.
    """

    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Tags:
    """What a recording says of itself.

    Attributes:
        fields: values by the names of `FIELDS`, and `comment`.
        cover: the front cover, or else the first picture.
    """

    fields: dict[str, list[str]]
    cover: Cover | None


class Gathering:
    """Tags while they are read; of what is told twice the first is kept, of artists and genres some."""

    def __init__(self) -> None:
        self._fields: dict[str, list[str]] = {}
        self._cover: Cover | None = None
        self._has_front = False

    def add(self, name: str, text: str) -> None:
        """Take in a value of a field, by any name that it has in Vorbis comments."""
        name = _OTHER_NAMES.get(name, name)
        if name not in FIELDS and name != COMMENT:
            return
        value = clean(text, MOST_COMMENT) if name == COMMENT else " ".join(clean(text, _MOST_FIELD).split())
        if name == "date":
            date = _DATE.match(value)
            value = date[0] if date else ""
        values = self._fields.setdefault(name, [])
        if value and value not in values and len(values) < _MOST_VALUES:
            values.append(value)

    def add_missing(self, name: str, text: str) -> None:
        """Take in a value of a field that was not told yet."""
        if not self._fields.get(name):
            self.add(name, text)

    def add_picture(self, kind: int, content: bytes) -> None:
        """Take in a picture of a kind that ID3 and FLAC number alike."""
        media_type = next((name for mark, name in _COVERS.items() if content.startswith(mark)), None)
        is_better = self._cover is None or (kind == FRONT and not self._has_front)
        if media_type and len(content) <= MOST_COVER_BYTES and is_better:
            self._cover, self._has_front = Cover(media_type, content), kind == FRONT

    def done(self) -> Tags:
        """Return what came together."""
        return Tags({name: values for name, values in self._fields.items() if values}, self._cover)


def clean(text: str, most: int) -> str:
    """Shorten a text, without control characters but for line breaks, and without halves of characters."""
    return "".join(
        " " if unicodedata.category(character) in {"Cc", "Cs"} and character != "\n" else character
        for character in text[:most]
    ).strip()

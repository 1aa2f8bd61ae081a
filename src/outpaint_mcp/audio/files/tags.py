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

_OTHER_NAMES = {"description": COMMENT, "album artist": "albumartist", "year": "date", "initialkey": "key"}
_MOST_FIELD, MOST_COMMENT = 500, 2_000
"""Most characters of a field, and of the comment."""
_MOST_VALUES = 8
"""Most values of one field, such as artists or genres."""
MOST_COVER_BYTES = 4 << 20

_COVERS = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif"}
COVER_MARK = re.compile(b"|".join(map(re.escape, _COVERS)))
"""The start of a picture file."""
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
        fields: values by the names in `FIELDS`, and `comment`.
        cover: the front cover, or else the first picture.
    """

    fields: dict[str, list[str]]
    cover: Cover | None


class TagCollector:
    """Collects tags while a file is read: the first few distinct values of a field, and the best picture."""

    def __init__(self) -> None:
        self._fields: dict[str, list[str]] = {}
        self._cover: Cover | None = None
        self._has_front = False

    def add(self, name: str, text: str) -> None:
        """Add a value to a field, under any of the field's names in Vorbis comments."""
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
        """Add a value to a field that has none yet."""
        if not self._fields.get(name):
            self.add(name, text)

    def add_picture(self, kind: int, content: bytes) -> None:
        """Add a picture. `kind` is the picture type, which ID3 and FLAC number alike."""
        media_type = next((name for mark, name in _COVERS.items() if content.startswith(mark)), None)
        is_better = self._cover is None or (kind == FRONT and not self._has_front)
        if media_type and len(content) <= MOST_COVER_BYTES and is_better:
            self._cover, self._has_front = Cover(media_type, content), kind == FRONT

    def tags(self) -> Tags:
        """Return what was collected."""
        return Tags({name: values for name, values in self._fields.items() if values}, self._cover)


def clean(text: str, most: int) -> str:
    """Truncate a text; replace control characters other than line breaks, and lone surrogates, with spaces."""
    return "".join(
        " " if unicodedata.category(character) in {"Cc", "Cs"} and character != "\n" else character
        for character in text[:most]
    ).strip()

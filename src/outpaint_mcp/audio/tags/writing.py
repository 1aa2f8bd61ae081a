"""Writing tags into a finished file, in its container's own format."""

# mypy: allow-untyped-calls
# mutagen is only half typed.

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from mutagen.aiff import AIFF
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC, COMM, ID3, TXXX, Encoding, Frames, PictureType
from mutagen.mp4 import MP4, MP4Cover
from mutagen.wave import WAVE

from outpaint_mcp.audio.files import ogg
from outpaint_mcp.audio.tags.fields import COMMENT, FIELDS, LOOPS
from outpaint_mcp.audio.tags.reading import ENCODINGS

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.tags.fields import Cover, Tags

_ANY_LANGUAGE = "XXX"
_ATOMS = {
    "title": "©nam",
    "artist": "©ART",
    "album": "©alb",
    "albumartist": "aART",
    "composer": "©wrt",
    "date": "©day",
    "genre": "©gen",
    "copyright": "cprt",
    COMMENT: "©cmt",
}
_PAIRS = {"tracknumber": "trkn", "discnumber": "disk"}
_CUSTOM_ATOM = "----:com.apple.iTunes:"
_ATOM_COVERS = {"image/jpeg": MP4Cover.FORMAT_JPEG, "image/png": MP4Cover.FORMAT_PNG}
_MOST_SHORT = 2**16 - 1
"""MP4 has tempo, track and disc in 16 bits."""


def open_tagged(path: Path, opening: bytes) -> Any:  # noqa: ANN401 - one of mutagen's classes
    """Parse as much of a file as writing its tags requires; None if it cannot have tags.

    Raises:
        MutagenError: if it is damaged.
    """
    if opening.startswith(ogg.MARK):
        return next((kind(path) for mark, kind in ENCODINGS.items() if mark in opening), None)
    if opening.startswith((b"ID3", b"\xff")):
        return ID3()
    kinds = {(0, b"fLaC"): FLAC, (0, b"RIFF"): WAVE, (0, b"FORM"): AIFF, (4, b"ftyp"): MP4}
    return next((kind(path) for (at, mark), kind in kinds.items() if opening.startswith(mark, at)), None)


def put(tags: Tags, audio: Any) -> bool:  # noqa: ANN401 - as above
    """Replace the tags of an opened file; returns whether it has a place for the cover, if there is one."""
    if isinstance(audio, ID3):
        _put_id3(tags, audio)
        return True
    if audio.tags is None:
        audio.add_tags()
    if isinstance(audio, MP4):
        return _put_atoms(tags, audio)
    if isinstance(audio, WAVE | AIFF):
        _put_id3(tags, audio.tags)
        return True
    for name, values in tags.fields.items():
        audio[name.upper() if name in LOOPS else name] = values
    if tags.cover and isinstance(audio, FLAC):
        audio.clear_pictures()
        audio.add_picture(_picture(tags.cover))
    elif tags.cover:
        audio["metadata_block_picture"] = [base64.b64encode(_picture(tags.cover).write()).decode()]
    return True


def _put_id3(tags: Tags, frames: Any) -> None:  # noqa: ANN401 - as above
    for name, values in tags.fields.items():
        if name == COMMENT:
            frames.setall("COMM", [COMM(Encoding.UTF8, _ANY_LANGUAGE, "", values)])
        elif name in LOOPS:
            frames.add(TXXX(Encoding.UTF8, name.upper(), values))
        else:
            frame_id = FIELDS[name]
            frames.setall(frame_id, [Frames[frame_id](Encoding.UTF8, values)])
    if tags.cover:
        cover = APIC(Encoding.UTF8, tags.cover.media_type, PictureType.COVER_FRONT, "", tags.cover.content)
        frames.setall("APIC", [cover])


def _put_atoms(tags: Tags, audio: MP4) -> bool:
    for name, values in tags.fields.items():
        is_plain = re.fullmatch(r"\d{1,9}(/\d{1,9})?", values[0])
        numbers = [int(number) for number in values[0].split("/")] if is_plain else []
        numbers = numbers if max(numbers, default=0) <= _MOST_SHORT else []
        if name in _ATOMS:
            audio[_ATOMS[name]] = values
        elif name in _PAIRS and numbers:
            audio[_PAIRS[name]] = [tuple([*numbers, 0][:2])]
        elif name == "bpm" and numbers:
            audio["tmpo"] = numbers[:1]
        else:
            custom = {"key": "initialkey"}.get(name, name.upper())
            audio[_CUSTOM_ATOM + custom] = [value.encode() for value in values]
    if tags.cover and tags.cover.media_type in _ATOM_COVERS:
        audio["covr"] = [MP4Cover(tags.cover.content, _ATOM_COVERS[tags.cover.media_type])]
    return not tags.cover or tags.cover.media_type in _ATOM_COVERS


def _picture(cover: Cover) -> Picture:
    """Build a front cover. Its dimensions stay unset, because pictures are never decoded."""
    picture = Picture()
    picture.type, picture.mime, picture.data = PictureType.COVER_FRONT, cover.media_type, cover.content
    return picture

"""Carrying the source's tags over into the extended file."""

# mypy: allow-untyped-calls
# mutagen is only half typed.

from __future__ import annotations

import base64
from dataclasses import replace
from io import SEEK_END
from typing import TYPE_CHECKING, Any

from mutagen import MutagenError
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC, COMM, ID3, Encoding, Frames, PictureType
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE

from outpaint_mcp.audio.files import ogg
from outpaint_mcp.audio.files.tag_reading import read_tags
from outpaint_mcp.audio.files.tags import COMMENT, FIELDS, MOST_COMMENT, MOST_COVER_BYTES, clean
from outpaint_mcp.errors import GenerationFailed

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.files.tags import Cover, Tags

_WAV_LIMIT_BYTES = 2**32 - 2 * MOST_COVER_BYTES
"""A longer WAV has no room for the added tags, because it stores sizes in 32 bits."""
_ANY_LANGUAGE = "XXX"
_OPENING_BYTES = 64
"""Enough to identify the container, and the encoding inside OGG."""


def carry_over(source: Path, destination: Path, *, comment: str) -> bool:
    """Write the source's tags (see `tags.FIELDS`) and a comment into a finished file.

    The source's own comment comes first, truncated if necessary, followed by ours. Tags are written in the
    container's own format: Vorbis comments in FLAC and OGG, ID3v2.4 in MP3 and, as a chunk, in WAV. The audio
    is not changed. The same files produce the same bytes, except for what `encode.seal` normalises; call it
    afterwards.

    Args:
        source: any file, read only; tags that are broken or too large are left out.
        destination: FLAC, OGG, MP3 or WAV by content.
        comment: what was done; at most 1,000 characters are used.

    Returns:
        Whether tags were written. RF64, WAV near 4 GiB and files that cannot be parsed are left unchanged.

    Raises:
        GenerationFailed: if a file cannot be read, or the destination cannot be written.
    """
    try:
        tags = read_tags(source)
        with destination.open("rb") as file:
            opening = file.read(_OPENING_BYTES)
            size_bytes = file.seek(0, SEEK_END)
    except OSError as exc:
        raise GenerationFailed(
            f"The tags could not be carried over: {exc.strerror}. Check that both files are readable."
        ) from exc
    ours = clean(comment, MOST_COMMENT // 2)
    theirs = "\n".join(tags.fields.get(COMMENT, ()))[: MOST_COMMENT - len(ours) - 1]
    tags = replace(tags, fields=tags.fields | {COMMENT: [f"{theirs}\n{ours}".strip()]})
    if opening.startswith(b"RIFF") and size_bytes > _WAV_LIMIT_BYTES:
        return False
    try:
        audio = _open(destination, opening)
    except MutagenError:
        return False
    if audio is None:
        return False
    _put(tags, audio)
    try:
        audio.save(destination)
    except (MutagenError, OSError) as exc:
        raise GenerationFailed(
            f"{destination.name} could not be tagged. Check whether the disk is full or write-protected."
        ) from exc
    return True


def _open(destination: Path, opening: bytes) -> FLAC | OggOpus | OggVorbis | WAVE | ID3 | None:
    """Parse as much of the file as writing its tags requires; None if it cannot have tags."""
    if opening.startswith(b"fLaC"):
        return FLAC(destination)
    if opening.startswith(ogg.MARK):
        return OggOpus(destination) if b"OpusHead" in opening else OggVorbis(destination)
    if opening.startswith(b"RIFF"):
        return WAVE(destination)
    return ID3() if opening.startswith((b"ID3", b"\xff")) else None


def _put(tags: Tags, audio: FLAC | OggOpus | OggVorbis | WAVE | ID3) -> None:
    if isinstance(audio, ID3):
        _put_id3(tags, audio)
        return
    if audio.tags is None:
        audio.add_tags()
    if isinstance(audio, WAVE):
        frames: Any = audio.tags
        _put_id3(tags, frames)
        return
    for name, values in tags.fields.items():
        audio[name] = values
    if tags.cover and isinstance(audio, FLAC):
        audio.clear_pictures()
        audio.add_picture(_picture(tags.cover))
    elif tags.cover:
        audio["metadata_block_picture"] = [base64.b64encode(_picture(tags.cover).write()).decode()]


def _put_id3(tags: Tags, frames: ID3) -> None:
    for name, values in tags.fields.items():
        if name == COMMENT:
            frames.setall("COMM", [COMM(Encoding.UTF8, _ANY_LANGUAGE, "", values)])
        else:
            frame_id = FIELDS[name]
            frames.setall(frame_id, [Frames[frame_id](Encoding.UTF8, values)])
    if tags.cover:
        cover = APIC(Encoding.UTF8, tags.cover.media_type, PictureType.COVER_FRONT, "", tags.cover.content)
        frames.setall("APIC", [cover])


def _picture(cover: Cover) -> Picture:
    """Build a front cover. Its dimensions stay unset, because pictures are never decoded."""
    picture = Picture()
    picture.type, picture.mime, picture.data = PictureType.COVER_FRONT, cover.media_type, cover.content
    return picture

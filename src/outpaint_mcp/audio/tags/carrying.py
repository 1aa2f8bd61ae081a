"""Carrying over what a source's file says of it into the extended file: tags, cover, loops, cues."""

from __future__ import annotations

from dataclasses import replace
from io import SEEK_END
from typing import TYPE_CHECKING

from mutagen import MutagenError

from outpaint_mcp.audio.tags import caf
from outpaint_mcp.audio.tags.fields import COMMENT, MOST_COMMENT, MOST_COVER_BYTES, clean
from outpaint_mcp.audio.tags.markers import Placement, carry_markers, move_loop_tags
from outpaint_mcp.audio.tags.reading import OPENING_BYTES, read_tags
from outpaint_mcp.audio.tags.writing import open_tagged, put
from outpaint_mcp.errors import GenerationFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from outpaint_mcp.audio.layout import Preserved
    from outpaint_mcp.audio.tags.fields import Tags

_LIMIT_BYTES = 2**32 - 2 * MOST_COVER_BYTES
"""A longer WAV or AIFF has no room for the added tags, because they store sizes in 32 bits."""
_FORMS = {
    (0, b"fLaC"): "FLAC", (0, b"OggS"): "OGG", (0, b"RIFF"): "WAV", (0, b"RF64"): "WAV of this size",
    (0, b"FORM"): "AIFF", (0, b"ID3"): "MP3", (0, b"\xff"): "MP3", (4, b"ftyp"): "M4A", (0, b"caff"): "CAF",
}  # fmt: skip


def carry_over(source: Path, destination: Path, *, comment: str, preserved: Sequence[Preserved] = ()) -> str:
    """Write the source's tags (see `tags.FIELDS`), a comment, and its marks into a finished file.

    The source's own comment comes first, truncated if necessary, followed by ours. Tags are written in the
    container's own format: Vorbis comments in FLAC and OGG, ID3v2.4 in MP3 and, as a chunk, in WAV and AIFF, atoms
    in M4A, and text alone in CAF. What points to places in the source is moved to where they are; see `markers`. The
    audio is not changed. The same files produce the same bytes, except for what `encode.seal` normalises; call it
    afterwards.

    Args:
        source: any file, read only; tags that are broken are left out.
        destination: any file that we write.
        comment: what was done; at most 1,000 characters are used.
        preserved: where the source's frames are in the destination; empty if nowhere, or at another rate.

    Returns:
        What was not carried over and why, in a sentence; empty if all was.

    Raises:
        GenerationFailed: if a file cannot be read, or the destination cannot be written.
    """
    place = Placement(preserved)
    try:
        tags = read_tags(source)
        with destination.open("rb") as file:
            opening = file.read(OPENING_BYTES)
            is_full = file.seek(0, SEEK_END) > _LIMIT_BYTES and opening.startswith((b"RIFF", b"FORM"))
    except OSError as exc:
        raise GenerationFailed(
            f"The tags could not be carried over: {exc.strerror}. Check that both files are readable."
        ) from exc
    form = next(
        (name for (at, mark), name in _FORMS.items() if opening.startswith(mark, at)), "this kind of file"
    )
    tags = replace(tags, fields=move_loop_tags(tags.fields, place))
    try:
        homeless = _write(tags, destination, b"" if is_full else opening, comment)
        homeless += carry_markers(source, destination, place, is_full=is_full)
    except (MutagenError, OSError) as exc:
        raise GenerationFailed(
            f"{destination.name} could not be tagged. Check whether the disk is full or write-protected."
        ) from exc
    left_out = [*tags.left_out, *place.lost, *(f"{what}, for which {form} has no place" for what in homeless)]
    return f"Not carried over from the source's file: {'; '.join(left_out)}." if left_out else ""


def _write(tags: Tags, destination: Path, opening: bytes, comment: str) -> list[str]:
    """Write tags and a comment; returns what the destination has no place for."""
    ours = clean(comment, MOST_COMMENT // 2)
    theirs = "\n".join(tags.fields.get(COMMENT, ()))[: MOST_COMMENT - len(ours) - 1]
    has_any = bool(tags.fields or tags.cover)
    tags = replace(tags, fields=tags.fields | {COMMENT: [f"{theirs}\n{ours}".strip()]})
    if opening.startswith(caf.MARK) and caf.append(tags, destination):
        return ["a picture"] if tags.cover else []
    try:
        audio = open_tagged(destination, opening)
    except MutagenError:
        audio = None
    if audio is None:
        return ["tags"] if has_any else []
    has_cover = put(tags, audio)
    audio.save(destination)
    return [] if has_cover else ["a picture of this type"]

"""Tags of CAF, which mutagen does not know: the texts of its information chunk; there is no place for a cover.

Apple, "Core Audio Format Specification 1.0".
"""

from __future__ import annotations

from io import SEEK_END
from typing import TYPE_CHECKING, Any, BinaryIO

from outpaint_mcp.audio.tags.fields import COMMENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from outpaint_mcp.audio.tags.fields import TagCollector, Tags

MARK = b"caff"
_HEADER_BYTES, _CHUNK_HEADER_BYTES = 8, 12
_MOST_CHUNKS = 1_000
_MOST_BYTES = 1 << 20
_KEYS = {
    "title": "title",
    "artist": "artist",
    "album": "album",
    "composer": "composer",
    "date": "year",
    "genre": "genre",
    "tracknumber": "track number",
    "bpm": "tempo",
    "key": "key signature",
    "copyright": "copyright",
    COMMENT: "comments",
}
"""CAF's own keys; others are written by our names, since any are allowed."""


def read(file: Any, found: TagCollector) -> None:  # noqa: ANN401 - a bounded file
    """Collect the texts of a file."""
    for name, at, size in _chunks(file):
        if name == b"info":
            file.seek(at)
            texts = file.read(min(size, _MOST_BYTES))[4:].decode("utf-8", "replace").split("\0")
            for key, text in zip(texts[::2], texts[1::2], strict=False):
                found.add(key.lower(), text)


def append(tags: Tags, path: Path) -> bool:
    """Write the texts among the tags behind the audio of a finished file; returns whether there is room for them.

    They come right behind the audio, where libsndfile leaves a byte if its size is odd.

    Raises:
        OSError: if the file cannot be written.
    """
    texts = [(_KEYS.get(name, name), "; ".join(values)) for name, values in tags.fields.items()]
    content = b"".join(text.replace("\0", " ").encode() + b"\0" for pair in texts for text in pair)
    content = len(texts).to_bytes(4) + content
    with path.open("r+b") as file:
        stop = next((at + size for name, at, size in _chunks(file) if name == b"data"), None)
        if stop is None or stop > file.seek(0, SEEK_END):  # audio whose size is not given
            return False
        file.truncate(stop)
        file.seek(stop)
        file.write(b"info" + len(content).to_bytes(8) + content)
    return True


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, place and size of each chunk."""
    at = _HEADER_BYTES
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        header = file.read(_CHUNK_HEADER_BYTES)
        if len(header) < _CHUNK_HEADER_BYTES:
            return
        size = int.from_bytes(header[4:])
        yield header[:4], at + _CHUNK_HEADER_BYTES, size
        at += _CHUNK_HEADER_BYTES + size

"""How long an AIFF says that it is, which libsndfile does not tell of one that breaks off."""

from __future__ import annotations

from typing import BinaryIO

from outpaint_mcp.audio.files import chunks

_FRAMES = slice(2, 6)
_MOST_BYTES = 1_000
"""The longest chunk `COMM`; it has the name of the encoding."""


def stated_frames(file: BinaryIO) -> int:
    """Return the number of frames in the header; 0 where there is none.

    Raises:
        OSError: the file cannot be read.
    """
    common = next((chunk for chunk in chunks.walk(file) if chunk.name == b"COMM"), None)
    return int.from_bytes(chunks.read(file, common, _MOST_BYTES)[_FRAMES]) if common else 0

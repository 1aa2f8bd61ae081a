"""The bit rate of a lossy file, measured: what its audio takes, without tags, pictures and headers."""

from __future__ import annotations

from io import SEEK_END
from typing import TYPE_CHECKING, BinaryIO

from outpaint_mcp.audio.files import mp3, ogg

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from outpaint_mcp.audio.files.decoder import Probe

_WIDE_BOX_BYTES = 16
"""The header of a box beyond 4 GiB."""
_MOST_BOXES = 1_000
_POSITION = slice(6, 14)
"""An OGG page's position in the audio; 0 on the pages of headers, tags and pictures (RFC 3533, 6)."""


def kbit_per_second(path: Path, found: Probe) -> float | None:
    """Measure the bit rate of an MP3, M4A or OGG file.

    Args:
        path: the file.
        found: its header.

    Returns:
        Thousands of bits per second of audio; None for other files, and where there is no audio.

    Raises:
        OSError: if the file cannot be read.
    """
    if found.container == "MP3":
        parts = mp3.scan(path)
        return parts[0].kbit_per_second(found.sample_rate) if parts else None
    is_aac = (found.container, found.subtype) == ("M4A", "AAC")
    if not found.frames or not (is_aac or found.container == "OGG"):
        return None
    with path.open("rb") as file:
        if is_aac:
            audio_bytes = sum(size for name, size in _boxes(file) if name == b"mdat")
        else:
            audio_bytes = sum(len(page) for _, page in ogg.pages(file) if any(page[_POSITION]))
    return 8 * audio_bytes / found.seconds / 1000


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield name and size of the outermost boxes of an MP4 file (ISO/IEC 14496-12, 4.2)."""
    at = 0
    for _ in range(_MOST_BOXES):
        file.seek(at)
        header = file.read(_WIDE_BOX_BYTES)
        size = int.from_bytes(header[:4])
        if size == 1:
            size = int.from_bytes(header[8:])
        if size == 0:  # to the end
            size = file.seek(0, SEEK_END) - at
        if size <= 0:
            return
        yield header[4:8], size
        at += size

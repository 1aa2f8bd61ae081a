"""Writing down which speakers a file's channels are for, which libsndfile does not.

Microsoft, "Multiple Channel Audio Data and WAVE Files"; FLAC has the same mask in a tag (RFC 9639, 8.6.2).
"""

# mypy: allow-untyped-calls
# mutagen is only half typed.

from __future__ import annotations

from typing import TYPE_CHECKING

from mutagen.flac import FLAC

if TYPE_CHECKING:
    from pathlib import Path

_FLAC_TAG = "WAVEFORMATEXTENSIBLE_CHANNEL_MASK"
_PAIR = 2
"""Nobody takes the channels of FLAC for others, up to so many."""
_HEADER_BYTES = 128
_FORMAT_AT, _MASK_AT = 8, 28
"""In the `fmt ` chunk: the encoding, and the mask of an extensible one."""
_EXTENSIBLE = b"\xfe\xff"


def write_speakers(path: Path, layout: int, channels: int) -> None:
    """Write the channel mask into a finished WAV that is extensible, or a FLAC; other files have no place for it.

    Args:
        path: the file.
        layout: as in `Probe`; nothing is written where it is that of another number of channels.
        channels: how many the file has.

    Raises:
        OSError: the file cannot be written.
        MutagenError: likewise.
    """
    if layout.bit_count() != channels:
        return
    with path.open("r+b") as file:
        header = file.read(_HEADER_BYTES)
        chunk = header.find(b"fmt ")
        if header[chunk + _FORMAT_AT :].startswith(_EXTENSIBLE):
            file.seek(chunk + _MASK_AT)
            file.write(layout.to_bytes(4, "little"))
    if header.startswith(b"fLaC") and channels > _PAIR:
        audio = FLAC(path)
        audio[_FLAC_TAG] = f"0x{layout:04X}"
        audio.save()

"""In which form a result is delivered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from outpaint_mcp.errors import InvalidRequest

Part = Literal["whole", "before", "after"]
Format = Literal["source", "wav16", "wav24", "wav_float", "flac", "alac", "mp3", "m4a", "ogg", "opus"]

BITRATES_KBPS: dict[Format, tuple[int, int]] = {
    "mp3": (64, 320),
    "m4a": (64, 500),
    "ogg": (64, 500),
    "opus": (16, 510),
}
"""What each lossy format can have; below 64 an MP3 would come out longer than it is."""
USUAL_KBPS = "about 320 for MP3 and M4A, 256 for OGG, 190 for Opus"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """In which form a result is delivered.

    Attributes:
        part: all of it, or only what was added on one side.
        format: `source` is lossless, and as deep as the source.
        restore_source: whether the person's own samples are in it, or the provider's rendering of them.
        bitrate_kbps: of a lossy format, in 1000 bits per second; None for its usual one.
    """

    part: Part = "whole"
    format: Format = "source"
    restore_source: bool = True
    bitrate_kbps: int | None = None

    def __post_init__(self) -> None:
        """Check the bit rate.

        Raises:
            InvalidRequest: the format has none, or not this one.
        """
        if self.bitrate_kbps is None:
            return
        if self.format not in BITRATES_KBPS:
            raise InvalidRequest(
                f"A bit rate is for {', '.join(BITRATES_KBPS)}; {self.format} is lossless.",
                field="bitrate_kbps",
            )
        least, most = BITRATES_KBPS[self.format]
        if not least <= self.bitrate_kbps <= most:
            raise InvalidRequest(
                f"{self.format} can have {least} to {most} kbit/s, not {self.bitrate_kbps}.",
                field="bitrate_kbps",
            )

    def __str__(self) -> str:
        bitrate = "" if self.bitrate_kbps is None else f", {self.bitrate_kbps} kbps"
        return f"{self.part}, {self.format}{bitrate}{'' if self.restore_source else ', as made'}"

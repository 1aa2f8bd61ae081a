"""What a decoder is, and what is known of a file before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy.typing as npt

BLOCK_FRAMES = 65_536
"""Frames decoded, converted or written at a time."""

READABLE = "Convert it to WAV, FLAC, MP3, M4A, OGG (Vorbis or Opus) or AIFF and try again."
"""Advice for a source that cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What is known of an audio file before it is decoded.

    Attributes:
        container: the file format: libsndfile's name of it (`WAV`, `FLAC`, `MP3`, `OGG`, ...), or `M4A`, `MP4`, `MOV`,
            `MKV`, `WEBM`, `ADTS`, `WMA`.
        subtype: the encoding: libsndfile's name of it (`PCM_16`, `VORBIS`, ...), or `AAC`, `WMA`, `AC3`, ...
        sample_rate: frames per second.
        channels: 1 to 8.
        frames: the length, as well as it can be known without decoding; 0 where it cannot.
        stated_frames: the length that the header states, where something better is known; 0 for none.
        is_exact: whether `frames` is what decodes, unless the file is damaged.
        layout: the speakers of the channels, in order, as the bits of WAV's channel mask; 0 for unknown ones.
        is_video: whether there are moving pictures beside the sound.
        is_ordinary: whether any program can be trusted to read all of it as it is meant.
    """

    container: str
    subtype: str
    sample_rate: int
    channels: int
    frames: int
    stated_frames: int = 0
    is_exact: bool = True
    layout: int = 0
    is_video: bool = False
    is_ordinary: bool = True

    @property
    def seconds(self) -> float:
        """The duration, as well as it is known."""
        return self.frames / self.sample_rate


class NotDecodable(Exception):
    """A file is not decoded here; the message says what it has instead, to follow its name."""


class Decoder(Protocol):
    """Decodes a file, or a part of one, from first frame to last."""

    @property
    def probe(self) -> Probe:
        """What is known of it beforehand."""

    @property
    def intact(self) -> bool:
        """False once something could not be decoded, or is known to be missing."""

    def read_into(self, out: npt.NDArray[Any]) -> int:
        """Decode the next frames into a buffer `[frames, channels]`; return their number, 0 at the end.

        Integers have their full scale; int16 is for files of at most 16 bits.
        """

    def close(self) -> None:
        """Close the file."""

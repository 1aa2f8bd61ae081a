"""What is told of every file that was made longer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Longer:
    """A source with music before or after it.

    Attributes:
        sample_rate: frames per second, the source's.
        channels: the source's.
        container: `WAV`, `RF64` or `FLAC`.
        subtype: the encoding inside, in libsndfile's words.
        source_frames: how many frames of the source are in it, bit for bit, from `before_frames` on.
        source_lossless: False where it decodes to values without a grid, each rounded once to 24 bits.
        source_intact: False where the source was damaged and ends where decoding it did.
        before_frames: frames of music before the source.
        after_frames: frames of music after it.
        size_bytes: of the file.
        sha256: of the file.
    """

    sample_rate: int
    channels: int
    container: str
    subtype: str
    source_frames: int
    source_lossless: bool
    source_intact: bool
    before_frames: int
    after_frames: int
    size_bytes: int
    sha256: str

    @property
    def duration_seconds(self) -> float:
        """The length of the whole."""
        return (self.before_frames + self.source_frames + self.after_frames) / self.sample_rate

"""The record of every extended file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedFile:
    """A source with music added before or after it.

    Attributes:
        sample_rate: frames per second, as in the source.
        channels: as in the source.
        container: `WAV`, `RF64`, `AIFF`, `CAF` or `FLAC`.
        subtype: the encoding, as in `Probe`.
        source_frames: how many frames of the source it contains from `before_frames` on, bit for bit; what is lossy as
            it decodes, at 24 bits.
        source_remark: what was not as expected of the source, in sentences; see `AudioReader.remark`.
        before_frames: frames of music before the source.
        after_frames: frames of music after it.
        size_bytes: size of the file.
        sha256: digest of the file, in hexadecimal.
    """

    sample_rate: int
    channels: int
    container: str
    subtype: str
    source_frames: int
    source_remark: str
    before_frames: int
    after_frames: int
    size_bytes: int
    sha256: str

    @property
    def duration_seconds(self) -> float:
        """Duration of the whole file."""
        return (self.before_frames + self.source_frames + self.after_frames) / self.sample_rate

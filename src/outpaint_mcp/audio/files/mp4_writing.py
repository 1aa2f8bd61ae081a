"""Writing AAC and ALAC in MP4 (`.m4a`), with FFmpeg's encoders.

FFmpeg's readers skip as many frames at the beginning as a file's edit list says, but play its last packet to the end
(Debian's 5.1 as well as 8.1). So that a file decodes to exactly its own frames everywhere, silence is put in front of
them until they end where a packet does, and the edit list skips it along with the encoder's delay.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import av
import numpy as np
from av.codec.context import Flags

from outpaint_mcp.audio.files.conversion import STEREO

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")
"""FFmpeg's names of the channel layouts of WAV and FLAC, by channel count; it has their channels in the same order."""
ALAC_CHANNELS = frozenset({1, 2, 3, 5, 6})
"""The channel counts whose layout ALAC has, too."""

_AAC_PACKET_FRAMES, _ALAC_PACKET_FRAMES = 1_024, 4_096
_AAC_LEAST_FRAMES = 513
"""A file of at most half a packet would be empty to FFmpeg's readers; it is padded with silence."""
_ALAC_LEAST_FRAMES = 8
"""With more than two channels, FFmpeg's encoder (8.1) aborts the process at a packet of one or two frames."""


class _Encoding(NamedTuple):
    codec: Literal["aac", "alac"]
    sample_format: str
    dtype: npt.DTypeLike


_ENCODINGS = {
    "AAC": _Encoding("aac", "flt", np.float32),
    "ALAC_16": _Encoding("alac", "s16", np.int16),
    "ALAC_24": _Encoding("alac", "s32", np.int32),
}


class Mp4File:
    """A file of AAC or ALAC, written from first frame to last; the same input gives the same bytes."""

    def __init__(  # noqa: PLR0913 - a file's header
        self, path: Path, sample_rate: int, channels: int, subtype: str, *, frames: int, kbps: float | None
    ) -> None:
        """Create the file.

        Args:
            path: where to write, whatever its suffix.
            sample_rate: frames per second.
            channels: 1 to 8; of ALAC, one of `ALAC_CHANNELS`.
            subtype: `AAC`, `ALAC_16` or `ALAC_24`.
            frames: how many are going to be written. After any other number, the file is of no use.
            kbps: thousands of bits per second of AAC.

        Raises:
            OSError: if the file cannot be written.
        """
        self._encoding = _ENCODINGS[subtype]
        self._layout = LAYOUTS[channels - 1]
        self._channels = channels
        self._expected, self._decoded = frames, _decoded_frames(subtype, channels, frames)
        lead_in = _lead_in(subtype, channels, self._decoded)
        self._next = -lead_in
        self._file = path.open("wb")  # FFmpeg would open the path itself, which a worker may not
        # The edit list is counted in frames.
        options = {"fflags": "+bitexact", "movie_timescale": str(sample_rate)}
        self._container = av.open(self._file, "w", format="ipod", options=options)
        self._stream = self._container.add_stream(self._encoding.codec, rate=sample_rate)
        self._stream.time_base = Fraction(1, sample_rate)
        codec = self._stream.codec_context
        codec.layout, codec.format = self._layout, f"{self._encoding.sample_format}p"
        codec.flags |= Flags.bitexact
        if kbps is not None:
            codec.bit_rate = round(1000 * kbps)
        self._write_silence(lead_in)

    def write(self, block: npt.NDArray[Any]) -> None:
        """Append frames `[frames, channels]`: float32 to AAC, integers in the top bits of int16 or int32 to ALAC.

        Raises:
            OSError: if the file cannot be written.
        """
        values = np.ascontiguousarray(block, self._encoding.dtype).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(values, format=self._encoding.sample_format, layout=self._layout)
        frame.sample_rate = self._stream.codec_context.sample_rate
        frame.pts, frame.time_base = self._next, self._stream.time_base
        self._next += len(block)
        self._encode(frame)

    def close(self) -> None:
        """Finish the file.

        Raises:
            OSError: if the file cannot be written.
        """
        try:
            if 0 < self._next == self._expected:
                self._write_silence(self._decoded - self._next)
                self._encode(None)
            self._container.close()
        except av.FFmpegError as exc:
            raise OSError(exc.errno, exc.strerror) from exc
        finally:
            self._file.close()

    def _write_silence(self, frames: int) -> None:
        if frames:
            self.write(np.zeros((frames, self._channels), self._encoding.dtype))

    def _encode(self, frame: av.AudioFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except av.FFmpegError as exc:
            raise OSError(exc.errno, exc.strerror) from exc


def _decoded_frames(subtype: str, channels: int, frames: int) -> int:
    """How many frames a file decodes to: as many as it was given, but for the very shortest (12 ms of AAC)."""
    if subtype == "AAC":
        return max(frames, _AAC_LEAST_FRAMES)
    return frames if channels <= STEREO else max(frames, _ALAC_LEAST_FRAMES)


def _lead_in(subtype: str, channels: int, frames: int) -> int:
    """How many frames of silence are put in front."""
    if subtype == "AAC":
        return -frames % _AAC_PACKET_FRAMES
    is_risky = channels > STEREO and 0 < frames % _ALAC_PACKET_FRAMES < _ALAC_LEAST_FRAMES
    return _ALAC_LEAST_FRAMES if is_risky else 0

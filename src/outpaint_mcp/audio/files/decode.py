"""Decoding audio files: probing them, and reading every frame in order.

Sample rate and channels are taken from the header, but the length is counted. A truncated or damaged file
counts up to where it can be decoded, which is what a player plays. libsndfile stops reading an MP3 where its
header claims the end; see `mp3`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import soundfile

from outpaint_mcp.audio.files import mp3
from outpaint_mcp.errors import SourceTooLarge, SourceUnreachable, UnsupportedAudio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK_FRAMES = 65_536
"""Frames decoded, converted or written at a time."""

_CONTAINERS = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3"})
"""Formats that hold music. libsndfile's decoders for sampler and laboratory formats never see untrusted files."""
_RATES_HZ = range(4_000, 655_351)
"""From below telephony up to the highest rate that FLAC can represent."""
_MAX_CHANNELS = 8
"""FLAC's maximum."""

VORBIS_ORDER = {
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 4, 5, 3),
    7: (0, 2, 1, 5, 6, 4, 3),
    8: (0, 2, 1, 6, 7, 4, 5, 3),
}
"""Maps the channel order of WAV and FLAC to that of Vorbis (its specification, 4.3.9) and Opus (RFC 7845,
5.1.1.2).

libsndfile does not reorder channels when reading or writing.
"""

_READABLE = "Convert it to WAV, FLAC, MP3, OGG (Vorbis or Opus) or AIFF and try again."
"""Advice for a source that cannot be decoded."""

_SIGNATURES = (
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"<", "a web page or another XML text"),
    (4, b"ftyp", "an MP4 container (M4A, MP4 or MOV)"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM container"),
    (8, b"AVI ", "an AVI video"),
    (8, b"WEBP", "a WebP image"),
    (0, b"\x30\x26\xb2\x75", "a Windows Media file"),
    (0, b"FLV", "a Flash video"),
)
"""Offset, bytes and description of files that are often sent in place of audio."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The header of an audio file.

    Attributes:
        container: libsndfile's name of the file format: `WAV`, `FLAC`, `MP3`, `OGG`, ...
        subtype: its name of the encoding: `PCM_16`, `VORBIS`, ...
        sample_rate: frames per second.
        channels: 1 to 8.
        frames: the claimed length; 0 if the header does not state it.
    """

    container: str
    subtype: str
    sample_rate: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        """The claimed duration."""
        return self.frames / self.sample_rate


class SequentialFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no stubs
    """A sound file read or written from first frame to last, without seeking.

    The base class seeks after every read and write of a seekable file. That is slow, and an MP3 decoder
    restarted that way returns different samples.
    """

    def seekable(self) -> bool:
        """Return False, which keeps the base class from seeking."""
        return False

    def close(self) -> None:
        """Close the file and the stream it was opened on, if any."""
        super().close()
        if isinstance(self.name, io.IOBase):
            self.name.close()


class AudioReader:
    """Decodes an audio file once, from first frame to last; a context manager.

    Attributes:
        probe: the file's header.
        frames: the number of frames decoded so far.
        intact: False once decoding stopped at damage, or at the end of an incomplete MP3.
    """

    def __init__(self, path: Path, *, max_seconds: float = inf) -> None:
        """Open a file.

        Args:
            path: the file.
            max_seconds: the longest duration to decode.

        Raises:
            SourceUnreachable: if the file does not exist or cannot be read.
            UnsupportedAudio: if it is not audio, or has an unsupported sample rate or number of channels.
        """
        self._name = path.name
        self._max_seconds = max_seconds
        self._file, self._stream = _open(path)
        self.probe = _describe(path, self._file)
        self.frames = 0
        self.intact = True
        stored = VORBIS_ORDER.get(self.probe.channels) if self.probe.container == "OGG" else None
        self._order = None if stored is None else np.argsort(stored)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def blocks(self, dtype: npt.DTypeLike) -> Iterator[npt.NDArray[Any]]:
        """Decode to the end in blocks `[frames, channels]`, each overwritten by the next.

        Raises:
            SourceTooLarge: as in `read_into`.
        """
        block = np.empty((BLOCK_FRAMES, self.probe.channels), dtype)
        while count := self.read_into(block):
            yield block[:count]

    def read_into(self, out: npt.NDArray[Any]) -> int:
        """Decode the next frames into a buffer.

        Args:
            out: `[frames, channels]`.

        Returns:
            The number of frames decoded; 0 at the end.

        Raises:
            SourceTooLarge: if more than `max_seconds` were decoded, whatever the header claims.
        """
        if not self.intact or not len(out):
            return 0
        try:
            count = len(self._file.read(out=out))
        except soundfile.LibsndfileError:
            # The frames before the damage were decoded; the file position gives their number.
            self.intact = False
            count = self._file.tell() - self.frames
        if self._order is not None:
            out[:count] = out[:count, self._order]
        self.frames += count
        if not count and self._stream and self._stream.is_broken(self.frames):
            self.intact = False
        if self.frames > self._max_seconds * self.probe.sample_rate:
            raise SourceTooLarge(
                f"{self._name} is longer than the limit of {self._max_seconds:g} seconds. "
                "Shorten it and try again."
            )
        return count


def probe(path: Path) -> Probe:
    """Read the header of a file and check that at least one frame can be decoded.

    Raises:
        SourceUnreachable: if the file does not exist or cannot be read.
        UnsupportedAudio: if it is not supported audio, or contains no frames.
    """
    with AudioReader(path) as source:
        if not source.read_into(np.empty((1, source.probe.channels), np.float32)):
            raise UnsupportedAudio(f"{path.name} contains no audio that can be decoded. {_READABLE}")
        return source.probe


def _open(path: Path) -> tuple[SequentialFile, mp3.FrameScan | None]:
    """Open a file so that all of it is decoded; for an MP3, also return the scan of its frames."""
    try:
        _recognise(path)
        decoder = SequentialFile(path)
        stream = mp3.scan(path) if decoder.format == "MP3" else None
        if stream and stream.needs_repair(decoder.frames):
            decoder.close()
            decoder = SequentialFile(stream.repaired(path))
    except OSError as exc:
        raise SourceUnreachable(f"{path.name} cannot be read: {exc.strerror}.") from exc
    except (soundfile.LibsndfileError, TypeError) as exc:  # TypeError: a headerless `.raw`
        raise UnsupportedAudio(f"{path.name} is not audio that can be decoded. {_READABLE}") from exc
    return decoder, stream


def _recognise(path: Path) -> None:
    """Reject empty files and well-known formats that are not audio, by name."""
    with path.open("rb") as file:
        opening = file.read(16)
    if not opening:
        raise UnsupportedAudio(f"{path.name} is empty (0 bytes). Check how it was saved or uploaded.")
    for offset, signature, name in _SIGNATURES:
        if opening.startswith(signature, offset):
            raise UnsupportedAudio(f"{path.name} is {name}, not audio that can be decoded. {_READABLE}")


def _describe(path: Path, file: SequentialFile) -> Probe:
    rate, channels = file.samplerate, file.channels
    problem = None
    if (
        file.format not in _CONTAINERS
    ):  # includes RAW, guessed from the suffix: any text would decode to noise
        problem = f"has an unsupported format ({file.format})"
    elif rate not in _RATES_HZ:
        problem = f"has a sample rate of {rate} Hz; supported are {_RATES_HZ[0]} to {_RATES_HZ[-1]} Hz"
    elif not 1 <= channels <= _MAX_CHANNELS:
        problem = f"has {channels} channels; supported are 1 to {_MAX_CHANNELS}"
    if problem:
        file.close()
        raise UnsupportedAudio(f"{path.name} {problem}. {_READABLE}")
    unknown = file.frames >= np.iinfo(np.int64).max
    return Probe(file.format, file.subtype, rate, channels, 0 if unknown else file.frames)

"""Decoding a source: what it is, and every frame of it in order.

Headers are believed about sample rate and channels but not about length: that is counted. A source
that breaks off or is damaged counts up to where it can be decoded, which is all that a player plays.
libsndfile itself stops where an MP3's header claims that it ends; see the module `mp3`.
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
"""Frames that are decoded, converted or written at a time."""

_CONTAINERS = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3"})
"""Where music is found. libsndfile's decoders of samplers' and laboratories' formats see no files from outside."""
_RATES_HZ = range(4_000, 655_351)
"""From below telephony to the highest rate that FLAC can name."""
_MAX_CHANNELS = 8
"""As many as FLAC holds."""

VORBIS_ORDER = {
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 4, 5, 3),
    7: (0, 2, 1, 5, 6, 4, 3),
    8: (0, 2, 1, 6, 7, 4, 5, 3),
}
"""The channels of WAV and FLAC in the order of Vorbis (its specification, 4.3.9) and Opus (RFC 7845, 5.1.1.2).

libsndfile reads and writes them as they come.
"""

_READABLE = "Convert it to WAV, FLAC, MP3, OGG (Vorbis or Opus) or AIFF and try again."
"""What to do with a source that cannot be decoded."""

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
"""Offset, bytes and name of what is sent in place of audio most often."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a source's header says.

    Attributes:
        container: libsndfile's name of the file format: `WAV`, `FLAC`, `MP3`, `OGG`, ...
        subtype: its name of the encoding inside: `PCM_16`, `VORBIS`, ...
        sample_rate: frames per second.
        channels: 1 to 8.
        frames: the length that the header claims; 0 where it does not say.
    """

    container: str
    subtype: str
    sample_rate: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        """The claimed length in seconds."""
        return self.frames / self.sample_rate


class StraightFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no stubs
    """A sound file that runs from its first frame to its last and is never repositioned.

    The base class seeks after every read and write of a seekable file. That costs time, and an MP3
    decoder that is restarted like that returns other samples than one that runs through.
    """

    def seekable(self) -> bool:
        """Keep the base class from seeking."""
        return False

    def close(self) -> None:
        """Close it, and the stream that it was opened on if there was one."""
        super().close()
        if isinstance(self.name, io.IOBase):
            self.name.close()


class Source:
    """A source decoded once, from its first frame to its last; a context manager.

    Attributes:
        probe: what its header says.
        frames: how many frames were decoded so far.
        intact: False once the decoder has stopped at damage, or at the end of an MP3 that lacks something.
    """

    def __init__(self, path: Path, *, max_seconds: float = inf) -> None:
        """Open `path`.

        Raises:
            SourceUnreachable: if there is no such file or it may not be read.
            UnsupportedAudio: if it is not audio, or has more channels or another rate than can be served.
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
        """Decode to the end; each block is overwritten by the next. Raises as `read_into` does."""
        block = np.empty((BLOCK_FRAMES, self.probe.channels), dtype)
        while count := self.read_into(block):
            yield block[:count]

    def read_into(self, out: npt.NDArray[Any]) -> int:
        """Decode the next frames into `out` `[frames, channels]` and return how many came; 0 at the end.

        Raises:
            SourceTooLarge: once more than `max_seconds` were decoded, whatever the header claims.
        """
        if not self.intact or not len(out):
            return 0
        try:
            count = len(self._file.read(out=out))
        except soundfile.LibsndfileError:
            # What was decoded ahead of the damage is in place all the same; the position tells how much.
            self.intact = False
            count = self._file.tell() - self.frames
        if self._order is not None:
            out[:count] = out[:count, self._order]
        self.frames += count
        if not count and self._stream and self._stream.is_broken(self.frames):
            self.intact = False
        if self.frames > self._max_seconds * self.probe.sample_rate:
            raise SourceTooLarge(
                f"{self._name} lasts longer than the {self._max_seconds:g} seconds that a source may last. "
                "Cut it shorter and try again."
            )
        return count


def probe(path: Path) -> Probe:
    """Read the header of `path` and see that something can be decoded.

    Raises:
        SourceUnreachable: if there is no such file or it may not be read.
        UnsupportedAudio: if it is not audio that can be served, or holds not a single frame.
    """
    with Source(path) as source:
        if not source.read_into(np.empty((1, source.probe.channels), np.float32)):
            raise UnsupportedAudio(f"{path.name} holds no audio that can be decoded. {_READABLE}")
        return source.probe


def _open(path: Path) -> tuple[StraightFile, mp3.Stream | None]:
    """Open a source so that all of it is decoded; also tell what was counted in an MP3."""
    try:
        _recognise(path)
        decoder = StraightFile(path)
        stream = mp3.survey(path) if decoder.format == "MP3" else None
        if stream and stream.needs_mending(decoder.frames):
            decoder.close()
            decoder = StraightFile(stream.mended(path))
    except OSError as exc:
        raise SourceUnreachable(f"{path.name} cannot be read: {exc.strerror}.") from exc
    except (soundfile.LibsndfileError, TypeError) as exc:  # TypeError: a headerless `.raw`
        raise UnsupportedAudio(f"{path.name} is not audio that can be decoded. {_READABLE}") from exc
    return decoder, stream


def _recognise(path: Path) -> None:
    """Refuse by name what is known not to be audio."""
    with path.open("rb") as file:
        opening = file.read(16)
    if not opening:
        raise UnsupportedAudio(f"{path.name} is empty: no bytes at all. Check how it was saved or uploaded.")
    for offset, signature, name in _SIGNATURES:
        if opening.startswith(signature, offset):
            raise UnsupportedAudio(f"{path.name} is {name}, not audio that can be decoded. {_READABLE}")


def _describe(path: Path, file: StraightFile) -> Probe:
    rate, channels = file.samplerate, file.channels
    problem = None
    if file.format not in _CONTAINERS:  # RAW among them, guessed from a name, when any text would be noise
        problem = f"is of a kind ({file.format}) that is not served"
    elif rate not in _RATES_HZ:
        problem = f"has {rate} Hz; {_RATES_HZ[0]} to {_RATES_HZ[-1]} Hz can be served"
    elif not 1 <= channels <= _MAX_CHANNELS:
        problem = f"has {channels} channels; 1 to {_MAX_CHANNELS} can be served"
    if problem:
        file.close()
        raise UnsupportedAudio(f"{path.name} {problem}. {_READABLE}")
    unknown = file.frames >= np.iinfo(np.int64).max
    return Probe(file.format, file.subtype, rate, channels, 0 if unknown else file.frames)

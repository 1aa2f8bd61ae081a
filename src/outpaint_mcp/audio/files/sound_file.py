"""Decoding by libsndfile: WAV, AIFF, AU, CAF, MP3, and OGG with Vorbis or Opus."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from outpaint_mcp.audio.files.decoder import NotDecodable, Probe

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

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

_CONTAINERS = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "OGG", "MP3"})
"""Formats that hold music. libsndfile's decoders for sampler and laboratory formats never see untrusted files."""


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


class SoundFileDecoder:
    """Decodes a file that libsndfile reads.

    Attributes:
        probe: as the header has it.
        intact: False once decoding stopped at damage.
    """

    def __init__(
        self,
        source: Path | io.RawIOBase,
        *,
        stated: int = 0,
        layout: int = 0,
        in_vorbis_order: bool = False,
        low_bits: int = 0,
    ) -> None:
        """Open a file.

        Args:
            source: the file, or a stream, which is closed with the decoder.
            stated: the length that the header states; 0 for none.
            layout: as in `Probe`.
            in_vorbis_order: whether channels are stored in the order of Vorbis.
            low_bits: how many bits below the top of a 32-bit integer values of 24 bits lie.

        Raises:
            OSError: the file cannot be read.
            soundfile.LibsndfileError: it is no audio that libsndfile reads.
            NotDecodable: it is, but not of a format that holds music.
            TypeError: it is taken for headerless.
        """
        self._file = file = SequentialFile(source)
        # RAW is guessed from the suffix: any text would decode to noise.
        if file.format not in _CONTAINERS:
            file.close()
            raise NotDecodable(f"has an unsupported format ({file.format})")
        frames = 0 if file.frames >= np.iinfo(np.int64).max else file.frames
        self.probe = Probe(
            file.format,
            "PCM_24" if low_bits else file.subtype,
            file.samplerate,
            file.channels,
            frames,
            stated_frames=stated if stated > frames else 0,
            layout=layout,
            is_ordinary=not low_bits,
        )
        self.intact = True
        self._low_bits = low_bits
        self._at = 0
        stored = VORBIS_ORDER.get(file.channels) if in_vorbis_order else None
        self._order = None if stored is None else np.argsort(stored)

    def read_into(self, out: npt.NDArray[Any]) -> int:
        """See `Decoder.read_into`."""
        if not self.intact:
            return 0
        try:
            count = len(self._file.read(out=out))
        except soundfile.LibsndfileError:
            # The frames before the damage were decoded; the file position gives their number.
            self.intact = False
            count = self._file.tell() - self._at
        self._at += count
        if self._order is not None:
            out[:count] = out[:count, self._order]
        if self._low_bits:
            out[:count] *= out.dtype.type(1 << self._low_bits)
        return count

    def close(self) -> None:
        """See `Decoder.close`."""
        self._file.close()

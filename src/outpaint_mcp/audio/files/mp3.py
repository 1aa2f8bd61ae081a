"""The frames of an MP3, counted independently of its claimed length.

libsndfile reads an MP3 no further than its Xing tag says or, without one, than the size of the first frame
suggests. Joined recordings, recordings continued after the tag was written, and untagged files of variable
bit rate would lose their end. A file with Fraunhofer's VBRI header counts as untagged, because the decoder
(mpg123) takes that header for a silent frame. So the frames are counted here, and a tag with the true count
is put in front where needed.

FFmpeg is no substitute. It decodes well-formed files to the same samples, but leaves a hole where a too small
count in the tag ends, rejects APE tags between joined parts, and does not report missing frames.

Header: ISO/IEC 11172-3, 2.4.2.3. Tag: Xing's "VBR header SDK" and LAME's "Mp3 Info Tag rev 1": a silent frame
that contains, after the side information, the word Xing or Info, 32 bits of flags and, depending on these, 32
bits each for the number of frames that follow and the number of bytes from the tag's own beginning; delay and
padding come later.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _typeshed import WriteableBuffer

_KBPS_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_VERSIONS = {3: (1, 144_000, _KBPS_1), 2: (2, 72_000, _KBPS_2), 0: (4, 72_000, _KBPS_2)}
"""MPEG 1, 2 and 2.5 by code: sample-rate divisor, slots per kbit/s and Hz, bit rates."""
_RATES_HZ = (44_100, 48_000, 32_000)
_PLACES = {(True, False): 36, (True, True): 21, (False, False): 21, (False, True): 13}
"""Offset of the tag's word in its frame, by (is MPEG 1, is mono)."""
_MONO = 3
"""The channel mode of mono in a header; all other modes have two channels."""
_HAS_FRAMES, _HAS_BYTES = 1, 2
"""Flags of the tag."""
_MARK = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]|ID3[^\xff]{2}.([\0-\x7f]{4})", re.DOTALL)
"""The start of a layer III frame, or an ID3v2 tag with its size."""
_REACH_BYTES = 65_536
"""How far to search for the next frame after other data."""
_MOST_TRIMMED = 2 * 0xFFF + 529
"""Most samples removed by the tag's delay and padding, 12 bits each, and mpg123's own delay."""
_SPARE_FRAMES = 2
"""Covers the padding that LAME writes, and one frame that only the decoder counts as a frame."""


@dataclass(frozen=True, slots=True)
class FrameScan:
    """An MP3's frames, counted and as claimed.

    Attributes:
        runs: byte ranges (start, stop) of contiguous frames.
        opening: the first frame.
        tagged: whether the first frame is a tag.
        frames: the number of complete frames, without the tag.
        claimed_frames: the tag's count; None if it has none.
        claimed_bytes: the tag's size, from the tag's own beginning; None if it has none.
    """

    runs: list[tuple[int, int]]
    opening: bytes
    tagged: bool
    frames: int
    claimed_frames: int | None
    claimed_bytes: int | None

    def needs_repair(self, samples: int) -> bool:
        """Whether libsndfile would stop too early or at foreign data.

        At foreign data it gives up and discards what it decoded in the same call.

        Args:
            samples: samples per channel that libsndfile expects.
        """
        if self._is_incomplete or len(self.runs) > 1:
            return True
        if self.claimed_frames is not None:
            return self.frames > self.claimed_frames
        return self.frames * self._frame_samples > samples

    def is_broken(self, samples: int) -> bool:
        """Whether frames are missing if `samples` per channel were decoded in total."""
        return self._is_incomplete or samples < self.frames * self._frame_samples - _MOST_TRIMMED

    def repaired(self, path: Path) -> SplicedFile:
        """Open the frames alone, behind a tag that lets the decoder run to the end.

        The tag's delay and padding are preserved. If it was written for fewer bytes, its padding does not
        belong to this end, and a slightly larger count prevents the end from being trimmed. If there was no
        tag, the new one makes mpg123 skip the 529 samples of its own delay, as it does with every tag.
        """
        exact = (self.claimed_bytes or 0) >= self._bytes
        frames = self.frames + (0 if exact else _SPARE_FRAMES)
        count = max(frames, self.claimed_frames or 0).to_bytes(4, "big")
        place = _place(self.opening)
        if self.claimed_frames is not None:
            tag = self.opening[: place + 8] + count + self.opening[place + 12 :]
        else:
            # the eighth bit rate makes a frame long enough for a tag, whatever the first frame's rate is
            header = self.opening[:2] + bytes([self.opening[2] & 0xF | 0x80]) + self.opening[3:4]
            tag = header.ljust(place, b"\0") + b"Info" + _HAS_FRAMES.to_bytes(4, "big") + count
            tag = tag.ljust(_frame_bytes(header), b"\0")
        (start, stop), *others = self.runs
        return SplicedFile(path, tag, [(start + self.tagged * len(self.opening), stop), *others])

    @property
    def _is_incomplete(self) -> bool:
        """Whether the tag claims more frames, and a gap or a larger claimed size confirms that they are missing.

        Otherwise its count is wrong, or includes the tag itself.
        """
        more_bytes = (self.claimed_bytes or 0) > self._bytes
        return (self.claimed_frames or 0) > self.frames and (more_bytes or len(self.runs) > 1)

    @property
    def _bytes(self) -> int:
        return self.runs[-1][1] - self.runs[0][0]

    @property
    def _frame_samples(self) -> int:
        return 1152 if _is_mpeg_1(self.opening) else 576


class SplicedFile(io.RawIOBase):
    """A read-only stream over parts of a file, behind a new beginning."""

    def __init__(self, path: Path, opening: bytes, runs: list[tuple[int, int]]) -> None:
        """Concatenate `opening` and the byte ranges `runs` of `path`."""
        self._opening = opening
        self._runs = runs
        *self._starts, self._size = accumulate((stop - start for start, stop in runs), initial=len(opening))
        self._at = 0
        self._file = path.open("rb")

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read the next bytes, at most to the end of a part."""
        with memoryview(buffer) as out:
            if self._at < len(self._opening):
                part = self._opening[self._at : self._at + len(out)]
                out[: len(part)] = part
                count = len(part)
            else:
                run = bisect_right(self._starts, self._at) - 1
                start, stop = self._runs[run]
                at = self._file.seek(start + self._at - self._starts[run])
                count = self._file.readinto(out[: max(0, stop - at)])
        self._at += count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset, as with any file."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        """Return the current offset."""
        return self._at

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def scan(path: Path) -> FrameScan | None:
    """Count the frames of an MP3.

    Returns:
        None if it has no layer III frames, or only free-format ones.

    Raises:
        OSError: if the file cannot be read.
    """
    frames, opening = 0, b""
    runs: list[tuple[int, int]] = []
    with path.open("rb") as file:
        for start, stop in _spans(file):
            if not frames:
                file.seek(start)
                opening = file.read(stop - start)
            if runs and runs[-1][1] == start:
                runs[-1] = runs[-1][0], stop
            else:
                runs.append((start, stop))
            frames += 1
    if not frames:
        return None
    place = _place(opening)
    fields = (int.from_bytes(opening[at : at + 4]) for at in range(place + 4, len(opening) - 3, 4))
    tagged = opening[place : place + 4] in {b"Xing", b"Info"}
    flags = next(fields, 0) if tagged else 0
    claimed_frames = next(fields, None) if flags & _HAS_FRAMES else None
    claimed_bytes = next(fields, None) if flags & _HAS_BYTES else None
    return FrameScan(runs, opening, tagged, frames - tagged, claimed_frames, claimed_bytes)


def _spans(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield the byte range of each complete frame."""
    size = file.seek(0, io.SEEK_END)
    at: int | None = 0
    while at is not None:
        file.seek(at)
        end = at + _frame_bytes(file.read(3))
        if at < end <= size:
            yield at, end
            at = end
        else:
            at = _resume(file, at)


def _resume(file: BinaryIO, at: int) -> int | None:
    """Find where frames continue after other data: at two consecutive frames, or behind an ID3v2 tag."""
    file.seek(at)
    ahead = file.read(_REACH_BYTES)
    begin = behind_tag = 0
    while mark := _MARK.search(ahead, begin):
        if mark[1]:
            sizes = zip(mark[1], (21, 14, 7, 0), strict=True)
            begin = behind_tag = mark.end() + sum(int(byte) << shift for byte, shift in sizes)
            if _frame_bytes(ahead[begin : begin + 3]):
                return at + begin
        else:
            start, begin = mark.span()
            following = start + _frame_bytes(ahead[start : start + 3])
            if following > start and _frame_bytes(ahead[following : following + 3]):
                return at + start
    return at + behind_tag if behind_tag else None


def _frame_bytes(header: bytes) -> int:
    """Length of the layer III frame with this header; 0 if it is no such frame, or free format."""
    if not _MARK.match(header) or len(header) < 3:  # noqa: PLR2004 - the bytes that hold the length
        return 0
    index, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    divisor, slots, bit_rates = _VERSIONS[header[1] >> 3 & 3]
    if not 1 <= index <= len(bit_rates) or rate >= len(_RATES_HZ):
        return 0
    return slots * bit_rates[index - 1] * divisor // _RATES_HZ[rate] + padding


def _is_mpeg_1(frame: bytes) -> bool:
    return bool(frame[1] & 8)


def _place(frame: bytes) -> int:
    return _PLACES[_is_mpeg_1(frame), frame[3] >> 6 == _MONO]

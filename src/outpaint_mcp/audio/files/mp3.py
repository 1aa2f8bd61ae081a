"""The frames of an MP3, counted independently of its claimed length.

libsndfile reads an MP3 no further than its Xing tag says or, without one, than the size of the first frame
suggests, and at whatever is no frame it discards what it has decoded. Joined recordings, recordings continued after
the tag was written, and untagged files of variable bit rate would lose their end. A file with Fraunhofer's VBRI header
counts as untagged, because the decoder (mpg123) takes that header for a silent frame. So the frames are counted here,
and a tag with the true count is put in front where needed. Frames of another rate, or mono ones among stereo ones, are
a part of their own, since libsndfile gives up where these change.

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
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from outpaint_mcp.audio.files.spliced_file import SplicedFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
_REACH_BYTES, _MOST_REACH_BYTES = 65_536, 1 << 24
"""How much is searched at a time for the next frame after other data, such as a cover, and how much at most."""
_LONGEST_FRAME_BYTES = 2_048
"""Longer than any frame, and the header that follows it."""
_FEWEST_FRAMES = 4
"""Of a part beside others: fewer are what happens to look like frames in foreign data."""
MOST_PARTS = 500
"""How many parts are decoded."""
_MOST_MARKS = 200_000
"""How many marks are looked at that no frames follow; a file full of them takes minutes to walk through."""
_MOST_TRIMMED = 2 * 0xFFF + 529
"""Most samples removed by the tag's delay and padding, 12 bits each, and mpg123's own delay."""
_DECODER_DELAY = 529
"""Samples that mpg123 skips beside the tag's delay."""
_LAME_DELAY_AT = 21
"""Where delay and padding stand, 12 bits each, behind the tag's own fields."""
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

    @property
    def needs_repair(self) -> bool:
        """Whether libsndfile would stop too early, or at foreign data, where it discards what it has decoded."""
        return self._is_incomplete or len(self.runs) > 1 or self.claimed_frames != self.frames

    @property
    def stated_samples(self) -> int:
        """The length by the tag, where that is another one; 0 where it is right, or counts itself."""
        claimed = self.claimed_frames or 0
        return 0 if claimed - self.frames in {0, 1} else claimed * self._frame_samples

    def samples(self, expected: int) -> int:
        """The length, given what libsndfile expects of the file, or of the repaired one."""
        silent = self.claimed_frames is None
        surplus = self._count - self.frames - silent if self.needs_repair else 0
        return max(0, expected - surplus * self._frame_samples)

    def is_broken(self, samples: int) -> bool:
        """Whether frames are missing if `samples` per channel were decoded in total."""
        return self._is_incomplete or samples < self.frames * self._frame_samples - _MOST_TRIMMED

    def repaired(self, path: Path) -> SplicedFile:
        """Open the frames alone, behind a tag that lets the decoder run to the end.

        The tag's delay and padding are preserved. If it was written for fewer bytes, its padding does not
        belong to this end, and a slightly larger count prevents the end from being trimmed. With a tag, mpg123 skips
        the 529 samples of its own delay, which it plays without one: if there was no tag, a silent frame is put in
        front, and the new tag has a delay by which that frame, and nothing else, is skipped.
        """
        place, count = _place(self.opening), self._count.to_bytes(4, "big")
        if self.claimed_frames is not None:
            tag = self.opening[: place + 8] + count + self.opening[place + 12 :]
        else:
            fields = _HAS_FRAMES.to_bytes(4, "big") + count
            delay = (-_DECODER_DELAY) % self._frame_samples
            tag = _silent_frame(
                self.opening,
                b"Info" + fields + b"LAME".ljust(_LAME_DELAY_AT, b"\0") + (delay << 12).to_bytes(3, "big"),
            ) + _silent_frame(self.opening)
        (start, stop), *others = self.runs
        return SplicedFile(path, tag, [(start + self.tagged * len(self.opening), stop), *others])

    def kbit_per_second(self, sample_rate: int) -> float | None:
        """The mean bit rate of the frames, without a tag; None where there are none."""
        if not self.frames:
            return None
        audio_bytes = sum(stop - start for start, stop in self.runs) - self.tagged * len(self.opening)
        return 8 * audio_bytes * sample_rate / (self.frames * self._frame_samples) / 1000

    @property
    def _is_incomplete(self) -> bool:
        """Whether the tag claims more frames, and a gap or a larger claimed size confirms that they are missing.

        Otherwise its count is wrong, or includes the tag itself.
        """
        more_bytes = (self.claimed_bytes or 0) > self._bytes
        return (self.claimed_frames or 0) > self.frames and (more_bytes or len(self.runs) > 1)

    @property
    def _count(self) -> int:
        """The count in a repaired tag."""
        exact = (self.claimed_bytes or 0) >= self._bytes
        frames = self.frames + (0 if exact else _SPARE_FRAMES) + (self.claimed_frames is None)
        return max(frames, self.claimed_frames or 0)

    @property
    def _bytes(self) -> int:
        return self.runs[-1][1] - self.runs[0][0]

    @property
    def _frame_samples(self) -> int:
        return 1152 if _is_mpeg_1(self.opening) else 576


def scan(path: Path) -> list[FrameScan]:
    """Count the frames of an MP3.

    Returns:
        Its parts: where the rate changes, or mono to stereo, another one begins; at most one more than `MOST_PARTS`.
        Empty if it has no layer III frames, or only free-format ones.

    Raises:
        OSError: if the file cannot be read.
    """
    parts: list[_Part] = []
    with path.open("rb") as file:
        for start, stop, form in _spans(file):
            if not parts or parts[-1].form != form:
                parts.append(_Part(form, []))
            part = parts[-1]
            part.frames += 1
            if part.runs and part.runs[-1][1] == start:
                part.runs[-1] = part.runs[-1][0], stop
            else:
                part.runs.append((start, stop))
            if part.frames == 1:
                part.opening = start, stop
        likely = [part for part in parts if part.frames >= _FEWEST_FRAMES] or parts
        return [_describe(file, part) for part in likely[: MOST_PARTS + 1]]


@dataclass(slots=True)
class _Part:
    form: bytes
    runs: list[tuple[int, int]]
    frames: int = 0
    opening: tuple[int, int] = (0, 0)


def _describe(file: BinaryIO, part: _Part) -> FrameScan:
    start, stop = part.opening
    file.seek(start)
    opening = file.read(stop - start)
    place = _place(opening)
    fields = (int.from_bytes(opening[at : at + 4]) for at in range(place + 4, len(opening) - 3, 4))
    tagged = opening[place : place + 4] in {b"Xing", b"Info"}
    flags = next(fields, 0) if tagged else 0
    claimed_frames = next(fields, None) if flags & _HAS_FRAMES else None
    claimed_bytes = next(fields, None) if flags & _HAS_BYTES else None
    return FrameScan(part.runs, opening, tagged, part.frames - tagged, claimed_frames, claimed_bytes)


def _spans(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Yield the byte range of each complete frame, and what it has in common with those that can follow it."""
    size = file.seek(0, io.SEEK_END)
    tries = iter(range(_MOST_MARKS))
    at: int | None = 0
    while at is not None:
        file.seek(at)
        header = file.read(4)
        end = at + _frame_bytes(header)
        if at < end <= size:
            yield at, end, bytes((header[1] & 0x18, header[2] & 0x0C, header[3] >> 6 == _MONO))
            at = end
        else:
            at = _resume(file, at, tries)


def _resume(file: BinaryIO, at: int, tries: Iterator[int]) -> int | None:
    """Find where frames continue after other data: at two consecutive frames, or behind an ID3v2 tag.

    Each mark takes one of the tries; once there are none left, nothing continues.
    """
    for place in range(at, at + _MOST_REACH_BYTES, _REACH_BYTES - _LONGEST_FRAME_BYTES):
        file.seek(place)
        ahead = file.read(_REACH_BYTES)
        found = _resume_within(ahead, place, tries)
        if found is not None or len(ahead) < _REACH_BYTES:
            return found
    return None


def _resume_within(ahead: bytes, at: int, tries: Iterator[int]) -> int | None:
    begin = behind_tag = 0
    while next(tries, None) is not None and (mark := _MARK.search(ahead, begin)):
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


def _silent_frame(like: bytes, content: bytes = b"") -> bytes:
    """A frame of silence, or a tag, as short as has room for its content behind the side information."""
    place = _place(like)
    for index in range(1, 15):
        # without a checksum, which the first frame may have
        header = bytes((like[0], like[1] | 1, index << 4 | like[2] & 0x0D, like[3]))
        size = _frame_bytes(header)
        if size >= place + len(content):
            break
    return (header.ljust(place, b"\0") + content).ljust(size, b"\0")


def _is_mpeg_1(frame: bytes) -> bool:
    return bool(frame[1] & 8)


def _place(frame: bytes) -> int:
    return _PLACES[_is_mpeg_1(frame), frame[3] >> 6 == _MONO]

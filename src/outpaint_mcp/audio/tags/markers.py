"""What a recording says of places in it (loops, cues, markers, the time of its first frame), moved to a longer file.

Chunks `smpl`, `cue ` and `adtl`: "Multimedia Data Standards Update", 1994; `bext`: EBU Tech 3285; `iXML`:
ixml.info, specification 3.0; `MARK` and `INST`: Apple's "Audio Interchange File Format: AIFF", 1989.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

from outpaint_mcp.audio.files import chunks
from outpaint_mcp.audio.tags.fields import LOOPS as LOOP_TAGS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from outpaint_mcp.audio.layout import Preserved

_MOST_BYTES = 1 << 20
"""Larger chunks are left out; this has room for 40,000 cues."""
_NUMBERS = 2**32
_LOOPS, _CUES, _POINT_BYTES = (36, 28), (4, 0), 24
"""Where a chunk's loops or cues are, and their number; the size of either."""
_BEXT_BYTES, _VERSION = 602, 346
_REFERENCE, _UMID, _LOUDNESS = slice(338, 346), slice(348, 412), slice(412, 422)
"""Parts of `bext`: the time of the first frame, who the file is, how loud it is."""
_UNKNOWN_LOUDNESS = struct.pack("<h", 0x7FFF) * 5
_SYNC_POINTS = b"<SYNC_POINT_LIST>", b"</SYNC_POINT_LIST>"
_TIMES = (
    (b"TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_HI", b"TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO"),
    (b"BWF_TIME_REFERENCE_HIGH", b"BWF_TIME_REFERENCE_LOW"),
)
"""iXML's times of the first frame, each in two numbers of 32 bits."""


@dataclass(slots=True)
class Placement:
    """Where the frames of a source are in another file.

    Attributes:
        preserved: the stretches of the source that are there, in order; none where its frames are at another rate.
        lost: what has no place in the other file, in words.
    """

    preserved: Sequence[Preserved]
    lost: dict[str, None] = field(default_factory=dict)

    def shift(self, start: int, stop: int, what: str) -> int | None:
        """How much later a stretch of the source begins in the other file; None, and noted, if not all is there."""
        for each in self.preserved:
            shift = each.at_frame - each.start
            if each.start <= start <= stop <= each.stop and stop + shift < _NUMBERS:
                return shift
        self.lost[f"{what} whose places are not in this file"] = None
        return None

    def first_time(self, time: int) -> int:
        """The other file's time of day, given the source's; both of the first frame, in frames, 0 if unknown."""
        moved = -1
        if self.preserved:
            moved = time - (self.preserved[0].at_frame - self.preserved[0].start)
        if time and moved < 0:
            self.lost["the time of day of its first frame, which is not known of this file's"] = None
        return max(0, moved) if time else 0


def move_loop_tags(fields: dict[str, list[str]], place: Placement) -> dict[str, list[str]]:
    """Return a recording's tags in which those of `tags.LOOPS` are moved, or left out."""
    loop = {
        name: int(fields[name][0])
        for name in LOOP_TAGS
        if re.fullmatch(r"\d{1,12}", fields.get(name, [""])[0])
    }
    others = {name: values for name, values in fields.items() if name not in LOOP_TAGS}
    if not loop:
        return others
    start = loop.setdefault("loopstart", 0)
    stop = max(start, loop.get("loopend", start + loop.get("looplength", 0)))
    shift = place.shift(start, stop, "loop points")
    if shift is None:
        return others
    return others | {name: [str(at + shift * (name != "looplength"))] for name, at in loop.items()}


def carry_markers(source: Path, destination: Path, place: Placement, *, is_full: bool) -> list[str]:
    """Append the chunks of a source that mark places in it, moved, to a file of the same kind.

    Args:
        source: any file.
        destination: any file; WAV and AIFF get those of their own kind.
        place: where the source's frames are in it.
        is_full: whether the destination cannot grow.

    Returns:
        What the destination has no room for, in words.

    Raises:
        OSError: if a file cannot be read or written.
    """
    with source.open("rb") as file:
        kind = file.read(4)
        found = _read_chunks(file) if kind in chunks.MARKS else {}
    if not found:
        return []
    order = chunks.byte_order(kind)
    with destination.open("r+b") as file:
        if is_full or file.read(4) != (chunks.FORM if order == "big" else chunks.RIFF):
            if not _points(found.get(b"smpl", b""), *_LOOPS):
                found.pop(b"smpl", None)
            return [*dict.fromkeys(words for name, (words, _) in _KINDS.items() if name in found)]
        moved = {name: move(found[name], place) for name, (_, move) in _KINDS.items() if name in found}
        if labels := found.get(b"LIST"):
            moved[b"LIST"] = _moved_labels(labels, moved.get(b"cue ", b""))
        if any(what.startswith("markers") for what in place.lost):
            moved.pop(b"INST", None)  # its loops lie between markers
        added = [chunks.pack(name, content, order) for name, content in moved.items() if content]
        if added:
            chunks.append(file, b"".join(added))
    return []


def _read_chunks(file: BinaryIO) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for chunk in chunks.walk(file):
        if chunk.name in found or (chunk.name not in _KINDS and chunk.name != b"LIST"):
            continue
        content = chunks.read(file, chunk, _MOST_BYTES)
        if content and (chunk.name != b"LIST" or content.startswith(b"adtl")):
            found[chunk.name] = content
    return found


def _points(content: bytes, first: int, count_at: int) -> list[bytes]:
    """The loops or cues of a chunk, as many as it claims and as are there."""
    count = int.from_bytes(content[count_at : count_at + 4], "little")
    ends = range(first + _POINT_BYTES, len(content) + 1, _POINT_BYTES)[:count]
    return [content[end - _POINT_BYTES : end] for end in ends]


def _moved_loops(content: bytes, place: Placement) -> bytes:
    loops = []
    for loop in _points(content, *_LOOPS):
        start, stop = struct.unpack_from("<2I", loop, 8)
        if (shift := place.shift(start, stop, "loop points")) is not None:
            loops.append(loop[:8] + struct.pack("<2I", start + shift, stop + shift) + loop[16:])
    if len(content) < _LOOPS[0]:
        return b""
    return content[: _LOOPS[1]] + struct.pack("<2I", len(loops), 0) + b"".join(loops)


def _moved_cues(content: bytes, place: Placement) -> bytes:
    cues = []
    for cue in _points(content, *_CUES):
        at = max(struct.unpack("<I12xI", cue[4:]))  # some programs write but one of the two
        if (shift := place.shift(at, at, "cue points")) is not None:
            moved = struct.pack("<I", at + shift)
            cues.append(cue[:4] + moved + cue[8:20] + moved)
    return struct.pack("<I", len(cues)) + b"".join(cues) if cues else b""


def _moved_labels(content: bytes, cues: bytes) -> bytes:
    """The names, notes and lengths of those cues that are left."""
    left = {cue[:4] for cue in _points(cues, *_CUES)}
    file, labels = BytesIO(content), []
    for chunk in chunks.walk(file, first=4):
        text = chunks.read(file, chunk, _MOST_BYTES)
        if text[:4] in left:
            labels.append(chunks.pack(chunk.name, text, "little"))
    return b"adtl" + b"".join(labels) if labels else b""


def _moved_broadcast(content: bytes, place: Placement) -> bytes:
    """What is true of the longer file: neither the identity of the source, nor its loudness."""
    if len(content) < _BEXT_BYTES:
        return b""
    moved = bytearray(content)
    time = place.first_time(int.from_bytes(content[_REFERENCE], "little"))
    moved[_REFERENCE] = (time if time < 1 << 64 else 0).to_bytes(8, "little")
    moved[_UMID] = bytes(64)
    if content[_VERSION] > 1:
        moved[_LOUDNESS] = _UNKNOWN_LOUDNESS
    return bytes(moved)


def _moved_ixml(content: bytes, place: Placement) -> bytes:
    """The same text with its times moved, and without its points in time."""
    before, _, rest = content.partition(_SYNC_POINTS[0])
    _, closed, behind = rest.partition(_SYNC_POINTS[1])
    content = before + behind if closed else content
    for names in _TIMES:
        patterns = [re.compile(rb"(?<=<%b>)\s*\d{1,10}\s*(?=</%b>)" % (name, name)) for name in names]
        high, low = (int(found[0]) if (found := pattern.search(content)) else 0 for pattern in patterns)
        time = place.first_time((high << 32) + low)
        for pattern, number in zip(patterns, divmod(time, _NUMBERS), strict=True):
            content = pattern.sub(b"%d" % number, content)
    return content


def _moved_markers(content: bytes, place: Placement) -> bytes:
    """AIFF's: a number, a frame, and a name that with its length fills an even number of bytes."""
    file, markers = BytesIO(content), []
    for _ in range(int.from_bytes(file.read(2))):
        header = file.read(7)
        if len(header) < 7:  # noqa: PLR2004 - the size above
            break
        at = int.from_bytes(header[2:6])
        name = file.read(header[6] + (header[6] + 1) % 2)
        if (shift := place.shift(at, at, "markers")) is not None:
            markers.append(header[:2] + (at + shift).to_bytes(4) + header[6:] + name)
    return len(markers).to_bytes(2) + b"".join(markers) if markers else b""


def _unmoved(content: bytes, place: Placement) -> bytes:  # noqa: ARG001 - one signature for all
    return content


_KINDS: dict[bytes, tuple[str, Callable[[bytes, Placement], bytes]]] = {
    b"smpl": ("loop points", _moved_loops),
    b"cue ": ("cue points", _moved_cues),
    b"bext": ("the fields of Broadcast WAV", _moved_broadcast),
    b"iXML": ("iXML", _moved_ixml),
    b"MARK": ("markers", _moved_markers),
    b"INST": ("loop points", _unmoved),
}
"""The chunks that are carried over: what they hold, in words, and how that is moved."""

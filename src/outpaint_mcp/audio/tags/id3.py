"""Reading ID3 of every version, within bounds on what a frame may cost.

mutagen inflates and splits frames without a bound, so such frames are not given to it.
"""

# mypy: allow-untyped-calls
# mutagen is only half typed.

from __future__ import annotations

from io import SEEK_END, BytesIO
from typing import TYPE_CHECKING, Any

from mutagen.id3 import APIC, ID3, PIC, Frames, Frames_2_2, ParseID3v1

from outpaint_mcp.audio.tags.fields import COMMENT, CUE_SHEET, FIELDS, decode

if TYPE_CHECKING:
    from outpaint_mcp.audio.tags.bounded import BoundedFile
    from outpaint_mcp.audio.tags.fields import TagCollector

_MOST_TEXT_BYTES = 1 << 16
_MOST_SPLITS = 1 << 19
"""Most of the bytes 0xFF in what is unsynchronised: mutagen splits it at each. A JPEG of 16 MiB has a tenth of that."""
_HEADER_BYTES, _SHIFTS, _V1_BYTES = 10, (21, 14, 7, 0), 128
"""The size of a tag is in the last four bytes of its header, seven bits in each."""
_COMPRESSED, _UNSYNCHRONISED, _TAG_UNSYNCHRONISED = 0x88, 0x02, 0x80
"""Flags of a frame, where compressed is the upper bit in 2.3 and the lower in 2.4; and the flag of a whole tag."""


class _PlainFrame:
    """A kind of ID3 frame as mutagen knows it, but for those that would be inflated without a bound."""

    def __init__(self, kind: Any) -> None:  # noqa: ANN401 - a class of mutagen's
        self._kind = kind

    def _fromData(self, header: Any, flags: int, content: bytes) -> Any:  # noqa: ANN401, N802 - as mutagen calls it
        is_text_too_long = len(content) > _MOST_TEXT_BYTES and self._kind not in _PICTURES
        if flags & _COMPRESSED or is_text_too_long or (flags & _UNSYNCHRONISED and _is_split_up(content)):
            raise NotImplementedError
        return self._kind._fromData(header, flags, content)  # noqa: SLF001 - nothing public decodes one frame


_MOST_TAGS = 16
_PICTURES = {APIC, PIC}
_FRAMES = {name: _PlainFrame(kind) for name, kind in (Frames | Frames_2_2).items()}


def read(file: BoundedFile, found: TagCollector) -> None:
    """Collect the tags of ID3v2 from a file's place on; several may follow each other."""
    for _ in range(_MOST_TAGS):
        header = file.read(_HEADER_BYTES)
        if not header.startswith(b"ID3") or len(header) < _HEADER_BYTES:
            return
        tag = header + file.read(sum(byte << shift for byte, shift in zip(header[6:], _SHIFTS, strict=True)))
        if header[5] & _TAG_UNSYNCHRONISED and _is_split_up(tag):
            raise ValueError
        _collect(ID3(BytesIO(tag), known_frames=_FRAMES, load_v1=False), found)


def _collect(tags: ID3, found: TagCollector) -> None:
    for field, frame_id in FIELDS.items():
        for frame in tags.getall(frame_id):
            for text in frame.genres if frame_id == "TCON" else frame.text:
                found.add(field, str(text))
    for frame in tags.getall("COMM"):
        if not frame.desc:
            found.add(COMMENT, "\n".join(frame.text))
    for frame in tags.getall("TXXX"):
        found.add(frame.desc, "\n".join(frame.text))
    for frame in tags.getall("APIC"):
        found.add_picture(frame.type, frame.data)
    if tags.getall("CHAP"):
        found.add(CUE_SHEET, "")


def read_v1(file: BoundedFile, found: TagCollector) -> None:
    """Collect the tags of ID3v1 in a file's last 128 bytes."""
    file.seek(max(0, file.seek(0, SEEK_END) - _V1_BYTES))
    tag = file.read()
    frames = ParseID3v1(tag) if tag.startswith(b"TAG") else None
    for frame in (frames or {}).values():
        name = next((name for name, frame_id in FIELDS.items() if frame_id == frame.FrameID), COMMENT)
        for text in frame.genres if frame.FrameID == "TCON" else frame.text:
            found.add(name, decode(str(text).encode("latin-1", "replace")))


def _is_split_up(content: bytes) -> bool:
    return content.count(0xFF) > _MOST_SPLITS

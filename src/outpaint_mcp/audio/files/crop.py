"""Cropping: the part of a recording that is to be extended, in a file of its own."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from outpaint_mcp.audio.files.decode import AudioReader
from outpaint_mcp.audio.files.encode import AudioWriter, decode_dtype
from outpaint_mcp.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import numpy.typing as npt

_SLACK_SECONDS = 0.5
"""An end this little beyond the last frame counts as the last frame: players round, and headers are imprecise."""


@dataclass(frozen=True, slots=True)
class Cropped:
    """A cropped part.

    Attributes:
        frames: its length.
        sample_rate: frames per second, as in the source.
        channels: as in the source.
        start_seconds: where it begins in the source, exact to the frame.
        seconds: its duration.
        source_remark: as in `ExtendedFile`.
    """

    frames: int
    sample_rate: int
    channels: int
    start_seconds: float
    seconds: float
    source_remark: str


def crop(
    source: Path, destination: Path, *, start_seconds: float, end_seconds: float, max_seconds: float
) -> Cropped:
    """Write the frames from `start_seconds` up to `end_seconds`, exactly as they decode.

    The source is decoded from its beginning, because a compressed file yields different samples after a seek,
    and no further than the end of the part. If this fails, the caller has to delete the unfinished
    `destination`.

    Args:
        source: any audio that can be decoded.
        destination: where to write, in the format chosen by `delivery_format`, whatever its suffix.
        start_seconds: start of the part, rounded to the nearest frame.
        end_seconds: end of the part, rounded likewise; 0 means the end of the source.
        max_seconds: how much of the source to decode at most.

    Raises:
        InvalidRequest: if the range holds less than one frame or lies beyond the end of the source.
        SourceUnreachable: if the file does not exist or cannot be read.
        SourceTooLarge: if the part extends beyond `max_seconds`.
        UnsupportedAudio: if the source cannot be decoded.
        GenerationFailed: if the destination cannot be written.
    """
    if not 0 <= start_seconds < inf or not 0 <= end_seconds < inf:
        raise InvalidRequest(
            "The beginning and the end of the part to extend are seconds in the source: 0 or more.",
            field="source_end_seconds" if 0 <= start_seconds < inf else "source_start_seconds",
        )
    with AudioReader(source, max_seconds=max_seconds) as opened:
        found = opened.probe
        start = round(start_seconds * found.sample_rate)
        stop = round(end_seconds * found.sample_rate) if end_seconds else sys.maxsize
        if stop <= start:
            raise InvalidRequest(
                f"Nothing is left between {start_seconds:g} s and {end_seconds:g} s. Choose a later end, or 0 for the "
                "end of the recording.",
                field="source_end_seconds",
            )
        most = min(stop, found.frames or stop)
        with AudioWriter(destination, found, most - start) as writer:
            for part in cut(opened.blocks(decode_dtype(found)), start, stop):
                writer.write(part)
    end = min(stop, opened.frames)
    if end <= start or (end_seconds and stop - end > _SLACK_SECONDS * found.sample_rate):
        is_start = end <= start
        raise _beyond(source.name, opened, start_seconds if is_start else end_seconds, is_start=is_start)
    return Cropped(
        frames=end - start,
        sample_rate=found.sample_rate,
        channels=found.channels,
        start_seconds=start / found.sample_rate,
        seconds=(end - start) / found.sample_rate,
        source_remark=opened.remark,
    )


def cut(blocks: Iterable[npt.NDArray[Any]], start: int, stop: int) -> Iterator[npt.NDArray[Any]]:
    """Yield the frames from `start` up to `stop`, requesting no block beyond them."""
    first = 0
    for block in blocks:
        yield block[max(0, start - first) : stop - first]
        first += len(block)
        if first >= stop:
            return


def _beyond(name: str, opened: AudioReader, late_seconds: float, *, is_start: bool) -> InvalidRequest:
    """Say how long the source really is, which was decoded to its end."""
    seconds = opened.frames / opened.probe.sample_rate
    damage = "" if opened.intact else ", as far as it can be decoded"
    return InvalidRequest(
        f"{name} lasts {seconds:.2f} s{damage}, but the part to extend {'begins' if is_start else 'ends'} at "
        f"{late_seconds:g} s. Choose an earlier {'beginning' if is_start else 'end'}.",
        field="source_start_seconds" if is_start else "source_end_seconds",
    )

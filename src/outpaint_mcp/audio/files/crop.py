"""The part of a recording that is to be made longer, cut out into a file of its own."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from outpaint_mcp.audio.files.decode import Source
from outpaint_mcp.audio.files.encode import Delivery, carrier, is_lossless
from outpaint_mcp.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import numpy.typing as npt

_SLACK_SECONDS = 0.5
"""An end so little beyond the last frame is that frame: players round lengths, and headers are wrong by as much."""


@dataclass(frozen=True, slots=True)
class Cropped:
    """A part that was cut out.

    Attributes:
        frames: how many it has.
        sample_rate: frames per second, the source's.
        channels: likewise.
        start_seconds: where in the source it begins, exact to the frame.
        seconds: how long it lasts.
        source_lossless: whether its values are the source's; otherwise each was rounded once, to 24 bits.
        source_intact: False where the source is damaged and the part ends there.
    """

    frames: int
    sample_rate: int
    channels: int
    start_seconds: float
    seconds: float
    source_lossless: bool
    source_intact: bool


def crop(
    source: Path, destination: Path, *, start_seconds: float, end_seconds: float, max_seconds: float
) -> Cropped:
    """Write the frames from `start_seconds` up to `end_seconds` of `source`, exactly as they decode.

    The source is decoded from its beginning, as a compressed one must be for the same samples, and no further than
    to the end of the part. Whatever stops the work leaves an unfinished `destination`, the caller's to remove.

    Args:
        source: any audio that libsndfile decodes.
        destination: where to write, in the format that `delivery_format` names, whatever its suffix.
        start_seconds: where the part begins; rounded to the nearest frame, as the end is.
        end_seconds: where it ends; 0 is the end of the source.
        max_seconds: how far the source is decoded at most.

    Raises:
        InvalidRequest: if there is less than a frame between the two, or the source ends before either.
        SourceUnreachable: if there is no such file or it may not be read.
        SourceTooLarge: if the part goes on beyond `max_seconds`.
        UnsupportedAudio: if the source cannot be decoded.
        GenerationFailed: if the destination cannot be written.
    """
    if not 0 <= start_seconds < inf or not 0 <= end_seconds < inf:
        raise InvalidRequest(
            "source_start_seconds and source_end_seconds are seconds from the beginning: 0 or more."
        )
    with Source(source, max_seconds=max_seconds) as opened:
        found = opened.probe
        start = round(start_seconds * found.sample_rate)
        stop = round(end_seconds * found.sample_rate) if end_seconds else sys.maxsize
        if stop <= start:
            raise InvalidRequest(
                f"Nothing is left between source_start_seconds={start_seconds:g} and "
                f"source_end_seconds={end_seconds:g}. Choose a later end, or 0 for the end of the recording."
            )
        most = min(stop, found.frames or stop)
        with Delivery(destination, found, most - start) as delivery:
            for part in cut(opened.blocks(carrier(found)), start, stop):
                delivery.write(part)
    end = min(stop, opened.frames)
    if end <= start or (end_seconds and stop - end > _SLACK_SECONDS * found.sample_rate):
        late = (
            f"source_start_seconds={start_seconds:g}"
            if end <= start
            else f"source_end_seconds={end_seconds:g}"
        )
        raise _beyond(source.name, opened, late)
    return Cropped(
        frames=end - start,
        sample_rate=found.sample_rate,
        channels=found.channels,
        start_seconds=start / found.sample_rate,
        seconds=(end - start) / found.sample_rate,
        source_lossless=is_lossless(found),
        source_intact=opened.intact,
    )


def cut(blocks: Iterable[npt.NDArray[Any]], start: int, stop: int) -> Iterator[npt.NDArray[Any]]:
    """Pass on the frames from `start` up to `stop` alone; no block beyond is asked for."""
    first = 0
    for block in blocks:
        yield block[max(0, start - first) : stop - first]
        first += len(block)
        if first >= stop:
            return


def _beyond(name: str, opened: Source, late: str) -> InvalidRequest:
    """Say how long the source really is, which was decoded to its end."""
    seconds = opened.frames / opened.probe.sample_rate
    damage = "" if opened.intact else ", as far as it can be decoded"
    return InvalidRequest(
        f"{name} lasts {seconds:.2f} s{damage}: {late} is beyond its end. Choose an earlier one."
    )

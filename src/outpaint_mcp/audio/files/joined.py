"""Recordings that follow each other in one file, decoded as one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import soundfile

from outpaint_mcp.audio.files.decoder import NotDecodable
from outpaint_mcp.audio.files.values import convert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from outpaint_mcp.audio.files.decoder import Decoder, Probe
    from outpaint_mcp.audio.types import Samples

    Opener = Callable[[], Decoder]

_BLOCK_FRAMES = 16_384


class JoinedDecoder:
    """Decodes parts one behind the other, with the highest rate and the most channels that any of them has."""

    def __init__(self, parts: Sequence[Opener], *, is_all: bool = True) -> None:
        """Look at every part. Those that cannot be opened are left out, as the last of a broadcast that broke off.

        Args:
            parts: at least one; each opens a part anew.
            is_all: whether these are all parts of the file.

        Raises:
            NotDecodable, av.FFmpegError, soundfile.LibsndfileError: none of them can be opened.
        """
        found = _probe_all(parts)
        self._parts = iter([opener for opener, _ in found])
        self.probe = _sum([each for _, each in found])
        self._part: Decoder | None = None
        self._blocks: Iterator[npt.NDArray[Any]] = iter(())
        self._left: npt.NDArray[Any] | None = None
        self._is_damaged = not is_all or len(found) < len(parts)

    @property
    def intact(self) -> bool:
        """See `Decoder.intact`."""
        return not self._is_damaged and (self._part is None or self._part.intact)

    def read_into(self, out: npt.NDArray[Any]) -> int:
        """See `Decoder.read_into`."""
        filled = 0
        while filled < len(out):
            count = self._read(out[filled:])
            filled += count
            if not count and not self._go_on(out.dtype):
                break
        return filled

    def close(self) -> None:
        """See `Decoder.close`."""
        if self._part is not None:
            self._part.close()

    def _go_on(self, dtype: npt.DTypeLike) -> bool:
        """Open the next part; return whether there is one."""
        self._is_damaged |= not self.intact
        self.close()
        opener = next(self._parts, None)
        self._part = None if opener is None else opener()
        if self._part is None:
            return False
        found = self._part.probe
        is_alike = (found.sample_rate, found.channels) == (self.probe.sample_rate, self.probe.channels)
        self._blocks, self._left = iter(()), None
        if not is_alike:
            self._left = np.zeros((0, self.probe.channels), dtype)
            self._blocks = _converted(self._part, self.probe)
        return True

    def _read(self, out: npt.NDArray[Any]) -> int:
        if self._part is None:
            return 0
        if self._left is None:
            return self._part.read_into(out)
        while not len(self._left):
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._left = np.empty(block.shape, out.dtype)
            convert(block, self._left)
        count = min(len(out), len(self._left))
        out[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _probe_all(parts: Sequence[Opener]) -> list[tuple[Opener, Probe]]:
    """Open each part, to see what it is; what of them can be opened."""
    found = []
    problem: Exception | None = None
    for opener in parts:
        try:
            part = opener()
        except (NotDecodable, av.FFmpegError, soundfile.LibsndfileError) as exc:
            problem = exc
            continue
        part.close()
        found.append((opener, part.probe))
    if problem and not found:
        raise problem
    return found


def _sum(found: Sequence[Probe]) -> Probe:
    found = [each for each in found if each.frames] or found  # a link of headers alone has no say
    rate, channels = (max(getattr(each, name) for each in found) for name in ("sample_rate", "channels"))
    return replace(
        found[0],
        sample_rate=rate,
        channels=channels,
        is_ordinary=False,
        frames=sum(round(each.frames * rate / each.sample_rate) for each in found),
        layout=next(each.layout for each in found if each.channels == channels),
        is_exact=all(each.is_exact and each.sample_rate == rate for each in found),
    )


def _converted(part: Decoder, target: Probe) -> Iterator[Samples]:
    from outpaint_mcp.audio.files.conversion import SampleSpec, remix, resampled  # noqa: PLC0415 - for few files

    mixed = (remix(block, target.channels) for block in _blocks(part))
    return resampled(mixed, part.probe.sample_rate, SampleSpec(target.sample_rate, target.channels))


def _blocks(part: Decoder) -> Iterator[Samples]:
    block = np.empty((_BLOCK_FRAMES, part.probe.channels), np.float32)
    while count := part.read_into(block):
        yield block[:count]

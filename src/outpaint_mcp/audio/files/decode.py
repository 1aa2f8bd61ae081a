"""Decoding audio files: probing them, and reading every frame in order.

Sample rate and channels are taken from the header, but the length is counted. A truncated or damaged file counts as far
as it can be decoded, which is what a player plays; where that is not what its header says, there is a remark.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from outpaint_mcp.audio.files.decoder import BLOCK_FRAMES, READABLE, Probe
from outpaint_mcp.audio.files.opening import open_decoder
from outpaint_mcp.audio.files.refusals import shown_name
from outpaint_mcp.errors import SourceTooLarge, UnsupportedAudio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FLOATING = frozenset({"FLOAT", "DOUBLE"})
_RATES_HZ = range(4_000, 655_351)
"""From below telephony up to the highest rate that FLAC can represent."""
_LOUDEST = 2.0**31
"""The largest value in a file of floating point that can be meant: full scale of one that was never scaled down."""
_MAX_CHANNELS = 8
"""FLAC's maximum."""
_MISSING_SECONDS, _MISSING_SHARE = 0.05, 0.02
"""A length that is only estimated may be wrong by so much, and 20 times the seconds, before that is worth a remark."""


class AudioReader:
    """Decodes an audio file once, from first frame to last; a context manager.

    Attributes:
        probe: what is known of the file beforehand.
        frames: the number of frames decoded so far.
        unreal_frames: in how many of them values are no sound (NaN, infinite, beyond all measure), and were replaced
            with silence.
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
        self._name = shown_name(path)
        self._max_seconds = max_seconds
        self._decoder = open_decoder(path)
        self.probe = self._decoder.probe
        if problem := _problem(self.probe):
            self._decoder.close()
            raise UnsupportedAudio(f"{shown_name(path)} {problem}. {READABLE}")
        self.frames = 0
        self._is_over = False
        self.unreal_frames = 0
        self._unreal_values = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()

    @property
    def intact(self) -> bool:
        """False once something could not be decoded, or is known to be missing."""
        return self._decoder.intact

    @property
    def remark(self) -> str:
        """What was not as expected of the file, in sentences; its length, where it was decoded to its end."""
        found, rate = self.probe, self.probe.sample_rate
        stated = found.stated_frames or found.frames
        slack = _MISSING_SECONDS * rate if found.is_exact else max(rate, _MISSING_SHARE * stated)
        sentences = []
        if not self.intact:
            sentences.append("The source is damaged: only what can be decoded of it is used.")
        elif self._is_over and stated and abs(stated - self.frames) > slack:
            sentences.append(
                f"The source's header says {stated / rate:.2f} s, but {self.frames / rate:.2f} s can be decoded, and"
                " all of that is used."
            )
        if found.is_video:
            sentences.append("The source is a video: only its sound is used, and comes back as audio.")
        return " ".join(sentences)

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
            UnsupportedAudio: at the end of a file in which no frame is sound.
        """
        if not len(out):
            return 0
        count = self._decoder.read_into(out)
        self.frames += count
        self._is_over |= not count
        if out.dtype.kind == "f" and count:
            unreal = _silence_unreal(out[:count])
            self.unreal_frames += int(unreal.any(axis=1).sum())
            self._unreal_values += int(unreal.sum())
        if not count and 0 < self._unreal_values == self.frames * self.probe.channels:
            raise UnsupportedAudio(
                f"{self._name} holds no sound: all of its values are NaN, infinite or beyond all measure. Export it"
                " again."
            )
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
            raise UnsupportedAudio(f"{shown_name(path)} contains no audio that can be decoded. {READABLE}")
        return source.probe


def _silence_unreal(block: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Replace with silence, in place, what is no sound; returns which values that were."""
    if block.min() >= -_LOUDEST and block.max() <= _LOUDEST:  # NaN compares false
        return np.zeros((0, 1), np.bool_)
    unreal: npt.NDArray[np.bool_] = ~(np.abs(block) <= _LOUDEST)
    block[unreal] = 0.0
    return unreal


def count_unreal_frames(path: Path) -> int:
    """Count the frames of a file in which values are no sound; only those of floating point have any.

    Raises:
        SourceUnreachable, UnsupportedAudio: as `AudioReader` does.
    """
    with AudioReader(path) as source:
        if source.probe.subtype in _FLOATING:
            for _ in source.blocks(np.float32):
                pass
        return source.unreal_frames


def _problem(found: Probe) -> str | None:
    """Why a file is not read although it can be decoded."""
    if found.sample_rate not in _RATES_HZ:
        return (
            f"has a sample rate of {found.sample_rate} Hz; supported are {_RATES_HZ[0]} to {_RATES_HZ[-1]} Hz"
        )
    if not 1 <= found.channels <= _MAX_CHANNELS:
        return f"has {found.channels} channels; supported are 1 to {_MAX_CHANNELS}"
    return None

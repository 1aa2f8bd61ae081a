"""Previews: a recording in short MP3 pieces, which a page puts together again to the frame.

MP3 is the one compressed format that every browser's `decodeAudioData` takes. But encoders and decoders delay it by
some thousand frames, and browsers disagree on how many of those they take away. So each piece has a mark of its own: a
click in silence, before the audio. Wherever the mark is found, the piece begins `AFTER_MARK_FRAMES` behind it. WAV and
FLAC need no mark, and six times the bytes; Opus is exact only in players that heed its pre-skip.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from outpaint_mcp.audio.files.compression import compression_level
from outpaint_mcp.audio.files.conversion import STEREO, SampleSpec, resampled, to_samples, to_stereo
from outpaint_mcp.audio.files.crop import cut
from outpaint_mcp.audio.files.decode import AudioReader
from outpaint_mcp.audio.files.encode import AudioWriter, DeliveryFormat
from outpaint_mcp.audio.preview_format import AFTER_MARK_FRAMES, PREVIEW_RATE_HZ
from outpaint_mcp.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from outpaint_mcp.audio.types import Samples

_MP3 = DeliveryFormat("MP3", "MPEG_LAYER_III", ".mp3")
_KBPS = {1: 64, STEREO: 112}
_MARK_AT = 1_024
_MARK = 0.8 * np.hanning(15)[1:-1]
"""Smooth, since the encoder keeps nothing above 17 kHz; its highest value is its middle."""
_LEAD_FRAMES = 2_304
"""Of the audio before the piece: MP3's frames overlap, and borrow bits from earlier ones. As much comes behind it."""
_SETTLING_SECONDS = 1
"""Before that, for the resampler; whole seconds are whole frames at every rate."""


def write_preview(source: Path, destination: Path, *, start_seconds: int, seconds: int) -> int:
    """Write a piece of a recording as MP3 with a mark before it.

    Args:
        source: the recording.
        destination: where to write.
        start_seconds: where the piece begins.
        seconds: how long it is; less where the recording ends.

    Returns:
        Its length in frames at `PREVIEW_RATE_HZ`, without the mark and what else surrounds it.

    Raises:
        InvalidRequest: the recording ends before it.
        SourceUnreachable, UnsupportedAudio: the recording cannot be read.
        GenerationFailed: nothing can be written.
    """
    with AudioReader(source) as opened:
        found = opened.probe
        spec = SampleSpec(PREVIEW_RATE_HZ, min(found.channels, STEREO))
        skipped = max(0, start_seconds - _SETTLING_SECONDS)
        first = (start_seconds - skipped) * PREVIEW_RATE_HZ
        last = first + seconds * PREVIEW_RATE_HZ
        blocks = _decoded(opened, spec, skipped, start_seconds + seconds + _SETTLING_SECONDS)
        lead = min(_LEAD_FRAMES, first)
        opening = np.zeros((_MARK_AT + AFTER_MARK_FRAMES - lead, spec.channels), np.float32)
        opening[_MARK_AT - len(_MARK) // 2 :][: len(_MARK)] = _MARK[:, None]
        like = replace(found, sample_rate=PREVIEW_RATE_HZ, channels=spec.channels, layout=0)
        level = compression_level(_MP3.subtype, spec, _KBPS[spec.channels])
        with AudioWriter(destination, like, len(opening) + lead + last - first, _MP3, level) as writer:
            writer.write(opening)
            for block in cut(blocks, first - lead, last + _LEAD_FRAMES):
                writer.write(block)
            frames = writer.frames - len(opening) - lead
            writer.write(np.zeros((_LEAD_FRAMES, spec.channels), np.float32))
    if frames <= 0:
        raise InvalidRequest(f"The recording ends before {start_seconds} s.")
    return min(frames, last - first)


def _decoded(
    opened: AudioReader, spec: SampleSpec, start_seconds: int, stop_seconds: int
) -> Iterator[Samples]:
    rate = opened.probe.sample_rate
    part = cut(opened.blocks(np.float32), start_seconds * rate, stop_seconds * rate)
    mixed = (to_stereo(to_samples(block)) for block in part if len(block))
    return resampled(mixed, rate, spec)

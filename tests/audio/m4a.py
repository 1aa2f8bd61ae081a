"""AAC and ALAC as FFmpeg decodes them, without the program's own reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import av
import numpy as np

from outpaint_mcp.audio.files.decoder import Probe

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

FORMATS = {"int16": "s16", "int32": "s32", "float32": "flt", "float64": "dbl"}


def is_m4a(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8).endswith(b"ftyp")


def read_m4a(path: Path, dtype: str = "float32") -> npt.NDArray[Any]:
    """All frames that there are, `[frames, channels]`."""
    with av.open(path) as container:
        channels = container.streams.audio[0].channels
        packed = av.AudioResampler(format=FORMATS[dtype])
        blocks = [each for frame in container.decode(audio=0) for each in packed.resample(frame)]
        blocks += packed.resample(None)
    return np.concatenate(
        [np.zeros((0, channels), dtype), *(each.to_ndarray().reshape(-1, channels) for each in blocks)]
    )


def probe_m4a(path: Path) -> Probe:
    """The header, in the words of `AudioReader`."""
    with av.open(path) as container:
        stream = container.streams.audio[0]
        codec = stream.codec_context
        subtype = "AAC" if codec.name == "aac" else f"ALAC_{16 if codec.format.name == 's16p' else 24}"
        return Probe("M4A", subtype, codec.sample_rate, codec.channels, stream.duration or 0)

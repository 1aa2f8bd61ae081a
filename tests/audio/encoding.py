"""Files as programs write them: by PyAV's encoders and muxers, and FLAC of any depth by hand."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from outpaint_mcp.audio.files import flac

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 6: "5.1"}
_FORMATS = {"int16": "s16", "int32": "s32", "float32": "flt"}
_DEEP = {"alac": "p", "flac": ""}
"""The encoders that take more than one depth, with the end of the formats' names."""
_BLOCK_FRAMES = 4096


def music(
    seconds: float, sample_rate: int = 44_100, channels: int = 2, seed: int = 0
) -> npt.NDArray[np.float32]:
    """Tones and noise that differ in every channel, `[frames, channels]`."""
    rng = np.random.default_rng(seed)
    at = np.arange(round(seconds * sample_rate)) / sample_rate
    tones = [np.sin(2 * np.pi * (220 + 110 * channel) * at) for channel in range(channels)]
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * 1.5 * at + seed)
    return np.asarray(
        np.stack(tones, axis=1) * swell[:, None] * 0.4 + rng.uniform(-0.02, 0.02, (len(at), channels)),
        np.float32,
    )


def as_integers(samples: npt.NDArray[np.float32], bits: int) -> npt.NDArray[Any]:
    """Rounded to so many bits, in the top ones of int16 or int32."""
    values = np.rint(samples.astype(np.float64) * (2 ** (bits - 1) - 1)).astype(np.int64)
    width = 16 if bits <= 16 else 32
    top: npt.NDArray[Any] = (values << width - bits).astype(f"int{width}")
    return top


def encode(  # noqa: PLR0913 - what a file can have
    path: Path,
    samples: npt.NDArray[Any],
    codec: str,
    container: str,
    sample_rate: int = 44_100,
    *,
    layout: str = "",
    film: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode samples `[frames, channels]`, and moving pictures beside them for a film."""
    layout = layout or LAYOUTS[samples.shape[1]]
    with av.open(path, "w", format=container) as file:
        pictures = file.add_stream("mpeg4" if container != "webm" else "libvpx", rate=10) if film else None
        if pictures is not None:
            pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        stream: Any = file.add_stream(codec, rate=sample_rate, layout=layout, options=options or {})
        if codec in _DEEP:
            stream.format = _FORMATS[samples.dtype.name] + _DEEP[codec]
        resampler = av.AudioResampler(stream.format, layout, sample_rate, stream.frame_size or _BLOCK_FRAMES)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples).reshape(1, -1), _FORMATS[samples.dtype.name], layout
        )
        frame.sample_rate, frame.pts, frame.time_base = sample_rate, 0, Fraction(1, sample_rate)
        if pictures is not None:
            for number in range(len(samples) * 10 // sample_rate):
                picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number % 256, np.uint8), "rgb24")
                file.mux(pictures.encode(picture))
            file.mux(pictures.encode())
        for each in (*resampler.resample(frame), *resampler.resample(None)):
            file.mux(stream.encode(each))
        file.mux(stream.encode(None))
    return path


def write_flac(
    path: Path, values: npt.NDArray[Any], bits: int, sample_rate: int = 44_100, *, total: bool = True
) -> Path:
    """Write integers in the top bits of their type as FLAC of so many bits, uncompressed (RFC 9639, verbatim)."""
    frames, channels = values.shape
    low = values.astype(np.int64) >> 8 * values.dtype.itemsize - bits
    info = _Bits()
    for number, width in (
        (_BLOCK_FRAMES, 16), (_BLOCK_FRAMES, 16), (0, 24), (0, 24), (sample_rate, 20), (channels - 1, 3), (bits - 1, 5),
        (frames if total else 0, 36), (0, 128),
    ):  # fmt: skip
        info.put(number, width)
    content = [flac.MARK, b"\x80\0\0\x22", info.content()]
    for number, first in enumerate(range(0, frames, _BLOCK_FRAMES)):
        block = low[first : first + _BLOCK_FRAMES]
        header = (
            b"\xff\xf8"
            + bytes((0x70, channels - 1 << 4))
            + chr(number).encode()
            + (len(block) - 1).to_bytes(2, "big")
        )
        body = _Bits()
        for channel in block.T:
            body.put(2, 8)
            for value in channel:
                body.put(int(value) & (1 << bits) - 1, bits)
        frame = header + bytes((flac._crc(header, 0x07, 8),)) + body.content()
        content.append(frame + flac._crc(frame, 0x8005, 16).to_bytes(2, "big"))
    path.write_bytes(b"".join(content))
    return path


def adts_frames(content: bytes) -> Iterator[bytes]:
    """Yield the frames of AAC in ADTS, each with its header."""
    at = 0
    while at < len(content):
        size = int.from_bytes(content[at + 3 : at + 6]) >> 5 & 0x1FFF
        yield content[at : at + size]
        at += size


class _Bits:
    """Numbers of any width behind each other."""

    def __init__(self) -> None:
        self._text: list[str] = []

    def put(self, number: int, width: int) -> None:
        self._text.append(f"{number:0{width}b}")

    def content(self) -> bytes:
        text = "".join(self._text)
        text += "0" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big")

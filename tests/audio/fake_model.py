"""A hosted model as far as joining cares: what it returns begins or ends with what it was sent, made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import soxr

from outpaint_mcp.audio.files.decode import AudioReader
from outpaint_mcp.audio.files.decoder import BLOCK_FRAMES
from outpaint_mcp.audio.files.sound_file import SequentialFile
from outpaint_mcp.audio.joining.model_output import ModelOutput
from outpaint_mcp.audio.joining.strips import outwards

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from outpaint_mcp.audio.joining.contexts import Context
    from outpaint_mcp.audio.sides import Side
    from outpaint_mcp.audio.types import Floats, Samples


def write(
    path: Path,
    samples: npt.NDArray[Any],
    sample_rate: int,
    container: str = "WAV",
    subtype: str = "FLOAT",
    **how: Any,  # noqa: ANN401 - soundfile's
) -> Path:
    with SequentialFile(path, "w", sample_rate, samples.shape[1], subtype, format=container, **how) as file:
        for first in range(0, len(samples), BLOCK_FRAMES):
            file.write(samples[first : first + BLOCK_FRAMES])
    return path


def read(path: Path, dtype: str = "float32") -> npt.NDArray[Any]:
    with AudioReader(path) as source:
        return np.concatenate([block.copy() for block in source.blocks(dtype)])


def shifted(samples: Samples, side: Side, frames: int) -> Samples:
    """Add so many frames of silence where the context begins, or take them away."""
    out = outwards(samples, side)
    out = np.pad(out, ((frames, 0), (0, 0))) if frames > 0 else out[-frames:]
    return outwards(out, side)


def returned(  # noqa: PLR0913 - all that can happen to it
    context: Context,
    side: Side,
    new: Samples,
    *,
    shift: int = 0,
    gain_db: float = 0.0,
    sample_rate: int | None = None,
    as_mp3: bool = False,
) -> ModelOutput:
    """Write beside a context what the model makes of it; `shift` is in frames of the context."""
    with AudioReader(context.path) as sent:
        rate = sent.probe.sample_rate
    music = np.concatenate([outwards(read(context.path), side), outwards(new, side)])
    music = shifted(outwards(music, side), side, shift) * np.float32(10 ** (gain_db / 20))
    if sample_rate:
        music, rate = soxr.resample(music, rate, sample_rate), sample_rate
    path = context.path.with_name(context.path.name + " returned")
    if as_mp3:
        write(path, music, rate, "MP3", "MPEG_LAYER_III", compression_level=0.667, bitrate_mode="CONSTANT")
    else:
        write(path, music, rate)
    return ModelOutput(path, context.seconds)


def with_other_phases(samples: Samples) -> Samples:
    """The same spectrum over time with phases that drift: what a vocoder makes of it, roughly."""
    rng = np.random.default_rng(3)
    size, hop = 1024, 256
    taper = np.hanning(size + 1)[:-1]
    padded = np.pad(samples, ((size, 2 * size), (0, 0)))
    drift = np.zeros(size // 2 + 1)
    made, weight = np.zeros(padded.shape), np.full(len(padded), 1e-3)
    for at in range(0, len(padded) - size, hop):
        drift += np.convolve(rng.normal(0, 1.0, len(drift)), np.ones(9) / 3, "same")
        spectrum = np.fft.rfft(padded[at : at + size] * taper[:, None], axis=0)
        made[at : at + size] += (
            np.fft.irfft(spectrum * np.exp(1j * drift)[:, None], size, axis=0) * taper[:, None]
        )
        weight[at : at + size] += taper**2
    return np.asarray((made / weight[:, None])[size : size + len(samples)], np.float32)


def jumps(samples: Samples) -> Floats:
    """Fourth differences, which a click stands out in, the largest of all channels, per frame."""
    return np.asarray(np.abs(np.diff(samples.astype(np.float64), 4, axis=0)).max(axis=1))


def flux(samples: Samples, sample_rate: int) -> Floats:
    """How much the spectrum rises from one window of 10 ms to the next, dB."""
    size = round(0.01 * sample_rate)
    mono = samples.astype(np.float64).mean(axis=1)
    windows = mono[: len(mono) // size * size].reshape(-1, size) * np.hanning(size)
    levels = 20 * np.log10(np.abs(np.fft.rfft(windows, axis=1)) + 1e-4)
    return np.asarray(np.maximum(np.diff(levels, axis=0), 0).mean(axis=1))

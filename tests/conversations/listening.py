"""What can be measured of a delivered file: levels, holes, where the source is in it, how loops run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import soundfile

if TYPE_CHECKING:
    from pathlib import Path

Samples = npt.NDArray[np.float64]
Levels = npt.NDArray[np.float64]

WINDOW_SECONDS = 0.1
ENDING_SECONDS = 4.0
"""The longest beginning or ending that is added where nothing else is asked."""

_LEAST_DB = -120.0
_DEEPEST_DIP_DB = 6.0


def samples_of(path: Path) -> Samples:
    """Return samples `[frames, channels]`; integers are exact in these floats."""
    return np.asarray(soundfile.read(path, dtype="float64", always_2d=True)[0])


def rate_of(path: Path) -> int:
    return int(soundfile.info(path).samplerate)


def frames_of(path: Path) -> int:
    return int(soundfile.info(path).frames)


def level_db(samples: Samples) -> float:
    """The level of all of it, in dB relative to full scale."""
    return max(_LEAST_DB, 20 * float(np.log10(np.sqrt(np.mean(samples**2)) + 1e-12)))


def levels_db(samples: Samples, rate: int) -> Levels:
    """The level of each tenth of a second, two for each."""
    size = round(WINDOW_SECONDS * rate)
    power = np.append(0.0, np.cumsum(np.mean(samples**2, axis=1)))
    first = np.arange(0, len(samples) - size + 1, size // 2)
    mean = (power[first + size] - power[first]) / size
    return np.asarray(np.maximum(_LEAST_DB, 10 * np.log10(np.maximum(mean, 1e-24))))


def softest_db(source: Samples, rate: int) -> float:
    """The source's own 1st percentile."""
    return float(np.percentile(levels_db(source, rate), 1))


def deepest_dip_db(music: Samples, source: Samples, rate: int) -> float:
    """How far the softest moment of music is below the source's own softest moments, in dB."""
    return softest_db(source, rate) - float(levels_db(music, rate).min())


def check_no_hole(
    music: Samples, source: Samples, rate: int, *, skip_start: float = 0.0, skip_end: float = 0.0
) -> None:
    """See that music never stops where the source does not, but for seconds at its ends that are shaped.

    Raises:
        AssertionError: there is a hole; the message says where and how deep.
    """
    inner = music[round(skip_start * rate) : len(music) - round(skip_end * rate)]
    floor_db = softest_db(source, rate) - _DEEPEST_DIP_DB
    levels = levels_db(inner, rate)
    at_seconds = skip_start + float(levels.argmin()) * WINDOW_SECONDS / 2
    assert levels.min() >= floor_db, (
        f"{levels.min():.1f} dB at {at_seconds:.2f} s, where the source's softest is {floor_db + 6:.1f} dB"
    )


def unit_step(path: Path) -> float:
    """The step between two values of the file's own bit depth."""
    depth = {"PCM_16": 15, "PCM_24": 23}[soundfile.info(path).subtype]
    return float(2.0**-depth)


def common_frames(samples: Samples, others: Samples) -> int:
    """How many frames two recordings share from their beginning, value by value."""
    size = min(len(samples), len(others))
    differs = (samples[:size] != others[:size]).any(axis=1)
    return int(differs.argmax()) if differs.any() else size


def attacks_seconds(samples: Samples, rate: int) -> Levels:
    """When something is struck: the level rises by 5 dB within two hundredths of a second, and is more than a trace."""
    size = rate // 100
    power = np.mean(samples[: len(samples) // size * size] ** 2, axis=1).reshape(-1, size).mean(axis=1)
    levels = 10 * np.log10(np.maximum(power, 1e-12))
    before = np.array([levels[max(0, at - 3) : at].max(initial=-120) for at in range(len(levels))])
    is_attack = (levels > before + 5) & (levels > levels.max() - 30)
    return np.flatnonzero(is_attack) * size / rate

"""Whether an extended file is what it is said to be."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import soundfile

from outpaint_mcp.audio.files.decode import AudioReader

if TYPE_CHECKING:
    from tests.e2e.rpc import Json


def check_longer_file(result: Json, source: Path, *, until_seconds: float | None = None) -> None:
    """Check a result's file: there, whole, as long as it is said to be, the source in it sample by sample.

    Args:
        result: a completed answer of get_outpaint_result.
        source: the file that was extended; a lossy one counts as it decodes, rounded to 24 bits.
        until_seconds: up to where it has to be there; None for its end. An ending of ours is replaced.

    Raises:
        AssertionError: it is not.
    """
    path = Path(result["path"])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert result.get("sha256", digest) == digest  # it is among the details
    longer, sample_rate = soundfile.read(path, dtype="int32", always_2d=True)
    original, source_rate = _original(source), soundfile.info(source).samplerate
    assert sample_rate == source_rate
    first = round(result["before_seconds"] * sample_rate)
    added = first + round(result["after_seconds"] * sample_rate)
    assert len(longer) == len(original) + added
    count = len(original) if until_seconds is None else round(until_seconds * sample_rate)
    assert np.array_equal(longer[first : first + count], original[:count])


def _original(source: Path) -> npt.NDArray[np.int32]:
    if soundfile.info(source).format not in {"OGG", "MP3"}:
        samples, _ = soundfile.read(source, dtype="int32", always_2d=True)
        return np.asarray(samples, np.int32)
    with AudioReader(source) as decoding:
        decoded = np.concatenate([block.copy() for block in decoding.blocks(np.float32)]).astype(np.float64)
    steps = np.clip(np.rint(decoded * 2**23), -(2**23), 2**23 - 1)
    return (steps * 2**8).astype(np.int32)

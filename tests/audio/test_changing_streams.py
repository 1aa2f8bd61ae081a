"""A stream that becomes another one on its way is decoded on, as what it began as."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.audio.encoding import adts_frames, encode

from outpaint_mcp.audio.files.decode import AudioReader

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

FRAME = 1_024
"""Of AAC."""
RATE = 44_100


def frames(folder: Path, rate: int, channels: int) -> list[bytes]:
    wave = 0.3 * np.sin(2 * np.pi * 330 * np.arange(20 * FRAME) / rate)
    samples = np.stack([wave] * channels, axis=1).astype(np.float32)
    return [*adts_frames(encode(folder / "part.aac", samples, "aac", "adts", rate).read_bytes())]


def read(path: Path) -> npt.NDArray[Any]:
    with AudioReader(path) as source:
        blocks = [block.copy() for block in source.blocks(np.float32)]
        assert source.intact
    return np.concatenate(blocks)


@pytest.mark.parametrize(("rate", "channels"), [(48_000, 2), (8_000, 2), (RATE, 1), (RATE, 6), (8_000, 6)])
def test_what_changes_and_changes_back_is_decoded_to_its_end(
    tmp_path: Path, rate: int, channels: int
) -> None:
    usual, other = frames(tmp_path, RATE, 2), frames(tmp_path, rate, channels)
    path = tmp_path / "joined.aac"
    path.write_bytes(b"".join([*usual[:10], *other[:10], *usual[10:20]]))
    samples = read(path)
    assert samples.shape[1] == 2
    assert len(samples) == pytest.approx(20 * FRAME + 10 * FRAME * RATE / rate, abs=2)
    middles = np.cumsum([5 * FRAME, 5 * FRAME * (1 + RATE / rate), 5 * FRAME * (1 + RATE / rate)])
    levels = [float(np.abs(samples[round(at) :][:500]).max()) for at in middles]
    assert min(levels) > 0.2  # FFmpeg has mono 3 dB softer in stereo


def test_what_changes_at_every_frame_is_decoded_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "restless.aac"
    pairs = [*zip(*(frames(tmp_path, *form) for form in ((RATE, 2), (48_000, 1), (8_000, 6))), strict=True)]
    path.write_bytes(b"".join(chain.from_iterable(pairs)))
    expected = len(pairs) * FRAME * (1 + RATE / 48_000 + RATE / 8_000)
    assert len(read(path)) == pytest.approx(expected, rel=0.001)

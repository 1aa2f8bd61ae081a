"""Lossy files have the bit rate that was asked for, and it is measured as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from tests.audio.m4a import is_m4a, probe_m4a

from outpaint_mcp.audio.files.bit_rate import kbit_per_second
from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.files.formats import write_as

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = {"mp3": 6, "ogg": 6, "opus": 6, "m4a": 20}
"""AAC takes a few seconds of noise to find its bit rate."""


def encoded(path: Path, format_: str, kbps: int | None, *, rate: int, channels: int) -> tuple[float, int]:
    """Return the bit rate of noise in a format, and how many frames it has more than it should."""
    seconds = SECONDS[format_]
    noise = 0.1 * np.random.default_rng(7).standard_normal((seconds * rate, channels))
    original, written = path / "noise.wav", path / "written"
    soundfile.write(original, noise, rate)
    made = write_as(original, written, format=format_, bitrate_kbps=kbps, on_progress=lambda _: None)
    measured = kbit_per_second(written, probe_m4a(written) if is_m4a(written) else probe(written))
    assert measured is not None
    return measured, made.frames - seconds * made.sample_rate


@pytest.mark.parametrize(
    ("kbps", "rate", "measured"),
    [
        (None, 44_100, 320),
        (320, 44_100, 320),
        (256, 48_000, 256),
        (192, 44_100, 192),
        (128, 44_100, 128),
        (64, 44_100, 64),
        (None, 22_050, 160),
        (320, 22_050, 160),  # the most that there is at this rate
        (64, 22_050, 64),
        (64, 8_000, 64),
    ],
)
def test_an_mp3_has_the_constant_bit_rate_that_was_asked_for(
    tmp_path: Path, kbps: int | None, rate: int, measured: float
) -> None:
    found, surplus = encoded(tmp_path, "mp3", kbps, rate=rate, channels=2)
    assert found == pytest.approx(measured, abs=0.5)
    assert surplus == 0


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("format_", "kbps"),
    [
        *(("opus", 64), ("opus", 128), ("opus", 256)),
        *(("ogg", 96), ("ogg", 128), ("ogg", 192)),
        *(("m4a", 64), ("m4a", 128), ("m4a", 192)),
    ],
)
def test_ogg_opus_and_aac_come_near(tmp_path: Path, format_: str, kbps: int, channels: int) -> None:
    found, surplus = encoded(tmp_path, format_, kbps, rate=48_000, channels=channels)
    assert found == pytest.approx(kbps, rel=0.25)
    assert surplus == 0


def test_aac_has_its_usual_bit_rate_and_the_most_that_there_is_at_a_low_sample_rate(tmp_path: Path) -> None:
    assert encoded(tmp_path, "m4a", None, rate=44_100, channels=2)[0] == pytest.approx(320, rel=0.1)
    assert 30 < encoded(tmp_path, "m4a", 500, rate=8_000, channels=1)[0] < 50


def test_only_the_audio_counts(tmp_path: Path) -> None:
    usual, _ = encoded(tmp_path, "mp3", 128, rate=44_100, channels=2)
    written = tmp_path / "written"
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 100, 0]) + bytes(100 << 7)
    written.write_bytes(tag + written.read_bytes())
    assert kbit_per_second(written, probe(written)) == pytest.approx(usual)


def test_a_lossless_file_has_none(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((100, 2)), 44_100)
    assert kbit_per_second(tmp_path / "a.wav", probe(tmp_path / "a.wav")) is None

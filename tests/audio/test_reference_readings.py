"""What `bench.decoders` found to be read otherwise than by its reference decoder."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from tests.audio.encoding import encode, music

from outpaint_mcp.audio.files.decode import AudioReader, probe
from outpaint_mcp.errors import UnsupportedAudio

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

RATE = 44_100


def read(path: Path, dtype: str = "float32") -> npt.NDArray[Any]:
    with AudioReader(path) as source:
        blocks = [block.copy() for block in source.blocks(dtype)]
        assert source.intact
    return np.concatenate(blocks)


@pytest.mark.parametrize(("codec", "dtype"), [("pcm_f32le", "float32"), ("pcm_f64le", "float64")])
def test_extensible_w64_of_floating_point_is_no_noise(tmp_path: Path, codec: str, dtype: str) -> None:
    samples = music(0.5, RATE, 6)
    path = encode(tmp_path / "a.w64", samples, codec, "w64")
    assert probe(path).container == "W64"
    assert np.array_equal(read(path, dtype)[: len(samples)], samples)


def test_plain_w64_has_an_exact_length(tmp_path: Path) -> None:
    path = tmp_path / "a.w64"
    soundfile.write(path, music(0.5), RATE, "PCM_24", format="W64")
    assert probe(path).is_exact
    assert probe(path).frames == len(read(path))


@pytest.mark.parametrize("codec", ["adpcm_ms", "adpcm_ima_wav"])
def test_adpcm_of_high_rates_is_read(tmp_path: Path, codec: str) -> None:
    samples = music(0.5, 96_000)
    got = read(encode(tmp_path / "a.wav", samples, codec, "wav", 96_000))
    assert len(got) >= len(samples)
    assert np.abs(got[2_000:40_000] - samples[2_000:40_000]).max() < 0.1


@pytest.mark.parametrize("frames", [4_096, 28_672, 28_673])
def test_alac_of_whole_packets_is_read_to_its_end(tmp_path: Path, frames: int) -> None:
    samples = (music(1.0)[:frames] * 2**15).astype(np.int16)
    path = tmp_path / "a.caf"
    soundfile.write(path, samples, RATE, "ALAC_16", format="CAF")
    assert np.array_equal(read(path, "int16"), samples)


@pytest.mark.parametrize("container", ["webm", "matroska", "mp4"])
def test_opus_is_decoded_by_its_own_library_in_every_container(tmp_path: Path, container: str) -> None:
    rng = np.random.default_rng(2)
    samples = music(2.0, 48_000)
    samples[48_000:50_000] += rng.uniform(-0.5, 0.5, (2_000, 2)).astype(np.float32)  # a blow
    alone = read(encode(tmp_path / "a.opus", samples, "libopus", "ogg", 48_000))
    other = read(encode(tmp_path / "b", samples, "libopus", container, 48_000))
    count = min(len(alone), len(other))
    assert count >= len(samples)
    assert np.abs(alone[:count] - other[:count]).max() < 1e-4


def test_the_length_of_layer_ii_is_told_as_a_guess(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp2", music(1.3), "mp2", "mp2")
    assert not probe(path).is_exact
    assert len(read(path)) % 1_152 == 0


def test_an_encoding_that_nobody_knows_is_refused_in_words(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", music(0.5), "aac", "matroska")
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XYZ"))
    with pytest.raises(UnsupportedAudio, match="encoding that is not supported"):
        probe(path)
    caf = encode(tmp_path / "a.caf", music(0.5), "pcm_s16le", "caf")
    content = bytearray(caf.read_bytes())
    content[28:32] = struct.pack(">4s", b"none")
    caf.write_bytes(content)
    with pytest.raises(UnsupportedAudio):
        probe(caf)

"""Sources are decoded exactly, counted honestly, and written so that every value survives."""

from __future__ import annotations

import hashlib
import struct
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from outpaint_mcp.audio.engine import regions
from outpaint_mcp.audio.engine.regions import read_ends, read_head
from outpaint_mcp.audio.files import decode
from outpaint_mcp.audio.files.conversion import to_samples
from outpaint_mcp.audio.files.decode import AudioReader, count_unreal_frames, probe
from outpaint_mcp.audio.files.decoder import BLOCK_FRAMES, Probe
from outpaint_mcp.audio.files.encode import (
    AudioWriter,
    DeliveryFormat,
    decode_dtype,
    delivery_format,
    quantise,
    seal,
)
from outpaint_mcp.audio.files.sound_file import SequentialFile
from outpaint_mcp.audio.files.tail_buffer import TailBuffer
from outpaint_mcp.errors import GenerationFailed, SourceTooLarge, SourceUnreachable, UnsupportedAudio

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

LOSSY = {"VORBIS", "OPUS", "MPEG_LAYER_III"}
NOT_WRITTEN = {"MPEG_LAYER_I", "MPEG_LAYER_II", "DWVW_12"}
"""Encodings that libsndfile only reads."""


def write(
    path: Path, samples: npt.NDArray[Any], container: str, subtype: str, sample_rate: int = 48_000
) -> Path:
    """Write in blocks; libsndfile crashes where Vorbis is written at once."""
    with soundfile.SoundFile(
        path, "w", sample_rate, samples.shape[1], format=container, subtype=subtype
    ) as file:
        for first in range(0, len(samples), BLOCK_FRAMES):
            file.write(samples[first : first + BLOCK_FRAMES])
    return path


def noise(frames: int, channels: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-1, 1, (frames, channels)).astype(np.float32)


def straight(path: Path, dtype: str) -> npt.NDArray[Any]:
    """Everything in one call of libsndfile."""
    with SequentialFile(path) as file:
        values: npt.NDArray[Any] = file.read(out=np.empty((file.frames, file.channels), dtype))
    return values


def deliver(source: Path, folder: Path) -> Path:
    found = probe(source)
    destination = folder / f"delivered{delivery_format(found).suffix}"
    with AudioReader(source) as middle, AudioWriter(destination, found, found.frames) as delivery:
        for block in middle.blocks(decode_dtype(found)):
            delivery.write(block)
    seal(destination)
    return destination


CONTAINERS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3")


def encodings() -> Iterator[tuple[str, str]]:
    for container in CONTAINERS:
        for subtype in soundfile.available_subtypes(container):
            if subtype not in NOT_WRITTEN and (container, subtype) != ("WAV", "MPEG_LAYER_III"):
                yield container, subtype


@pytest.mark.smoke
@pytest.mark.parametrize(("container", "subtype"), list(encodings()))
def test_every_decoded_value_of_every_encoding_survives(tmp_path: Path, container: str, subtype: str) -> None:
    try:
        source = write(tmp_path / "source", noise(3_000, 1), container, subtype, 8_000)
    except soundfile.LibsndfileError:
        source = write(tmp_path / "source", noise(3_000, 1), container, subtype, 44_100)
    delivered = deliver(source, tmp_path)
    if subtype == "ALAC_32":  # which libsndfile reads wrongly, so that it is no judge
        assert np.array_equal(straight(delivered, "int32"), quantise(noise(3_000, 1), "PCM_32"))
    elif subtype in LOSSY or container == "MP3":
        expected = np.rint(straight(source, "float32") * 2.0**23).clip(-(2**23), 2**23 - 1).astype(np.int32)
        assert np.array_equal(straight(delivered, "int32") >> 8, expected)
    else:
        kind = "float64" if subtype in {"FLOAT", "DOUBLE"} else "int32"
        assert np.array_equal(straight(delivered, kind), straight(source, kind))


@pytest.mark.parametrize(
    ("container", "subtype", "expected"),
    [
        ("WAV", "PCM_16", ("WAV", "PCM_16", ".wav")),
        ("WAV", "PCM_U8", ("WAV", "PCM_U8", ".wav")),
        ("WAV", "PCM_24", ("WAV", "PCM_24", ".wav")),
        ("WAV", "DOUBLE", ("WAV", "DOUBLE", ".wav")),
        ("WAV", "ULAW", ("WAV", "PCM_16", ".wav")),
        ("AIFF", "PCM_U8", ("AIFF", "PCM_S8", ".aiff")),
        ("AIFF", "PCM_24", ("AIFF", "PCM_24", ".aiff")),
        ("AIFF", "FLOAT", ("AIFF", "FLOAT", ".aiff")),
        ("AIFF", "ULAW", ("AIFF", "PCM_16", ".aiff")),
        ("CAF", "PCM_32", ("CAF", "PCM_32", ".caf")),
        ("CAF", "DOUBLE", ("CAF", "DOUBLE", ".caf")),
        ("W64", "PCM_24", ("WAV", "PCM_24", ".wav")),
        ("AU", "FLOAT", ("WAV", "FLOAT", ".wav")),
        ("FLAC", "PCM_32", ("WAV", "PCM_32", ".wav")),
        ("MKV", "PCM_16", ("FLAC", "PCM_16", ".flac")),
        ("MOV", "PCM_U8", ("FLAC", "PCM_S8", ".flac")),
        ("MOV", "FLOAT", ("WAV", "FLOAT", ".wav")),
        ("M4A", "ALAC_16", ("FLAC", "PCM_16", ".flac")),
        ("M4A", "ALAC_24", ("FLAC", "PCM_24", ".flac")),
        ("CAF", "ALAC_32", ("WAV", "PCM_32", ".wav")),
        ("M4A", "AAC", ("FLAC", "PCM_24", ".flac")),
        ("WAV", "MPEG_LAYER_III", ("FLAC", "PCM_24", ".flac")),
        ("FLAC", "PCM_16", ("FLAC", "PCM_16", ".flac")),
        ("FLAC", "PCM_S8", ("FLAC", "PCM_S8", ".flac")),
        ("CAF", "ALAC_20", ("FLAC", "PCM_24", ".flac")),
        ("MP3", "MPEG_LAYER_III", ("FLAC", "PCM_24", ".flac")),
        ("OGG", "OPUS", ("FLAC", "PCM_24", ".flac")),
        ("WAV", "an encoding of the future", ("FLAC", "PCM_24", ".flac")),
    ],
)
def test_what_is_delivered_is_lossless_and_as_deep_as_the_source(
    container: str, subtype: str, expected: tuple[str, str, str]
) -> None:
    assert delivery_format(Probe(container, subtype, 44_100, 2, 1)) == expected


@settings(max_examples=40, deadline=None)
@given(
    form=st.sampled_from([
        ("WAV", "PCM_U8"), ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_32"),
        ("FLAC", "PCM_S8"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("AIFF", "PCM_24"),
    ]),
    channels=st.integers(1, 8),
    sample_rate=st.sampled_from([4_000, 8_000, 22_050, 44_100, 96_000, 192_000, 384_000, 655_350]),
    frames=st.integers(1, 300) | st.sampled_from([BLOCK_FRAMES - 1, BLOCK_FRAMES, BLOCK_FRAMES + 1]),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_integers_come_through_bit_for_bit(
    form: tuple[str, str], channels: int, sample_rate: int, frames: int, seed: int
) -> None:
    values = np.random.default_rng(seed).integers(-(2**31), 2**31, (frames, channels), np.int32)
    with tempfile.TemporaryDirectory() as folder:
        source = write(Path(folder, "source"), values, *form, sample_rate)
        delivered = deliver(source, Path(folder))
        assert probe(delivered).sample_rate == sample_rate
        assert np.array_equal(straight(delivered, "int32"), straight(source, "int32"))


@settings(max_examples=40, deadline=None)
@given(
    samples=arrays.arrays(
        np.float64, st.tuples(st.integers(1, 40), st.integers(1, 8)), elements=st.floats(width=32)
    ),
    subtype=st.sampled_from(["FLOAT", "DOUBLE"]),
)
def test_floating_point_comes_through_bit_for_bit_but_for_what_is_no_sound(
    samples: npt.NDArray[np.float64], subtype: str
) -> None:
    dtype = {"FLOAT": "float32", "DOUBLE": "float64"}[subtype]
    with tempfile.TemporaryDirectory() as folder:
        source = write(Path(folder, "source"), samples.astype(dtype), "WAV", subtype)
        is_sound = np.abs(samples) <= 2.0**31
        if not is_sound.any():
            with pytest.raises(UnsupportedAudio, match="holds no sound"):
                deliver(source, Path(folder))
            return
        wanted = np.where(is_sound, straight(source, dtype), 0).astype(dtype)
        assert straight(deliver(source, Path(folder)), dtype).tobytes() == wanted.tobytes()
        assert count_unreal_frames(source) == np.count_nonzero(~is_sound.all(axis=1))


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_U8", 8), ("PCM_16", 16), ("PCM_24", 24), ("PCM_32", 32)])
def test_rounding_keeps_what_lies_on_the_grid_clips_what_lies_beyond_and_silences_nan(
    subtype: str, bits: int
) -> None:
    grid = np.random.default_rng(0).integers(-(2 ** (min(bits, 24) - 1)), 2 ** (min(bits, 24) - 1), (500, 2))
    on_grid = quantise((grid / 2.0 ** (min(bits, 24) - 1)).astype(np.float32), subtype)
    full = 8 * on_grid.dtype.itemsize
    assert np.array_equal(on_grid.astype(np.int64), grid << (full - min(bits, 24)))
    beyond = quantise(np.array([[1.0, -1.0, 7.0, -7.0, np.nan]], np.float32), subtype).astype(np.int64)
    top = 2 ** (bits - 1) - 1
    assert (beyond >> (full - bits)).tolist() == [[top, -top - 1, top, -top - 1, 0]]


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 400),
    region=st.integers(1, 120),
    block=st.integers(1, 150),
    dtype=st.sampled_from(["int16", "int32", "float32", "float64"]),
)
def test_the_regions_are_exactly_the_ends_whatever_the_lengths(
    frames: int, region: int, block: int, dtype: str
) -> None:
    grid = np.random.default_rng(0).integers(-(2**15), 2**15, (frames, 2))
    samples = (grid / 2.0**15).astype(np.float32)
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(regions, "_REGION_VALUES", 2 * region),
        patch.object(regions, "BLOCK_FRAMES", block),
        patch.object(decode, "BLOCK_FRAMES", block),
    ):
        source = write(Path(folder, "source"), grid.astype(np.int16), "WAV", "PCM_16")
        head, whole = read_head(source)
        ends = read_ends(source, region / probe(source).sample_rate)
        tail = TailBuffer(region)
        with AudioReader(source) as decoded:
            passed = [each for values in decoded.blocks(dtype) for each in tail.add(values)]
        assert decoded.frames == ends.frames == frames
        assert whole == (frames <= region)
        assert np.array_equal(head, samples[:region])
        assert np.array_equal(ends.head, samples[:region])
        assert np.array_equal(ends.tail, samples[-region:])
        assert np.array_equal(to_samples(np.concatenate([*passed, tail.unroll()])), samples)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_what_is_not_finite_or_absurd_is_silence_to_the_ears_of_the_analysis(
    tmp_path: Path, subtype: str
) -> None:
    samples = noise(1_000, 2).astype({"FLOAT": "float32", "DOUBLE": "float64"}[subtype])
    samples[3, 0], samples[500, 1], samples[501, 0], samples[999, 1] = np.nan, np.inf, -np.inf, 1e30
    samples[7] = np.finfo(samples.dtype).max
    source = write(tmp_path / "x.wav", samples, "WAV", subtype)
    odd = ~(np.abs(samples) <= 1)
    assert np.count_nonzero(odd) == 6
    for heard in (read_ends(source, 1).tail, read_ends(source, 1).head, read_head(source).samples):
        assert np.array_equal(heard, np.where(odd, 0, samples).astype(np.float32))


@pytest.mark.smoke
def test_an_mp3_decodes_in_blocks_as_it_does_in_one_go(tmp_path: Path) -> None:
    source = write(tmp_path / "x.mp3", 0.3 * noise(150_000, 1), "MP3", "MPEG_LAYER_III", 44_100)
    with AudioReader(source) as blocks:
        out = np.empty((2 * 150_000, 1), np.float32)
        while blocks.read_into(out[blocks.frames : blocks.frames + 5_000]):
            pass
    assert np.array_equal(out[: blocks.frames], straight(source, "float32"))


def decoded(path: Path, max_seconds: float = 60) -> tuple[npt.NDArray[np.float32], bool]:
    """All that a source holds, block by block, and whether it was intact."""
    with AudioReader(path, max_seconds=max_seconds) as source:
        blocks = [block.copy() for block in source.blocks(np.float32)]
    assert source.frames == sum(map(len, blocks))
    return np.concatenate([*blocks, np.empty((0, source.probe.channels), np.float32)]), source.intact


def test_an_mp3_whose_header_promises_twice_its_length_is_counted(tmp_path: Path) -> None:
    source = write(tmp_path / "x.mp3", 0.3 * noise(100_000, 2), "MP3", "MPEG_LAYER_III", 44_100)
    content = bytearray(source.read_bytes())
    place = max(content.find(b"Xing"), content.find(b"Info")) + 8
    promised = struct.unpack_from(">I", content, place)[0]
    struct.pack_into(">I", content, place, 2 * promised)
    source.write_bytes(content)
    assert 100_000 <= probe(source).frames < 103_000
    assert probe(source).stated_frames > 190_000
    assert 100_000 <= len(decoded(source)[0]) < 103_000


def test_a_flac_that_does_not_know_its_length_is_counted(tmp_path: Path) -> None:
    source = write(tmp_path / "x.flac", noise(100_000, 2), "FLAC", "PCM_16")
    content = bytearray(source.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    source.write_bytes(content)
    assert probe(source).frames == 100_000
    assert len(decoded(source)[0]) == 100_000


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("WAV", "PCM_24")],
)
def test_a_source_that_breaks_off_counts_up_to_there(tmp_path: Path, container: str, subtype: str) -> None:
    whole = write(tmp_path / "whole", 0.3 * noise(200_000, 2), container, subtype)
    broken = tmp_path / "broken"
    content = whole.read_bytes()
    broken.write_bytes(content[: len(content) * 2 // 3])
    samples, intact = decoded(broken)
    assert 100_000 < len(samples) < 150_000
    assert np.array_equal(samples, straight(whole, "float32")[: len(samples)])
    assert intact == (container == "WAV")  # where its header tells
    with AudioReader(broken) as again:
        assert sum(len(block) for block in again.blocks(np.int32)) == len(samples)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("song.mp3", b"\x89PNG\r\n\x1a\n" + bytes(3000), "PNG image"),
        ("song.mp3", b"these are only words " * 500, "not audio"),
        ("song.wav", b"", "empty"),
        ("song.flac", b"\x00\x00\x00\x20ftypisom" + bytes(3000), "incomplete MP4"),
        ("song.webm", b"\x1a\x45\xdf\xa3" + bytes(3000), "WebM"),
        ("song.wav", b"RIFF\x24\x00\x00\x00WAVEfmt ", "not audio"),
        ("song.flac", b"fLaC" + bytes(100), "not audio"),
        ("song.ogg", b"OggS" + bytes(100), "no sound"),
        ("song.raw", bytes(3000), "not audio"),
        ("song.vox", b"plain words, again and again " * 100, "a text"),
        ("song.vox", bytes(range(256)) * 20, "RAW"),
        ("page.mp3", b"<!doctype html><p>Not found</p>", "web page"),
    ],
)  # fmt: skip
def test_what_is_not_audio_is_refused_by_name(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnsupportedAudio, match=said) as refusal:
        probe(path)
    assert name in str(refusal.value)
    assert str(tmp_path) not in str(refusal.value)


@settings(max_examples=60, deadline=None)
@given(
    start=st.sampled_from([b"", b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\0\0\0", b"fLaC\0\0\0\x22", b"OggS\0\2", b"FORM"]),
    rest=st.binary(max_size=300),
)  # fmt: skip
def test_no_bytes_whatever_raise_anything_but_the_errors_that_are_promised(start: bytes, rest: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "source")
        path.write_bytes(start + rest)
        try:
            found = probe(path)
            samples, _ = decoded(path)
        except (UnsupportedAudio, SourceTooLarge):
            return
        assert samples.shape[1] == found.channels


def test_a_source_without_a_frame_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedAudio, match="no audio"):
        probe(write(tmp_path / "x.wav", noise(0, 2), "WAV", "PCM_16"))


@pytest.mark.parametrize(("channels", "sample_rate"), [(9, 44_100), (2, 1_000), (1, 1_000_000)])
def test_channels_and_rates_beyond_reason_are_refused(
    tmp_path: Path, channels: int, sample_rate: int
) -> None:
    with pytest.raises(UnsupportedAudio, match="supported are"):
        probe(write(tmp_path / "x.wav", noise(10, channels), "WAV", "PCM_16", sample_rate))


def test_a_source_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreachable, match=r"gone\.wav"):
        probe(tmp_path / "gone.wav")


def test_a_source_that_is_too_long_is_given_up_as_soon_as_that_is_known(tmp_path: Path) -> None:
    hour = write(tmp_path / "hour.flac", np.zeros((3600 * 4_000, 1), np.int16), "FLAC", "PCM_16", 4_000)
    assert hour.stat().st_size < 500_000
    with pytest.raises(SourceTooLarge, match="60 seconds"), AudioReader(hour, max_seconds=60) as source:
        for _ in source.blocks(np.float32):
            pass
    assert source.frames <= 60 * 4_000 + BLOCK_FRAMES
    assert len(decoded(hour, max_seconds=3600)[0]) == 3600 * 4_000


@pytest.mark.parametrize(("source", "large"), [("WAV", "RF64"), ("AIFF", "RF64"), ("CAF", "CAF")])
def test_what_is_beyond_the_four_gigabytes_of_wav_and_aiff_becomes_rf64(
    tmp_path: Path, source: str, large: str
) -> None:
    found = Probe(source, "PCM_24", 48_000, 6, 0)
    for frames, container in ((238_000_000, source), (239_000_000, large)):
        with AudioWriter(tmp_path / "x.wav", found, frames) as delivery:
            delivery.write(np.zeros((10, 6), np.int32))
        assert delivery.container == container
        assert probe(tmp_path / "x.wav").container == container


@pytest.mark.parametrize("container", ["WAV", "AIFF"])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_a_sealed_file_carries_no_time_of_day_and_is_what_its_hash_says(
    tmp_path: Path, container: str, channels: int
) -> None:
    written = tmp_path / "x"
    with AudioWriter(written, Probe(container, "FLOAT", 8_000, channels, 0), 10) as delivery:
        delivery.write(noise(10, channels))
    size, sha256 = seal(written)
    content = written.read_bytes()
    assert content[content.index(b"PEAK") :][12:16] == bytes(4)
    assert (size, sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert np.array_equal(straight(written, "float32"), noise(10, channels))


def test_a_destination_that_cannot_be_written_is_a_failure_in_words(tmp_path: Path) -> None:
    with pytest.raises(GenerationFailed, match="could not be written"):
        AudioWriter(tmp_path / "no such folder" / "x.wav", Probe("WAV", "PCM_16", 8_000, 1, 0), 1)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
@pytest.mark.parametrize(
    "target",
    [("WAV", "PCM_16"), ("AIFF", "PCM_16"), ("CAF", "PCM_16"), ("FLAC", "PCM_16"), ("M4A", "ALAC_16")],
)
def test_a_disk_that_fills_up_is_a_failure_in_words(tmp_path: Path, target: tuple[str, str]) -> None:
    found = Probe("WAV", "PCM_16", 8_000, 1, 0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with (
            pytest.raises(GenerationFailed, match="disk is full"),
            AudioWriter(tmp_path / "x", found, 100_000, DeliveryFormat(*target, "")) as delivery,
        ):
            delivery.write(noise(100_000, 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_containers_from_laboratories_and_samplers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedAudio, match="MAT5"):
        probe(write(tmp_path / "x.wav", noise(100, 1), "MAT5", "PCM_16"))

"""A finished file becomes what somebody wants to have, as exactly as that can hold it."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.audio.m4a import is_m4a, probe_m4a, read_m4a

from outpaint_mcp.audio.files.decode import AudioReader, probe
from outpaint_mcp.audio.files.decoder import BLOCK_FRAMES, Probe
from outpaint_mcp.audio.files.formats import FORMATS, WrittenFile, format_of, write_as
from outpaint_mcp.audio.files.ogg import pages
from outpaint_mcp.errors import GenerationFailed, InvalidRequest, SourceUnreachable
from outpaint_mcp.export_options import Format

if TYPE_CHECKING:
    import numpy.typing as npt

LOSSY = ("mp3", "m4a", "ogg", "opus")
RATE = 44_100
STEP = 2.0**-15
"""Of 16 bits."""


def noise(frames: int, channels: int = 2, level: float = 0.2) -> npt.NDArray[np.float32]:
    return (level * np.random.default_rng(frames).standard_normal((frames, channels))).astype(np.float32)


def tone(frames: int, level: float = 0.5, rate: int = RATE, hertz: float = 440) -> npt.NDArray[np.float32]:
    wave = level * np.sin(2 * np.pi * hertz * np.arange(frames) / rate)
    return np.stack([wave, 0.5 * wave], axis=1).astype(np.float32)


def write(
    path: Path, samples: npt.NDArray[Any], subtype: str = "PCM_16", rate: int = RATE, container: str = "WAV"
) -> Path:
    soundfile.write(path, samples, rate, subtype, format=container)
    return path


def read(path: Path, dtype: str = "float32") -> npt.NDArray[Any]:
    if is_m4a(path):
        return read_m4a(path, dtype)
    with AudioReader(path) as source:
        return np.concatenate([block.copy() for block in source.blocks(dtype)])


def written(made: Path, name: str, start_frame: int = 0, stop_frame: int | None = None) -> WrittenFile:
    return write_as(
        made,
        made.with_name("written"),
        format=name,
        start_frame=start_frame,
        stop_frame=stop_frame,
        on_progress=lambda _: None,
    )


def test_the_formats_are_those_that_can_be_asked_for() -> None:
    assert set(FORMATS) == set(get_args(Format))


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(FORMATS),
    subtype=st.sampled_from(["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"]),
    channels=st.integers(1, 8),
    rate=st.sampled_from([8_000, 11_025, 44_100, 65_537, 96_000, 192_000, 384_000]),
    frames=st.integers(16, 5_000) | st.just(BLOCK_FRAMES + 1),
)
def test_every_format_takes_everything_and_tells_what_came_of_it(
    name: str, subtype: str, channels: int, rate: int, frames: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = write(Path(folder, "made"), noise(frames, channels), subtype, rate)
        told = written(made, name)
        result = made.with_name("written")
        found = probe_m4a(result) if told.container == "M4A" else probe(result)
        assert (found.container, found.subtype) == (told.container, told.subtype)
        assert (found.sample_rate, found.channels) == (told.sample_rate, told.channels)
        assert told.suffix == format_of(name, probe(made)).suffix
        values = read(result)
        assert len(values) == told.frames
        least = 513 if told.subtype == "AAC" else 0
        assert abs(told.frames - max(least, frames * told.sample_rate / rate)) <= 1
        assert told.size_bytes == result.stat().st_size
        assert told.sha256 == hashlib.sha256(result.read_bytes()).hexdigest()
        if name not in LOSSY:
            assert (told.frames, told.channels, told.sample_rate) == (frames, channels, rate)
            coarsest = 2.0**-7 if told.subtype == "PCM_U8" else 1.01 * 1.5 * STEP
            assert np.abs(values - read(made).clip(-1, 1)).max() <= coarsest


@pytest.mark.parametrize(
    ("subtype", "exact"),
    [
        ("PCM_U8", {"source", "flac", "alac", "wav16", "wav24", "wav_float"}),
        ("PCM_16", {"source", "flac", "alac", "wav16", "wav24", "wav_float"}),
        ("PCM_24", {"source", "flac", "alac", "wav24", "wav_float"}),
        ("PCM_32", {"source"}),
        ("FLOAT", {"source", "wav_float"}),
        ("DOUBLE", {"source"}),
    ],
)
def test_values_are_kept_wherever_the_format_can_hold_them_and_only_then_is_that_said(
    tmp_path: Path, subtype: str, exact: set[str]
) -> None:
    values = np.random.default_rng(0).integers(-(2**31), 2**31 - 1, (70_000, 2), np.int32)
    samples = values if subtype.startswith("PCM") else values / 2.0**31
    made = write(tmp_path / "made", samples, subtype)
    assert {name for name in FORMATS if written(made, name).exact} == exact
    for name in exact:
        written(made, name)
        assert np.array_equal(read(tmp_path / "written", "float64"), read(made, "float64"))


def test_what_is_rounded_to_16_bits_is_dithered_so_that_the_error_does_not_follow_the_music(
    tmp_path: Path,
) -> None:
    quiet = tone(2 * RATE, level=0.6 * STEP)
    made = write(tmp_path / "made", quiet, "PCM_24")
    written(made, "wav16")
    error = read(tmp_path / "written") - read(made)
    spectrum = np.abs(np.fft.rfft(error[:, 0]))
    assert spectrum[2 * 440 * np.arange(1, 20)].max() < 6 * np.sqrt(np.mean(spectrum**2))
    # the power of rounding, and twice as much of dither
    assert np.sqrt(np.mean(error**2)) == pytest.approx(STEP / 2, rel=0.02)
    assert not np.array_equal(error[:, 0], error[:, 1])


def test_silence_and_what_was_16_bits_deep_before_are_not_dithered(tmp_path: Path) -> None:
    sixteen = read(write(tmp_path / "sixteen", noise(1_000)))
    for samples in (np.zeros((1_000, 2), np.float32), sixteen):
        made = write(tmp_path / "made", samples, "FLOAT")
        assert not written(made, "wav16").exact
        assert np.array_equal(read(tmp_path / "written"), samples)


@pytest.mark.smoke
@pytest.mark.parametrize("name", FORMATS)
def test_what_goes_beyond_full_scale_is_clipped_by_integers_alone(tmp_path: Path, name: str) -> None:
    made = write(tmp_path / "made", tone(RATE, level=1.5), "FLOAT")
    written(made, name)
    loudest = np.abs(read(tmp_path / "written")).max()
    assert loudest == (
        pytest.approx(1, abs=1e-4)
        if name in {"flac", "alac", "wav16", "wav24"}
        else pytest.approx(1.5, rel=0.05)
    )


@pytest.mark.parametrize("name", FORMATS)
def test_values_that_are_no_numbers_become_silence_in_every_format(tmp_path: Path, name: str) -> None:
    samples = noise(5_000)
    samples[1_000:1_010] = np.nan
    samples[2_000, 0] = np.inf
    made = write(tmp_path / "made", samples, "DOUBLE")
    written(made, name)
    assert np.isfinite(read(tmp_path / "written")).all()


@pytest.mark.parametrize("name", FORMATS)
def test_a_part_is_that_part_of_the_whole(tmp_path: Path, name: str) -> None:
    made = write(tmp_path / "made", tone(150_000), "PCM_24", 48_000)
    part = written(made, name, 70_000, 140_001)
    assert part.frames == 70_001
    expected = read(made)[70_000:140_001]
    inside = slice(3_000, -3_000)
    assert np.abs(read(tmp_path / "written")[inside] - expected[inside]).max() < 0.01
    least = 513 if name == "m4a" else 1
    assert written(made, name, 149_999).frames == max(1, least)
    assert written(made, name, 149_990, 10**9).frames == max(10, least)


@pytest.mark.parametrize(("start", "stop"), [(1_000, None), (10**12, None), (500, 500), (600, 500)])
def test_a_part_without_a_frame_is_refused(tmp_path: Path, start: int, stop: int | None) -> None:
    made = write(tmp_path / "made", noise(1_000))
    with pytest.raises(InvalidRequest, match="too few frames"):
        written(made, "flac", start, stop)


@pytest.mark.parametrize("name", FORMATS)
def test_one_frame_is_a_file_unless_a_lower_rate_leaves_nothing_of_it(tmp_path: Path, name: str) -> None:
    told = written(write(tmp_path / "made", noise(1), rate=48_000), name)
    assert told.frames == len(read(tmp_path / "written")) == (513 if name == "m4a" else 1)
    made = write(tmp_path / "made", noise(1), rate=384_000)
    if name in LOSSY:
        with pytest.raises(InvalidRequest, match="too few frames between 0 and 1"):
            written(made, name)
    else:
        assert written(made, name).frames == 1


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_file_makes_the_same_bytes(tmp_path: Path, name: str) -> None:
    made = write(tmp_path / "made", noise(100_000), "FLOAT")
    assert written(made, name) == written(made, name)


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_formats_delay_nothing_and_sound_alike(tmp_path: Path, name: str) -> None:
    made = write(tmp_path / "made", noise(48_000, level=0.05) + tone(48_000), rate=48_000)
    told = written(made, name)
    assert told.frames == 48_000
    before, after = read(made)[:, 0].astype(np.float64), read(tmp_path / "written")[:, 0].astype(np.float64)
    lags = range(-30, 31)
    products = [float(before[1_000:-1_000] @ np.roll(after, -lag)[1_000:-1_000]) for lag in lags]
    assert lags[int(np.argmax(products))] == 0
    assert np.sqrt(np.mean((before - after) ** 2)) < 0.05


@pytest.mark.parametrize("name", sorted(LOSSY))
def test_what_is_lossy_in_that_very_encoding_is_not_encoded_again(tmp_path: Path, name: str) -> None:
    first = written(write(tmp_path / "made", noise(50_000), rate=48_000), name)
    (tmp_path / "written").rename(tmp_path / "made")
    again = written(tmp_path / "made", name)
    assert again.exact
    assert again.sha256 == first.sha256
    assert not written(tmp_path / "made", name, 10).exact
    assert not written(tmp_path / "made", "mp3" if name == "ogg" else "ogg").exact


@pytest.mark.smoke
@pytest.mark.parametrize("channels", range(3, 9))
def test_vorbis_and_opus_have_their_channels_where_players_look_for_them_and_are_read_back_as_they_were(
    tmp_path: Path, channels: int
) -> None:
    order = {3: "LCR", 4: "LRlr", 5: "LCRlr", 6: "LCRlr.", 7: "LCRsSb.", 8: "LCRsSlr."}[channels]
    layout = {3: "LRC", 4: "LRlr", 5: "LRClr", 6: "LRC.lr", 7: "LRC.bsS", 8: "LRC.lrsS"}[channels]
    levels = {place: 0.08 * (1 + number) for number, place in enumerate("LRClr.sSb")}
    samples = np.repeat(tone(48_000, 1, 48_000, 60)[:, :1], channels, axis=1)
    made = write(tmp_path / "made", samples * [levels[place] for place in layout], "FLOAT", 48_000)
    for name in ("ogg", "opus"):
        written(made, name)
        stored, _ = soundfile.read(tmp_path / "written", always_2d=True)
        for decoded, places in ((stored, order), (read(tmp_path / "written"), layout)):
            loudest = decoded[9_600:38_400].max(axis=0)
            expected = [levels[place] for place in places]
            assert np.argsort(loudest).tolist() == np.argsort(expected).tolist()
            assert loudest == pytest.approx(expected, rel=0.5)


@pytest.mark.smoke
@pytest.mark.parametrize("channels", range(1, 9))
def test_aac_has_the_channels_in_their_order(tmp_path: Path, channels: int) -> None:
    levels = 0.08 * np.arange(1, channels + 1)
    samples = tone(20_000, 1, 48_000, 60)[:, :1] * levels
    told = written(write(tmp_path / "made", samples, "FLOAT", 48_000), "m4a")
    decoded = read(tmp_path / "written")
    assert decoded.shape == (20_000, channels) == (told.frames, told.channels)
    assert decoded[2_000:-2_000].max(axis=0) == pytest.approx(levels, rel=0.05)


@pytest.mark.smoke
@pytest.mark.parametrize(
    "rate", [7_350, 8_000, 11_025, 22_050, 44_100, 48_000, 64_000, 88_200, 96_000, 192_000]
)
def test_aac_is_as_long_as_the_music_to_the_frame(tmp_path: Path, rate: int) -> None:
    for frames in (2_100, 4_096, 5_001):
        told = written(write(tmp_path / "made", noise(frames), rate=rate), "m4a")
        assert told.sample_rate == (rate if rate <= 96_000 else 48_000)
        assert told.frames == len(read(tmp_path / "written"))
        assert told.frames == int(frames * told.sample_rate / rate + 0.5)


def test_aac_is_as_long_as_the_music_though_the_original_claims_to_be_longer(tmp_path: Path) -> None:
    made = write(tmp_path / "made", noise(9_000), "PCM_16", container="FLAC")
    made.write_bytes(made.read_bytes()[:-9_000])
    with AudioReader(made) as source:
        frames = sum(map(len, source.blocks("float32")))
        assert source.probe.frames > frames
    for name in ("m4a", "alac"):
        assert written(made, name).frames == len(read(tmp_path / "written")) == frames


@pytest.mark.smoke
@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 3, 5, 6])
@pytest.mark.parametrize(("subtype", "bits"), [("PCM_16", 16), ("PCM_24", 24)])
def test_alac_is_the_same_bit_for_bit(
    tmp_path: Path, rate: int, channels: int, subtype: str, bits: int
) -> None:
    dtype = "int16" if bits == 16 else "int32"
    for frames in (5, 4_097, 9_000):
        values = np.random.default_rng(frames).integers(-(2**31), 2**31, (frames, channels), np.int32)
        made = write(tmp_path / "made", values, subtype, rate)
        told = written(made, "alac")
        assert (told.exact, told.subtype, told.sample_rate) == (True, f"ALAC_{bits}", rate)
        found = read(tmp_path / "written", dtype)
        assert told.frames == len(found) >= frames
        assert np.array_equal(found[:frames], read(made, dtype))
        assert not found[frames:].any()


def test_mp3_has_its_highest_bit_rate_throughout(tmp_path: Path) -> None:
    told = written(write(tmp_path / "made", tone(4 * 48_000), rate=48_000), "mp3")
    assert told.size_bytes * 8 / 4 == pytest.approx(320_000, rel=0.02)


def test_mp3_has_the_other_channels_folded_into_two(tmp_path: Path) -> None:
    samples = np.zeros((48_000, 6), np.float32)
    samples[:, 2] = tone(48_000, 0.5, 48_000)[:, 0]
    told = written(write(tmp_path / "made", samples, "PCM_24", 48_000), "mp3")
    assert told.channels == 2
    assert np.abs(read(tmp_path / "written")[5_000:-5_000]).max(axis=0) == pytest.approx(
        [0.3535] * 2, rel=0.02
    )


def test_each_page_of_what_is_sealed_has_a_right_checksum_and_one_serial_number(tmp_path: Path) -> None:
    serials = set()
    for level in (0.1, 0.2):
        written(write(tmp_path / "made", noise(50_000, level=level)), "ogg")
        with (tmp_path / "written").open("rb") as file:
            found = list(pages(file))
        assert len(found) > 3
        serials.add(frozenset(bytes(page[14:18]) for _, page in found))
        for _, page in found:
            told, page[22:26] = bytes(page[22:26]), bytes(4)
            assert told == plain_checksum(bytes(page)).to_bytes(4, "little")
    assert [len(each) for each in serials] == [1, 1]


def plain_checksum(content: bytes) -> int:
    """The checksum bit by bit, as RFC 3533 has it."""
    register = 0
    for byte in content:
        register ^= byte << 24
        for _ in range(8):
            register = register << 1 & 0xFFFFFFFF ^ (0x04C11DB7 if register & 1 << 31 else 0)
    return register


def test_streams_one_after_the_other_keep_their_numbers(tmp_path: Path) -> None:
    parts = []
    for level in (0.1, 0.2):
        written(write(tmp_path / "made", noise(5_000, level=level)), "ogg")
        parts.append((tmp_path / "written").read_bytes())
    (tmp_path / "made").write_bytes(b"".join(parts))
    written(tmp_path / "made", "ogg")
    assert (tmp_path / "written").read_bytes() == b"".join(parts)


def test_progress_goes_up_to_one(tmp_path: Path) -> None:
    made = write(tmp_path / "made", noise(400_000))
    told: list[float] = []
    write_as(made, tmp_path / "written", format="wav24", start_frame=1, on_progress=told.append)
    assert told == sorted(told)
    assert len(told) > 4
    assert told[-1] == 1


def test_encoding_and_suffix_are_known_before_anything_is_written() -> None:
    found = Probe("WAV", "PCM_16", 44_100, 2, 1)
    assert {name: format_of(name, found) for name in FORMATS} == {
        "source": ("WAV", "PCM_16", ".wav"),
        "flac": ("FLAC", "PCM_16", ".flac"),
        "wav16": ("WAV", "PCM_16", ".wav"),
        "wav24": ("WAV", "PCM_24", ".wav"),
        "wav_float": ("WAV", "FLOAT", ".wav"),
        "alac": ("M4A", "ALAC_16", ".m4a"),
        "mp3": ("MP3", "MPEG_LAYER_III", ".mp3"),
        "m4a": ("M4A", "AAC", ".m4a"),
        "ogg": ("OGG", "VORBIS", ".ogg"),
        "opus": ("OGG", "OPUS", ".opus"),
    }
    assert format_of("flac", Probe("WAV", "PCM_16", 65_537, 2, 1)) == ("WAV", "PCM_16", ".wav")
    assert format_of("flac", Probe("OGG", "OPUS", 48_000, 2, 1)) == ("FLAC", "PCM_24", ".flac")
    assert format_of("flac", Probe("AIFF", "PCM_16", 44_100, 2, 1)) == ("FLAC", "PCM_16", ".flac")
    assert format_of("alac", Probe("OGG", "OPUS", 48_000, 6, 1)) == ("M4A", "ALAC_24", ".m4a")
    assert format_of("alac", Probe("WAV", "FLOAT", 48_000, 2, 1)) == ("M4A", "ALAC_24", ".m4a")
    assert format_of("alac", Probe("WAV", "FLOAT", 48_000, 8, 1)) == ("FLAC", "PCM_24", ".flac")


def test_failures_are_told_in_words(tmp_path: Path) -> None:
    made = write(tmp_path / "made", noise(1_000))
    with pytest.raises(SourceUnreachable):
        written(tmp_path / "gone", "flac")
    for name in FORMATS:
        with pytest.raises(GenerationFailed, match="could not be written"):
            write_as(made, tmp_path / "no folder" / "x", format=name, on_progress=lambda _: None)

"""The part from here to there is cut out as it decodes, and what is asked beyond the end is told kindly."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from outpaint_mcp.audio.files.crop import Cropped, crop
from outpaint_mcp.audio.files.decode import AudioReader, probe
from outpaint_mcp.audio.files.decoder import BLOCK_FRAMES
from outpaint_mcp.audio.files.encode import delivery_format, quantise, seal
from outpaint_mcp.errors import InvalidRequest, SourceTooLarge, SourceUnreachable, UnsupportedAudio

if TYPE_CHECKING:
    import numpy.typing as npt

RATE = 8_000


def noise(frames: int, channels: int = 2) -> npt.NDArray[np.float32]:
    return np.random.default_rng(frames).uniform(-0.5, 0.5, (frames, channels)).astype(np.float32)


def write(
    path: Path, samples: npt.NDArray[Any], container: str = "WAV", subtype: str = "PCM_16", rate: int = RATE
) -> Path:
    """Write in blocks; libsndfile crashes where Vorbis is written at once."""
    with soundfile.SoundFile(path, "w", rate, samples.shape[1], format=container, subtype=subtype) as file:
        for first in range(0, len(samples), BLOCK_FRAMES):
            file.write(samples[first : first + BLOCK_FRAMES])
    return path


def read(path: Path, dtype: str = "float32") -> npt.NDArray[Any]:
    with AudioReader(path) as source:
        return np.concatenate([block.copy() for block in source.blocks(dtype)])


def cropped(source: Path, start_seconds: float, end_seconds: float = 0, max_seconds: float = 3600) -> Cropped:
    return crop(
        source,
        source.with_name("part"),
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        max_seconds=max_seconds,
    )


@settings(max_examples=30, deadline=None)
@given(
    form=st.sampled_from([("WAV", "PCM_24"), ("WAV", "FLOAT"), ("FLAC", "PCM_24"), ("AIFF", "PCM_16")]),
    channels=st.integers(1, 8),
    frames=st.integers(1, 300) | st.integers(BLOCK_FRAMES - 2, BLOCK_FRAMES + 2) | st.just(2 * BLOCK_FRAMES + 1),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)  # fmt: skip
def test_the_part_has_the_very_frames_of_the_source(
    form: tuple[str, str], channels: int, frames: int, ends: tuple[float, float]
) -> None:
    start, stop = sorted(round(end * frames) for end in ends)
    with tempfile.TemporaryDirectory() as folder:
        source = write(Path(folder, "source"), noise(frames, channels), *form)
        if start == stop and stop > 0:
            with pytest.raises(InvalidRequest):
                cropped(source, start / RATE, stop / RATE)
            return
        part = cropped(source, start / RATE, stop / RATE)
        stop = stop or frames
        assert (part.frames, part.channels, part.sample_rate) == (stop - start, channels, RATE)
        assert (part.start_seconds, part.seconds) == (start / RATE, (stop - start) / RATE)
        assert part.source_remark == ""
        kind = "float32" if form[1] == "FLOAT" else "int32"
        assert np.array_equal(read(source.with_name("part"), kind), read(source, kind)[start:stop])
        assert probe(source.with_name("part")).container == delivery_format(probe(source)).container


@pytest.mark.parametrize(
    ("container", "subtype"), [("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS")]
)
def test_of_a_lossy_source_the_part_is_what_playing_it_through_gives(
    tmp_path: Path, container: str, subtype: str
) -> None:
    source = write(tmp_path / "source", noise(200_000), container, subtype)
    part = cropped(source, 11.5, 20)
    assert part.frames == 68_000
    expected = quantise(read(source)[92_000:160_000], "PCM_24")
    assert np.array_equal(read(tmp_path / "part", "int32"), expected)
    assert probe(tmp_path / "part").subtype == "PCM_24"


def test_the_same_part_makes_the_same_bytes(tmp_path: Path) -> None:
    source = write(tmp_path / "source", noise(9_000), subtype="FLOAT")
    first = cropped(source, 0.5), seal(tmp_path / "part")
    assert (cropped(source, 0.5), seal(tmp_path / "part")) == first


def test_an_end_just_beyond_the_last_frame_is_that_frame(tmp_path: Path) -> None:
    source = write(tmp_path / "source", noise(RATE))
    assert cropped(source, 0.25, 1.5).seconds == 0.75


@pytest.mark.parametrize(
    ("start_seconds", "end_seconds", "field", "words"),
    [
        (1.0, 0, "source_start_seconds", r"lasts 1.00 s, but the part to extend begins at 1 s"),
        (83, 90, "source_start_seconds", r"lasts 1.00 s, but the part to extend begins at 83 s"),
        (0.5, 1.51, "source_end_seconds", r"lasts 1.00 s, but the part to extend ends at 1.51 s"),
        (0, 3600, "source_end_seconds", r"lasts 1.00 s, but the part to extend ends at 3600 s"),
        (0.5, 0.5, "source_end_seconds", "Nothing is left between"),
        (0.5, 0.25, "source_end_seconds", "Nothing is left between"),
        (0, 0.00001, "source_end_seconds", "Nothing is left between"),
        (0.99999, 0, "source_start_seconds", "Choose an earlier beginning"),
        (-1, 0, "source_start_seconds", "0 or more"),
        (0, -1, "source_end_seconds", "0 or more"),
        (float("nan"), 0, "source_start_seconds", "0 or more"),
        (0, float("inf"), "source_end_seconds", "0 or more"),
    ],
)
def test_what_cannot_be_cut_is_refused_by_the_name_of_what_is_wrong(
    tmp_path: Path, start_seconds: float, end_seconds: float, field: str, words: str
) -> None:
    source = write(tmp_path / "song.wav", noise(RATE))
    with pytest.raises(InvalidRequest, match=words) as refused:
        cropped(source, start_seconds, end_seconds)
    assert refused.value.field == field


def test_a_long_source_can_be_cut_as_far_as_may_be_decoded_and_no_further(tmp_path: Path) -> None:
    hour = write(tmp_path / "hour", np.zeros((3600 * 4_000, 1), np.int16), "FLAC", "PCM_16", 4_000)
    assert cropped(hour, 20, 30, max_seconds=60).frames == 40_000
    with pytest.raises(SourceTooLarge, match="60 seconds"):
        cropped(hour, 20, max_seconds=60)


def test_a_source_that_breaks_off_is_cut_up_to_there_and_that_is_told(tmp_path: Path) -> None:
    source = write(tmp_path / "source", noise(100_000), "FLAC")
    content = source.read_bytes()
    source.write_bytes(content[: len(content) // 2])
    part = cropped(source, 1)
    assert "damaged" in part.source_remark
    assert 0 < part.frames < 60_000
    with pytest.raises(
        InvalidRequest, match=r"as far as it can be decoded, but the part to extend ends at 12 s"
    ):
        cropped(source, 1, 12)


def test_what_cannot_be_decoded_is_refused_as_everywhere(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreachable, match=r"gone\.wav"):
        cropped(tmp_path / "gone.wav", 1)
    (tmp_path / "page.wav").write_text("<!doctype html>")
    with pytest.raises(UnsupportedAudio, match="web page"):
        cropped(tmp_path / "page.wav", 1)

"""All of an MP3 is decoded, whatever its tag says or fails to say, and what is missing is known."""

from __future__ import annotations

import struct
from contextlib import suppress
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from outpaint_mcp.audio.engine import regions
from outpaint_mcp.audio.engine.outpaint import outpaint_file
from outpaint_mcp.audio.files import mp3
from outpaint_mcp.audio.files.decode import AudioReader, probe
from outpaint_mcp.audio.files.sound_file import SequentialFile
from outpaint_mcp.audio.files.spliced_file import SplicedFile
from outpaint_mcp.errors import UnsupportedAudio
from outpaint_mcp.wishes import Wishes

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

SAMPLES = 60_000
KINDS = [
    (44_100, 2, "CONSTANT"),
    (44_100, 1, "VARIABLE"),
    (22_050, 1, "CONSTANT"),
    (24_000, 2, "AVERAGE"),
    (8_000, 2, "VARIABLE"),
]
"""MPEG 1, 2 and 2.5, one and two channels: every place that the tag can have."""
kinds = pytest.mark.parametrize("kind", KINDS)

ID3V2 = b"ID3\x04\0\0\0\0\x20\x07" + b"TIT2\0\0\0\x05\0\0\0" + bytes(4096 - 4)
"""A title and 4 kB of padding."""
ID3V1 = b"TAG" + b"\xffsong".ljust(125, b" ")
APE = b"APETAGEX" + bytes(24) + b"\xff\xfb\x90\x64 cover " * 900


@cache
def encoded(kind: tuple[int, int, str], seed: int = 0) -> bytes:
    """Noise that becomes softer, so that the first frame of a variable rate suggests too short a file."""
    sample_rate, channels, mode = kind
    samples = np.random.default_rng(seed).uniform(-0.3, 0.3, (SAMPLES, channels))
    file = BytesIO()
    with soundfile.SoundFile(
        file, "w", sample_rate, channels, format="MP3", bitrate_mode=mode, compression_level=0.5
    ) as encoder:
        encoder.write(samples * np.linspace(1, 0.01, SAMPLES)[:, None])
    return file.getvalue()


def tag(content: bytes) -> int:
    return max(content.find(b"Xing"), content.find(b"Info"))


def claims(content: bytes) -> tuple[int, int]:
    frames, size_bytes = struct.unpack_from(">II", content, tag(content) + 8)
    return frames, size_bytes


def claiming(content: bytes, frames: int, size_bytes: int | None = None) -> bytes:
    place = tag(content)
    size_bytes = claims(content)[1] if size_bytes is None else size_bytes
    return content[: place + 8] + struct.pack(">II", frames, size_bytes) + content[place + 16 :]


def untagged(content: bytes, folder: Path) -> bytes:
    (found,) = mp3.scan(put(folder, content))
    return content[len(found.opening) :]


def put(folder: Path, content: bytes) -> Path:
    path = folder / "source.mp3"
    path.write_bytes(content)
    return path


def decoded(path: Path) -> tuple[npt.NDArray[np.float32], bool]:
    with AudioReader(path) as source:
        blocks = [block.copy() for block in source.blocks(np.float32)]
    return np.concatenate(blocks), source.intact


def plainly(path: Path) -> npt.NDArray[np.float32]:
    """As libsndfile decodes it."""
    with SequentialFile(path) as file:
        samples: npt.NDArray[np.float32] = file.read(out=np.empty((file.frames, file.channels), np.float32))
    return samples


def frame_samples(kind: tuple[int, int, str]) -> int:
    return 1152 if kind[0] > 24_000 else 576


@kinds
def test_an_honest_mp3_decodes_as_ever_with_tags_around_it_and_without(
    tmp_path: Path, kind: tuple[int, int, str]
) -> None:
    for content in (encoded(kind), ID3V2 + encoded(kind) + APE + ID3V1):
        source = put(tmp_path, content)
        samples, intact = decoded(source)
        assert intact
        assert len(samples) == probe(source).frames == SAMPLES
        assert np.array_equal(samples, plainly(source))


@kinds
@pytest.mark.parametrize("before", [b"", ID3V2])
@pytest.mark.parametrize("after", [b"", ID3V1, APE + ID3V1])
def test_a_count_that_is_too_small_or_zero_costs_nothing(
    tmp_path: Path, kind: tuple[int, int, str], before: bytes, after: bytes
) -> None:
    honest = encoded(kind)
    frames, _ = claims(honest)
    truth = plainly(put(tmp_path, honest))
    for claimed in (0, frames // 10, frames // 2, frames - 1):
        source = put(tmp_path, before + claiming(honest, claimed) + after)
        samples, intact = decoded(source)
        assert np.array_equal(samples, truth)
        assert intact
        assert probe(source).frames == SAMPLES


@kinds
def test_a_count_that_is_too_great_is_no_damage_where_no_bytes_are_missing(
    tmp_path: Path, kind: tuple[int, int, str]
) -> None:
    honest = encoded(kind)
    truth = plainly(put(tmp_path, honest))
    frames, _ = claims(honest)
    for claimed in (frames + 1, 2 * frames):
        samples, intact = decoded(put(tmp_path, claiming(honest, claimed)))
        assert np.array_equal(samples[:SAMPLES], truth)
        assert SAMPLES <= len(samples) < SAMPLES + 2_000
        assert intact


@kinds
@pytest.mark.parametrize("between", [b"", ID3V2, ID3V1 + ID3V2, bytes(500), APE, APE + ID3V1 + ID3V2])
def test_what_was_joined_is_decoded_to_the_end_of_the_last_part(
    tmp_path: Path, kind: tuple[int, int, str], between: bytes
) -> None:
    first, second = encoded(kind), encoded(kind, 1)
    alone = plainly(put(tmp_path, first))
    # The second part's tag is a silent frame where it stands, and its delay and padding are heard.
    frames = claims(first)[0] + 1 + claims(second)[0]
    samples, intact = decoded(put(tmp_path, first + between + second))
    assert intact
    assert np.array_equal(samples[:SAMPLES], alone)
    assert 0 < frames * frame_samples(kind) - len(samples) < 1152  # the delay of the first
    end = plainly(put(tmp_path, second))[10_000:]
    offset = (claims(first)[0] + 1) * frame_samples(kind) + 10_000
    assert np.allclose(
        samples[offset : offset + len(end)], end, rtol=0, atol=1e-6
    )  # the decoder did not start anew


@kinds
def test_frames_that_came_after_the_tag_was_written_are_kept(
    tmp_path: Path, kind: tuple[int, int, str]
) -> None:
    honest = encoded(kind)
    more = untagged(encoded(kind, 1), tmp_path)
    samples, intact = decoded(put(tmp_path, honest + more))
    assert intact
    frames = claims(honest)[0] + claims(encoded(kind, 1))[0]
    assert 0 < frames * frame_samples(kind) - len(samples) < 1152


@kinds
def test_without_a_tag_everything_is_decoded_though_the_first_frame_suggests_less(
    tmp_path: Path, kind: tuple[int, int, str]
) -> None:
    honest = encoded(kind)
    # A count that is too great keeps the padding.
    whole, _ = decoded(put(tmp_path, claiming(honest, 2 * claims(honest)[0])))
    source = put(tmp_path, untagged(honest, tmp_path))
    suggested = probe(source).frames
    samples, intact = decoded(source)
    assert intact
    assert claims(honest)[0] * frame_samples(kind) - len(samples) in {0, 529}
    assert suggested >= len(samples)
    assert len(plainly(source)) <= len(samples)
    skipped = len(samples) - len(whole)  # the delay that only the tag tells
    assert np.allclose(samples[skipped:], whole, rtol=0, atol=1e-6)


@kinds
def test_fraunhofers_header_is_a_silent_frame_and_costs_nothing(
    tmp_path: Path, kind: tuple[int, int, str]
) -> None:
    honest = encoded(kind)
    frames, size_bytes = claims(honest)
    (found,) = mp3.scan(put(tmp_path, honest))
    header = honest[:4] + bytes(32) + struct.pack(">4s3H2I", b"VBRI", 1, 0, 75, size_bytes, frames // 2)
    opening = header.ljust(len(found.opening), b"\0")[: len(found.opening)]
    samples, _ = decoded(put(tmp_path, opening + honest[len(opening) :]))
    assert (frames + 1) * frame_samples(kind) - len(samples) in {0, 529}


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(KINDS), share=st.floats(0.3, 0.999), before=st.sampled_from([b"", ID3V2]))
def test_an_mp3_cut_short_anywhere_is_known_to_be(
    tmp_path_factory: pytest.TempPathFactory, kind: tuple[int, int, str], share: float, before: bytes
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    honest = encoded(kind)
    content = before + honest[: int(share * len(honest))]
    truth = plainly(put(folder, honest))
    samples, intact = decoded(put(folder, content))
    assert not intact
    assert 0 < len(samples) < SAMPLES
    assert np.array_equal(samples, truth[: len(samples)])


@kinds
def test_an_mp3_that_lacks_its_last_byte_or_that_its_tag_counts_itself(
    tmp_path: Path, kind: tuple[int, int, str]
) -> None:
    honest = encoded(kind)
    assert not decoded(put(tmp_path, honest[:-1]))[1]
    assert not decoded(put(tmp_path, honest[:-200] + ID3V1))[1]
    assert decoded(put(tmp_path, claiming(honest, claims(honest)[0] + 1)))[1]


@pytest.mark.parametrize("other", [(24_000, 2, "AVERAGE"), (44_100, 1, "VARIABLE")])
def test_a_part_in_another_format_is_decoded_behind_the_one_before_it(
    tmp_path: Path, other: tuple[int, int, str]
) -> None:
    first, second = encoded((44_100, 2, "CONSTANT")), encoded(other)
    source = put(tmp_path, first + second)
    samples, intact = decoded(source)
    assert intact
    assert len(samples) == probe(source).frames == SAMPLES + SAMPLES * 44_100 // other[0]
    assert np.array_equal(samples[:SAMPLES], plainly(put(tmp_path, first)))
    if other[1] == 1:
        assert np.array_equal(samples[SAMPLES:], np.repeat(plainly(put(tmp_path, second)), 2, axis=1))


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    # The first bytes stay: other ones may well say, and rightly, that this is a PDF.
    cuts=st.lists(st.tuples(st.integers(16, 30_000), st.integers(0, 3_000), st.binary(max_size=60)), max_size=4),
)  # fmt: skip
def test_no_damage_makes_less_of_an_mp3_than_libsndfile_alone_does(
    tmp_path_factory: pytest.TempPathFactory, kind: tuple[int, int, str], cuts: list[tuple[int, int, bytes]]
) -> None:
    content = bytearray(encoded(kind))
    for start, length, other in cuts:
        content[start : start + length] = other
    source = put(tmp_path_factory.mktemp("damaged"), bytes(content))
    alone = 0
    with suppress(soundfile.LibsndfileError, MemoryError):
        alone = len(plainly(source))
    found = 0
    try:
        with AudioReader(source) as ours:
            found = sum(map(len, ours.blocks(np.float32)))
            is_mp3 = ours.probe.container == "MP3"
    except UnsupportedAudio:
        is_mp3 = True
    assert not is_mp3 or found >= min(alone, SAMPLES) - 8 * 1152


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["half", "joined", "cut"])
def test_the_whole_of_it_is_in_what_is_delivered(tmp_path: Path, name: str) -> None:
    kind = (22_050, 1, "CONSTANT")
    honest = encoded(kind)
    content = {
        "half": claiming(honest, claims(honest)[0] // 2),
        "joined": honest + ID3V1 + ID3V2 + encoded(kind, 1),
        "cut": honest[: len(honest) // 2],
    }[name]
    source = put(tmp_path, content)
    destination = tmp_path / "result"
    told = outpaint_file(
        source,
        destination,
        Wishes(before_seconds=0.5, after_seconds=0.5, placement="outside"),
        seed=1,
        max_source_seconds=60,
        on_progress=lambda _fraction, _step: None,
    )
    samples, _ = decoded(source)
    assert {"half": "all of that is used", "joined": "all of that is used", "cut": "damaged"}[
        name
    ] in told.source_remark
    assert told.source_frames == len(samples)
    middle = soundfile.read(destination, dtype="int32", always_2d=True)[0][told.before_frames :]
    stored = np.rint(samples * 2.0**23).clip(-(2**23), 2**23 - 1).astype(np.int32) << 8
    assert np.array_equal(middle[: told.source_frames], stored)
    assert len(middle) == told.source_frames + told.after_frames


def test_an_mp3_longer_than_what_is_kept_in_memory_is_extended_at_both_ends(tmp_path: Path) -> None:
    source = put(tmp_path, encoded((22_050, 1, "CONSTANT")))
    with patch.object(regions, "_REGION_SECONDS", 1.0):
        told = outpaint_file(
            source,
            tmp_path / "result",
            Wishes(before_seconds=0.5, after_seconds=0.5, placement="outside"),
            seed=1,
            max_source_seconds=60,
            on_progress=lambda _fraction, _step: None,
        )
    samples, _ = decoded(source)
    assert (told.source_remark, told.source_frames) == ("", len(samples))
    assert len(soundfile.read(tmp_path / "result")[0]) == len(samples) + 2 * round(0.5 * 22_050)


def test_what_is_joined_behind_a_large_cover_is_read(tmp_path: Path) -> None:
    content = encoded(KINDS[0])
    cover = b"APETAGEX" + bytes(24) + b"\xff\xfb cover" * 30_000
    alone = untagged(content, tmp_path)
    expected, _ = decoded(put(tmp_path, alone + alone))
    found, intact = decoded(put(tmp_path, alone + cover + alone))
    assert intact
    assert len(found) == len(expected)


def test_more_parts_than_are_read_are_not_left_out_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = put(tmp_path, b"".join(map(encoded, KINDS[:3])))
    assert decoded(source)[1]
    monkeypatch.setattr(mp3, "MOST_PARTS", 2)
    found, intact = decoded(source)
    assert not intact
    assert len(found) > SAMPLES


def test_a_spliced_file_reads_as_its_parts_joined(tmp_path: Path) -> None:
    content = bytes(range(200))
    path = put(tmp_path, content)
    expected = b"opening" + content[10:20] + content[50:90]
    with SplicedFile(path, b"opening", [(10, 20), (50, 90)]) as spliced:
        assert spliced.readall() == expected
        assert spliced.seek(0, 2) == len(expected)
        assert spliced.read(1) == b""
        for at in range(len(expected)):
            spliced.seek(at)
            assert spliced.read(1) == expected[at : at + 1]
            assert spliced.tell() == at + 1


def test_a_file_that_is_made_of_tags_is_not_walked_through_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encoded(next(iter(KINDS)))
    source = put(tmp_path, b"ID3\4\0\0\0\0\0\0" * 1_000 + content)
    (found,) = mp3.scan(source)
    assert found.frames > 10
    monkeypatch.setattr(mp3, "_MOST_MARKS", 500)
    assert mp3.scan(source) == []

"""Loops, cues and times of a recording are at the same music in the longer file, or it is reported why not."""

# mypy: allow-untyped-calls

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from mutagen.flac import FLAC
from mutagen.id3 import ID3, TXXX
from mutagen.oggvorbis import OggVorbis
from tests.audio.tagged_files import sound

from outpaint_mcp.audio.files import chunks
from outpaint_mcp.audio.layout import Preserved
from outpaint_mcp.audio.tags import carrying
from outpaint_mcp.audio.tags.carrying import carry_over
from outpaint_mcp.audio.tags.reading import read_tags
from outpaint_mcp.wishes import Wishes
from outpaint_mcp.workers.making import convert, extend
from outpaint_mcp.workers.orders import Convert, Extend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FRAMES = 9_600
"""How long `sound` is."""
WHOLE = [Preserved(0, FRAMES, 1_000)]
"""All of a source, behind 1,000 frames."""
CROPPED = [Preserved(4_000, FRAMES, 500)]
"""What is left of it when 4,000 frames are cut off, behind 500."""
INSIDE = [Preserved(0, 5_000, 0), Preserved(5_000, FRAMES, 7_000)]
"""2,000 frames in the middle of it."""


def with_chunks(path: Path, *parts: tuple[bytes, bytes], form: str = "WAV") -> Path:
    sound(path, form)
    with path.open("r+b") as file:
        order = chunks.byte_order(path.read_bytes())
        chunks.append(file, b"".join(chunks.pack(name, content, order) for name, content in parts))
    return path


def chunk_of(path: Path, name: bytes) -> bytes | None:
    with path.open("rb") as file:
        found = [chunks.read(file, chunk, 1 << 20) for chunk in chunks.walk(file) if chunk.name == name]
    assert len(found) < 2
    return found[0] if found else None


def smpl(*loops: tuple[int, int]) -> tuple[bytes, bytes]:
    points = [struct.pack("<6I", number, 0, start, stop, 7, 3) for number, (start, stop) in enumerate(loops)]
    return b"smpl", struct.pack("<9I", 1, 2, 20_833, 60, 5, 0, 0, len(loops), 0) + b"".join(points)


def cues(*frames: int) -> tuple[bytes, bytes]:
    points = [struct.pack("<2I4s3I", 10 + n, at, b"data", 0, 0, at) for n, at in enumerate(frames)]
    return b"cue ", struct.pack("<I", len(frames)) + b"".join(points)


def bext(time: int, version: int = 2) -> tuple[bytes, bytes]:
    texts = b"Take 1".ljust(256, b"\0") + b"Recorder".ljust(32, b"\0") + bytes(32) + b"2024-09-1315:17:54"
    rest = struct.pack("<QH", time, version) + b"u" * 64 + struct.pack("<5h", -2300, 500, -100, -1800, -2000)
    return b"bext", texts + rest + bytes(180) + b"A=PCM,F=48000\r\n"


def ixml(time: int) -> tuple[bytes, bytes]:
    high, low = divmod(time, 1 << 32)
    return b"iXML", (
        f"<BWFXML><SCENE>4</SCENE><SPEED><TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_HI>{high}</TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_HI>"
        f"<TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO>{low}</TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO></SPEED>"
        "<SYNC_POINT_LIST><SYNC_POINT_LOW>7</SYNC_POINT_LOW></SYNC_POINT_LIST></BWFXML>"
    ).encode()


@pytest.mark.parametrize(
    ("preserved", "loops", "moved", "left_out"),
    [
        (WHOLE, [(4_410, 9_000)], [(5_410, 10_000)], ""),
        (WHOLE, [(0, FRAMES), (1, 2)], [(1_000, FRAMES + 1_000), (1_001, 1_002)], ""),
        (CROPPED, [(4_410, 9_000), (100, 9_000)], [(910, 5_500)], "loop points whose places are not in this file"),
        (CROPPED, [(100, 200)], [], "loop points whose places are not in this file"),
        (INSIDE, [(100, 4_000), (6_000, 7_000), (4_000, 6_000)], [(100, 4_000), (8_000, 9_000)], "loop points whose"),
        ([], [(1, 2)], [], "loop points whose places are not in this file"),
        (WHOLE, [(2**32 - 2, 2**32 - 1)], [], "loop points whose places are not in this file"),
        (WHOLE, [(9, 8)], [], "loop points whose places are not in this file"),
        (WHOLE, [], [], ""),
    ],
)  # fmt: skip
def test_loops_of_a_sampler_are_where_their_music_is(
    tmp_path: Path,
    preserved: list[Preserved],
    loops: list[tuple[int, int]],
    moved: list[tuple[int, int]],
    left_out: str,
) -> None:
    source, made = with_chunks(tmp_path / "source", smpl(*loops)), sound(tmp_path / "made", "WAV")
    before = soundfile.read(made)[0]
    said = carry_over(source, made, comment="Extended.", preserved=preserved)
    assert left_out in said
    assert bool(left_out) == bool(said)
    content = chunk_of(made, b"smpl")
    assert content
    assert struct.unpack_from("<9I", content) == (1, 2, 20_833, 60, 5, 0, 0, len(moved), 0)
    rest = [struct.unpack_from("<6I", content, at) for at in range(36, len(content), 24)]
    assert [each[2:4] for each in rest] == moved
    assert all(each[4:] == (7, 3) for each in rest)
    assert np.array_equal(soundfile.read(made)[0], before)
    assert struct.unpack_from("<I", made.read_bytes(), 4)[0] == made.stat().st_size - 8
    assert read_tags(made).fields["comment"] == ["Extended."]


def test_cues_go_along_with_their_names_and_those_of_what_was_cut_off_do_not(tmp_path: Path) -> None:
    labels = [(n, f"cue {n}".encode() + b"\0") for n in (10, 11)]
    texts = b"".join(chunks.pack(b"labl", struct.pack("<I", n) + text, "little") for n, text in labels)
    source = with_chunks(tmp_path / "source", cues(5_000, 100), (b"LIST", b"adtl" + texts))
    made = sound(tmp_path / "made", "WAV")
    assert carry_over(source, made, comment="", preserved=WHOLE) == ""
    assert chunk_of(made, b"cue ") == cues(6_000, 1_100)[1]
    assert chunk_of(made, b"LIST") == b"adtl" + texts
    made = sound(tmp_path / "made", "WAV")
    assert "cue points whose places" in carry_over(source, made, comment="", preserved=CROPPED)
    assert chunk_of(made, b"cue ") == cues(1_500)[1]
    assert chunk_of(made, b"LIST") == b"adtl" + texts[: len(texts) // 2]


@pytest.mark.parametrize("mark", [b"RF64", b"BW64"])
def test_cues_and_tags_of_the_larger_kinds_of_wav_go_along(tmp_path: Path, mark: bytes) -> None:
    source = with_chunks(tmp_path / "source.wav", cues(100), (b"LIST", b"INFOINAM\5\0\0\0Song\0\0"))
    source.write_bytes(mark + source.read_bytes()[4:])
    destination = sound(tmp_path / "longer.wav", "WAV")
    assert carry_over(source, destination, comment="", preserved=WHOLE) == ""
    assert chunk_of(destination, b"cue ") == cues(1_100)[1]
    assert read_tags(destination).fields["title"] == ["Song"]


def test_a_cue_that_names_its_frame_but_once_is_moved_as_well(tmp_path: Path) -> None:
    point = struct.pack("<3I4s3I", 1, 10, 5_000, b"data", 0, 0, 0)
    source, made = with_chunks(tmp_path / "source", (b"cue ", point)), sound(tmp_path / "made", "WAV")
    assert carry_over(source, made, comment="", preserved=WHOLE) == ""
    assert chunk_of(made, b"cue ") == cues(6_000)[1]


@pytest.mark.parametrize(
    ("time", "preserved", "moved", "is_known"),
    [
        (171_050_880, WHOLE, 171_049_880, True),
        (5 << 32, WHOLE, (5 << 32) - 1_000, True),
        (171_050_880, CROPPED, 171_054_380, True),
        (171_050_880, INSIDE, 171_050_880, True),
        (999, WHOLE, 0, False),
        (1_000, [], 0, False),
        (0, WHOLE, 0, True),
        (2**64 - 1, WHOLE, 2**64 - 1_001, True),
    ],
)
def test_the_time_of_day_is_that_of_the_longer_files_first_frame(
    tmp_path: Path, time: int, preserved: list[Preserved], moved: int, *, is_known: bool
) -> None:
    source, made = with_chunks(tmp_path / "source", bext(time), ixml(time)), sound(tmp_path / "made", "WAV")
    said = carry_over(source, made, comment="", preserved=preserved)
    assert ("the time of day of its first frame, which is not known" in said) != is_known
    content, text = chunk_of(made, b"bext"), chunk_of(made, b"iXML")
    assert content
    assert content[:338] == bext(0)[1][:338]
    assert struct.unpack_from("<QH64s5h", content, 338) == (moved, 2, bytes(64), *[0x7FFF] * 5)
    assert content.endswith(b"A=PCM,F=48000\r\n")
    assert text == ixml(moved)[1].replace(
        b"<SYNC_POINT_LIST><SYNC_POINT_LOW>7</SYNC_POINT_LOW></SYNC_POINT_LIST>", b""
    )


def test_markers_of_aiff_are_moved_and_its_loops_lie_between_them(tmp_path: Path) -> None:
    def marks(*places: tuple[int, int, bytes]) -> tuple[bytes, bytes]:
        packed = (
            struct.pack(">HIB", n, at, len(name)) + name + bytes((len(name) + 1) % 2)
            for n, at, name in places
        )
        return b"MARK", struct.pack(">H", len(places)) + b"".join(packed)

    inst = b"INST", struct.pack(">6bh3H3H", 60, 0, 0, 127, 1, 127, 0, 1, 1, 2, 0, 0, 0)
    source = with_chunks(
        tmp_path / "source", marks((1, 4_500, b"one"), (2, 9_000, b"four")), inst, form="AIFF"
    )
    made = sound(tmp_path / "made", "AIFF")
    assert carry_over(source, made, comment="Extended.", preserved=WHOLE) == ""
    assert chunk_of(made, b"MARK") == marks((1, 5_500, b"one"), (2, 10_000, b"four"))[1]
    assert chunk_of(made, b"INST") == inst[1]
    assert read_tags(made).fields == {"comment": ["Extended."]}
    assert len(soundfile.read(made)[0]) == FRAMES
    made = sound(tmp_path / "made", "AIFF")
    assert "markers whose" in carry_over(source, made, comment="", preserved=[Preserved(5_000, FRAMES, 0)])
    assert chunk_of(made, b"MARK") == marks((2, 4_000, b"four"))[1]
    assert chunk_of(made, b"INST") is None
    made = sound(tmp_path / "made", "WAV")
    assert carry_over(source, made, comment="", preserved=WHOLE) == (
        "Not carried over from the source's file: markers, for which WAV has no place;"
        " loop points, for which WAV has no place."
    )


@pytest.mark.parametrize(
    ("form", "subtype", "name"),
    [("FLAC", "PCM_16", "FLAC"), ("MP3", "MPEG_LAYER_III", "MP3"), ("OGG", "VORBIS", "OGG"),
     ("AIFF", "PCM_16", "AIFF")],
)  # fmt: skip
def test_where_there_is_no_place_for_loops_and_cues_that_is_reported(
    tmp_path: Path, form: str, subtype: str, name: str
) -> None:
    source, made = (
        with_chunks(tmp_path / "source", smpl((1, 2)), cues(3)),
        sound(tmp_path / "made", form, subtype),
    )
    assert carry_over(source, made, comment="", preserved=WHOLE) == (
        f"Not carried over from the source's file: loop points, for which {name} has no place;"
        f" cue points, for which {name} has no place."
    )


def test_a_wav_that_is_full_gets_no_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, made = with_chunks(tmp_path / "source", smpl((1, 2))), sound(tmp_path / "made", "WAV")
    before = made.read_bytes()
    monkeypatch.setattr(carrying, "_LIMIT_BYTES", len(before) - 1)
    assert "loop points, for which" in carry_over(source, made, comment="", preserved=WHOLE)
    assert made.read_bytes() == before


def flac(path: Path, **values: str) -> Path:
    tagged = FLAC(sound(path, "FLAC"))
    tagged.update(values)
    tagged.save()
    return path


def ogg(path: Path, **values: str) -> Path:
    tagged = OggVorbis(sound(path, "OGG", "VORBIS"))
    tagged.update(values)
    tagged.save()
    return path


def mp3(path: Path, **values: str) -> Path:
    tags = ID3()
    for name, value in values.items():
        tags.add(TXXX(3, name, [value]))
    tags.save(sound(path, "MP3", "MPEG_LAYER_III"))
    return path


@pytest.mark.parametrize("make", [flac, ogg, mp3])
@pytest.mark.parametrize(
    ("values", "preserved", "moved"),
    [
        ({"LOOPSTART": "441", "LOOPLENGTH": "5000"}, WHOLE, {"LOOPSTART": "1441", "LOOPLENGTH": "5000"}),
        ({"LoopStart": "441", "LOOPEND": "5000"}, WHOLE, {"LOOPSTART": "1441", "LOOPEND": "6000"}),
        ({"LOOPLENGTH": "5000"}, WHOLE, {"LOOPSTART": "1000", "LOOPLENGTH": "5000"}),
        ({"LOOPSTART": "5000", "LOOPLENGTH": "4000"}, CROPPED, {"LOOPSTART": "1500", "LOOPLENGTH": "4000"}),
        ({"LOOPSTART": "441", "LOOPLENGTH": "5000"}, CROPPED, {}),
        ({"LOOPSTART": "441", "LOOPLENGTH": "99999"}, WHOLE, {}),
        ({"LOOPSTART": "the chorus"}, WHOLE, None),
    ],
)
def test_the_loop_tags_of_games_are_where_their_music_is(
    tmp_path: Path,
    make: Callable[..., Path],
    values: dict[str, str],
    preserved: list[Preserved],
    moved: dict[str, str] | None,
) -> None:
    source, made = make(tmp_path / "source", **values), sound(tmp_path / "made", "FLAC")
    said = carry_over(source, made, comment="", preserved=preserved)
    written: Any = FLAC(made).tags
    assert {name: value for name, value in list(written) if name.upper().startswith("LOOP")} == (moved or {})
    assert ("loop points whose places are not in this file" in said) == (moved == {})


@pytest.mark.parametrize(
    "part",
    [
        (b"smpl", smpl((1, 2))[1][:30]),
        (b"smpl", smpl((1, 2))[1][:-1].replace(b"\1\0\0\0\0\0\0\0", b"\xff\xff\xff\xff\0\0\0\0")),
        (b"cue ", b"\xff\xff\xff\xff" + bytes(10)),
        (b"cue ", b""),
        (b"bext", bytes(601)),
        (b"LIST", b"adtl" + b"labl\xff\xff\xff\xff"),
        (b"iXML", b"<" * 1_000_000),
        (b"iXML", b"<SYNC_POINT_LIST>" * 50_000),
        (b"smpl", bytes(2 << 20)),
    ],
)
def test_a_chunk_that_is_broken_costs_nothing_and_breaks_nothing(
    tmp_path: Path, part: tuple[bytes, bytes]
) -> None:
    source, made = with_chunks(tmp_path / "source", part), sound(tmp_path / "made", "WAV")
    carry_over(source, made, comment="Extended.", preserved=WHOLE)
    assert len(soundfile.read(made)[0]) == FRAMES
    assert read_tags(made).fields == {"comment": ["Extended."]}


@pytest.mark.parametrize("start_seconds", [0.0, 1.0])
def test_an_extended_recording_has_its_loop_or_its_note_says_why_not(
    tmp_path: Path, start_seconds: float
) -> None:
    beat = np.sin(np.arange(96_000) * (np.arange(96_000) % 24_000 < 3_000) * 0.05) * 0.5
    soundfile.write(tmp_path / "source.wav", beat, 48_000, "PCM_16")
    with (tmp_path / "source.wav").open("r+b") as file:
        loops = smpl((60_000, 90_000), (100, 200))
        chunks.append(file, b"".join(chunks.pack(*part, "little") for part in (loops, bext(48_000 * 3_600))))
    order = Extend(
        source=tmp_path / "source.wav",
        folder=tmp_path,
        wishes=Wishes(before_seconds=1, after_seconds=1),
        layout=None,
        start_seconds=start_seconds,
        end_seconds=0,
        seed=1,
        provider="local",
        max_seconds=60,
    )  # fmt: skip
    outcome = extend(order, lambda *_: None)
    (stretch,) = outcome.preserved
    shift = stretch.at_frame - stretch.start - round(start_seconds * 48_000)
    content = chunk_of(outcome.path, b"smpl")
    assert content
    assert struct.unpack_from("<2I", content, 44) == (60_000 + shift, 90_000 + shift)
    assert len(content) == 36 + 24 * (1 if start_seconds else 2)
    assert ("loop points whose places are not in this file" in outcome.note) == bool(start_seconds)
    time = chunk_of(outcome.path, b"bext")
    assert time
    assert struct.unpack_from("<Q", time, 338)[0] == 48_000 * 3_600 - shift
    original, longer = soundfile.read(tmp_path / "source.wav")[0], soundfile.read(outcome.path)[0]
    assert np.array_equal(original[60_000:90_000], longer[60_000 + shift : 90_000 + shift])


@pytest.mark.parametrize(
    ("form", "part", "loop", "note"),
    [
        ("wav16", "whole", (5_000, 7_000), ""),
        ("wav16", "after", (0, 2_000), ""),
        ("wav16", "before", None, "loop points whose places are not in this file"),
        ("flac", "whole", None, "loop points, for which FLAC has no place"),
        ("opus", "whole", None, "loop points, for which OGG has no place"),
    ],
)
def test_another_form_of_a_result_has_its_loop_as_well_or_says_why_not(
    tmp_path: Path, form: str, part: str, loop: tuple[int, int] | None, note: str
) -> None:
    order: Any = Convert(
        longer=with_chunks(tmp_path / "longer.wav", smpl((5_000, 7_000))),
        folder=tmp_path,
        part=part,  # type: ignore[arg-type]
        format=form,  # type: ignore[arg-type]
        bitrate_kbps=None,
        preserved=(Preserved(0, 3_000, 2_000),),
        before_seconds=2_000 / 48_000,
        after_seconds=(FRAMES - 5_000) / 48_000,
    )
    converted = convert(order, lambda *_: None)
    assert note in converted.note
    assert bool(note) == bool(converted.note)
    content = chunk_of(converted.path, b"smpl") if form == "wav16" else None
    assert (struct.unpack_from("<2I", content, 44) if content and len(content) > 36 else None) == loop


def test_a_time_of_day_beyond_64_bits_is_none(tmp_path: Path) -> None:
    source, made = with_chunks(tmp_path / "source", bext(2**64 - 1)), sound(tmp_path / "made", "WAV")
    carry_over(source, made, comment="", preserved=CROPPED)
    content = chunk_of(made, b"bext")
    assert content
    assert content[338:346] == bytes(8)

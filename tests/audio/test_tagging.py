"""The extended file says what the source said of itself and what was done, and no tag can harm a delivery."""

# mypy: allow-untyped-calls

from __future__ import annotations

import base64
import hashlib
import shutil
import struct
import sys
import tempfile
import tracemalloc
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from mutagen.aiff import AIFF
from mutagen.flac import FLAC, Picture
from mutagen.id3 import (
    APIC,
    COMM,
    ID3,
    TALB,
    TBPM,
    TCOM,
    TCON,
    TCOP,
    TDRC,
    TIT2,
    TKEY,
    TLEN,
    TPE1,
    TPE2,
    TPOS,
    TRCK,
    TSRC,
    TXXX,
    UFID,
    USLT,
)  # fmt: skip
from mutagen.mp4 import MP4
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE
from tests.audio.m4a import read_m4a

from outpaint_mcp.audio.files.decode import AudioReader
from outpaint_mcp.audio.files.encode import seal
from outpaint_mcp.audio.files.formats import write_as
from outpaint_mcp.audio.tags import bounded, carrying
from outpaint_mcp.audio.tags.carrying import carry_over
from outpaint_mcp.audio.tags.fields import MOST_COVER_BYTES
from outpaint_mcp.audio.tags.reading import read_tags
from outpaint_mcp.errors import GenerationFailed

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from outpaint_mcp.audio.tags.fields import Tags

OURS = "Extended by outpaint-mcp: 30 s after."
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 2**31 - 1, 2**31 - 1) + bytes(300)
"""A picture of four thousand million million pixels, for those who decode it."""
NO_COVER = "Not carried over from the source's file: a picture of 15.9 MiB, which is too large."
FIELDS = {
    "title": ["Straße 曲 🎵"],
    "artist": ["One", "Two"],
    "album": ["Album"],
    "albumartist": ["Various"],
    "composer": ["Composer"],
    "date": ["2001-05-03"],
    "genre": ["Trance", "Dub"],
    "tracknumber": ["3/12"],
    "discnumber": ["1"],
    "bpm": ["128"],
    "key": ["Am"],
    "copyright": ["(c) 2001"],
    "comment": ["Made at home"],
}
ID3_FRAMES = {
    "title": TIT2, "artist": TPE1, "album": TALB, "albumartist": TPE2, "composer": TCOM, "date": TDRC, "genre": TCON,
    "tracknumber": TRCK, "discnumber": TPOS, "bpm": TBPM, "key": TKEY, "copyright": TCOP,
}  # fmt: skip


def audio(path: Path, container: str, subtype: str = "PCM_16", frames: int = 3_001) -> Path:
    samples = np.random.default_rng(3).uniform(-0.5, 0.5, (frames, 1)).astype(np.float32)
    soundfile.write(path, samples, 48_000, subtype, format=container)
    return path


def decoded(path: Path) -> npt.NDArray[Any]:
    with AudioReader(path) as source:
        return np.concatenate([block.copy() for block in source.blocks(np.float64)])


def put_id3(tags: ID3) -> None:
    for name, frame in ID3_FRAMES.items():
        tags.add(frame(3, FIELDS[name]))
    tags.add(COMM(3, "eng", "", FIELDS["comment"]))
    tags.add(APIC(3, "image/png", 3, "front", PNG))


def picture() -> Picture:
    made = Picture()
    made.type, made.mime, made.data = 3, "image/png", PNG
    return made


def mp3(path: Path, version: int = 4) -> Path:
    tags = ID3()
    put_id3(tags)
    if version == 3:
        tags.update_to_v23()
    tags.save(audio(path, "MP3", "MPEG_LAYER_III"), v2_version=version)
    return path


def flac(path: Path) -> Path:
    tagged = FLAC(audio(path, "FLAC"))
    tagged.update(FIELDS)
    tagged.add_picture(picture())
    tagged.save()
    return path


def ogg(path: Path, subtype: str = "VORBIS", kind: Callable[[Path], Any] = OggVorbis) -> Path:
    tagged = kind(audio(path, "OGG", subtype))
    tagged.update(FIELDS)
    tagged["metadata_block_picture"] = [base64.b64encode(picture().write()).decode()]
    tagged.save()
    return path


def chunked(path: Path, container: str, kind: Callable[[Path], Any]) -> Path:
    tagged = kind(audio(path, container))
    tagged.add_tags()
    put_id3(tagged.tags)
    tagged.save()
    return path


SOURCES: dict[str, Callable[[Path], Path]] = {
    "MP3": mp3,
    "FLAC": flac,
    "OGG": ogg,
    "Opus": lambda path: ogg(path, "OPUS", OggOpus),
    "WAV": lambda path: chunked(path, "WAV", WAVE),
    "AIFF": lambda path: chunked(path, "AIFF", AIFF),
}
DESTINATIONS = {
    "WAV": ("WAV", "PCM_24"),
    "floating-point WAV": ("WAV", "FLOAT"),
    "WAV of an odd size": ("WAV", "PCM_U8"),
    "FLAC": ("FLAC", "PCM_16"),
    "AIFF": ("AIFF", "PCM_24"),
    "floating-point AIFF": ("AIFF", "FLOAT"),
    "MP3": ("MP3", "MPEG_LAYER_III"),
    "OGG": ("OGG", "VORBIS"),
    "Opus": ("OGG", "OPUS"),
}


@pytest.mark.smoke
@pytest.mark.parametrize("destination", DESTINATIONS.values(), ids=DESTINATIONS)
@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_all_that_stays_true_is_carried_from_every_container_to_every_other(
    tmp_path: Path, make: Callable[[Path], Path], destination: tuple[str, str]
) -> None:
    source = make(tmp_path / "source")
    before = source.read_bytes()
    made = audio(tmp_path / "made", *destination)
    sound = decoded(made)
    seals = []
    for number in range(2):
        copy = Path(shutil.copyfile(made, tmp_path / f"copy {number}"))
        assert carry_over(source, copy, comment=OURS) == ""
        seals.append(seal(copy))
    assert seals[0] == seals[1] == (copy.stat().st_size, hashlib.sha256(copy.read_bytes()).hexdigest())
    tags = read_tags(copy)
    assert tags.fields == FIELDS | {"comment": [f"Made at home\n{OURS}"]}
    assert tags.cover
    assert (tags.cover.media_type, tags.cover.content) == ("image/png", PNG)
    assert np.array_equal(decoded(copy), sound)
    assert source.read_bytes() == before


ATOMS = {
    "©nam": "title", "©ART": "artist", "©alb": "album", "aART": "albumartist", "©wrt": "composer", "©day": "date",
    "©gen": "genre", "cprt": "copyright",
}  # fmt: skip


@pytest.mark.parametrize("name", ["alac", "m4a"])
def test_an_m4a_has_them_as_itunes_writes_them(tmp_path: Path, name: str) -> None:
    original, source = audio(tmp_path / "original", "WAV"), flac(tmp_path / "source")
    seals = []
    for number in range(2):
        made = tmp_path / f"made {number}"
        write_as(original, made, format=name, on_progress=lambda _: None)
        sound = read_m4a(made)
        assert not carry_over(source, made, comment=OURS)
        assert np.array_equal(read_m4a(made), sound)
        seals.append(seal(made))
    assert seals[0] == seals[1]
    tags = MP4(made)
    expected: dict[str, list[Any]] = {atom: FIELDS[name] for atom, name in ATOMS.items()}
    expected |= {"trkn": [(3, 12)], "disk": [(1, 0)], "tmpo": [128], "covr": [PNG]}
    expected |= {"----:com.apple.iTunes:initialkey": [b"Am"], "©cmt": [f"Made at home\n{OURS}"]}
    assert dict(tags) == expected


def test_how_many_tracks_there_are_is_not_taken_for_the_number_of_one(tmp_path: Path) -> None:
    made = tmp_path / "made"
    write_as(audio(tmp_path / "original", "WAV"), made, format="m4a", on_progress=lambda _: None)
    tagged = MP4(made)
    tagged["trkn"], tagged["disk"] = [(0, 12)], [(1, 2)]
    tagged.save()
    assert read_tags(made).fields == {"discnumber": ["1/2"]}


def test_a_caf_has_the_text_among_them(tmp_path: Path) -> None:
    source = flac(tmp_path / "source")
    seals = []
    for number in range(2):
        made = audio(tmp_path / f"made {number}", "CAF", "PCM_24")
        sound = decoded(made)
        assert "a picture" in carry_over(source, made, comment=OURS)
        assert np.array_equal(decoded(made), sound)
        seals.append(seal(made))
    assert seals[0] == seals[1]
    with av.open(made) as tagged:
        assert tagged.metadata["title"] == FIELDS["title"][0]
        assert tagged.metadata["artist"] == "; ".join(FIELDS["artist"])
        assert tagged.metadata["comments"] == f"Made at home\n{OURS}"
    again = read_tags(made).fields
    assert again["title"] == FIELDS["title"]
    assert again["comment"] == [f"Made at home\n{OURS}"]


def test_numbers_that_are_none_stay_out_of_an_m4a(tmp_path: Path) -> None:
    source = FLAC(flac(tmp_path / "source"))
    source.update({"tracknumber": "A", "discnumber": "123456", "bpm": "fast"})
    source.save()
    write_as(audio(tmp_path / "original", "WAV"), tmp_path / "made", format="m4a", on_progress=lambda _: None)
    assert not carry_over(tmp_path / "source", tmp_path / "made", comment=OURS)
    assert not {"trkn", "disk", "tmpo"} & {*MP4(tmp_path / "made")}


def test_older_id3_is_carried_as_it_says_it(tmp_path: Path) -> None:
    tags = read_tags(tagged(mp3(tmp_path / "source", version=3)))
    assert tags.fields == FIELDS | {
        "artist": ["One/Two"],
        "genre": ["Trance/Dub"],
        "comment": [f"Made at home\n{OURS}"],
    }
    assert tags.cover


def tagged(source: Path, comment: str = OURS) -> Path:
    made = audio(source.with_name("made"), "FLAC")
    carry_over(source, made, comment=comment)
    return made


def carried(path: Path, content: bytes) -> Tags:
    path.write_bytes(content)
    return read_tags(tagged(path))


def id3(*frames: bytes, version: int = 4, flags: int = 0, claimed: int | None = None) -> bytes:
    body = b"".join(frames)
    size = len(body) if claimed is None else claimed
    return bytes([*b"ID3", version, 0, flags, *(size >> shift & 127 for shift in (21, 14, 7, 0))]) + body


def frame(name: str, content: bytes, *, flags: int = 0, claimed: int | None = None) -> bytes:
    size = len(content) if claimed is None else claimed
    sizes = (
        bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
        if len(name) > 3
        else struct.pack(">I", size)[1:]
    )
    return name.encode() + sizes + (bytes([0, flags]) if len(name) > 3 else b"") + content


TITLE = frame("TIT2", b"\3Title")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (id3(frame("TT2", b"\0Two"), frame("TCO", b"\0(17)"), version=2), {"title": ["Two"], "genre": ["Rock"]}),
        (id3(frame("TIT2", b"\1\xff\xfeA\0"), version=3), {"title": ["A"]}),
        (id3(b"TIT2" + struct.pack(">I", 201) + bytes(2) + b"\0" + b"x" * 200, version=3), {"title": ["x" * 200]}),
        (id3(frame("TIT2", b"\1\xff\0\xfeA\0"), version=3, flags=0x80), {"title": ["A"]}),
        (id3(frame("TIT2", b"\1\xff\0\xfeA\0", flags=2), flags=0x80), {"title": ["A"]}),
        (id3(frame("TIT2", b"\1\xff\0\xfeA\0"), flags=0x80), {"title": ["A"]}),
        (id3(b"\0\0\0\6\0\0\0\0\0\0", TITLE, version=3, flags=0x40), {"title": ["Title"]}),
        (id3(b"\0\0\0\6\1\0", TITLE, flags=0x40), {"title": ["Title"]}),
        (id3(b"TIT2" + struct.pack(">I", 161) + b"\0\0\3" + b"x" * 160, frame("TALB", b"\3B")),
         {"title": ["x" * 160], "album": ["B"]}),
        (id3(frame("TXXX", b"\3comment\0Hello")), {"comment": [f"Hello\n{OURS}"]}),
        (id3(TITLE) + bytes(99) + b"TAG" + b"Tit".ljust(30, b"\0") + b"\xc9l".ljust(30) + bytes(64) + b"\xff",
         {"title": ["Title"], "artist": ["Él"]}),
        (b"RIFF\0\0\0\0WAVELIST\x20\0\0\0INFOINAM\3\0\0\0Ti\0\0ICRD\4\0\0\x002001id3 \x1a\0\0\0" + id3(TITLE),
         {"title": ["Title"], "date": ["2001"]}),
        (b"FORM\0\0\0\0AIFFCOMM\0\0\0\3abc\0AUTH\0\0\0\4M\xc3\xa9e", {"artist": ["Mée"]}),
    ],
)  # fmt: skip
def test_what_is_rarer_is_read_too(tmp_path: Path, content: bytes, expected: dict[str, list[str]]) -> None:
    assert carried(tmp_path / "source", content).fields == {"comment": [OURS]} | expected


def test_what_would_be_false_of_the_longer_file_is_not_carried(tmp_path: Path) -> None:
    tags = ID3()
    for each in (
        TIT2(3, ["Title"]),
        TLEN(3, ["180000"]),
        TSRC(3, ["DEA123456789"]),
        UFID("http://musicbrainz.org", b"123"),
        USLT(3, "eng", "", "la la la"),
        COMM(3, "eng", "iTunSMPB", [" 00000000 00000210"]),
        TXXX(3, "REPLAYGAIN_TRACK_GAIN", ["-7.00 dB"]),
        TXXX(3, "MusicBrainz Album Id", ["123"]),
        TXXX(3, "Acoustid Id", ["123"]),
    ):
        tags.add(each)
    tags.save(tmp_path / "source")
    assert read_tags(tagged(tmp_path / "source")).fields == {"title": ["Title"], "comment": [OURS]}
    source = FLAC(audio(tmp_path / "source", "FLAC"))
    names = (
        "replaygain_track_gain",
        "isrc",
        "lyrics",
        "musicbrainz_trackid",
        "cuesheet",
        "length",
        "encoder",
    )
    source.update(dict.fromkeys(names, "1") | {"title": "Title"})
    source.save()
    made = audio(tmp_path / "made", "FLAC")
    assert "chapters, which would be at other times" in carry_over(tmp_path / "source", made, comment=OURS)
    assert sorted(FLAC(made)) == ["comment", "title"]


def test_a_tag_is_no_place_to_hide_control_characters_or_to_go_on_forever(tmp_path: Path) -> None:
    title = "A\0\x1b[31mB\r\nC\ud800" + "x" * 9_999
    comment = "line\nline \x07" + "y" * 9_999
    source = FLAC(audio(tmp_path / "source", "FLAC"))
    source["title"] = title.encode("utf-8", "replace").decode()
    source["artist"] = [str(number) for number in range(99)]
    source["description"] = comment
    source["date"] = "sometime"
    source.save()
    fields = read_tags(tagged(tmp_path / "source", comment="z" * 9_999)).fields
    assert fields["title"][0].startswith("A [31mB C?xxx")
    assert len(fields["title"][0]) <= 500
    assert len(fields["artist"]) == 8
    assert fields["comment"][0].startswith("line\nline  yyy")
    assert fields["comment"][0].endswith("y\n" + "z" * 1_000)
    assert len(fields["comment"][0]) == 2_000
    assert "date" not in fields


def test_our_comment_is_added_each_time(tmp_path: Path) -> None:
    first = tagged(flac(tmp_path / "source"))
    second = tagged(Path(shutil.move(first, tmp_path / "source")), comment="Again.")
    assert read_tags(second).fields["comment"] == [f"Made at home\n{OURS}\nAgain."]


@pytest.mark.parametrize("make", [mp3, SOURCES["WAV"]], ids=["MP3", "WAV"])
def test_a_cover_larger_than_a_block_of_flac_stays_behind_alone_and_that_is_reported(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    made = audio(tmp_path / "made", "FLAC")
    for size, left_out in ((MOST_COVER_BYTES, ""), (MOST_COVER_BYTES + 1, NO_COVER)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(globals(), "PNG", PNG.ljust(size, b"\0"))
            assert carry_over(make(tmp_path / "source"), made, comment=OURS) == left_out
        assert read_tags(made).fields["title"] == FIELDS["title"]
    cover = read_tags(made).cover
    assert cover
    assert len(cover.content) == MOST_COVER_BYTES


def test_of_several_pictures_the_front_cover_is_carried_and_what_is_no_picture_is_not(tmp_path: Path) -> None:
    tags = ID3()
    pictures = (
        (0, b"<html>"),
        (3, b"http://x"),
        (4, PNG + b"back"),
        (3, PNG + b"front"),
        (3, PNG + b"another"),
    )
    for kind, content in pictures:
        tags.add(APIC(3, "image/png", kind, str(len(content)), content))
    tags.save(tmp_path / "source")
    cover = read_tags(tagged(tmp_path / "source")).cover
    assert cover
    assert cover.content == PNG + b"front"


def test_a_picture_of_white_is_no_attack(tmp_path: Path) -> None:
    white = b"BM" + struct.pack("<I", 6 << 20) + bytes(48) + b"\xff" * (6 << 20)
    tags = ID3()
    tags.add(APIC(3, "image/bmp", 3, "front", white))
    tags.save(tmp_path / "source")
    cover = read_tags(tagged(tmp_path / "source")).cover
    assert cover
    assert (cover.media_type, cover.content) == ("image/bmp", white)


BOMB = zlib.compress(b"\3" + b"A" * (10 << 20))
ALBUM = frame("TALB", b"\3Album")


def comments(*texts: bytes) -> bytes:
    block = bytes(4) + struct.pack("<I", len(texts))
    block += b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return b"fLaC\4" + struct.pack(">I", len(block))[1:] + block


COMMENTS = comments(b"title=Title")
CHUNK = b"RIFF\0\0\0\0WAVELIST\x12\0\0\0INFOINAM\5\0\0\0Title\0"


@pytest.mark.parametrize(
    "content",
    [
        id3(TITLE, frame("TALB", b"\0\0\0\0" + BOMB, flags=0x09)),
        id3(TITLE, frame("TALB", b"\6\x40\0\1" + BOMB, flags=0x80), version=3),
        id3(TITLE, frame("TALB", b"\3Encrypted", flags=0x04)),
        id3(TITLE, frame("COMM", b"x", claimed=2**28 - 1), claimed=2**28 - 1),
        id3(TITLE, *[frame("TPE1", b"\3x")] * 100_000, ALBUM),
        id3(TITLE, *[frame("USLT", b"")] * 200_000, ALBUM),
        b"fLaC\4" + b"\0\0\x17" + bytes(4) + b"\xff\xff\xff\xff" + b"\x0b\0\0\0title=Title",
        COMMENTS + b"\1\0\0\0" * 300_000 + COMMENTS[4:].replace(b"title", b"album"),
        comments(b"title=Title", *[b"artist=x"] * 300_000, b"album=Album"),
        CHUNK + b"junk\0\0\0\0" * 300_000 + CHUNK[12:].replace(b"NAM", b"PRD"),
        CHUNK + b"junk\xff\xff\xff\xff",
        id3(TITLE, frame("APIC", b"\0image/png\0\3\0" + PNG + b"\xff\0" * (3 << 20), flags=2)),
        id3(TITLE, frame("TALB", b"\1" + bytes(8 << 20))),
        CHUNK + 2 * (b"id3 \x0a\0\0\0" + id3()) + b"id3 \x1b\0\0\0" + id3(ALBUM) + b"\0",
    ],
    ids=[
        "inflated", "inflated in 2.3", "encrypted", "claimed", "many frames", "many empty frames", "claimed comments",
        "many blocks", "many comments", "many chunks", "a claimed chunk", "split up", "many values", "many tags",
    ],
)  # fmt: skip
def test_what_is_claimed_inflated_or_repeated_in_a_tag_costs_next_to_nothing(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(content)
    monkeypatch.setattr(bounded, "_MOST_SECONDS", 0.3)
    tracemalloc.start()
    tags = read_tags(source)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tags.fields.get("title") == ["Title"] or tags.left_out == ("tags that are damaged or too large",)
    assert "album" not in tags.fields
    assert most < 100 << 20


def test_of_a_long_text_the_first_is_read_and_of_one_that_is_no_text_nothing(tmp_path: Path) -> None:
    texts = [frame("TPE1", b"\3" + b"A" * 65_000), frame("TALB", b"\3" + b"B" * 66_000)]
    fields = carried(tmp_path / "source", id3(*texts)).fields
    assert fields == {"artist": ["A" * 500], "comment": [OURS]}


@pytest.fixture(scope="module")
def openings() -> list[bytes]:
    """Files of every kind up to where their sound begins."""
    with tempfile.TemporaryDirectory() as folder:
        return [make(Path(folder, "source")).read_bytes()[:4_000] for make in SOURCES.values()] + [
            id3(TITLE, TITLE), id3(frame("TT2", b"\1\xff\xfeA\0"), frame("COM", b"\0eng\0hi"), version=2)
        ]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    which=st.integers(0, 7),
    changes=st.lists(st.tuples(st.integers(0, 3_999), st.binary(max_size=6), st.integers(0, 6)), max_size=30),
)
def test_no_damage_to_a_tag_keeps_the_longer_file_from_being_delivered(
    openings: list[bytes], which: int, changes: list[tuple[int, bytes, int]]
) -> None:
    content = bytearray(openings[which])
    for at, put_in, cut_out in changes:
        content[at % len(content) :][:cut_out] = b""
        content[at : at + cut_out] = put_in
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        source.write_bytes(content)
        for name in ("MP3", "FLAC"):
            made = audio(Path(folder, "made"), *DESTINATIONS[name], frames=100)
            carry_over(source, made, comment=OURS)
            assert read_tags(made).fields["comment"][0].endswith(OURS)
            assert len(decoded(made)) == 100


def test_what_cannot_hold_tags_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = flac(tmp_path / "source")
    (tmp_path / "noise").write_bytes(b"fLaC" + bytes(99))
    (tmp_path / "other").write_bytes(b"FORM" + bytes(99))
    big = audio(tmp_path / "big", "WAV")
    monkeypatch.setattr(carrying, "_LIMIT_BYTES", big.stat().st_size - 1)
    (tmp_path / "short").write_bytes(b"caff" + bytes(9))
    (tmp_path / "endless").write_bytes(b"caff" + bytes(4) + b"data" + b"\xff" * 8 + bytes(99))
    names = ("noise", "other", "short", "endless")
    for made in (audio(tmp_path / "rf64", "RF64"), *(tmp_path / name for name in names), big):
        before = made.read_bytes()
        assert "tags, for which" in carry_over(source, made, comment=OURS)
        assert made.read_bytes() == before


def test_what_is_not_there_is_told_in_words(tmp_path: Path) -> None:
    source = flac(tmp_path / "source")
    for missing in ((tmp_path / "gone", source), (source, tmp_path / "gone")):
        with pytest.raises(GenerationFailed, match="could not be carried over"):
            carry_over(*missing, comment=OURS)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
@pytest.mark.parametrize("name", DESTINATIONS)
def test_a_disk_that_fills_up_is_told_in_words(tmp_path: Path, name: str) -> None:
    made = audio(tmp_path / "made", *DESTINATIONS[name])
    source = flac(tmp_path / "source")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (made.stat().st_size + 10, limits[1]))
    try:
        with pytest.raises(GenerationFailed, match="disk is full"):
            carry_over(source, made, comment="x" * 1_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

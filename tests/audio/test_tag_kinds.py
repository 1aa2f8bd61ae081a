"""Whatever kind of tag a file has, all that it says is read, and written into whatever form we deliver."""

# mypy: allow-untyped-calls

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from mutagen.apev2 import APEBinaryValue, APEv2
from mutagen.flac import FLAC, CueSheet, CueSheetTrack
from mutagen.id3 import CHAP, ID3, TIT2, TPE1
from mutagen.mp4 import MP4
from tests.audio.tagged_files import COVERS, KINDS, encoded, sound

from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.tags.carrying import carry_over
from outpaint_mcp.audio.tags.reading import read_tags

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OURS = "Extended by outpaint-mcp."
MADE: dict[str, Callable[[Path], Path]] = {
    "FLAC": lambda path: sound(path, "FLAC"),
    "MP3": lambda path: sound(path, "MP3", "MPEG_LAYER_III"),
    "WAV": lambda path: sound(path, "WAV"),
    "OGG": lambda path: sound(path, "OGG", "VORBIS"),
    "AIFF": lambda path: sound(path, "AIFF"),
    "AAC": lambda path: encoded(path, "ipod", "aac"),
    "ALAC": lambda path: encoded(path, "ipod", "alac"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_tag_is_read_in_full(tmp_path: Path, kind: str) -> None:
    written = KINDS[kind](tmp_path / "source")
    tags = read_tags(tmp_path / "source")
    found = tags.fields | ({"cover": [tags.cover.content.hex()]} if tags.cover else {})
    assert (found, tags.left_out) == (written, ())


@pytest.mark.parametrize("form", MADE)
@pytest.mark.parametrize("kind", ["M4A, AAC", "MP3, APEv2"])
def test_what_was_read_is_found_in_every_form_that_we_write(tmp_path: Path, kind: str, form: str) -> None:
    source, made = tmp_path / "source", MADE[form](tmp_path / "made")
    written = KINDS[kind](source)
    before = None if form in {"AAC", "ALAC"} else probe(made)
    assert carry_over(source, made, comment=OURS) == ""
    tags = read_tags(made)
    assert tags.cover
    assert tags.fields | {"cover": [tags.cover.content.hex()]} == written | {
        "comment": [f"{written['comment'][0]}\n{OURS}"]
    }
    assert before is None or probe(made) == before


@pytest.mark.parametrize("form", MADE)
def test_a_file_without_tags_has_none_and_nothing_is_reported(tmp_path: Path, form: str) -> None:
    source, made = MADE[form](tmp_path / "source"), sound(tmp_path / "made", "RF64")
    before = made.read_bytes()
    if form == "FLAC":
        FLAC(source).delete()
        bare = FLAC(source)
        bare.metadata_blocks = [block for block in bare.metadata_blocks if block.code == 0]
        bare.save()
    assert read_tags(source).left_out == ()
    if form in {"WAV", "AIFF", "MP3", "FLAC"}:  # the others name their encoder
        assert carry_over(source, made, comment=OURS) == ""
    assert made.read_bytes() == before


def test_tags_for_which_there_is_no_place_are_reported(tmp_path: Path) -> None:
    KINDS["FLAC"](tmp_path / "source")
    for form, lost in (("CAF", "a picture, for which CAF"), ("RF64", "tags, for which WAV of this size")):
        made = sound(tmp_path / form, form)
        assert carry_over(tmp_path / "source", made, comment=OURS) == (
            f"Not carried over from the source's file: {lost} has no place."
        )


@pytest.mark.parametrize("cover", ["WEBP", "BMP", "GIF"])
def test_a_picture_that_m4a_has_no_place_for_is_reported_and_the_rest_is_there(
    tmp_path: Path, cover: str
) -> None:
    tags = APEv2()
    tags["Title"] = "Title"
    tags["Cover Art (Front)"] = APEBinaryValue(b"front\0" + COVERS[cover])
    tags.save(sound(tmp_path / "source", "MP3", "MPEG_LAYER_III"))
    made = encoded(tmp_path / "made", "ipod", "aac")
    assert carry_over(tmp_path / "source", made, comment=OURS) == (
        "Not carried over from the source's file: a picture of this type, for which M4A has no place."
    )
    assert MP4(made)["\xa9nam"] == ["Title"]
    assert "covr" not in MP4(made)


def id3v1(tail: bytes, **fields: bytes) -> bytes:
    sizes = {"title": 30, "artist": 30, "album": 30, "date": 4}
    return b"TAG" + b"".join(fields.get(name, b"").ljust(size, b"\0") for name, size in sizes.items()) + tail


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        (id3v1(bytes(29) + b"\7\x11", title=b"Title"), {"title": ["Title"], "tracknumber": ["7"], "genre": ["Rock"]}),
        (id3v1(b"Thirty characters of a comment\xff"), {"comment": ["Thirty characters of a comment"]}),
        (id3v1(bytes(30) + b"\xff", artist="Jürgen".encode(), date=b"1998"), {"artist": ["Jürgen"], "date": ["1998"]}),
        (id3v1(bytes(30) + b"\xff", artist=b"J\xfcrgen  "), {"artist": ["Jürgen"]}),
        (id3v1(bytes(30) + b"\xff"), {}),
    ],
)  # fmt: skip
def test_all_of_id3v1_is_read(tmp_path: Path, tag: bytes, expected: dict[str, list[str]]) -> None:
    source = sound(tmp_path / "source", "MP3", "MPEG_LAYER_III")
    source.write_bytes(source.read_bytes() + tag)
    assert read_tags(source).fields == expected


def test_of_several_tags_in_a_file_the_better_one_is_asked_first(tmp_path: Path) -> None:
    source = sound(tmp_path / "source", "MP3", "MPEG_LAYER_III")
    ape = APEv2()
    ape["Title"], ape["Year"] = "A title that is longer than thirty", "2001"
    ape.save(source)
    short = id3v1(bytes(29) + b"\7\xff", title=b"A title that is", artist=b"From ID3v1")
    source.write_bytes(source.read_bytes() + short)
    assert read_tags(source).fields == {
        "title": ["A title that is longer than thirty"],
        "date": ["2001"],
        "artist": ["From ID3v1"],
        "tracknumber": ["7"],
    }
    tags = ID3()
    tags.add(TIT2(3, ["From ID3v2"]))
    tags.save(source, v1=0)
    assert read_tags(source).fields["title"] == ["From ID3v2"]
    assert read_tags(source).fields["date"] == ["2001"]


@pytest.mark.parametrize("frames", [b"", b"TIT2\0\0\0\x09\0\0\3From ID3"])
def test_flac_behind_id3_is_read_as_flac_and_then_as_id3(tmp_path: Path, frames: bytes) -> None:
    source = sound(tmp_path / "source", "FLAC")
    for title in ("A title", None):
        tagged = FLAC(sound(source, "FLAC"))
        tagged.update({"artist": "Somebody"} | ({"title": title} if title else {}))
        tagged.save()
        source.write_bytes(
            b"ID3\4\0\0\0\0\0" + bytes([len(frames) + 10]) + frames + bytes(10) + source.read_bytes()
        )
        expected = title or ("From ID3" if frames else None)
        assert read_tags(source).fields == {"artist": ["Somebody"]} | (
            {"title": [expected]} if expected else {}
        )


def test_chapters_are_left_out_and_reported(tmp_path: Path) -> None:
    source, made = sound(tmp_path / "source", "MP3", "MPEG_LAYER_III"), sound(tmp_path / "made", "FLAC")
    tags = ID3()
    tags.add(TIT2(3, ["Title"]))
    tags.add(CHAP("one", 0, 100, sub_frames=[TIT2(3, ["Chapter"])]))
    tags.save(source)
    assert carry_over(source, made, comment=OURS) == (
        "Not carried over from the source's file: chapters, which would be at other times."
    )
    assert read_tags(made).fields == {"title": ["Title"], "comment": [OURS]}


def test_a_cue_sheet_is_left_out_and_reported(tmp_path: Path) -> None:
    source = FLAC(sound(tmp_path / "source", "FLAC"))
    sheet = CueSheet(None)
    sheet.tracks = [CueSheetTrack(1, 0), CueSheetTrack(170, 9_600)]
    source.metadata_blocks.append(sheet)
    source.save()
    made = sound(tmp_path / "made", "FLAC")
    assert "chapters, which would be at other times" in carry_over(tmp_path / "source", made, comment=OURS)
    assert FLAC(made).cuesheet is None


def test_of_an_album_in_matroska_title_and_artist_are_the_albums(tmp_path: Path) -> None:
    def element(kind: str, content: bytes) -> bytes:
        return bytes.fromhex(kind) + (1 << 56 | len(content)).to_bytes(8) + content

    def tag(level: int, **values: str) -> bytes:
        simple = (
            element("67c8", element("45a3", name.encode()) + element("4487", value.encode()))
            for name, value in values.items()
        )
        return element("7373", element("63c0", element("68ca", bytes([level]))) + b"".join(simple))

    tags = element("1254c367", tag(50, TITLE="Album", ARTIST="Various") + tag(30, TITLE="Song", ARTIST="One"))
    picture = element("61a7", element("466e", b"cover.png") + element("465c", COVERS["PNG"]))
    clusters = element("1f43b675", bytes(3_000)) + b"\x1f\x43\xb6\x75\xff" + element("a3", bytes(3_000))
    segment = b"\x18\x53\x80\x67\x01" + b"\xff" * 7 + clusters + element("1941a469", picture) + tags
    (tmp_path / "source").write_bytes(element("1a45dfa3", b"") + segment)
    found = read_tags(tmp_path / "source")
    assert found.fields == {
        "album": ["Album"],
        "albumartist": ["Various"],
        "title": ["Song"],
        "artist": ["One"],
    }
    assert found.cover
    assert found.cover.media_type == "image/png"


def test_the_texts_of_a_file_of_more_than_4_gib_are_found_behind_its_samples(tmp_path: Path) -> None:
    size = 50_000
    header = (
        b"RF64\xff\xff\xff\xffWAVEds64"
        + struct.pack("<IQQQI", 28, size, size, 0, 0)
        + b"data\xff\xff\xff\xff"
    )
    (tmp_path / "source").write_bytes(header + bytes(size) + b"LIST\x12\0\0\0INFOINAM\6\0\0\0Title\0")
    assert read_tags(tmp_path / "source").fields == {"title": ["Title"]}


def test_what_quicktime_says_of_a_film_is_read(tmp_path: Path) -> None:
    path = tmp_path / "film.mov"
    with av.open(path, "w", format="mov") as file:
        stream = file.add_stream("pcm_s16le", rate=44_100, layout="mono")
        file.metadata.update({"title": "Title", "artist": "Artist"})
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4_410), np.int16), "s16", "mono")
        frame.sample_rate = 44_100
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    tags = read_tags(path)
    assert (tags.fields["title"], tags.fields["artist"], tags.left_out) == (["Title"], ["Artist"], ())


def test_all_of_several_tags_of_id3_are_read(tmp_path: Path) -> None:
    for number, frame in enumerate((TIT2(text="Title"), TPE1(text="Artist"))):
        tags = ID3()
        tags.add(frame)
        tags.save(tmp_path / f"{number}")
    path = tmp_path / "song.mp3"
    path.write_bytes((tmp_path / "0").read_bytes() + (tmp_path / "1").read_bytes() + bytes(100))
    assert read_tags(path).fields == {"title": ["Title"], "artist": ["Artist"]}


@pytest.mark.parametrize(
    ("name", "values", "what"),
    [
        ("title", ["x" * 600], "the end of a very long text"),
        ("artist", [f"Artist {number}" for number in range(9)], "more than 8 values of a field"),
        ("date", ["05/2024"], "a date that does not begin with the year"),
    ],
)
def test_what_is_left_out_of_a_field_is_reported(
    tmp_path: Path, name: str, values: list[str], what: str
) -> None:
    source = FLAC(sound(tmp_path / "source", "FLAC"))
    source[name] = values
    source.save()
    assert what in read_tags(tmp_path / "source").left_out

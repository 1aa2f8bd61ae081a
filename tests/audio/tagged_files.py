"""Files with every kind of tag that people's files have; for `bench.tags` as well."""

# mypy: allow-untyped-calls, disable-error-code="no-untyped-call"

from __future__ import annotations

import base64
import io
import struct
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import soundfile
from mutagen.aiff import AIFF
from mutagen.apev2 import APEBinaryValue, APEv2
from mutagen.asf import ASF
from mutagen.asf._attrs import ASFByteArrayAttribute
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC, COMM, ID3, Frames
from mutagen.mp4 import MP4, MP4Cover
from mutagen.oggflac import OggFLAC
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE
from PIL import Image

from outpaint_mcp.audio.tags.fields import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Written = dict[str, list[str]]


def _picture(kind: str) -> bytes:
    drawn = io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(drawn, kind)
    return drawn.getvalue()


COVERS = {kind: _picture(kind) for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP")}
TRUTH: Written = {
    "title": ["Straße 曲 🎵"], "artist": ["Ém", "Two"], "album": ["Album; the first"], "albumartist": ["Various"],
    "composer": ["Composer"], "date": ["2001-05-03"], "genre": ["Trance", "Dub"], "tracknumber": ["3/12"],
    "discnumber": ["1/2"], "bpm": ["128"], "key": ["Am"], "copyright": ["(c) 2001"], "comment": ["Made at home"],
    "cover": [""],
}  # fmt: skip


def _only(*names: str, **changed: str) -> Written:
    return {name: TRUTH[name] for name in names} | {name: [value] for name, value in changed.items()}


def sound(path: Path, container: str, subtype: str = "PCM_16") -> Path:
    samples = np.random.default_rng(3).uniform(-0.5, 0.5, (9_600, 1)).astype(np.float32)
    soundfile.write(path, samples, 48_000, subtype, format=container)
    return path


def encoded(path: Path, container: str, codec: str, **metadata: str) -> Path:
    with path.open("wb") as file, av.open(file, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=48_000, layout="mono")
        stream.bit_rate = 64_000
        output.metadata.update(metadata)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 9_600), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48_000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)
    return path


def _id3(cover: str = "PNG") -> ID3:
    tags = ID3()
    TRUTH["cover"] = [COVERS[cover].hex()]
    for name, frame in FIELDS.items():
        tags.add(Frames[frame](3, TRUTH[name]))
    tags.add(COMM(3, "eng", "", TRUTH["comment"]))
    tags.add(APIC(3, f"image/{cover.lower()}", 3, "front", COVERS[cover]))
    return tags


def _mp3(version: int, cover: str = "PNG") -> Callable[[Path], Written]:
    def build(path: Path) -> Written:
        tags = _id3(cover)
        if version == 3:
            tags.update_to_v23()
        tags.save(sound(path, "MP3", "MPEG_LAYER_III"), v1=0, v2_version=version)
        return dict(TRUTH) | (_only(artist="Ém/Two", genre="Trance/Dub") if version == 3 else {})

    return build


def _short_frames(version: int) -> Callable[[Path], Written]:
    """ID3v2.2, or iTunes' mixture: its names, one byte longer, in a tag of 2.3."""
    names = {"TT2": "title", "TP1": "artist", "TAL": "album", "TP2": "albumartist", "TCM": "composer", "TYE": "date",
             "TCO": "genre", "TRK": "tracknumber", "TPA": "discnumber", "TBP": "bpm", "TKE": "key",
             "TCR": "copyright"}  # fmt: skip

    def build(path: Path) -> Written:
        written = dict(TRUTH) | _only(artist="Ém/Two", genre="Dub", date="2001")
        bodies = {name: b"\1" + written[field][0].encode("utf-16") for name, field in names.items()}
        bodies["COM"] = b"\0eng\0" + TRUTH["comment"][0].encode()
        bodies["PIC"] = b"\0PNG\3\0" + COVERS["PNG"]
        if version == 3:
            bodies["PIC"] = b"\0image/png\0\3\0" + COVERS["PNG"]
        tag = b"".join(
            name.encode() + struct.pack(">I", len(body))[1:] + body if version == 2
            else name.encode() + b"\0" + struct.pack(">IH", len(body), 0) + body
            for name, body in bodies.items()
        )  # fmt: skip
        size = bytes(len(tag) >> shift & 127 for shift in (21, 14, 7, 0))
        frames = sound(path, "MP3", "MPEG_LAYER_III").read_bytes()
        path.write_bytes(bytes([*b"ID3", version, 0, 0]) + size + tag + frames)
        TRUTH["cover"] = [COVERS["PNG"].hex()]
        return written | {"cover": TRUTH["cover"]}

    return build


def _id3v1(path: Path) -> Written:
    fields = [
        (b"A title", 30),
        ("Sømebody".encode("latin-1"), 30),
        (b"Album", 30),
        (b"2001", 4),
        (b"Home", 28),
    ]
    tag = b"TAG" + b"".join(text.ljust(size, b"\0") for text, size in fields) + b"\0\x07\x11"
    path.write_bytes(sound(path, "MP3", "MPEG_LAYER_III").read_bytes() + tag)
    return _only(
        title="A title",
        artist="Sømebody",
        album="Album",
        date="2001",
        comment="Home",
        tracknumber="7",
        genre="Rock",
    )


def _ape(*, with_v1: bool) -> Callable[[Path], Written]:
    names = {"Album Artist": "albumartist", "Year": "date", "Track": "tracknumber", "Disc": "discnumber", "BPM": "bpm",
             "InitialKey": "key", **{name.title(): name for name in ("title", "artist", "album", "composer", "genre")},
             "Copyright": "copyright", "Comment": "comment"}  # fmt: skip

    def build(path: Path) -> Written:
        if with_v1:
            _id3v1(path)
        else:
            sound(path, "MP3", "MPEG_LAYER_III")
        TRUTH["cover"] = [COVERS["JPEG"].hex()]
        tags = APEv2()
        for name, field in names.items():
            tags[name] = TRUTH[field]
        tags["Cover Art (Front)"] = APEBinaryValue(b"front.jpg\0" + COVERS["JPEG"])
        tags.save(path)
        return dict(TRUTH)

    return build


def _vorbis(
    make: Callable[[Path], Path], kind: type[Any], cover: str = "PNG", *, before: bool = False
) -> Callable[[Path], Written]:
    def build(path: Path) -> Written:
        tagged = kind(make(path))
        if tagged.tags is None:
            tagged.add_tags()
        TRUTH["cover"] = [COVERS[cover].hex()]
        tagged.update({name: values for name, values in TRUTH.items() if name != "cover"})
        picture = Picture()
        picture.type, picture.mime, picture.data = 3, f"image/{cover.lower()}", COVERS[cover]
        if kind is FLAC:
            tagged.add_picture(picture)
        else:
            tagged["metadata_block_picture"] = [base64.b64encode(picture.write()).decode()]
        tagged.save(path)
        if before:
            path.write_bytes(b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + path.read_bytes())
        return dict(TRUTH)

    return build


def _chunked(container: str, kind: type[Any]) -> Callable[[Path], Written]:
    def build(path: Path) -> Written:
        tagged = kind(sound(path, container))
        tagged.add_tags()
        for frame in _id3().values():
            tagged.tags.add(frame)
        tagged.save(path)
        return dict(TRUTH)

    return build


def _m4a(codec: str) -> Callable[[Path], Written]:
    atoms = {"\xa9nam": "title", "\xa9ART": "artist", "\xa9alb": "album", "aART": "albumartist", "\xa9wrt": "composer",
             "\xa9day": "date", "\xa9gen": "genre", "cprt": "copyright", "\xa9cmt": "comment"}  # fmt: skip

    def build(path: Path) -> Written:
        tagged = MP4(encoded(path, "ipod", codec))
        for atom, field in atoms.items():
            tagged[atom] = TRUTH[field]
        tagged["trkn"], tagged["disk"], tagged["tmpo"] = [(3, 12)], [(1, 2)], [128]
        tagged["----:com.apple.iTunes:initialkey"] = [b"Am"]
        TRUTH["cover"] = [COVERS["JPEG"].hex()]
        tagged["covr"] = [MP4Cover(COVERS["JPEG"], MP4Cover.FORMAT_JPEG)]
        tagged.save()
        return dict(TRUTH)

    return build


def _chunk(name: bytes, content: bytes, order: str) -> bytes:
    return name + struct.pack(f"{order}I", len(content)) + content + bytes(len(content) % 2)


def _riff_info(path: Path) -> Written:
    names = {"INAM": "title", "IART": "artist", "IPRD": "album", "ICRD": "date", "IGNR": "genre", "ITRK": "tracknumber",
             "ICOP": "copyright", "ICMT": "comment"}  # fmt: skip
    written = _only(*names.values()) | _only(artist="Ém", genre="Dub")
    texts = [_chunk(name.encode(), written[field][0].encode() + b"\0", "<") for name, field in names.items()]
    wav = bytearray(sound(path, "WAV").read_bytes() + _chunk(b"LIST", b"INFO" + b"".join(texts), "<"))
    wav[4:8] = struct.pack("<I", len(wav) - 8)
    path.write_bytes(wav)
    return written


def _aiff_texts(path: Path) -> Written:
    names = {"NAME": "title", "AUTH": "artist", "(c) ": "copyright", "ANNO": "comment"}
    written = _only(*names.values()) | _only(artist="Ém")
    texts = b"".join(_chunk(name.encode(), written[field][0].encode(), ">") for name, field in names.items())
    chunks = sound(path, "AIFF").read_bytes()
    size = struct.pack(">I", len(chunks) - 8 + len(texts))
    path.write_bytes(chunks[:4] + size + chunks[8:12] + texts + chunks[12:])
    return written


def _caf(path: Path) -> Written:
    names = {"track number": "tracknumber", "tempo": "bpm", "key signature": "key", "year": "date",
             "comments": "comment",
             **{name: name for name in ("title", "artist", "album", "composer", "copyright")}}  # fmt: skip
    written = _only(*names.values()) | _only(artist="Ém")
    texts = b"".join(f"{name}\0{written[field][0]}\0".encode() for name, field in names.items())
    content = struct.pack(">I", len(names)) + texts
    path.write_bytes(sound(path, "CAF").read_bytes() + b"info" + struct.pack(">q", len(content)) + content)
    return written


def _wma(path: Path) -> Written:
    names = {"Title": "title", "Author": "artist", "WM/AlbumTitle": "album", "WM/AlbumArtist": "albumartist",
             "WM/Composer": "composer", "WM/Year": "date", "WM/Genre": "genre", "WM/TrackNumber": "tracknumber",
             "WM/PartOfSet": "discnumber", "WM/BeatsPerMinute": "bpm", "WM/InitialKey": "key", "Copyright": "copyright",
             "Description": "comment"}  # fmt: skip
    tagged = ASF(encoded(path, "asf", "wmav2"))
    for name, field in names.items():
        tagged[name] = TRUTH[field]
    TRUTH["cover"] = [COVERS["PNG"].hex()]
    mime = "image/png".encode("utf-16-le") + bytes(2)
    picture = b"\3" + struct.pack("<I", len(COVERS["PNG"])) + mime + bytes(2) + COVERS["PNG"]
    tagged["WM/Picture"] = [ASFByteArrayAttribute(picture)]
    tagged.save()
    return dict(TRUTH)


def _matroska(container: str) -> Callable[[Path], Written]:
    def build(path: Path) -> Written:
        fields = ("title", "artist", "album", "composer", "date", "genre", "copyright", "comment")
        written = _only(*fields) | _only(artist="Ém", genre="Dub")
        encoded(path, container, "libopus", **{name: values[0] for name, values in written.items()})
        return written

    return build


def _ogg_flac(path: Path) -> Path:
    with path.open("wb") as file, av.open(file, "w", format="ogg") as output:
        stream: Any = output.add_stream("flac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 9_600), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48_000, 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            if packet.pts is not None:
                output.mux(packet)
    return path


def _of(container: str, subtype: str = "PCM_16") -> Callable[[Path], Path]:
    return lambda path: sound(path, container, subtype)


KINDS: dict[str, Callable[[Path], Written]] = {
    "MP3, ID3v1": _id3v1,
    "MP3, ID3v2.2": _short_frames(2),
    "MP3, ID3v2.3": _mp3(3),
    "MP3, ID3v2.4": _mp3(4),
    "MP3, 2.2 names in 2.3": _short_frames(3),
    "MP3, 2.4, WebP": _mp3(4, "WEBP"),
    "MP3, 2.4, BMP": _mp3(4, "BMP"),
    "MP3, 2.4, GIF": _mp3(4, "GIF"),
    "MP3, APEv2": _ape(with_v1=False),
    "MP3, APEv2 and ID3v1": _ape(with_v1=True),
    "FLAC": _vorbis(_of("FLAC"), FLAC),
    "FLAC, WebP": _vorbis(_of("FLAC"), FLAC, "WEBP"),
    "FLAC behind ID3v2": _vorbis(_of("FLAC"), FLAC, "JPEG", before=True),
    "OGG Vorbis": _vorbis(_of("OGG", "VORBIS"), OggVorbis),
    "Opus": _vorbis(_of("OGG", "OPUS"), OggOpus, "BMP"),
    "FLAC in OGG": _vorbis(_ogg_flac, OggFLAC),
    "M4A, AAC": _m4a("aac"),
    "M4A, ALAC": _m4a("alac"),
    "WAV, INFO": _riff_info,
    "WAV, ID3": _chunked("WAV", WAVE),
    "AIFF, texts": _aiff_texts,
    "AIFF, ID3": _chunked("AIFF", AIFF),
    "CAF": _caf,
    "WMA": _wma,
    "Matroska": _matroska("matroska"),
    "WebM": _matroska("webm"),
}

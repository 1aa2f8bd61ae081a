"""What is no recording, or none that anybody may decode, is called what it is, with what to do about it."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zipfile
from pathlib import Path
from uuid import UUID

import av
import numpy as np
import pytest

from outpaint_mcp.audio.files.decode import probe
from outpaint_mcp.audio.files.protection import protected_or_broken
from outpaint_mcp.audio.files.refusals import refusal, shown_name, undecoded
from outpaint_mcp.errors import UnsupportedAudio


def zipped(name: str, content: bytes = b"", *, encrypted: bool = False) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, content)
    written = bytearray(packed.getvalue())
    written[6] |= encrypted
    return bytes(written)


def riff(form: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4_000) + form + bytes(4_000)


NO_AUDIO: dict[str, tuple[bytes, str, str]] = {
    # by a name: how it begins, what it is, and what to do
    "list.m3u8": (
        b"#EXTM3U\n#EXTINF:123,Artist - Title\nmusic/title.mp3\n",
        "a playlist",
        "files that it lists",
    ),
    "plain.m3u": (
        b"# mine\r\n/music/a.mp3\r\nhttp://host/b.ogg?x=1\r\n",
        "a playlist",
        "files that it lists",
    ),
    "radio.pls": (
        b"[playlist]\nNumberOfEntries=1\nFile1=http://host/live\n",
        "a playlist",
        "files that it lists",
    ),
    "list.xspf": (
        b'<?xml version="1.0"?>\n<!-- x -->\n<playlist version="1">',
        "a playlist",
        "files that it lists",
    ),
    "list.asx": (
        b'<ASX version="3.0"><entry><ref href="a.wma"/></entry></ASX>',
        "a playlist",
        "files that it lists",
    ),
    "list.wpl": (b'<?wpl version="1.0"?>\n<smil><head/></smil>', "a playlist", "files that it lists"),
    "utf-16.m3u": ("#EXTM3U\n東京.mp3\n".encode("utf-16"), "a playlist", "files that it lists"),
    "disc.cue": (b'REM GENRE Rock\r\nTITLE "X"\r\nFILE "disc.wav" WAVE\r\n', "a cue sheet", "it belongs to"),
    "page.mp3": (
        b"\n<!DOCTYPE html>\n<html><body>Play</body></html>",
        "a web page",
        "downloads the audio itself",
    ),
    "old page.wav": (b"<HTML><TITLE>404</TITLE>", "a web page", "downloads the audio itself"),
    "expired.wav": (b'<?xml version="1.0"?><Error><Code>AccessDenied', "an error message", "Check the link"),
    "feed.mp3": (b'<?xml version="1.0"?><rss version="2.0">', "feed", "one of its recordings"),
    "lfs.wav": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n",
        "a Git LFS pointer",
        "git lfs pull",
    ),
    "song.mid": (b"MThd\0\0\0\6\0\1\0\2\1\xe0", "a MIDI file", "Render it to WAV"),
    "song.rmi": (riff(b"RMIDdata"), "a MIDI file", "Render it to WAV"),
    "words.txt": ("Größe, 東京\nla la la\n".encode(), "a text", "an audio file instead"),
    "old words.txt": (
        b"Gr\xfc\xdfe aus M\xfcnchen, sch\xf6n war es dort am See.\r\n",
        "a text",
        "an audio file",
    ),
    "cut within a letter.txt": ("東京".encode()[:-1], "a text", "an audio file instead"),
    "answer.wav": (b'{"detail": "Not found"}', "a JSON file", "an audio file instead"),
    "song.lrc": (b"[ti:Title]\n[00:12.00]la la\n", "a lyrics file", "an audio file instead"),
    "song.srt": (b"1\r\n00:00:01,000 --> 00:00:02,000\r\nla\r\n", "a subtitle file", "an audio file instead"),
    "song.vtt": (b"\xef\xbb\xbfWEBVTT\n\n", "a subtitle file", "an audio file instead"),
    "cover.jpg": (b"\xff\xd8\xff\xe0" + bytes(99), "a JPEG image", "an audio file instead"),
    "cover.webp": (riff(b"WEBPVP8 "), "a WebP image", "an audio file instead"),
    "cover.heic": (b"\0\0\0\x18ftypheic" + bytes(99), "a HEIC image", "an audio file instead"),
    "cover.svg": (b'<svg xmlns="http://www.w3.org/2000/svg">', "an SVG image", "an audio file instead"),
    "notes.pdf": (b"%PDF-1.7\n\xe2\xe3", "a PDF document", "an audio file instead"),
    "notes.docx": (zipped("[Content_Types].xml"), "an Office document", "an audio file instead"),
    "album.zip": (zipped("secret take.wav"), "a ZIP archive", "Unpack it"),
    "locked.zip": (
        zipped("secret take.wav", encrypted=True),
        "an encrypted ZIP archive",
        "with its password",
    ),
    "album.7z": (b"7z\xbc\xaf\x27\x1c" + bytes(99), "a 7-Zip archive", "Unpack it"),
    "album.rar": (b"Rar!\x1a\x07\1\0" + bytes(99), "a RAR archive", "Unpack it"),
    "album.tar": (b"secret take.wav".ljust(257, b"\0") + b"ustar\0", "a tar archive", "Unpack it"),
    "song.wav.gz": (gzip.compress(b"RIFF"), "a gzip archive", "Unpack it"),
    "set.als": (gzip.compress(b"RIFF"), "an Ableton Live project", "as WAV"),
    "renamed.wav": (
        gzip.compress(b'<?xml?>\n<Ableton MajorVersion="5">'),
        "an Ableton Live project",
        "as WAV",
    ),
    "project.aup3": (b"SQLite format 3\0".ljust(68, b"\1") + b"AUDY", "an Audacity project", "as WAV"),
    "project.aup": (
        b'<?xml version="1.0" ?>\n<project xmlns="http://audacity.',
        "an Audacity project",
        "as WAV",
    ),
    "song.rpp": (b"<REAPER_PROJECT 0.1 \n", "a Reaper project", "as WAV"),
    "song.cpr": (riff(b"NUND"), "a Cubase project", "as WAV"),
    "song.flp": (b"FLhd\6\0\0\0", "an FL Studio project", "as WAV"),
    "library.db": (b"SQLite format 3\0".ljust(99, b"\1"), "a database", "an audio file instead"),
    "piano.sf2": (riff(b"sfbkLIST"), "a SoundFont", "an audio file instead"),
    "song.xm": (b"Extended Module: song\x1a", "a tracker module (XM)", "Render it to WAV"),
    "song.it": (b"IMPMsong\0", "a tracker module (IT)", "Render it to WAV"),
    "song.s3m": (b"song".ljust(44, b"\0") + b"SCRM", "a tracker module (S3M)", "Render it to WAV"),
    "song.mod": (b"song".ljust(1080, b"\0") + b"M.K.", "a tracker module (MOD)", "Render it to WAV"),
    "book.aax": (b"\0\0\0\x20ftypaax " + bytes(99), "an Audible audiobook", "without copy protection"),
    "book.aa": (
        struct.pack(">II", 999, 0x57907536) + bytes(99),
        "an Audible audiobook",
        "without copy protection",
    ),
    "song.gpg": (b"-----BEGIN PGP MESSAGE-----\n\n", "an encrypted file", "Decrypt it"),
    "._song.wav": (b"\0\x05\x16\x07\0\2\0\0Mac OS X", "macOS", "no ._"),
    "nothing.wav": (b"", "empty", "saved or uploaded"),
}
AUDIO = {
    "WAV": b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0",
    "AIFF": b"FORM\0\0\0\x2eAIFFCOMM",
    "an MP3 with a tag": b"ID3\4\0\0\0\0\0\x0aTIT2",
    "MP3": b"\xff\xfb\x90\x64" + bytes(range(256)),
    "ADTS": b"\xff\xf1\x50\x80" + bytes(range(256)),
    "FLAC": b"fLaC\0\0\0\x22",
    "OGG": b"OggS\0\2" + bytes(8),
    "MP4": b"\0\0\0\x20ftypM4A \0\0\2\0isomiso2",
    "MOV": b"\0\0\0\x14ftypqt  \0\0\2\0qt  \0\0\0\x08wide",
    "Matroska": b"\x1a\x45\xdf\xa3\xa3\x42\x86\x81\1",
    "Windows Media": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),
    "zeros": bytes(4_096),
    "noise": np.random.default_rng(1).bytes(4_096),
}


@pytest.mark.parametrize("name", NO_AUDIO)
def test_what_is_no_audio_is_called_what_it_is_with_what_to_do(name: str) -> None:
    opening, what, advice = NO_AUDIO[name]
    words = refusal(opening, name)
    assert words is not None
    assert words.startswith(f"{name} is ")
    assert what in words
    assert advice in words
    assert "secret" not in words
    assert len(words) < 160


@pytest.mark.parametrize("opening", AUDIO.values(), ids=AUDIO)
def test_what_may_be_audio_is_left_to_the_decoders(opening: bytes) -> None:
    assert refusal(opening, "song") is None


def test_a_video_that_nothing_decodes_is_called_one() -> None:
    assert "an AVI video that cannot be decoded" in undecoded(riff(b"AVI LIST"), "film.avi")


def test_a_file_of_zeros_is_said_to_have_broken_off() -> None:
    assert "Download or copy it again" in undecoded(bytes(4_096), "song.mp3")


def test_a_long_page_is_recognised_in_no_time_whatever_stands_in_it() -> None:
    for opening in (b"<??>" * 1_024, b"<!---->" * 585, b"[a:b]" * 819, b"REM x\n" * 682, b"a.mp3" * 819):
        assert refusal(opening, "page.html") is not None


def test_our_own_names_of_copies_are_not_shown() -> None:
    assert shown_name(Path("/records/jobs/op_1/source")) == "The source"
    assert shown_name(Path("/scratch") / ("0123456789abcdef" * 4)) == "The source"
    assert shown_name(Path("/music/Source of Life.wav")) == "Source of Life.wav"


def atom(kind: bytes, *content: bytes) -> bytes:
    whole = b"".join(content)
    return struct.pack(">I4s", 8 + len(whole), kind) + whole


def track(entry: bytes, of: bytes = b"soun") -> bytes:
    described = atom(b"stsd", struct.pack(">II", 0, 1), atom(entry, bytes(28)))
    kind = atom(b"hdlr", bytes(8), of, bytes(12))
    return atom(
        b"trak", atom(b"tkhd", bytes(84)), atom(b"mdia", kind, atom(b"minf", atom(b"stbl", described)))
    )


def movie(*tracks: bytes) -> bytes:
    return atom(b"ftyp", b"M4A \0\0\0\0") + atom(b"mdat", bytes(5_000)) + atom(b"moov", *tracks)


def protected_wma() -> bytes:
    encryption = UUID("2211b3fb-bd23-11d2-b4b7-00a0c955fc6e").bytes_le + struct.pack("<Q", 64) + bytes(40)
    header = UUID("75b22630-668e-11cf-a6d9-00aa0062ce6c").bytes_le + struct.pack("<QIBB", 94, 1, 1, 2)
    return header + encryption + bytes(999)


UNUSABLE = {
    "an iTunes purchase": (movie(track(b"drms")), "copy-protected by iTunes"),
    "a protected film": (movie(track(b"encv", b"vide"), track(b"enca")), "copy-protected"),
    "protected Windows Media": (protected_wma(), "copy-protected (Windows Media DRM)"),
    "a silent film": (movie(track(b"avc1", b"vide")), "a video without sound"),
    "a recording without its index": (movie(track(b"mp4a"))[:5_000], "an incomplete MP4 file"),
    "an index cut off": (movie(track(b"mp4a"))[:-9], "an incomplete MP4 file"),
    "nothing but a beginning": (
        b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0" + bytes(5_000),
        "incomplete",
    ),
    "half a header of Windows Media": (protected_wma()[:90], "incomplete"),
}
USABLE = {
    "a purchase without protection": movie(track(b"mp4a")),
    "a film with plain sound": movie(track(b"encv", b"vide"), track(b"mp4a")),
    "a film with two sounds": movie(track(b"enca"), track(b"mp4a")),
    "its index first, and then cut off": movie(track(b"mp4a"))[5_024:] + atom(b"mdat", bytes(5_000))[:99],
    "something else": b"RIFF" + bytes(99),
    "nothing": b"",
}


@pytest.mark.parametrize(("content", "words"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_container_without_sound_to_be_had_is_refused_with_the_reason(content: bytes, words: str) -> None:
    found = protected_or_broken(io.BytesIO(content), "song.m4a")
    assert found is not None
    assert found.startswith("song.m4a is ")
    assert words in found


@pytest.mark.parametrize("content", USABLE.values(), ids=USABLE)
def test_a_container_with_sound_is_left_to_the_decoders(content: bytes) -> None:
    assert protected_or_broken(io.BytesIO(content), "song.m4a") is None


@pytest.mark.parametrize(("suffix", "codec"), [("m4a", "aac"), ("mov", "alac"), ("wma", "wmav2")])
def test_what_ffmpeg_writes_is_usable_until_it_is_cut(tmp_path: Path, suffix: str, codec: str) -> None:
    path = tmp_path / f"song.{suffix}"
    with av.open(path, "w", format={"m4a": "ipod", "wma": "asf"}.get(suffix, suffix)) as container:
        stream = container.add_stream(codec, rate=44_100, layout="stereo")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 128_000
        for _ in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8_192), np.int16), format="s16", layout="stereo")
            frame.sample_rate = 44_100
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    written = path.read_bytes()
    assert protected_or_broken(io.BytesIO(written), path.name) is None
    assert "incomplete" in (protected_or_broken(io.BytesIO(written[:48]), path.name) or "")


def test_an_endless_row_of_parts_is_looked_at_only_so_far() -> None:
    parts = atom(b"ftyp", b"M4A \0\0\0\0") + atom(b"free") * 1_000_000
    assert "incomplete" in (protected_or_broken(io.BytesIO(parts), "song.m4a") or "")


def test_a_large_file_is_refused_by_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_bytes(b"#EXTM3U\n" + b"song.mp3\n" * 5_000_000)
    tracemalloc.start()
    with pytest.raises(UnsupportedAudio, match=r"song\.wav is a playlist"):
        probe(tmp_path / "song.wav")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 20

"""More than a hundred bad inputs: each is refused in words that help, and the server goes on."""

from __future__ import annotations

import base64
import gzip
import os
import socket
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from mcp.client import Client
from mcp.types import CallToolResult, TextContent
from tests.warm import around

from outpaint_mcp.server.app import build_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeSong

    from outpaint_mcp.config import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(os.name == "nt", reason="POSIX paths and special files")]

SUBMIT, STATUS, RESULT = "submit_outpaint", "get_outpaint_status", "get_outpaint_result"
CANCEL, LIST, FILES = "cancel_outpaint", "list_outpaints", "list_audio"
SONG = "song.wav"
"""Stands for a path that is fine, so that only the other argument is bad."""
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
TOO_LONG = "/" + "x" * 100_000


@pytest.fixture
def music(settings: Settings, make_song: MakeSong, tmp_path: Path) -> Path:
    """An input folder with everything in it that looks like a recording and is none."""
    folder = settings.input_dirs[0]
    song = make_song(SONG)
    (folder / "empty.wav").touch()
    (folder / "picture.mp3").write_bytes(PNG)
    (folder / "text.flac").write_text("Just words. " * 99)
    (folder / "header only.wav").write_bytes(song.read_bytes()[:20])
    (folder / "zeros.ogg").write_bytes(bytes(10_000))
    (folder / "noise.mp3").write_bytes(np.random.default_rng(1).bytes(10_000))
    (folder / "archive.wav").write_bytes(b"PK\3\4" + bytes(9_999))
    (folder / "compressed.wav").write_bytes(gzip.compress(song.read_bytes()))
    (folder / "tag.mp3").write_bytes(b"ID3\4\0\0\x7f\x7f\x7f\x7f" + bytes(9_999))
    (folder / "claims.wav").write_bytes(b"RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\xff" + bytes(99))
    (folder / "page.wav").write_text("<!doctype html><title>404</title>")
    soundfile.write(folder / "no frames.wav", np.zeros((0, 2)), 44_100)
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(folder, os.O_RDONLY)  # a socket's path is limited to 108 bytes
        try:
            listener.bind(f"/proc/self/fd/{here}/socket.wav")
        except OSError:
            (folder / "socket.wav").mkdir()
        finally:
            os.close(here)
    outside = tmp_path / "secret"
    outside.mkdir()
    (outside / "diary.wav").write_bytes(song.read_bytes())
    (folder / "out.wav").symlink_to(outside / "diary.wav")
    (folder / "out folder").symlink_to(outside)
    (folder / "nowhere.wav").symlink_to(folder / "gone.wav")
    (folder / "circle.wav").symlink_to(folder / "circle.wav")
    (folder / "device.wav").symlink_to("/dev/zero")
    return folder


def data_uri(content: bytes, media_type: str = "audio/wav") -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


BAD_AUDIO: dict[str, tuple[str, str]] = {
    # what is given, and a word of the answer that tells why or what to do
    "nothing": ("", "audio"),
    "blanks": (" \t\n ", "audio"),
    "a missing file": ("gone.wav", "not there"),
    "a missing folder": ("gone/song.wav", "not there"),
    "the folder itself": (".", "folder"),
    "a folder with a file's name": ("folder.wav", "folder"),
    "an empty file": ("empty.wav", "empty"),
    "a picture as MP3": ("picture.mp3", "not audio"),
    "a text as FLAC": ("text.flac", "not audio"),
    "a web page as WAV": ("page.wav", "not audio"),
    "an archive as WAV": ("archive.wav", "a ZIP archive"),
    "a compressed WAV": ("compressed.wav", "a gzip archive"),
    "a tag that claims 256 MB": ("tag.mp3", "audio"),
    "a header that claims 4 GB": ("claims.wav", "audio"),
    "zeros as OGG": ("zeros.ogg", "not audio"),
    "noise as MP3": ("noise.mp3", "audio"),
    "a header cut off": ("header only.wav", "audio"),
    "no frames": ("no frames.wav", "audio"),
    "a pipe": ("pipe.wav", "pipe"),
    "a socket": ("socket.wav", "socket.wav"),
    "a link to a device": ("device.wav", "outside"),
    "a device": ("/dev/zero", "outside"),
    "a terminal": ("/dev/tty", "outside"),
    "standard input": ("/dev/stdin", "outside"),
    "a link out of the folder": ("out.wav", "outside"),
    "a file behind a linked folder": ("out folder/diary.wav", "outside"),
    "a link to nowhere": ("nowhere.wav", "not there"),
    "a link to itself": ("circle.wav", "circle.wav"),
    "a way up": ("../secret/diary.wav", "outside"),
    "a long way up": ("../../../../../../../../etc/passwd", "outside"),
    "a way up and down again": ("folder.wav/../../secret/diary.wav", "outside"),
    "passwords": ("/etc/passwd", "outside"),
    "a process's memory": ("/proc/self/mem", "outside"),
    "the root": ("/", "outside"),
    "a user's home": ("~nobody-has-this-name/song.wav", "there"),
    "the home": ("~/.ssh/id_rsa", "outside"),
    "a NUL in a name": ("song\0.wav", "characters"),
    "half a character": ("song\ud800.wav", "audio"),
    "a very long path": (TOO_LONG, "outside"),
    "a very long name": ("x" * 5_000 + ".wav", "x.wav"),
    "a right-to-left mark": ("song\u202e.wav", "not there"),
    "an emoji": ("🎵.wav", "not there"),
    "a Windows path": ("C:\\Music\\song.wav", "Windows"),
    "a network share": ("\\\\host\\share\\song.wav", "share"),
    "a shell command": ("song.wav; rm -rf /", "not there"),
    "a wildcard": ("*.wav", "not there"),
    "JSON": ('{"path": "song.wav"}', "not there"),
    "a chat attachment": ("attachment://song.wav", "chat"),
    "a sandbox path": ("sandbox:/mnt/data/song.wav", "chat"),
    "a chat's folder": ("/mnt/data/song.wav", "chat"),
    "a file URL outside": ("file:///etc/passwd", "outside"),
    "a file URL of another machine": ("file://server/share/song.wav", "file:///"),
    "a relative file URL": ("file:song.wav", "file:///"),
    "a file URL in another encoding": ("file:///%ff%fe.wav", "outside"),
    "a file URL with a way up": ("file:///tmp/../etc/passwd", "outside"),
    "plain http": ("http://example.com/song.mp3", "https"),
    "this machine by name": ("https://localhost/song.mp3", "private"),
    "this machine by number": ("https://127.0.0.1/song.mp3", "private"),
    "this machine in short": ("https://127.1/song.mp3", "https://127.1/"),
    "this machine as one number": ("https://2130706433/song.mp3", "2130706433"),
    "this machine in octal": ("https://0177.0.0.1/song.mp3", "0177"),
    "this machine in hexadecimal": ("https://0x7f000001/song.mp3", "0x7f000001"),
    "this machine in IPv6": ("https://[::1]/song.mp3", "private"),
    "this machine mapped into IPv6": ("https://[::ffff:127.0.0.1]/song.mp3", "private"),
    "no machine": ("https://0.0.0.0/song.mp3", "private"),
    "a cloud's metadata": ("https://169.254.169.254/latest/meta-data", "private"),
    "a home network": ("https://192.168.0.1/song.mp3", "private"),
    "an office network": ("https://10.0.0.1/song.mp3", "private"),
    "a link-local address": ("https://[fe80::1]/song.mp3", "private"),
    "a local name": ("https://nas.local/song.mp3", "private"),
    "an internal name": ("https://metadata.google.internal/", "private"),
    "no host": ("https:///song.mp3", "https:"),
    "only a scheme": ("https://", "https:"),
    "a user name in a link": ("https://me:secret@example.com/song.mp3", "https:"),
    "blanks in a host": ("https://exam ple.com/song.mp3", "https:"),
    "a port too high": ("https://example.com:99999/song.mp3", "https:"),
    "a port in letters": ("https://example.com:song/song.mp3", "https:"),
    "a line break in a link": ("https://example.com/song.mp3\r\nHost: evil", "https:"),
    "a backslash in a link": ("https://example.com\\@127.0.0.1/song.mp3", "https:"),
    "a very long link": ("https://example.com/" + "x" * 10_000, "https:"),
    "a broken IPv6 address": ("https://[::1/song.mp3", "https:"),
    "ftp": ("ftp://example.com/song.mp3", "ftp"),
    "s3": ("s3://bucket/song.mp3", "s3"),
    "gopher": ("gopher://example.com/", "gopher"),
    "a script": ("javascript://alert(1)", "javascript"),
    "a blob": ("blob:https://example.com/1234", "blob"),
    "a YouTube-like scheme": ("spotify://track/1234", "spotify"),
    "a request that does not exist": ("op_00000000000000000000", "list_outpaints"),
    "data without a comma": ("data:audio/wav;base64", "data:"),
    "data without content": ("data:audio/wav;base64,", "empty"),
    "data without base64": ("data:audio/wav,hello", "base64"),
    "data with broken base64": ("data:audio/wav;base64,!!!!", "base64"),
    "data cut off": ("data:audio/wav;base64,UklGR", "base64"),
    "data of a picture": (data_uri(PNG, "image/png"), "not audio"),
    "data of a page": ("data:text/html;base64,PGh0bWw+", "not audio"),
    "data that only says it is audio": (data_uri(PNG), "audio"),
    "data of a type that is none": ("data:;base64,AAAA", "audio"),
    "data of one byte": (data_uri(b"R"), "audio"),
}

NO_TEXTS: list[Any] = [None, 5, [], {}]
NO_NUMBERS: list[Any] = [True, "nan", "inf", "long", "30 s", "1:75", "1:2:3:4", "-1:00", "", [], {}]
NO_DURATIONS: list[Any] = [*NO_NUMBERS, -1, -1e-9, 240.001, 1e308]

BAD_VALUES: list[tuple[str, Any]] = [
    ("audio", None),
    ("audio", 5),
    ("audio", ["song.wav"]),
    ("audio", {"path": "song.wav"}),
    ("audio", True),
    ("tags", None),
    ("tags", ["lofi"]),
    ("tags", 7),
    ("tags", "x" * 2_001),
    ("tags", "half a character: \udfff"),
    ("lyrics", {"verse": "la"}),
    ("lyrics", "la" * 10_001),
    ("lyrics", "\ud83c"),
    *(
        (name, value)
        for name in ("extend_before_duration", "extend_after_duration")
        for value in NO_DURATIONS
    ),
    *(("seed", value) for value in (False, -2, 2**31, 10**30, 1.5, "nan", "random", "", [1])),
    ("extend_after_duration", 0),
    ("duration", 30),
    ("Audio", "song.wav"),
    ("prompt", "jazz"),
    ("ctx", {}),
    ("self", 1),
    ("", 1),
]

BAD_CALLS: list[tuple[str, dict[str, Any], str]] = [
    (SUBMIT, {}, "audio"),
    (SUBMIT, {"audio": SONG}, "tags"),
    (SUBMIT, {"tags": "lofi"}, "audio"),
    *(
        (tool, {"request_id": request_id}, "list_outpaints")
        for tool in (STATUS, RESULT, CANCEL)
        for request_id in (
            "",
            "op_",
            "op_0000000000000000000g",
            "OP_00000000000000000000",
            "op_00000000000000000000",
            "op_000000000000000000000",
            "'; DROP TABLE requests; --",
            "../../etc/passwd",
            "\0",
            "\ud800",
            "ﾟ" * 100_000,
        )
    ),
    *((tool, {"request_id": wrong}, "request_id") for tool in (STATUS, RESULT, CANCEL) for wrong in NO_TEXTS),
    *((tool, {}, "request_id") for tool in (STATUS, RESULT, CANCEL)),
    *(
        (tool, {"request_id": "op_00000000000000000000", "wait_seconds": wrong}, "wait_seconds")
        for tool in (STATUS, RESULT)
        for wrong in (-1, "nan", "-inf", True, "soon", "-1:00", [45])
    ),
    *((LIST, {"limit": wrong}, "limit") for wrong in (0, -1, 101, 2**70, 1.5, True, "all", [5])),
    *((LIST, {"status": wrong}, "status") for wrong in ("", "done", "Completed", 3, ["failed"], True)),
    (LIST, {"offset": 5}, "offset"),
    (LIST, {"offset": None}, "offset"),
    *((FILES, {"limit": wrong}, "limit") for wrong in (0, 101, "all")),
    *(
        (FILES, {"folder": wrong}, word)
        for wrong, word in (
            ("/etc", "outside"),
            ("..", "outside"),
            ("gone", "no folder"),
            ("\0", "characters"),
        )
    ),
    *((FILES, {name: wrong}, name) for name in ("folder", "query") for wrong in NO_TEXTS[1:]),
]


async def expect_refusal(client: Client, tool: str, arguments: dict[str, Any], word: str) -> None:
    answer = await client.call_tool(tool, arguments)
    assert isinstance(answer, CallToolResult)
    text = "".join(block.text for block in answer.content if isinstance(block, TextContent))
    assert answer.is_error, text
    assert answer.structured_content is None
    assert word in text
    assert text != f"Error executing tool {tool}"
    assert "Traceback" not in text
    assert "secret@" not in text
    assert len(text) < 2_000
    listed = await client.call_tool(LIST, {})
    assert isinstance(listed, CallToolResult)
    assert listed.structured_content == {"requests": [], "spent_usd": 0, "open_estimate_usd": 0}


@pytest.mark.usefixtures("music")
async def test_bad_audio_is_refused_and_the_server_goes_on(
    settings: Settings, subtests: pytest.Subtests
) -> None:
    async with Client(build_server(settings, surroundings=around())) as client:
        for name, (audio, word) in BAD_AUDIO.items():
            with subtests.test(name):
                arguments = {"audio": audio, "tags": "", "extend_after_duration": 1}
                await expect_refusal(client, SUBMIT, arguments, word)


async def test_bad_values_are_refused_by_name(settings: Settings, era: str, song: Path) -> None:
    good = {"audio": str(song), "tags": "lofi", "extend_after_duration": 1}
    async with Client(build_server(settings, surroundings=around()), mode=era) as client:
        for name, value in BAD_VALUES:
            await expect_refusal(client, SUBMIT, good | {name: value}, name)


async def test_bad_calls_are_refused_and_a_good_one_works_afterwards(
    settings: Settings, era: str, song: Path
) -> None:
    async with Client(build_server(settings, surroundings=around()), mode=era) as client:
        for tool, arguments, word in BAD_CALLS:
            await expect_refusal(client, tool, arguments, word)
        good = await client.call_tool(SUBMIT, {"audio": str(song), "tags": "", "extend_after_duration": 1})
        assert isinstance(good, CallToolResult)
        assert good.structured_content is not None
        waited = {"request_id": good.structured_content["request_id"], "wait_seconds": 45}
        result = await client.call_tool(RESULT, waited)
        assert isinstance(result, CallToolResult)
        assert (result.structured_content or {})["status"] == "completed"


def test_there_are_more_than_a_hundred_of_them() -> None:
    assert len(BAD_AUDIO) + len(BAD_VALUES) + len(BAD_CALLS) > 200

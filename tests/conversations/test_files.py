"""Which files there are, which may be read, and where they are put."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.conversations.listening import rate_of, samples_of
from tests.conversations.songs import song, write

if TYPE_CHECKING:
    from tests.conversations.assistant import Assistant

CD_RATE = 44_100


def test_a_page_of_a_streaming_service_is_refused_with_what_to_do(assistant: Assistant) -> None:
    """Extend https://www.youtube.com/watch?v=…"""
    words = assistant.refusal("submit_outpaint", audio="https://www.youtube.com/watch?v=aBcDeFgHiJk", tags="")
    assert "YouTube" in words
    assert "download" in words
    assert "path" in words


def test_a_file_outside_of_the_folders_is_refused_whatever_it_is_called(assistant: Assistant) -> None:
    """Extend /etc/passwd.mp3."""
    words = assistant.refusal("submit_outpaint", audio="/etc/passwd.mp3", tags="")
    assert "outside" in words
    assert str(assistant.folders.music) in words


def test_an_mp3_at_320_is_put_where_it_is_wanted_and_is_what_it_is_called(
    assistant: Assistant, music: Path
) -> None:
    """As MP3 at 320, on my desktop."""
    write(music / "Für Elise.flac", song(12.2, rate=CD_RATE), rate=CD_RATE)
    request_id = assistant.call("submit_outpaint", audio="Für Elise", tags="", extend_after_duration=10)[
        "request_id"
    ]
    place = assistant.folders.desktop / "Für Elise lang.mp3"
    result = assistant.get(request_id, save_as=str(place), bitrate_kbps=320)
    assert Path(result["path"]) == place
    assert result["written"] == "MP3, 320 kbit/s, 44100 Hz"
    assert rate_of(place) == CD_RATE
    assert len(samples_of(place)) == pytest.approx(22.2 * CD_RATE, abs=0.05 * CD_RATE)
    assert place.stat().st_size * 8 / 22.2 == pytest.approx(320_000, rel=0.02)


def test_all_files_of_the_folder_are_listed_with_their_lengths(assistant: Assistant, music: Path) -> None:
    """Which files are there? Extend all in the album folder."""
    album = music / "Album Eins"
    album.mkdir()
    seconds = {"01 Über uns.flac": 5.5, "02 Ça va?.ogg": 6.25, "03 東京.wav": 7.0}
    for name, each in seconds.items():
        write(album / name, song(each))
    listed = assistant.call("list_audio", folder="Album Eins")["files"]
    lengths = {Path(each["name"]).name: each["duration_seconds"] for each in listed}
    assert lengths == pytest.approx(seconds, abs=0.001)
    assert all(each["modified_at"] for each in listed)
    ids = [
        assistant.call("submit_outpaint", audio=each["name"], tags="", extend_after_duration=2)["request_id"]
        for each in listed
    ]
    results = [assistant.get(each) for each in ids]
    assert sorted(each["duration_seconds"] for each in results) == [7.5, 8.25, 9.0]
    (found,) = assistant.call("list_audio", folder="Album Eins", query="über uns")["files"]
    assert "Über uns" in found["name"]


def test_a_file_of_the_chat_has_to_be_saved_first(assistant: Assistant) -> None:
    """Extend the file that I have attached."""
    words = assistant.refusal("submit_outpaint", audio="/mnt/data/attached.wav", tags="")
    assert "attached" in words
    assert "save" in words
    assert str(assistant.folders.music) in words


def test_a_voice_memo_that_broke_off_is_refused_as_incomplete(assistant: Assistant, music: Path) -> None:
    """Then take the voice memo."""
    header = b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0"
    (music / "Sprachmemo.m4a").write_bytes(header + bytes(5_000))
    words = assistant.refusal("submit_outpaint", audio="Sprachmemo.m4a", tags="")
    assert "Sprachmemo.m4a is an incomplete MP4 file" in words
    assert "export it again" in words

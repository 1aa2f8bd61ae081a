"""The `audio` argument: what it is taken for, and how it is refused."""

from __future__ import annotations

import base64
import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outpaint_mcp.errors import (
    InvalidRequest,
    OutpaintError,
    RequestNotFound,
    SourceNotAllowed,
    SourceTooLarge,
    SourceUnreachable,
    UnsupportedAudio,
)
from outpaint_mcp.sources import (
    InlineAudio,
    LocalFile,
    RemoteUrl,
    nearby,
    resolve,
    resolve_source,
    scanning,
    title_of,
)
from outpaint_mcp.sources.paths import find_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

WAV = "data:audio/wav;base64,"

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX paths and special files")


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """An allowed folder with a bit of everything; `secret` lies beside it."""
    folder = tmp_path / "Music"
    (folder / "album").mkdir(parents=True)
    (folder / "album" / "My Song #1.wav").write_bytes(b"RIFF")
    (folder / "loop.wav").write_bytes(b"RIFF")
    (folder / "empty.wav").touch()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "diary.wav").write_bytes(b"RIFF")
    return folder


def found(audio: str, *folders: Path) -> Path:
    source = resolve_source(audio, input_dirs=folders)
    assert isinstance(source, LocalFile)
    return source.path


def test_a_file_is_found_by_absolute_relative_and_file_url_paths(music: Path) -> None:
    song = music / "album" / "My Song #1.wav"
    url = song.as_uri()
    assert found(str(song), music) == song
    assert found(f"  {song}\n", music) == song
    assert found("album/My Song #1.wav", music) == song
    assert found("album/../album/./My Song #1.wav", music) == song
    assert found(url, music) == song
    assert found(url.replace("file://", "FILE://LocalHost"), music) == song
    assert found(url.replace("file://", "file:"), music) == song


def test_a_home_path_is_expanded(music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(music.parent))
    monkeypatch.setenv("USERPROFILE", str(music.parent))
    assert found("~/Music/loop.wav", music) == music / "loop.wav"


def test_a_bare_name_is_looked_for_in_each_folder_in_order(music: Path, tmp_path: Path) -> None:
    second = tmp_path / "Samples"
    second.mkdir()
    (second / "loop.wav").write_bytes(b"other")
    (second / "only-here.wav").write_bytes(b"other")
    assert found("loop.wav", music, second) == music / "loop.wav"
    assert found("loop.wav", second, music) == second / "loop.wav"
    assert found("only-here.wav", music, second) == second / "only-here.wav"
    with pytest.raises(SourceUnreachable, match=re.escape(f"{music}, {second}, and their subfolders")):
        resolve_source("somewhere else.wav", input_dirs=[music, second])


def refusal(audio: str, *folders: Path) -> str:
    with pytest.raises(OutpaintError) as refused:
        resolve_source(audio, input_dirs=folders)
    return str(refused.value)


@pytest.mark.parametrize("form", ['"{}"', "'{}'", "“{}”", " `{}`\n"])
def test_quotation_marks_copied_along_are_no_part_of_the_name(form: str, music: Path) -> None:
    song = music / "album" / "My Song #1.wav"
    for audio in (str(song), "album/My Song #1.wav", song.as_uri()):
        assert found(form.format(audio), music) == song
    link = resolve_source(form.format("https://cdn.example/x.wav"), input_dirs=[])
    assert link == RemoteUrl("https://cdn.example/x.wav")


@posix
def test_a_shells_backslashes_are_taken_away_unless_the_file_has_them(music: Path) -> None:
    song = music / "album" / "My Song #1.wav"
    for audio in (r"album/My\ Song\ \#1.wav", str(song).replace(" ", r"\ ")):
        assert found(audio, music) == song
    (music / "album" / r"My\ Song #1.wav").write_bytes(b"RIFF")
    assert found(r"album/My\ Song #1.wav", music).name == r"My\ Song #1.wav"


def test_a_path_may_begin_with_the_folders_own_name(music: Path, tmp_path: Path) -> None:
    assert found("Music/loop.wav", music) == music / "loop.wav"
    assert found("music/album/My Song #1.wav", tmp_path / "gone", music).name == "My Song #1.wav"
    (music / "Music").mkdir()
    (music / "Music" / "loop.wav").write_bytes(b"RIFF")
    assert found("Music/loop.wav", music) == music / "Music" / "loop.wav"
    assert "outside" in refusal("Music/../secret/diary.wav", music)


def taken(audio: str, *folders: Path, own: Path | None = None) -> Path:
    """The file that is taken for a name that is no path."""
    source = resolve_source(audio, input_dirs=folders, own=own)
    assert isinstance(source, LocalFile)
    assert not source.is_exact
    return source.path


@pytest.mark.parametrize(
    "audio",
    [
        "MY SONG #1.wav",
        "My Song #1",
        "my_song #1",
        "my song",
        "song #1",
        "Song.wav",
        " 'my  song' ",
        r"My\ Song",
        "album/my song",
        "ALBUM/My Song #1",
        "Music/album/my song",
    ],
)
def test_a_name_that_fits_one_file_is_taken_for_it(audio: str, music: Path) -> None:
    assert taken(audio, music).name == "My Song #1.wav"


def test_an_absolute_path_may_lack_the_suffix_or_the_case_but_no_folder(music: Path) -> None:
    assert taken(str(music / "Album" / "my song #1"), music).name == "My Song #1.wav"
    assert 'The nearest names: "album/My Song #1.wav"' in refusal(str(music / "My Song #1.wav"), music)
    assert "is not there" in refusal(str(music / "Album" / "song"), music)


def test_a_path_that_leads_to_a_file_is_taken_as_it_is(music: Path) -> None:
    (music / "loop").write_bytes(b"RIFF")
    source = resolve_source("loop", input_dirs=[music])
    assert source == LocalFile(music / "loop", is_exact=True)


@pytest.mark.parametrize(
    "audio", ["my song #1.mp3", "elsewhere/My Song #1.wav", "My Sonk #1", "mysong #1.wav"]
)
def test_what_fits_no_file_names_the_nearest(audio: str, music: Path) -> None:
    assert 'is not there. The nearest names: "album/My Song #1.wav".' in refusal(audio, music)


def test_a_path_outside_is_not_taken_for_a_file_inside_but_that_is_suggested(music: Path) -> None:
    message = refusal("/x/My Song #1.flac", music)
    assert "is outside the folders" in message
    assert 'Did you mean "album/My Song #1.wav"?' in message


def test_letters_are_compared_however_they_are_composed(music: Path) -> None:
    (music / "album" / "Moto\u0308rhead.ogg").write_bytes(b"OggS")
    assert taken("MOT\u00d6RHEAD.ogg", music).name == "Moto\u0308rhead.ogg"
    (music / "\u00fcbung #3.flac").write_bytes(b"fLaC")
    assert taken("u\u0308bung", music).name == "\u00fcbung #3.flac"


def test_a_whole_name_goes_before_a_part_of_one(music: Path) -> None:
    for name in ("My Track.wav", "My Track (final mix 2).ogg", "not my track.wav"):
        (music / name).write_bytes(b"x")
    assert taken("my track", music).name == "My Track.wav"
    (music / "My Track").mkdir()
    (music / "My Track.wav").rename(music / "My Track" / "my track")  # no audio by its name
    assert '"My Track (final mix 2).ogg", "not my track.wav"' in refusal("MY TRACK", music)


def test_the_persons_files_go_before_our_own_results(music: Path) -> None:
    own = music / "Outpaint"
    own.mkdir()
    for folder in (music, own):
        (folder / "My Track (final mix 2).ogg").write_bytes(b"x")
    (own / "My Track (final mix 2), extended 30s after.flac").write_bytes(b"x")
    (own / "Other, extended 30s after.flac").write_bytes(b"x")
    assert taken("my track", music, own, own=own) == music / "My Track (final mix 2).ogg"
    assert taken("other", music, own, own=own).name == "Other, extended 30s after.flac"
    assert "fits 3 files" in refusal("my track", music, own)


def test_several_files_that_a_name_fits_are_named(music: Path) -> None:
    for number in range(1, 8):
        (music / "album" / f"tune {number}.flac").write_bytes(b"x")
    message = refusal("tune", music)
    assert 'fits 7 files: "album/tune 1.flac", "album/tune 2.flac"' in message
    assert message.count("album/tune") == 5
    assert message.endswith("Give one of these names in full.")
    assert taken("tune 3", music).name == "tune 3.flac"


def test_no_more_than_five_near_names_are_given(music: Path) -> None:
    for suffix in ("aiff", "flac", "mp3", "ogg", "opus", "au"):
        (music / "album" / f"tune.{suffix}").write_bytes(b"x")
    assert refusal("tune.wav", music).count("album/tune.") == 5


@pytest.mark.parametrize(
    "suffix",
    [
        *(
            "wav",
            "bwf",
            "w64",
            "rf64",
            "flac",
            "mp2",
            "mp3",
            "ogg",
            "oga",
            "opus",
            "spx",
            "aif",
            "aiff",
            "aifc",
        ),
        *(
            "au",
            "snd",
            "caf",
            "m4a",
            "m4b",
            "aac",
            "adts",
            "wma",
            "mka",
            "mp4",
            "m4v",
            "MOV",
            "mkv",
            "webm",
            "3gp",
        ),
    ],
)
def test_a_recording_of_any_kind_or_a_video_is_found_by_its_name_without_suffix(
    music: Path, suffix: str
) -> None:
    (music / f"Voice Memo 7.{suffix}").write_bytes(b"x")
    assert taken("voice memo 7", music).suffix == f".{suffix}"
    assert title_of(f"/music/Voice Memo 7.{suffix}") == "Voice Memo 7"


def test_what_hides_below_another_folder_is_named_by_its_full_path(music: Path, tmp_path: Path) -> None:
    second = tmp_path / "Samples"
    second.mkdir()
    (second / "tune.wav").write_bytes(b"RIFF")
    (music / "tune.wav").mkdir()
    assert f'"{second / "tune.wav"}"' in refusal("tune.ogg", music, second)
    assert found(str(second / "tune.wav"), music, second) == second / "tune.wav"


def test_nothing_hidden_linked_too_deep_or_without_sound_is_taken_or_named(
    music: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret" / "tune.wav").write_bytes(b"RIFF")
    (music / "linked").symlink_to(tmp_path / "secret")
    (music / "album" / "tune.wav").symlink_to(tmp_path / "secret" / "tune.wav")
    for place in (
        ".hidden/tune.wav",
        "1/2/3/4/5/tune.wav",
        "album/tune.txt",
        "album/.tune.wav",
        "tune.wav/x",
    ):
        (music / place).parent.mkdir(parents=True, exist_ok=True)
        (music / place).write_bytes(b"RIFF")
    for audio in ("tune.ogg", "tune", "TUNE.WAV", "tun"):
        message = refusal(audio, music)
        assert "nearest" not in message
        assert "and their subfolders" in message


def test_a_file_that_became_a_link_since_it_was_found_is_not_followed(
    music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = nearby.files_called

    def swap(
        text: str, files: Iterable[scanning.AudioFile], own: Path | None, *, by_words: bool
    ) -> list[Path]:
        [path] = plain(text, files, own, by_words=by_words)
        path.unlink()
        path.symlink_to(tmp_path / "secret" / "diary.wav")
        return [path]

    monkeypatch.setattr("outpaint_mcp.sources.paths.files_called", swap)
    with pytest.raises(SourceNotAllowed, match="outside"):
        resolve_source("my song", input_dirs=[music])


def test_an_empty_file_that_a_name_fits_is_told_as_that(music: Path) -> None:
    assert "is empty" in refusal("EMPTY", music)


def test_the_search_for_names_is_bounded(music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert taken("My Song #1", music).exists()
    monkeypatch.setattr(scanning, "_MOST_ENTRIES", 3)
    assert "too much in them: give the whole path" in refusal("My Song #1", music)


def test_a_folder_is_found_by_path_or_name_and_never_outside(music: Path, tmp_path: Path) -> None:
    (music / "linked").symlink_to(tmp_path / "secret")
    for text in (str(music / "album"), "album", "ALBUM", "Music/album", "album/"):
        assert find_folder(text, [music]) == music / "album"
    for text in (str(music), "Music", "music", "."):
        assert find_folder(text, [music]) == music
    for text in ("/etc", "..", "linked", "../secret", str(tmp_path / "secret"), str(tmp_path / "nowhere")):
        with pytest.raises(SourceNotAllowed, match="outside"):
            find_folder(text, [music])
    for text in ("loop.wav", "nowhere", "album/nowhere"):
        with pytest.raises(SourceUnreachable, match="no folder here"):
            find_folder(text, [music])
    (music / "other" / "album").mkdir(parents=True)
    (music / "other" / "album" / "x.wav").write_bytes(b"x")
    assert find_folder("other/ALBUM", [music]) == music / "other" / "album"
    with pytest.raises(SourceUnreachable, match="Several folders"):
        find_folder("Album", [music])


def test_when_no_folder_exists_they_are_named(tmp_path: Path) -> None:
    message = refusal("x.wav", tmp_path / "A", tmp_path / "B")
    assert f"{tmp_path / 'A'}, {tmp_path / 'B'}" in message
    assert "Create one of them" in message


def test_a_folder_that_does_not_exist_is_passed_over(music: Path, tmp_path: Path) -> None:
    assert found("loop.wav", tmp_path / "gone", music / "loop.wav", music) == music / "loop.wav"


def test_no_folder_at_all_is_said(music: Path) -> None:
    for folders in ([], [music / "gone"]):
        with pytest.raises(SourceNotAllowed, match="OUTPAINT_INPUT_DIRS"):
            resolve_source(str(music / "loop.wav"), input_dirs=folders)


def test_links_are_followed_only_to_the_allowed_folders(music: Path, tmp_path: Path) -> None:
    (music / "inside.wav").symlink_to(music / "loop.wav")
    (music / "outside.wav").symlink_to(tmp_path / "secret" / "diary.wav")
    (music / "dangling.wav").symlink_to(tmp_path / "secret" / "nothing.wav")
    (music / "folder").symlink_to(tmp_path / "secret")
    (music / "circle.wav").symlink_to(music / "circle.wav")
    (tmp_path / "Door").symlink_to(music)
    assert found("inside.wav", music) == music / "loop.wav"
    assert found("loop.wav", tmp_path / "Door") == music / "loop.wav"
    assert found(str(tmp_path / "Door" / "loop.wav"), music) == music / "loop.wav"
    for name in ("outside.wav", "dangling.wav", "folder/diary.wav", "folder/nothing.wav"):
        with pytest.raises(SourceNotAllowed, match="outside the folders"):
            resolve_source(name, input_dirs=[music])
    with pytest.raises(SourceUnreachable):
        resolve_source("circle.wav", input_dirs=[music])


def test_a_folder_whose_name_begins_alike_is_outside(music: Path, tmp_path: Path) -> None:
    (tmp_path / "Music2").mkdir()
    (tmp_path / "Music2" / "x.wav").write_bytes(b"RIFF")
    with pytest.raises(SourceNotAllowed):
        resolve_source(str(tmp_path / "Music2" / "x.wav"), input_dirs=[music])


@pytest.mark.parametrize(
    "form", ["{}/secret/{}", "{}/Music/../secret/{}", "../secret/{1}", "file://{}/secret/{}"]
)
def test_a_refusal_does_not_tell_whether_a_file_outside_exists(
    form: str, music: Path, tmp_path: Path
) -> None:
    messages = set()
    for name in ("diary.wav", "novel.wav"):
        with pytest.raises(SourceNotAllowed) as refusal:
            resolve_source(form.format(tmp_path, name), input_dirs=[music])
        messages.add((type(refusal.value), str(refusal.value).replace(name, "NAME")))
    assert len(messages) == 1


@posix
def test_pipes_sockets_and_devices_are_refused_without_being_opened(music: Path) -> None:
    os.mkfifo(music / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(music / "socket.wav"))
    (music / "null.wav").symlink_to("/dev/null")
    for name in ("pipe.wav", "socket.wav"):
        with pytest.raises(UnsupportedAudio, match="device, a pipe or a socket"):
            resolve_source(name, input_dirs=[music])
    with pytest.raises(SourceNotAllowed):
        resolve_source("null.wav", input_dirs=[music])


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission_is_refused_clearly(music: Path) -> None:
    (music / "loop.wav").chmod(0)
    (music / "album").chmod(0)
    try:
        for name in ("loop.wav", "album/My Song #1.wav"):
            with pytest.raises(SourceNotAllowed, match="permissions"):
                resolve_source(name, input_dirs=[music])
    finally:
        (music / "album").chmod(0o700)


@pytest.mark.parametrize(
    ("uri", "media_type"),
    [
        (WAV + "UklGRg==", "audio/wav"),
        (WAV + "UklGRg", "audio/wav"),
        (WAV + "Ukl\r\n GRg==\n", "audio/wav"),
        (WAV + "UklGRg%3D%3D", "audio/wav"),
        ("DATA:Audio/OGG;codecs=opus;BASE64,UklGRg==", "audio/ogg"),
        ("data:application/octet-stream;base64,UklGRg==", "application/octet-stream"),
        ("data:video/mp4;base64,UklGRg==", "video/mp4"),
        ("data:application/ogg;base64,UklGRg==", "application/ogg"),
    ],
)
def test_inline_audio_is_decoded(uri: str, media_type: str) -> None:
    assert resolve_source(uri, input_dirs=[]) == InlineAudio(b"RIFF", media_type)


@given(st.binary(min_size=1, max_size=200), st.integers(1, 9), st.integers(0, 9))
def test_inline_audio_is_the_same_however_it_is_taken_apart(content: bytes, chunk: int, blank: int) -> None:
    text = base64.b64encode(content).decode()
    wrapped = text[:blank] + "\r\n" + text[blank:]
    with mock.patch.object(resolve, "_CHUNK_CHARACTERS", chunk):
        source = resolve_source(WAV + wrapped, input_dirs=[])
    assert source == InlineAudio(content, "audio/wav")


def test_both_base64_alphabets_are_read() -> None:
    content = bytes(range(256))
    for text in (base64.b64encode(content), base64.urlsafe_b64encode(content)):
        source = resolve_source(WAV + text.decode(), input_dirs=[])
        assert isinstance(source, InlineAudio)
        assert source.content == content


def test_inline_audio_is_taken_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "MAX_INLINE_BYTES", 100)
    limit = resolve_source(WAV + base64.b64encode(b"x" * 100).decode(), input_dirs=[])
    assert limit == InlineAudio(b"x" * 100, "audio/wav")
    with pytest.raises(SourceTooLarge):
        resolve_source(WAV + base64.b64encode(b"x" * 101).decode(), input_dirs=[])


def test_a_link_is_normalised_and_kept() -> None:
    url = "https://Cdn.Example.com/My Song.mp3?sig=a%2Bb#t"
    source = resolve_source(url, input_dirs=[])
    assert source == RemoteUrl("https://cdn.example.com/My%20Song.mp3?sig=a%2Bb")


def test_no_content_and_no_signature_appears_in_a_repr() -> None:
    signed = resolve_source("https://cdn.example.com/x.wav?sig=hunter2", input_dirs=[])
    inline = resolve_source(WAV + base64.b64encode(b"hunter2").decode(), input_dirs=[])
    assert repr(signed) == "RemoteUrl('https://cdn.example.com/x.wav')"
    assert "hunter2" not in repr(inline)


@settings(deadline=None)
@given(
    st.builds(
        "{}{}".format,
        st.sampled_from(
            ["", "/", "~", "file:///", "https://", "https://h.example/", "data:audio/wav;base64,"]
        ),
        st.text(
            st.sampled_from("a1/.:@?#[]%\\ ,;=~é音\0\n\u2028\ud800") | st.characters(codec=None), max_size=50
        ),
    )
)
def test_nothing_but_the_error_tree_comes_out_of_any_text(audio: str) -> None:
    with suppress(OutpaintError):
        resolve_source(audio, input_dirs=[Path(__file__).parent])


REFUSALS: list[tuple[str, type[OutpaintError], str]] = [
    ("", InvalidRequest, "missing"),
    (" \n", InvalidRequest, "missing"),
    (".", UnsupportedAudio, "is a folder"),
    ("album", UnsupportedAudio, "is a folder"),
    ("album/", UnsupportedAudio, "is a folder"),
    ("empty.wav", UnsupportedAudio, "is empty"),
    ("loop.mp3", SourceUnreachable, "is not there"),
    ("loop.wav/x", SourceUnreachable, "is not there"),
    ("Artist: Song.wav", SourceUnreachable, "is not there"),
    ("www.example.com/loop.wav", SourceUnreachable, "put https://"),
    ("cdn.example/loop.wav?sig=hunter2", SourceUnreachable, "put https://"),
    ("me:hunter2@cdn.example:8443/loop.wav", SourceUnreachable, "put https://"),
    ("localhost:8000/loop.wav?sig=hunter2", SourceUnreachable, "is not there"),
    ("op_0123456789abcdef0123", RequestNotFound, "looks like a request id"),
    ("op_last", RequestNotFound, "no file has this name"),
    ("//8A" * 10_000, SourceNotAllowed, "outside"),
    ("UklGR/8A" * 10_000, SourceUnreachable, "in front of audio in base64"),
    ("x" * 5000, SourceUnreachable, "too long"),
    ("loop.wav\0.mp3", InvalidRequest, "characters"),
    ("loop\ud800.wav", InvalidRequest, "characters"),
    ("loop\udc80.wav", SourceUnreachable, "not there"),
    ("file:///loop%00.wav", InvalidRequest, "characters"),
    ("/etc/passwd", SourceNotAllowed, "outside"),
    ("../../../etc/passwd", SourceNotAllowed, "outside"),
    ("~", SourceNotAllowed, "outside"),
    ("~nobody-by-this-name/x.wav", SourceUnreachable, "is not there"),
    ("/dev/zero", SourceNotAllowed, "outside"),
    ("/proc/self/fd/0", SourceNotAllowed, "outside"),
    ("//server/share/x.wav", SourceNotAllowed, "outside"),
    (r"C:\Music\loop.wav", InvalidRequest, "Windows path"),
    ("C:/Music/loop.wav", InvalidRequest, "Windows path"),
    (r"\\server\share\x.wav", InvalidRequest, "Windows path"),
    ("/mnt/data/x.mp3", SourceUnreachable, "chat"),
    ("/mnt/user-data/uploads/x.mp3", SourceUnreachable, "chat"),
    ("sandbox:/mnt/data/x.mp3", SourceUnreachable, "chat"),
    ("attachment://x.mp3", SourceUnreachable, "chat"),
    ("cid:part1", SourceUnreachable, "chat"),
    ("blob:https://chat.example/3f2a?t=hunter2", InvalidRequest, "blob: links cannot be read"),
    ("content://media/external/audio/1", InvalidRequest, "content: links cannot be read"),
    ("ftp://user:hunter2@h.example/x.wav", InvalidRequest, "ftp: links cannot be read"),
    ("s3://bucket/x.wav", InvalidRequest, "pre-signed"),
    ("gs://bucket/x.wav", InvalidRequest, "pre-signed"),
    ("file://server/share/x.wav", InvalidRequest, "no file on this machine"),
    ("file://C:/x.wav", InvalidRequest, "no file on this machine"),
    ("file:loop.wav", InvalidRequest, 'the plain path, "loop.wav"'),
    ("file://Loop%201.wav?hunter2", InvalidRequest, 'the plain path, "Loop 1.wav"'),
    ("file://~/Music/loop.wav", InvalidRequest, 'the plain path, "~/Music/loop.wav"'),
    ("file://me:hunter2@server", InvalidRequest, "no file on this machine"),
    ("file:///%FF.wav", SourceNotAllowed, "outside"),
    ("http://h.example/x.wav?sig=hunter2", SourceNotAllowed, "use https"),
    ("https://user:hunter2@h.example/x.wav", SourceNotAllowed, "user name or password"),
    ("https://:hunter2@h.example/x.wav", SourceNotAllowed, "user name or password"),
    ("https://", InvalidRequest, "well-formed"),
    ("https:h.example/x.wav", InvalidRequest, "well-formed"),
    ("https://127.0.0.1\\@x.example/?hunter2", InvalidRequest, "well-formed"),
    ("https://h.example:port/x", InvalidRequest, "well-formed"),
    ("https://2130706433/x.wav", InvalidRequest, "well-formed"),
    ("https://[::1/x.wav", InvalidRequest, "well-formed"),
    ("https://127.0.0.1/x.wav", SourceNotAllowed, "private network"),
    ("https://169.254.169.254/latest/meta-data", SourceNotAllowed, "private network"),
    ("https://[::ffff:10.0.0.1]/x.wav", SourceNotAllowed, "private network"),
    ("https://localhost./x.wav", SourceNotAllowed, "private network"),
    ("https://intranet/x.wav", SourceNotAllowed, "private network"),
    ("https://nas.local/x.wav", SourceNotAllowed, "private network"),
    ("https://metadata.google.internal/x.wav", SourceNotAllowed, "private network"),
    ("data:", InvalidRequest, "malformed"),
    ("data:audio/wav;base64", InvalidRequest, "malformed"),
    ("data:audio/wav,hunter2", InvalidRequest, "not base64"),
    ("data:,hunter2", UnsupportedAudio, "not audio"),
    ("data:text/html;base64,PGh0bWw+", UnsupportedAudio, "not audio"),
    ("data:audio/wav;base64,", UnsupportedAudio, "is empty"),
    ("data:audio/wav;base64,UklGR...", InvalidRequest, "not valid base64"),
    ("data:audio/wav;base64,A", InvalidRequest, "not valid base64"),
    ("data:audio/wav;base64,QQ==UklG", InvalidRequest, "not valid base64"),
    ("data:audio/wav;base64,Ü", InvalidRequest, "not valid base64"),
]


@pytest.mark.parametrize("suffix", [".part", ".crdownload", ".download", ".partial"])
def test_a_download_that_has_not_finished_is_refused_with_what_to_do(music: Path, suffix: str) -> None:
    (music / f"song.mp3{suffix}").write_bytes(b"ID3")
    words = refusal(f"song.mp3{suffix}", music)
    assert f'"song.mp3{suffix}" is a download that has not finished: wait until it has' in words


@pytest.mark.parametrize(("name", "program"), [("My Song.band", "GarageBand"), ("Mix.logicx", "Logic Pro")])
def test_a_project_that_is_a_folder_is_refused_with_what_to_do(music: Path, name: str, program: str) -> None:
    (music / name).mkdir()
    assert f"is a {program} project: export the song from that program as WAV" in refusal(name, music)


@posix
@pytest.mark.parametrize(("audio", "error", "words"), REFUSALS, ids=[repr(row[0])[:60] for row in REFUSALS])
def test_a_refusal_is_one_clear_paragraph(
    audio: str, error: type[OutpaintError], words: str, music: Path
) -> None:
    with pytest.raises(OutpaintError) as refusal:
        resolve_source(audio, input_dirs=[music])
    message = str(refusal.value)
    assert type(refusal.value) is error
    assert words in message
    assert message.isprintable()
    assert 40 < len(message) < 700
    assert message.endswith(".")
    assert "hunter2" not in message

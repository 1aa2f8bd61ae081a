"""One way to open what may be read."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from outpaint_mcp.disk.opening import open_regular

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "music"
    (folder / "album").mkdir(parents=True)
    (folder / "album" / "song.wav").write_bytes(b"song")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "song.wav").write_bytes(b"diary")
    return folder


def content(path: Path, *folders: Path) -> bytes:
    with os.fdopen(open_regular(path, folders), "rb") as file:
        return file.read()


def test_a_file_beneath_an_allowed_folder_is_opened(music: Path) -> None:
    assert content(music / "album" / "song.wav", music) == b"song"
    assert content(music / "album" / "song.wav", music / "other", music / "album") == b"song"


def test_a_file_beneath_none_is_not(music: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "secret" / "song.wav", music / ".." / "secret" / "song.wav", music):
        with pytest.raises(PermissionError, match="outside"):
            content(path, music / "album")


def test_a_link_that_took_the_place_of_the_file_or_of_a_folder_is_not_followed(
    music: Path, tmp_path: Path
) -> None:
    song, secret = music / "album" / "song.wav", tmp_path / "secret"
    song.unlink()
    song.symlink_to(secret / "song.wav")
    with pytest.raises(OSError, match="symbolic links"):
        content(song, music)
    shutil.rmtree(music / "album")
    (music / "album").symlink_to(secret)
    with pytest.raises(NotADirectoryError):
        content(song, music)
    shutil.rmtree(music)
    music.symlink_to(tmp_path)
    with pytest.raises(NotADirectoryError):
        content(music / "secret" / "song.wav", music)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_a_pipe_a_folder_and_a_device_are_refused_at_once(music: Path) -> None:
    os.mkfifo(music / "pipe.wav")
    for path in (music / "pipe.wav", music / "album"):
        with pytest.raises(OSError, match="not a regular file"):
            content(path, music)


def test_nothing_stays_open(music: Path) -> None:
    open_files = len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0  # noqa: PTH112, PTH208
    for name in ("album", "none.wav", "album/none/song.wav"):
        with pytest.raises(OSError, match=r"regular|No such"):
            content(music / name, music)
    assert (len(os.listdir("/dev/fd")) if open_files else 0) == open_files  # noqa: PTH208

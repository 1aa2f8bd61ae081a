"""What is written is nobody else's, unless it is the person's."""

from __future__ import annotations

import inspect
import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from outpaint_mcp.disk import writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")


@pytest.fixture(autouse=True)
def umask(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = os.umask(0o022)
    monkeypatch.setattr(writing, "_PERSONS_UMASK", 0o022)
    yield
    os.umask(before)


def permissions(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_persons_umask_is_read_and_left_as_it_was() -> None:
    os.umask(0o027)
    assert writing._umask() == 0o027
    assert os.umask(0o022) == 0o027


def test_what_is_written_is_private_but_for_what_is_the_persons(tmp_path: Path) -> None:
    writing.keep_private()
    (tmp_path / "journal").touch()
    writing.make_persons(tmp_path / "Music" / "Outpaint")
    with writing.create(tmp_path / "Music" / "Outpaint" / "song.wav") as file:
        file.write(b"song")
    assert permissions(tmp_path / "journal") == 0o600
    assert permissions(tmp_path / "Music") == permissions(tmp_path / "Music" / "Outpaint") == 0o755
    assert permissions(tmp_path / "Music" / "Outpaint" / "song.wav") == 0o644


def test_a_folder_that_was_open_to_others_is_closed_and_one_of_the_persons_left_as_it_is(
    tmp_path: Path,
) -> None:
    for name in ("data", "Music"):
        (tmp_path / name).mkdir(mode=0o775)
        (tmp_path / name).chmod(0o775)
    writing.make_private(tmp_path / "data")
    writing.make_persons(tmp_path / "Music")
    assert permissions(tmp_path / "data") == 0o700
    assert permissions(tmp_path / "Music") == 0o775


def test_nothing_is_written_through_a_link_nor_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_bytes(b"mine")
    (tmp_path / "link.wav").symlink_to(tmp_path / "song.wav")
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "nothing.wav")
    for name in ("song.wav", "link.wav", "dangling.wav"):
        with pytest.raises(FileExistsError):
            writing.create(tmp_path / name)
    assert (tmp_path / "song.wav").read_bytes() == b"mine"
    assert not (tmp_path / "nothing.wav").exists()


def test_folders_in_folders_by_the_thousand_are_no_error(tmp_path: Path) -> None:
    deepest = tmp_path / "ours" / "/".join(["d"] * 300)
    deepest.mkdir(parents=True)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 150)
    try:
        writing.remove(tmp_path / "ours")
    finally:
        sys.setrecursionlimit(limit)
    shutil.rmtree(tmp_path / "ours", ignore_errors=True)

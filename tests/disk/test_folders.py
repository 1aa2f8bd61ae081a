"""Where the allowed folders are is found out once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.disk.folders import existing_folders

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_that_is_a_link_is_where_it_leads_and_stays_there(tmp_path: Path) -> None:
    real, secret, link = tmp_path / "real", tmp_path / "secret", tmp_path / "Music"
    real.mkdir()
    secret.mkdir()
    link.symlink_to(real)
    assert existing_folders([link]) == [real.resolve()]
    link.unlink()
    link.symlink_to(secret)
    assert existing_folders([link]) == [real.resolve()]


def test_a_folder_that_was_moved_behind_a_link_is_not_there(tmp_path: Path) -> None:
    folder, secret = tmp_path / "Music", tmp_path / "secret"
    folder.mkdir()
    secret.mkdir()
    assert existing_folders([folder]) == [folder.resolve()]
    folder.rmdir()
    folder.symlink_to(secret)
    assert existing_folders([folder]) == []


def test_a_folder_that_comes_later_is_found_then(tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    assert existing_folders([folder]) == []
    folder.mkdir()
    assert existing_folders([folder]) == [folder.resolve()]
    folder.rmdir()
    assert existing_folders([folder]) == []

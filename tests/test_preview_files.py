"""Stored previews: found again, bounded, and gone in time."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from outpaint_mcp.service import preview_files
from outpaint_mcp.service.preview_files import STORED_DAYS, PreviewFiles, read

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "previews"


@pytest.fixture
def files(folder: Path) -> PreviewFiles:
    return PreviewFiles(folder)


def grow_old(path: Path, days: float) -> None:
    at = time.time() - days * 86_400
    os.utime(path, (at, at))


def test_what_was_stored_is_found_and_nothing_else(files: PreviewFiles, folder: Path) -> None:
    assert files.get("op_1", "0-10.json") is None
    files.put("op_1", "0-10.json", b"one")
    files.put("op_1", "0-10.json", b"two")
    assert files.get("op_1", "0-10.json") == b"two"
    assert files.get("op_2", "0-10.json") is None
    assert [each.name for each in folder.glob("*/*")] == ["0-10.json"]


def test_a_link_in_its_place_is_not_followed(files: PreviewFiles, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    files.put("op_1", "peaks", b"")
    (folder / "op_1" / "peaks").unlink()
    (folder / "op_1" / "peaks").symlink_to(tmp_path / "secret")
    assert files.get("op_1", "peaks") is None
    assert read(tmp_path / "secret") == b"secret"


def test_a_request_is_forgotten_with_all_of_it(files: PreviewFiles, folder: Path) -> None:
    files.put("op_1", "peaks", b"one")
    files.put("op_2", "peaks", b"two")
    files.forget("op_1")
    assert [each.name for each in folder.iterdir()] == ["op_2"]


def test_what_is_old_goes_with_its_folder(files: PreviewFiles, folder: Path) -> None:
    files.put("op_old", "peaks", b"old")
    files.put("op_new", "peaks", b"new")
    grow_old(folder / "op_old" / "peaks", STORED_DAYS + 1)
    files.tidy()
    assert [each.name for each in folder.iterdir()] == ["op_new"]


def test_of_too_much_the_oldest_go(
    files: PreviewFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview_files, "STORED_BYTES", 2_500)
    for age in range(4):
        files.put(f"op_{age}", "peaks", bytes(1_000))
        grow_old(folder / f"op_{age}" / "peaks", age / 10)
    files.tidy()
    assert sorted(each.name for each in folder.iterdir()) == ["op_0", "op_1"]


def test_too_much_is_noticed_when_it_is_written(
    files: PreviewFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview_files, "STORED_BYTES", 5_000)
    monkeypatch.setattr(preview_files, "_TIDY_AFTER_BYTES", 3_000)
    for number in range(40):
        files.put("op_1", str(number), bytes(1_000))
    assert len([*folder.glob("*/*")]) <= 5 + 4


def test_what_a_killed_server_left_goes_after_a_day_and_not_before(files: PreviewFiles, folder: Path) -> None:
    under_way, left = files.new_folder(), files.new_folder()
    (left / "preview.mp3").write_bytes(b"half")
    grow_old(left / "preview.mp3", STORED_DAYS + 1)
    files.tidy()
    grow_old(left, 2)
    files.tidy()
    assert [*folder.iterdir()] == [under_way]

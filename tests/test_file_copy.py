"""Copies are placed in one step, and through nothing that somebody else has put in their way."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

import pytest

from outpaint_mcp.service.file_copy import place_copy

if TYPE_CHECKING:
    from pathlib import Path

_CONTENT = b"music" * 1000


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_a_link_that_replaces_the_part_while_it_is_copied_is_not_delivered(tmp_path: Path) -> None:
    source, part, target = tmp_path / "kept.wav", tmp_path / "copy.part", tmp_path / "song.wav"
    other = tmp_path / "other.wav"
    source.write_bytes(_CONTENT)
    other.write_bytes(_CONTENT)

    def swap() -> None:
        if part.exists() and not part.is_symlink():
            part.unlink()
            part.symlink_to(other)

    with pytest.raises(OSError, match="another file"):
        place_copy(source, target, part, sha256=hashlib.sha256(_CONTENT).hexdigest(), check_stopping=swap)
    assert not target.is_symlink()
    assert not target.exists()
    assert other.read_bytes() == _CONTENT

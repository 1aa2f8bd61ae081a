"""A source that is another file by the time it is copied: nothing outside is read, and nothing waits for a pipe."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from outpaint_mcp.errors import OutpaintError, SourceError, SourceNotAllowed
from outpaint_mcp.providers.remote.prepare import _copy

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


def refusal(source: Path) -> OutpaintError:
    part, target = source.with_name("part"), source.with_name("target")
    with pytest.raises(SourceError) as refused:
        _copy(source.resolve().parent / source.name, part, target)
    assert not target.exists()
    return refused.value


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(b"diary")
    (tmp_path / "song.wav").symlink_to(tmp_path / "secret.wav")
    error = refusal(tmp_path / "song.wav")
    assert isinstance(error, SourceNotAllowed)
    assert "moved behind a link" in str(error)
    assert not (tmp_path / "part").exists()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "song.wav")
    assert "not a regular file" in str(refusal(tmp_path / "song.wav"))

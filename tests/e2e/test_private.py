"""What the program leaves on disk: its own for nobody else, the person's as usual, and nothing elsewhere."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.e2e.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.rpc import Server

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")


@pytest.fixture(params=[0o000, 0o022])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_the_data_folder_is_its_owners_only_and_results_are_as_every_file(
    start_server: Callable[..., Server], song: Path, settings: Settings, umask: int
) -> None:
    settings.data_dir.mkdir(mode=0o777)
    server = start_server()
    submission = server.tool("submit_outpaint", audio=str(song), tags="", extend_after_duration=1)
    path = Path(server.finished(submission["request_id"])["path"])
    server.tool("analyze_audio", audio=str(song))
    assert server.end() == 0
    open_to_others = [each for each in settings.data_dir.rglob("*") if each.lstat().st_mode & 0o077]
    assert (settings.data_dir.stat().st_mode & 0o777, open_to_others) == (0o700, [])
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    assert path.parent.stat().st_mode & 0o777 == 0o777 & ~umask


def test_audio_that_came_with_a_call_lies_nowhere_but_in_the_data_folder(
    start_server: Callable[..., Server], song: Path, tmp_path: Path, settings: Settings
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    audio = "data:audio/wav;base64," + base64.b64encode(song.read_bytes()).decode()
    server = start_server(env={"TMPDIR": str(scratch)})
    server.tool("submit_outpaint", audio=audio, tags="", extend_after_duration=1)
    server.start_tool("analyze_audio", {"audio": audio})
    assert server.end() == 0
    ours = settings.data_dir / "scratch"
    assert list(ours.iterdir()) == list(scratch.iterdir()) == []
    killed = start_server(env={"TMPDIR": str(scratch)})
    killed.start_tool("analyze_audio", {"audio": audio})
    until(lambda: list(ours.glob("*/*")))
    killed.kill()
    server = start_server(env={"TMPDIR": str(scratch)})
    server.tool("list_outpaints")
    assert not list(ours.glob("*/*"))
    assert list(scratch.iterdir()) == []

"""Who can read what the server writes, where the person's umask hides nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.rpc import Server

_HIDES_NOTHING = "import os; os.umask(0); from outpaint_mcp.cli.main import main; main([])"


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_the_data_folder_and_all_in_it_are_their_owners_and_a_delivered_file_follows_the_umask(
    start_server: Callable[..., Server], song: Path, environment: dict[str, str]
) -> None:
    server = start_server(arguments=["-c", _HIDES_NOTHING])
    submission = server.tool("submit_outpaint", audio=str(song), tags="", extend_after_duration=1)
    result = server.finished(submission["request_id"])
    data = Path(environment["OUTPAINT_DATA_DIR"])
    modes = {path.relative_to(data): path.stat().st_mode & 0o777 for path in (data, *data.rglob("*"))}
    assert {str(path): oct(mode) for path, mode in modes.items() if mode & 0o077} == {}
    assert Path(result["path"]).stat().st_mode & 0o777 == 0o666

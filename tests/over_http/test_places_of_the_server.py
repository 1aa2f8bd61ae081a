"""Where things lie on the server is nothing to those who call it from elsewhere: no answer says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.over_http.callers import ALICE, SHARED, asking, calling, refused

if TYPE_CHECKING:
    from pathlib import Path

    from tests.over_http.conftest import Serve

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio


def check(words: str, settings: Settings) -> None:
    for each in (settings.data_dir, settings.output_dir, *settings.input_dirs):
        assert str(each) not in words


async def test_the_instructions_name_no_folder(serve: Serve, settings: Settings) -> None:
    async with serve(http=SHARED) as door, asking(door, ALICE) as alice:
        assert alice.instructions
        check(alice.instructions, settings)
        assert "list_audio" in alice.instructions


async def test_a_folder_that_is_not_theirs_is_refused_without_naming_those_that_are(
    serve: Serve, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    said = set()
    async with serve(http=SHARED) as door, asking(door, ALICE) as alice:
        for folder in ("there", "gone"):
            path = str(tmp_path / folder)
            words = (await refused(alice, "list_audio", folder=path)).replace(path, "FOLDER")
            check(words, settings)
            said.add(words)
        check(await refused(alice, "list_audio", folder="nowhere"), settings)
    assert len(said) == 1, "whether anything is there shows"


async def test_trouble_with_the_data_folder_is_told_without_its_place(
    serve: Serve, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    (settings.data_dir / "outpaint.sqlite3").write_bytes(b"no database" * 1000)
    async with serve(http=SHARED) as door, asking(door, ALICE) as alice, calling(door, ALICE) as http:
        words = await refused(alice, "list_outpaints")
        words += (await http.delete("/requests/op_00000000000000000000")).text
    assert words.count("storage") == 2
    check(words, settings)
    assert str(settings.data_dir) in caplog.text, "whoever runs it has to know"

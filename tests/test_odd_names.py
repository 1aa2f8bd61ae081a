"""Files whose names are from other systems and other times are listed, analyzed and extended like any other."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from tests.waiting import PATIENCE_SECONDS

from outpaint_mcp.sources import legible, stored_path, stored_text, title_of

if TYPE_CHECKING:
    from pathlib import Path

    from mcp.client import Client
    from tests.conftest import MakeSong

    from outpaint_mcp.config import Settings

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every name is Unicode"),
]


@pytest.fixture
def odd(make_song: MakeSong) -> Path:
    """A recording whose name is in Latin-1, as old archives and disks have it."""
    song = make_song("plain.wav")
    path = song.with_name(os.fsdecode(b"M\xfcnchen.wav"))
    with suppress(OSError):
        return song.rename(path)
    pytest.skip("this file system takes no such name")


async def ask(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    answer = await client.call_tool(tool, arguments)
    return answer.structured_content or {"error": answer.content}


@pytest.mark.usefixtures("odd")
async def test_a_name_in_latin_1_is_listed_analyzed_and_extended(client: Client) -> None:
    (listed,) = (await ask(client, "list_audio"))["files"]
    assert listed["name"].endswith("/M%FCnchen.wav")
    assert (await ask(client, "analyze_audio", audio=listed["name"]))["title"] == "München"
    submission = await ask(client, "submit_outpaint", audio=listed["name"], tags="", extend_after_duration=1)
    result = await ask(
        client,
        "get_outpaint_result",
        request_id=submission["request_id"],
        wait_seconds=min(45, PATIENCE_SECONDS),
    )
    assert result["status"] == "completed"
    assert "München" in result["path"]


async def test_a_name_in_latin_1_is_found_as_it_is_read(client: Client, odd: Path) -> None:
    for name in ("München.wav", "münchen"):
        submission = await ask(client, "submit_outpaint", audio=name, tags="", extend_after_duration=1)
        assert legible(odd.name) in submission["message"]


@pytest.mark.usefixtures("odd")
async def test_a_name_in_latin_1_does_not_keep_others_from_being_measured(
    client: Client, make_song: MakeSong
) -> None:
    make_song("other.wav", seconds=2)
    listed = (await ask(client, "list_audio"))["files"]
    assert sorted(each["duration_seconds"] for each in listed) == [2, 3]


@pytest.mark.parametrize("given", [" led in.wav", "led in.wav", "led in"])
async def test_a_name_with_a_leading_blank_is_found_by_its_path_and_its_name(
    client: Client, settings: Settings, make_song: MakeSong, given: str
) -> None:
    make_song(" led in.wav")
    (listed,) = (await ask(client, "list_audio"))["files"]
    for audio in (given, listed["name"], str(settings.input_dirs[0] / " led in.wav")):
        analysis = await ask(client, "analyze_audio", audio=audio)
        assert analysis["title"] == "led in"


def test_a_path_is_stored_as_text_and_found_again(tmp_path: Path) -> None:
    for name in (b"song.wav", "Größe.wav".encode(), b"M\xfcnchen.wav", b"100%.wav", b"file:.wav"):
        path = tmp_path / os.fsdecode(name)
        stored_text(path).encode()
        assert stored_path(stored_text(path)) == path
    assert title_of(stored_text(tmp_path / os.fsdecode(b"M\xfcnchen.wav"))) == "München"

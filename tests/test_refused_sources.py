"""What is no recording is refused by what the person calls it, whichever way it came."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import pytest
from mcp.client import Client
from mcp.types import CallToolResult, TextContent
from tests.hosting import Web
from tests.warm import around

from outpaint_mcp.server.app import build_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(9_000)
LINK = "https://music.example/My%20Song.mp3"
INLINE = f"data:audio/mpeg;base64,{base64.b64encode(PICTURE).decode()}"


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    surroundings = around(fetch=Web({LINK: PICTURE}))
    async with Client(build_server(settings, surroundings=surroundings)) as opened:
        yield opened


async def answer(client: Client, tool: str, **arguments: object) -> tuple[dict[str, object], str]:
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    text = " ".join(block.text for block in result.content if isinstance(block, TextContent))
    return result.structured_content or {}, text


@pytest.fixture
def song(settings: Settings) -> Path:
    path = settings.input_dirs[0] / "My Song.mp3"
    path.write_bytes(PICTURE)
    return path


@pytest.mark.parametrize("audio", ["My Song.mp3", LINK, INLINE], ids=["a file", "a link", "inline"])
async def test_a_picture_is_refused_as_one_and_no_name_of_ours_is_shown(
    client: Client, settings: Settings, song: Path, audio: str
) -> None:
    _, analyzed = await answer(client, "analyze_audio", audio=audio, wait_seconds=45)
    submission, extended = await answer(
        client, "submit_outpaint", audio=audio, tags="", extend_after_duration=1
    )
    if submission:
        _, extended = await answer(
            client, "get_outpaint_result", request_id=submission["request_id"], wait_seconds=45
        )
    for words in (analyzed, extended):
        assert "is a PNG image, not audio. Give an audio file instead." in words
        assert (song.name if audio == song.name else "The source") in words
        assert str(settings.data_dir) not in words
        assert not re.search(r"\bsource is|[0-9a-f]{32}", words.replace("The source is", ""))

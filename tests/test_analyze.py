"""Listening for the agent: short answers, all of it on request, a picture where it is wanted."""

# ruff: noqa: ASYNC240 - small files in a folder of the test's own

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from mcp.types import CallToolResult, ImageContent, TextContent
from tests.hosting import Web

from outpaint_mcp.cli.demo_music import BPM, compose_piece
from outpaint_mcp.principals import PERSON
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.lifespan import Surroundings, open_service

if TYPE_CHECKING:
    from pathlib import Path

    from mcp.client import Client

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

MAX_ANSWER_BYTES = 1_000
PNG = b"\x89PNG\r\n\x1a\n"


async def analyze(client: Client, **arguments: Any) -> tuple[dict[str, Any], list[ImageContent]]:  # noqa: ANN401 - JSON
    answer = await client.call_tool("analyze_audio", arguments)
    assert isinstance(answer, CallToolResult)
    first = answer.content[0]
    assert isinstance(first, TextContent)
    assert not answer.is_error, first.text
    assert json.loads(first.text) == answer.structured_content
    return answer.structured_content or {}, [
        each for each in answer.content if isinstance(each, ImageContent)
    ]


async def test_a_piece_is_told_in_less_than_a_kilobyte(client: Client, settings: Settings) -> None:
    path = settings.input_dirs[0] / "piece.wav"
    compose_piece(path)
    told, pictures = await analyze(client, audio="piece.wav")
    assert len(json.dumps(told, ensure_ascii=False).encode()) < MAX_ANSWER_BYTES
    assert pictures == []
    assert told["title"] == "piece"
    assert told["format"] == "WAV PCM_16, 44100 Hz, 2 ch"
    assert told["duration_seconds"] == pytest.approx(13.846, abs=0.001)
    assert told["tempo_bpm"] == pytest.approx(BPM, rel=0.02)
    assert told["key"] in {"A minor", "C major"}
    assert f"{BPM} bpm" in told["tags"]
    assert "details" not in told


async def test_all_that_was_measured_is_told_on_request(client: Client, song: Path) -> None:
    told, _ = await analyze(client, audio=str(song), details=True)
    assert {"range_lu", "dc_offset", "full_scale_frames", "sections", "character"} <= set(told["details"])


@pytest.mark.smoke
async def test_a_picture_comes_as_an_image(client: Client, song: Path) -> None:
    _, pictures = await analyze(client, audio=str(song), picture=True)
    (picture,) = pictures
    assert picture.mime_type == "image/png"
    assert base64.b64decode(picture.data).startswith(PNG)
    assert len(picture.data) < 300_000


async def test_audio_inside_of_the_request_is_heard(client: Client, song: Path) -> None:
    inline = "data:audio/wav;base64," + base64.b64encode(song.read_bytes()).decode()
    told, _ = await analyze(client, audio=inline)
    assert told["duration_seconds"] == 3.0


async def test_a_link_is_fetched_as_the_service_fetches(settings: Settings, song: Path) -> None:
    link = "https://music.example/song.wav"
    around = Surroundings(fetch=Web({link: song.read_bytes()}))
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around) as service:
        report, _ = await service.analyze(PERSON, link)
    assert report.duration_seconds == 3.0


async def test_a_result_is_heard_by_its_id(client: Client, song: Path) -> None:
    submission = await client.call_tool(
        "submit_outpaint", {"audio": str(song), "tags": "", "extend_after_duration": 1}
    )
    request_id = (submission.structured_content or {})["request_id"]
    await client.call_tool("get_outpaint_result", {"request_id": request_id, "wait_seconds": 45})
    told, pictures = await analyze(client, audio=request_id, picture=True)
    assert told["duration_seconds"] == 4.0
    assert len(pictures) == 1


async def test_what_is_not_music_is_told_kindly(client: Client, settings: Settings) -> None:
    image = settings.input_dirs[0] / "song.mp3"
    image.write_bytes(PNG + b"0" * 100)
    answer = await client.call_tool("analyze_audio", {"audio": "song.mp3"})
    assert isinstance(answer, CallToolResult)
    assert answer.is_error
    text = answer.content[0]
    assert isinstance(text, TextContent)
    assert "PNG image" in text.text


async def test_nothing_outside_of_the_folders_is_heard(client: Client, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    compose_piece(secret)
    answer = await client.call_tool("analyze_audio", {"audio": str(secret)})
    assert isinstance(answer, CallToolResult)
    assert answer.is_error

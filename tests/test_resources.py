"""What a host reads without a tool, in memory and in both protocol eras."""

# ruff: noqa: ASYNC240 - small files in a folder of the test's own

from __future__ import annotations

import asyncio
import base64
import json
import re
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    BlobResourceContents,
    PromptReference,
    ResourceTemplateReference,
    TextResourceContents,
)
from tests.test_tools import ask
from tests.warm import around

from outpaint_mcp.audio.steering_words import read_wish
from outpaint_mcp.errors import InvalidRequest
from outpaint_mcp.models import SubmitRequest
from outpaint_mcp.principals import PERSON
from outpaint_mcp.providers.registry import PROVIDERS
from outpaint_mcp.server.app import build_server
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.lifespan import open_service

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import MakeSong

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

UNKNOWN = "op_" + 20 * "0"


def uri(request_id: str, rest: str = "") -> str:
    return f"outpaint://requests/{request_id}{rest}"


async def read(client: Client, address: str) -> str:
    [content] = (await client.read_resource(address)).contents
    assert isinstance(content, TextResourceContents)
    assert str(content.uri) == address
    return content.text


async def read_json(client: Client, address: str) -> dict[str, Any]:
    text = await read(client, address)
    assert "null" not in text
    found: dict[str, Any] = json.loads(text)
    return found


async def failure(client: Client, address: str) -> tuple[int, str, Any]:
    with pytest.raises(MCPError) as failed:
        await client.read_resource(address)
    error = failed.value.error
    return error.code, error.message, error.data


async def extend(client: Client, audio: Path, **inputs: Any) -> str:  # noqa: ANN401 - inputs
    asked = {"tags": "", "extend_after_duration": 1} | inputs
    submission = await ask(client, "submit_outpaint", audio=str(audio), **asked)
    request_id = str(submission["request_id"])
    status = await ask(client, "get_outpaint_status", request_id=request_id, wait_seconds=45)
    assert status["status"] == "completed"
    return request_id


async def test_what_there_is_to_read_is_listed(
    client: Client, check_snapshot: Callable[[str, Any], None]
) -> None:
    resources = (await client.list_resources()).resources
    templates = (await client.list_resource_templates()).resource_templates
    shown = [
        each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in (*resources, *templates)
    ]
    check_snapshot("resources", shown)


async def test_a_request_is_read_as_the_tools_report_it(client: Client, song: Path) -> None:
    submission = await ask(client, "submit_outpaint", audio=str(song), tags="", extend_after_duration=1)
    request_id = submission["request_id"]
    assert (await read_json(client, uri(request_id)))["request_id"] == request_id
    status = await ask(client, "get_outpaint_status", request_id=request_id, wait_seconds=45)
    assert await read_json(client, uri(request_id)) == status
    result = await ask(client, "get_outpaint_result", request_id=request_id)
    assert "path" in result
    assert await read_json(client, uri(request_id)) == result


async def test_reading_delivers_nothing(client: Client, song: Path, settings: Settings) -> None:
    request_id = await extend(client, song)
    for rest in ("", "/peaks", "/preview/0/2", "/picture"):
        await client.read_resource(uri(request_id, rest))
    assert not settings.output_dir.exists()


async def test_a_result_that_was_moved_is_still_reported(client: Client, song: Path, tmp_path: Path) -> None:
    request_id = await extend(client, song)
    result = await ask(client, "get_outpaint_result", request_id=request_id)
    Path(result["path"]).rename(tmp_path / "mine.wav")
    assert (await read_json(client, uri(request_id)))["status"] == "completed"


async def test_the_list_has_the_newest_requests(client: Client, song: Path) -> None:
    first = await extend(client, song)
    second = await extend(client, song, seed=2)
    listed = await read_json(client, "outpaint://requests")
    assert [each["request_id"] for each in listed["requests"]] == [second, first]
    assert listed == await ask(client, "list_outpaints")


async def test_a_picture_is_the_one_that_the_tool_draws(client: Client, song: Path) -> None:
    request_id = await extend(client, song)
    [content] = (await client.read_resource(uri(request_id, "/picture"))).contents
    assert isinstance(content, BlobResourceContents)
    assert content.mime_type == "image/png"
    assert base64.b64decode(content.blob).startswith(b"\x89PNG")
    drawn = await client.call_tool("analyze_audio", {"audio": request_id, "picture": True})
    assert drawn.content[1].data == content.blob  # type: ignore[union-attr]


async def test_a_page_learns_what_is_where(client: Client, make_song: MakeSong) -> None:
    request_id = await extend(
        client, make_song(seconds=4), extend_before_duration=1, extend_after_duration=2, placement="outside"
    )
    seen = await read_json(client, uri(request_id, "/peaks"))
    assert seen["duration_seconds"] == 7.0
    assert seen["title"] == "song"
    spans = [(part["kind"], part["start_seconds"], part["end_seconds"]) for part in seen["parts"]]
    assert spans[0][:2] == ("before", 0.0)
    assert ("source", 1.0, 5.0) in spans
    assert spans[-1][0] == "after"
    assert spans[-1][2] == 7.0
    assert [start for _, start, _ in spans[1:]] == [end for _, _, end in spans[:-1]] == seen["seams_seconds"]
    pairs = np.frombuffer(base64.b64decode(seen["peaks"]), np.int8).reshape(-1, 2)
    assert len(pairs) == 1_500
    assert (pairs[:, 0] <= pairs[:, 1]).all()
    assert pairs.max() > 20
    assert seen["takes"] == [{"request_id": request_id, "status": "completed"}]
    assert seen["preview"] == {"sample_rate": 44_100, "piece_seconds": 10}
    assert isinstance(seen["loudness_lufs"], float)


async def test_the_sections_come_with_the_analysis(client: Client, song: Path) -> None:
    request_id = await extend(client, song)
    analysis = await ask(client, "analyze_audio", audio=request_id)
    seen = await read_json(client, uri(request_id, "/peaks"))
    assert [f"{each['label']} {each['level']}" for each in seen["sections"]] == [
        each.split(" ", 1)[1] for each in analysis["sections"]
    ]


async def test_pieces_of_sound_are_as_long_as_they_say(client: Client, song: Path) -> None:
    request_id = await extend(client, song)  # 4 s
    first = await read_json(client, uri(request_id, "/preview/0/3"))
    last = await read_json(client, uri(request_id, "/preview/3/10"))
    assert (first["start_frame"], first["frames"]) == (0, 3 * 44_100)
    assert (last["start_frame"], last["frames"]) == (3 * 44_100, 44_100)
    for piece in (first, last):
        samples, rate = soundfile.read(BytesIO(base64.b64decode(piece["audio"])))
        assert rate == piece["sample_rate"]
        mark = int(np.abs(samples[: piece["mark_within_frames"], 0]).argmax())
        assert len(samples) >= mark + piece["after_mark_frames"] + piece["frames"]


async def test_a_piece_is_written_once(client: Client, song: Path, settings: Settings) -> None:
    request_id = await extend(client, song)
    address = uri(request_id, "/preview/0/2")
    first = await read(client, address)
    [stored] = (settings.data_dir / "previews").glob("*/*")
    assert stored.parent.name == request_id
    written = stored.stat().st_mtime_ns
    assert await read(client, address) == first
    assert stored.stat().st_mtime_ns == written


async def test_who_asks_for_many_pieces_at_once_waits_for_them(client: Client, song: Path) -> None:
    request_id = await extend(client, song)
    addresses = [
        uri(request_id, f"/preview/{start}/{length}") for start in range(3) for length in range(1, 6)
    ]
    answers = await asyncio.gather(
        *(client.read_resource(each) for each in addresses), return_exceptions=True
    )
    refused = [each for each in answers if isinstance(each, BaseException)]
    assert 0 < len(refused) < len(answers)
    for each in refused:
        assert isinstance(each, MCPError)
        assert each.error.message == "8 previews are being worked out. Wait for one, then read this again."
    assert await read_json(client, addresses[-1])


async def test_previews_outlive_what_they_were_made_of(
    client: Client, song: Path, settings: Settings
) -> None:
    request_id = await extend(client, song)
    result = await ask(client, "get_outpaint_result", request_id=request_id)
    for each in (settings.data_dir / "jobs" / request_id).glob("output*"):
        each.unlink()
    piece = await read_json(client, uri(request_id, "/preview/0/2"))  # of the delivered file
    assert piece["frames"] == 2 * 44_100
    Path(result["path"]).unlink()
    assert await read_json(client, uri(request_id, "/preview/0/2")) == piece
    code, message, _ = await failure(client, uri(request_id, "/preview/1/2"))
    assert code == INTERNAL_ERROR
    assert message.startswith("The extended file is no longer where it was delivered")


async def test_a_piece_that_cannot_be_is_refused_in_words(client: Client, song: Path) -> None:
    request_id = await extend(client, song)
    for behind_the_end_or_of_no_length in ("/preview/4/1", "/preview/0/0", "/preview/0/31"):
        code, message, _ = await failure(client, uri(request_id, behind_the_end_or_of_no_length))
        assert code == INTERNAL_ERROR
        assert message == (
            "A preview begins at a whole second before the end, 4.00 s, and lasts 1 to 30 whole seconds."
        )


async def test_what_is_not_there_yet_says_what_to_do(settings: Settings, song: Path) -> None:
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around()) as service:
        request = SubmitRequest.of(audio=str(song), tags="", extend_after_duration=1)
        request_id = (await service.submit(PERSON, request)).request_id
        with pytest.raises(InvalidRequest, match="in_queue, so there is nothing to see or hear yet"):
            await service.previews.peaks(PERSON, request_id)
        await service.cancel(PERSON, request_id)
        with pytest.raises(InvalidRequest, match=r"cancelled, so there is nothing to see or hear\."):
            await service.previews.piece(PERSON, request_id, start_seconds=0, seconds=1)


NOWHERE = (
    uri(UNKNOWN),
    uri(UNKNOWN, "/picture"),
    uri(UNKNOWN, "/peaks"),
    uri(UNKNOWN, "/preview/0/10"),
    uri("song.wav", "/picture"),
    uri("https:%2F%2Fexample.invalid%2Fsong.mp3", "/picture"),
    uri("..%2F..%2Fetc%2Fpasswd"),
    uri(UNKNOWN, "/nothing"),
    uri(UNKNOWN, "/preview/-1/10"),
    uri(UNKNOWN, "/preview/0.5/10"),
    uri(UNKNOWN, "/preview/0/\N{ARABIC-INDIC DIGIT THREE}"),
    uri(UNKNOWN, f"/preview/{10**4000}/1"),
    "outpaint://nothing",
)


async def test_what_does_not_exist_is_refused_alike(client: Client, song: Path) -> None:
    assert song.exists()
    for address in NOWHERE:
        code, message, data = await failure(client, address)
        assert code == INVALID_PARAMS
        assert message.startswith("Unknown resource: outpaint://")
        assert data == {"uri": address}


async def test_the_guide_is_short_and_true(client: Client) -> None:
    text = await read(client, "outpaint://guide/tags-and-lyrics")
    assert len(text.encode()) < 4_096
    for name, each in PROVIDERS.items():
        assert f"## {name} (" in text
        assert each.description.guide in text
    local = text.split("## local")[1].split("##")[0]
    words = re.findall(r"`([^`]+)`", local.split("All other tags")[0])
    wanted = [word for word in words if word != "tags"]
    assert len(wanted) > 15
    for tag in wanted:
        wish = read_wish(tag)
        assert wish.steers, tag
        assert not wish.idle, tag
    schema = json.loads(Path(__file__).with_name("model-schema.json").read_text("utf-8"))
    for marker in ("[inst]", "[instrumental]"):
        assert marker in json.dumps(schema)
        assert marker in text


REFERENCES = (
    ResourceTemplateReference(uri="outpaint://requests/{request_id}"),
    PromptReference(name="longer"),
)


async def completed(client: Client, name: str, value: str, which: int = 0) -> list[str]:
    answer = await client.complete(REFERENCES[which], {"name": name, "value": value})
    return answer.completion.values


async def test_ids_are_completed_by_what_they_begin_with_and_by_title(
    client: Client, make_song: MakeSong
) -> None:
    first = await extend(client, make_song("Morning Rain.wav"))
    second = await extend(client, make_song("Evening.wav"))
    assert await completed(client, "request_id", "") == [second, first]
    assert await completed(client, "request_id", first[:8]) == [first]
    assert await completed(client, "request_id", "rain MORN") == [first]
    assert await completed(client, "audio", "evening", which=1) == [second]
    assert await completed(client, "audio", "nothing like it", which=1) == []
    assert await completed(client, "seconds", "3", which=1) == []
    assert await completed(client, "start", "1") == []


async def test_takes_are_completed_with_their_request(client: Client, song: Path) -> None:
    whole = await extend(client, song, takes=2)
    found = await completed(client, "request_id", "song")
    assert len(found) == 3
    assert found[0] == whole
    peaks = await read_json(client, uri(whole, "/peaks"))
    assert [each["request_id"] for each in peaks["takes"]] == found[1:]
    assert peaks["request_id"] in found[1:]


async def test_no_more_than_a_hundred_are_completed(settings: Settings, song: Path, era: str) -> None:
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around()) as service:
        for seed in range(101):
            request = SubmitRequest.of(audio=str(song), tags="", extend_after_duration=1, seed=seed)
            newest = (await service.submit(PERSON, request)).request_id
            await service.cancel(PERSON, newest)
    async with Client(build_server(settings, surroundings=around()), mode=era) as client:
        answer = await client.complete(REFERENCES[0], {"name": "request_id", "value": "op_"})
        assert len(answer.completion.values) == 100
        assert answer.completion.values[0] == newest
        assert (answer.completion.total, answer.completion.has_more) == (101, True)

"""The tools as a client sees them, in memory and in both protocol eras."""

# ruff: noqa: ASYNC240 - small files in a folder of the test's own

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import anyio
import jsonschema  # type: ignore[import-untyped]  # comes with mcp, without types
import numpy as np
import pytest
import soundfile
from mcp.client import Client
from mcp.types import CallToolResult, TextContent
from tests.warm import around

from outpaint_mcp import __version__
from outpaint_mcp.config import Settings
from outpaint_mcp.providers.registry import PROVIDERS, describe
from outpaint_mcp.server import app
from outpaint_mcp.server.app import build_server
from outpaint_mcp.server.arguments import MAX_WAIT_SECONDS
from outpaint_mcp.server.schemas import INJECTED_NAMES
from outpaint_mcp.server.tools import all_tools
from outpaint_mcp.service.on_demand import ServiceOnDemand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcp.types import Tool
    from tests.conftest import MakeSong

pytestmark = pytest.mark.anyio

NAMES = [
    "submit_outpaint",
    "get_outpaint_status",
    "get_outpaint_result",
    "cancel_outpaint",
    "list_outpaints",
    "analyze_audio",
    "list_audio",
]
NOWHERE = "https://nothing.invalid/song.mp3"


async def call(client: Client, tool: str, /, **arguments: Any) -> CallToolResult:  # noqa: ANN401 - JSON
    answer = await client.call_tool(tool, arguments)
    assert isinstance(answer, CallToolResult)
    return answer


async def ask(client: Client, tool: str, /, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Call a tool that must succeed, and hold its answer against what the tool has published."""
    answer = await call(client, tool, **arguments)
    first = answer.content[0]
    assert isinstance(first, TextContent)
    assert not answer.is_error, first.text
    published = {each.name: each.output_schema for each in (await client.list_tools()).tools}
    structure: dict[str, Any] = answer.structured_content or {}
    jsonschema.validate(structure, published[tool])
    assert json.loads(first.text) == structure
    assert "null" not in first.text
    return structure


async def refusal(client: Client, tool: str, /, **arguments: Any) -> str:  # noqa: ANN401 - JSON
    """Call a tool that must refuse, and return what it says."""
    answer = await call(client, tool, **arguments)
    assert answer.is_error
    assert answer.structured_content is None
    return "".join(block.text for block in answer.content if isinstance(block, TextContent))


async def extend(client: Client, audio: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    submission = await ask(client, "submit_outpaint", audio=audio, **{"tags": "", **arguments})
    wait = {"request_id": submission["request_id"], "wait_seconds": 45, "details": True}
    return await ask(client, "get_outpaint_result", **wait)


@pytest.mark.smoke
async def test_a_recording_is_extended_from_submission_to_list(client: Client, song: Path) -> None:
    submission = await ask(
        client,
        "submit_outpaint",
        audio=str(song),
        tags="lofi",
        extend_before_duration=1,
        extend_after_duration=1.5,
        seed=7,
    )
    request_id = submission["request_id"]
    assert submission == {
        "request_id": request_id,
        "provider": "local",
        "status": "in_queue",
        "expected_duration_seconds": 5.5,
        "message": submission["message"],
    }
    assert "get_outpaint_result" in submission["message"]

    status = await ask(client, "get_outpaint_status", request_id=request_id, wait_seconds="60")
    assert status.pop("message")
    assert status == {"request_id": request_id, "provider": "local", "status": "completed", "progress": 1.0}

    result = await ask(client, "get_outpaint_result", request_id=request_id)
    assert result == await ask(client, "get_outpaint_result", request_id=request_id)
    assert {"request_id", "provider", "status", "message", "path", "written", "url"} <= set(result)
    assert not {"sha256", "size_bytes"} & set(result)
    detailed = await ask(client, "get_outpaint_result", request_id=request_id, details=True)
    assert {"sha256", "size_bytes"} == set(detailed) - set(result)
    assert (result["before_seconds"], result["after_seconds"], result["seed"]) == (1.0, 1.5, 7)
    assert result["duration_seconds"] == 5.5

    listed = (await ask(client, "list_outpaints"))["requests"]
    assert [(each["request_id"], each["path"]) for each in listed] == [(request_id, result["path"])]

    cancellation = await ask(client, "cancel_outpaint", request_id=request_id)
    assert cancellation == {
        "request_id": request_id,
        "outcome": "not_cancellable",
        "status": "completed",
        "message": "Nothing to cancel: the request is completed.",
    }


async def test_the_longer_file_holds_the_source_and_is_what_the_answer_says(
    client: Client, song: Path, settings: Settings
) -> None:
    result = await extend(client, str(song), extend_before_duration=0.5, extend_after_duration=1)
    path = Path(result["path"])
    assert path.parent == settings.output_dir
    assert hashlib.sha256(path.read_bytes()).hexdigest() == result["sha256"]
    assert path.stat().st_size == result["size_bytes"]
    source, rate = soundfile.read(song, dtype="int16")
    longer, longer_rate = soundfile.read(path, dtype="int16")
    assert longer_rate == rate
    assert len(longer) == len(source) + 1.5 * rate
    assert np.array_equal(longer[rate // 2 : -rate], source)


async def test_a_result_names_its_file_and_has_no_link_that_clients_stumble_over(
    client: Client, song: Path
) -> None:
    result = await extend(client, str(song), extend_after_duration=1)
    answer = await call(client, "get_outpaint_result", request_id=result["request_id"])
    assert [block.type for block in answer.content] == ["text"]
    assert Path(unquote(urlsplit(result["url"]).path)) == Path(result["path"])


async def test_a_result_asked_for_too_early_says_where_the_request_stands(client: Client, song: Path) -> None:
    submission = await ask(client, "submit_outpaint", audio=str(song), tags="", extend_after_duration=1)
    answer = await call(client, "get_outpaint_result", request_id=submission["request_id"])
    assert not answer.is_error
    structure = answer.structured_content or {}
    assert structure["status"] in {"in_queue", "in_progress"}
    assert "path" not in structure
    assert "wait_seconds=45" in structure["message"]
    assert [block.type for block in answer.content] == ["text"]


async def test_an_earlier_request_is_extended_by_its_id(client: Client, song: Path) -> None:
    first = await extend(client, str(song), extend_after_duration=1)
    second = await extend(client, first["request_id"], extend_before_duration=0.5, extend_after_duration=1)
    assert second["duration_seconds"] == 5.5
    assert Path(second["path"]).name == "song, extended 0.5s before and 2s after.wav"
    newest, oldest = (await ask(client, "list_outpaints"))["requests"]
    assert newest["parent_request_id"] == first["request_id"]
    assert (newest["title"], oldest["title"]) == ("song", "song")
    assert "parent_request_id" not in oldest


async def test_a_request_that_has_no_result_cannot_be_extended(client: Client) -> None:
    failed = await extend(client, NOWHERE)
    said = await refusal(client, "submit_outpaint", audio=failed["request_id"], tags="")
    assert "is failed, so it has no result to work with" in said


async def test_a_failed_request_says_why_in_status_result_and_list(client: Client) -> None:
    result = await extend(client, NOWHERE)
    assert result["status"] == "failed"
    assert "nothing.invalid" in result["error"]
    assert not {"path", "url", "sha256", "duration_seconds"} & set(result)
    status = await ask(client, "get_outpaint_status", request_id=result["request_id"])
    [listed] = (await ask(client, "list_outpaints", status="failed"))["requests"]
    assert status["error"] == listed["error"] == result["error"]


async def test_a_cancelled_request_delivers_nothing_and_stays_cancelled(
    client: Client, make_song: MakeSong, settings: Settings
) -> None:
    song = make_song(seconds=30, sample_rate=44_100)
    submission = await ask(client, "submit_outpaint", audio=str(song), tags="", extend_after_duration=240)
    request_id = submission["request_id"]
    cancellation = await ask(client, "cancel_outpaint", request_id=request_id)
    assert (cancellation["outcome"], cancellation["status"]) == ("cancelled", "cancelled")
    again = await ask(client, "cancel_outpaint", request_id=request_id)
    assert (again["outcome"], again["status"]) == ("not_cancellable", "cancelled")
    result = await ask(client, "get_outpaint_result", request_id=request_id, wait_seconds=45)
    assert result["status"] == "cancelled"
    assert not settings.output_dir.exists()


async def test_the_list_is_newest_first_and_can_be_narrowed(client: Client, song: Path) -> None:
    failed = await extend(client, NOWHERE)
    completed = await extend(client, str(song), extend_after_duration=1)

    async def listed(**arguments: Any) -> list[str]:  # noqa: ANN401 - JSON
        return [each["request_id"] for each in (await ask(client, "list_outpaints", **arguments))["requests"]]

    assert await listed() == [completed["request_id"], failed["request_id"]]
    assert await listed(limit=1) == [completed["request_id"]]
    assert await listed(status="failed") == [failed["request_id"]]
    assert await listed(status="cancelled") == []


async def test_what_can_be_extended_is_listed_newest_first_with_its_length(
    client: Client, make_song: MakeSong
) -> None:
    for age, name in enumerate(("new.wav", "old.flac", "oldest.ogg")):
        made = make_song(name, seconds=age + 1)
        os.utime(made, (1_700_000_000 - age, 1_700_000_000 - age))
    result = await extend(client, "new", extend_after_duration=1)
    listed = await ask(client, "list_audio")
    assert listed["message"] == "4 of 4 files, newest first."
    first, second, *_ = listed["files"]
    assert first.pop("modified_at") > second["modified_at"]
    assert first == {
        "name": "new, extended 1s after.wav",
        "request_id": result["request_id"],
        "duration_seconds": 2.0,
    }
    assert second == {"name": "new.wav", "duration_seconds": 1.0, "modified_at": "2023-11-14T22:13:20+00:00"}
    assert [each["duration_seconds"] for each in listed["files"]] == [2, 1, 2, 3]
    for each in listed["files"]:
        audio = each.get("request_id") or each["name"]
        submission = await ask(client, "submit_outpaint", audio=audio, tags="", extend_after_duration=1)
        await ask(client, "cancel_outpaint", request_id=submission["request_id"])
    assert [each["name"] for each in (await ask(client, "list_audio", limit=1))["files"]] == [first["name"]]
    assert [each["name"] for each in (await ask(client, "list_audio", query="OLD"))["files"]] == [
        "old.flac",
        "oldest.ogg",
    ]


async def test_no_folder_outside_is_listed(client: Client, song: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "diary.wav").write_bytes(song.read_bytes())
    for folder in ("/etc", "..", str(tmp_path), str(tmp_path / "secret"), "Music/../secret"):
        said = await refusal(client, "list_audio", folder=folder)
        assert "is outside the folders" in said
        assert "diary" not in said
    assert [each["name"] for each in (await ask(client, "list_audio", folder="music"))["files"]] == [
        "song.wav"
    ]


async def test_the_tool_that_lists_files_is_cheap_to_carry_along(settings: Settings) -> None:
    [tool] = [each for each in await published_tools(settings) if each.name == "list_audio"]
    assert len(tool.model_dump_json(by_alias=True, exclude_none=True).encode()) <= 900


async def test_a_name_that_fits_one_file_is_taken_and_the_answer_says_which(
    client: Client, make_song: MakeSong
) -> None:
    make_song("My Track (final mix 2).ogg")
    result = await ask(client, "submit_outpaint", audio="my track", tags="", extend_after_duration=1)
    assert result["message"].startswith('Source: "My Track (final mix 2).ogg". Accepted.')
    again = await ask(
        client, "submit_outpaint", audio="My Track (final mix 2).ogg", tags="", extend_after_duration=1
    )
    assert again["request_id"] == result["request_id"]
    assert "Source:" not in again["message"]
    done = await ask(client, "get_outpaint_result", request_id=result["request_id"], wait_seconds=45)
    assert Path(done["path"]).name == "My Track (final mix 2), extended 1s after.flac"
    assert (await ask(client, "analyze_audio", audio="my track"))["title"] == "My Track (final mix 2)"
    said = await refusal(client, "submit_outpaint", audio="my trakc", tags="")
    assert 'The nearest names: "My Track (final mix 2).ogg"' in said
    assert said.endswith("Call list_audio to see what the files are called.")


@pytest.mark.smoke
async def test_progress_is_told_while_waiting_and_only_ever_grows(client: Client, song: Path) -> None:
    # Three takes are not done by the time that the call comes, however slow that is.
    submission = await ask(
        client, "submit_outpaint", audio=str(song), tags="", extend_after_duration=30, takes=3
    )
    told: list[tuple[float, float | None, str | None]] = []

    async def listen(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    await client.call_tool(
        "get_outpaint_result",
        {"request_id": submission["request_id"], "wait_seconds": 45},
        progress_callback=listen,
    )
    assert told
    assert all(before[0] < after[0] for before, after in pairwise(told))
    assert all(0 < progress <= 1 and total == 1 and message for progress, total, message in told)


async def test_who_leaves_a_wait_does_not_cancel_the_request(client: Client, song: Path) -> None:
    submission = await ask(client, "submit_outpaint", audio=str(song), tags="", extend_after_duration=1)
    wait = {"request_id": submission["request_id"], "wait_seconds": 45}
    with anyio.CancelScope() as scope:

        async def leave(*_: object, **__: object) -> None:
            scope.cancel()

        await client.call_tool("get_outpaint_status", wait, progress_callback=leave)
    assert scope.cancelled_caught
    assert (await ask(client, "get_outpaint_status", **wait))["status"] == "completed"


async def test_many_wait_for_one_request_at_once(client: Client, song: Path) -> None:
    submission = await ask(client, "submit_outpaint", audio=str(song), tags="", extend_after_duration=1)
    paths: list[str] = []

    async def wait() -> None:
        result = await ask(
            client, "get_outpaint_result", request_id=submission["request_id"], wait_seconds=45
        )
        paths.append(result["path"])

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(wait)
    assert len(paths) == 5
    assert len(set(paths)) == 1


async def test_a_file_taken_away_is_told_with_the_seed_that_brings_it_back(
    client: Client, song: Path, settings: Settings
) -> None:
    result = await extend(client, str(song), extend_after_duration=1)
    Path(result["path"]).unlink()
    shutil.rmtree(settings.data_dir / "jobs" / result["request_id"])
    said = await refusal(client, "get_outpaint_result", request_id=result["request_id"])
    assert "moved or deleted" in said
    assert f"seed {result['seed']}" in said


async def test_a_result_that_cannot_be_delivered_waits_until_it_can(
    client: Client, song: Path, settings: Settings
) -> None:
    settings.output_dir.write_text("a file where the folder should be")
    submission = await ask(client, "submit_outpaint", audio=str(song), tags="", extend_after_duration=1)
    wait = {"request_id": submission["request_id"], "wait_seconds": 45}
    assert "OUTPAINT_OUTPUT_DIR" in await refusal(client, "get_outpaint_result", **wait)
    settings.output_dir.unlink()
    assert Path((await ask(client, "get_outpaint_result", **wait))["path"]).is_file()


@pytest.mark.parametrize("tool", NAMES)
async def test_an_unknown_argument_is_refused_by_name(client: Client, song: Path, tool: str) -> None:
    arguments = {"audio": str(song), "tags": ""} if tool == "submit_outpaint" else {}
    if tool.startswith(("get", "cancel")):
        arguments = {"request_id": "op_00000000000000000000"}
    said = await refusal(client, tool, **arguments, extend_after_seconds=3)
    assert "extend_after_seconds: There is no such input." in said
    assert f"{tool} takes " in said
    assert (await ask(client, "list_outpaints"))["requests"] == []


@pytest.mark.parametrize("name", sorted(INJECTED_NAMES))
async def test_what_hosts_add_to_every_call_is_dropped(client: Client, song: Path, name: str) -> None:
    for value in ("call_1", {"id": 1}, None):
        submission = await ask(
            client, "submit_outpaint", audio=str(song), tags="", extend_after_duration=1, **{name: value}
        )
    listed = await ask(client, "list_outpaints", **{name: "call_2"})
    assert [each["request_id"] for each in listed["requests"]] == [submission["request_id"]]


async def test_no_argument_is_called_like_one_that_is_dropped(settings: Settings) -> None:
    for tool in await published_tools(settings):
        assert not INJECTED_NAMES & set(tool.input_schema["properties"])


async def test_null_means_not_given_where_an_argument_may_be_left_out(client: Client, song: Path) -> None:
    tool = next(each for each in (await client.list_tools()).tools if each.name == "submit_outpaint")
    optional = dict.fromkeys(set(tool.input_schema["properties"]) - {"audio", "tags"})
    given = await ask(client, "submit_outpaint", audio=str(song), tags="", **optional)
    plain = await ask(client, "submit_outpaint", audio=str(song), tags="")
    assert (given["expected_duration_seconds"], plain["request_id"]) == (33.0, given["request_id"])
    said = await refusal(client, "submit_outpaint", audio=str(song), tags=None)
    assert said.startswith("tags: Give text, not nothing.")
    assert "unheard: There is no such input." in await refusal(client, "list_outpaints", unheard=None)


async def test_times_are_taken_as_a_player_shows_them(client: Client, make_song: MakeSong) -> None:
    song = make_song(seconds=70)
    submission = await ask(
        client,
        "submit_outpaint",
        audio=str(song),
        tags="",
        extend_before_duration="0:10",
        extend_after_duration="1:00.5",
        source_start_seconds="0:01",
        source_end_seconds="00:01:05",
    )
    assert submission["expected_duration_seconds"] == 134.5
    said = await refusal(client, "submit_outpaint", audio=str(song), tags="", source_end_seconds="1:75")
    assert said.startswith("source_end_seconds: Give a number, 0 or more, not text.")
    await ask(client, "cancel_outpaint", request_id=submission["request_id"])


async def test_a_wait_that_is_too_long_is_as_long_as_one_can_be(client: Client, song: Path) -> None:
    submission = await ask(client, "submit_outpaint", audio=str(song), tags="", extend_after_duration=1)
    for seconds in (46, 600, "10:00", 1e300):
        wait = {"request_id": submission["request_id"], "wait_seconds": seconds}
        assert (await ask(client, "get_outpaint_status", **wait))["status"] == "completed"


async def test_what_is_required_has_examples_and_no_default(settings: Settings) -> None:
    for tool in await published_tools(settings):
        for name in tool.input_schema.get("required", ()):
            assert "default" not in tool.input_schema["properties"][name]
    submit = (await published_tools(settings))[0].input_schema["properties"]
    assert all(submit[name]["examples"] for name in ("audio", "tags"))


async def test_an_unknown_request_is_refused_with_the_way_to_find_it(client: Client) -> None:
    for tool in ("get_outpaint_status", "get_outpaint_result", "cancel_outpaint"):
        assert "list_outpaints" in await refusal(client, tool, request_id="op_00000000000000000000")


async def test_a_data_folder_that_cannot_be_used_is_told_by_every_tool(
    settings: Settings, era: str, song: Path
) -> None:
    settings.data_dir.write_text("a file where the folder should be")
    async with Client(build_server(settings, surroundings=around()), mode=era) as client:
        for tool, arguments in {
            "submit_outpaint": {"audio": str(song), "tags": ""},
            "list_outpaints": {},
        }.items():
            said = await refusal(client, tool, **arguments)
            assert str(settings.data_dir) in said
            assert "OUTPAINT_DATA_DIR" in said


async def test_the_server_says_who_it_is(client: Client) -> None:
    assert client.server_info is not None
    assert (client.server_info.name, client.server_info.version) == ("outpaint-mcp", __version__)


@pytest.mark.smoke
async def test_the_tools_are_the_published_ones(
    client: Client, check_snapshot: Callable[[str, Any], None]
) -> None:
    tools = (await client.list_tools()).tools
    assert [tool.name for tool in tools] == NAMES
    check_snapshot(
        "tools", [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]
    )


@pytest.mark.parametrize("provider", [*PROVIDERS])
async def test_the_tool_list_is_small(settings: Settings, era: str, provider: str) -> None:
    async with Client(
        build_server(dataclasses.replace(settings, provider=provider), surroundings=around()), mode=era
    ) as client:
        listed = await client.list_tools()
    assert len(listed.tools) <= 8
    assert len(listed.model_dump_json(by_alias=True, exclude_none=True).encode()) < 13_000


async def published_tools(settings: Settings) -> list[Tool]:
    async with Client(build_server(settings, surroundings=around())) as client:
        return (await client.list_tools()).tools


async def test_every_tool_has_a_title_a_prompt_and_honest_hints(settings: Settings) -> None:
    for tool in await published_tools(settings):
        hints = tool.annotations
        assert hints is not None
        assert tool.title
        assert tool.title == hints.title
        assert tool.description
        assert isinstance(hints.open_world_hint, bool)
        assert hints.read_only_hint is (
            tool.name in {"get_outpaint_status", "list_outpaints", "analyze_audio", "list_audio"}
        )
        if not hints.read_only_hint:
            assert isinstance(hints.idempotent_hint, bool)
            assert hints.destructive_hint is (tool.name == "cancel_outpaint")


@pytest.mark.smoke
async def test_no_schema_uses_what_some_hosts_refuse(settings: Settings) -> None:
    for tool in await published_tools(settings):
        for schema in (tool.input_schema, tool.output_schema):
            assert schema is not None
            assert schema["type"] == "object"
            for part in parts_of(schema):
                assert not {"anyOf", "oneOf", "allOf", "$ref", "$defs"} & set(part), tool.name
                assert isinstance(part.get("type", ""), (str, dict))
                assert part.get("type") != "null"
        assert tool.input_schema["additionalProperties"] is False


def parts_of(schema: object) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from parts_of(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from parts_of(value)


async def test_a_wait_is_never_longer_than_hosts_wait(settings: Settings) -> None:
    assert MAX_WAIT_SECONDS == 45
    for tool in await published_tools(settings):
        wait = tool.input_schema["properties"].get("wait_seconds")
        if wait is not None:
            usual = 45 if tool.name == "analyze_audio" else 0
            assert (wait["minimum"], wait["maximum"], wait["default"]) == (0, 45, usual)


def test_the_instructions_are_short_wherever_the_folders_are() -> None:
    usual = Settings.from_env({})
    many = Settings(
        input_dirs=tuple(
            Path(f"/volumes/archive/recordings of the year {year}") for year in range(1950, 2030)
        ),
        output_dir=Path("/home/someone/Music"),
        data_dir=Path("/home/someone/data"),
    )
    for settings in (usual, many):
        instructions = build_server(settings).instructions
        assert instructions is not None
        assert len(instructions.encode()) < 1_500
        assert "local" in instructions
    assert str(usual.output_dir) in (build_server(usual).instructions or "")


def test_building_the_tools_twice_gives_the_same() -> None:
    for name in PROVIDERS:
        tools = all_tools(name)
        assert [tool.parameters for tool in tools] == [tool.parameters for tool in all_tools(name)]
        for tool in tools:
            assert tool.description
            assert "\n" not in tool.description


@pytest.mark.parametrize("provider", [*PROVIDERS])
async def test_an_agent_reads_of_the_provider_that_it_has_and_of_no_other(
    settings: Settings, provider: str
) -> None:
    tools = await published_tools(dataclasses.replace(settings, provider=provider))
    texts = " ".join(tool.description or "" for tool in tools)
    assert [name for name in PROVIDERS if describe(name).tool_text in texts] == [provider]
    assert [name for name in PROVIDERS if f"Provider {name}" in texts] == [provider]


@pytest.mark.parametrize("may_outlive", [True, False])
async def test_a_server_that_cannot_be_closed_still_says_that_it_is_over(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    may_outlive: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    ended: list[object] = []

    class Broken(ServiceOnDemand):
        """Closes everything, and then fails."""

        async def close(self, *, outlive: bool = False) -> None:
            await super().close(outlive=outlive)
            ended.append(outlive)
            raise OSError("the disk is gone")

    monkeypatch.setattr(app, "ServiceOnDemand", Broken)
    server = build_server(settings, on_closed=lambda: ended.append("closed"), may_outlive=lambda: may_outlive)
    with pytest.raises(BaseException, match=r"the disk is gone|unhandled errors") as failed:
        async with Client(server):
            pass
    assert "the disk is gone" in repr(failed.value)
    assert ended == [may_outlive, "closed"]

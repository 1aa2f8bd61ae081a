"""Submissions as tasks: for clients that take them, over the journal, and nobody's but the caller's."""

# ruff: noqa: ASYNC240 - small files in a folder of the test's own

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mcp.client import Client
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolResult,
    TextContent,
)
from tests.stores import add, at_work, claim
from tests.task_client import ERA, TASKS, TakesTasks, create, tell
from tests.warm import around

from outpaint_mcp.errors import GenerationFailed
from outpaint_mcp.jobs.liveness import Presence
from outpaint_mcp.models import Status
from outpaint_mcp.principals import Principal
from outpaint_mcp.server.app import build_server
from outpaint_mcp.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

METHODS: dict[str, dict[str, Any]] = {"get": {}, "update": {"input_responses": {}}, "cancel": {}}
UNKNOWN = "op_" + "0" * 20


def host(settings: Settings, takes: TakesTasks | None = None, mode: str = ERA) -> Client:
    """A client of a server of its own: what it sees of others' doing is on disk."""
    server = build_server(settings, surroundings=around())
    return Client(server, mode=mode, extensions=[takes or TakesTasks()])


@contextmanager
def calling_as(name: str) -> Iterator[None]:
    """Have servers that are started here take whoever calls for the owner of a key."""
    token = AccessToken(token="a digest", client_id=name, scopes=[])
    entered = auth_context_var.set(AuthenticatedUser(token))
    try:
        yield
    finally:
        auth_context_var.reset(entered)


async def error_of(client: Client, method: str, task_id: str) -> tuple[int, str, Any]:
    with pytest.raises(MCPError) as refused:
        await tell(client.session, method, task_id, **METHODS[method])
    return refused.value.error.code, refused.value.error.message, refused.value.error.data


def text_of(answer: CallToolResult) -> str:
    [content] = answer.content
    assert isinstance(content, TextContent)
    return content.text


@pytest.mark.smoke
async def test_a_client_that_takes_tasks_gets_the_file_as_the_answer_to_its_submission(
    settings: Settings, song: Path
) -> None:
    takes = TakesTasks()
    async with host(settings, takes) as client:
        answer = await client.call_tool(
            "submit_outpaint", {"audio": str(song), "tags": "", "extend_after_duration": 1}
        )
        listed = await client.call_tool("list_outpaints", {})
        # Its schema is what the client has held the answer against.
        schemas = {tool.name: tool.output_schema for tool in (await client.list_tools()).tools}
    result = answer.structured_content
    assert not answer.is_error
    assert json.loads(text_of(answer)) == result
    assert (result["status"], Path(result["path"]).is_file()) == ("completed", True)
    assert result["verdict"]
    published = schemas["submit_outpaint"] or {}
    assert {"request_id", "status", "path", "verdict"} <= published["properties"].keys()
    [created] = takes.created
    assert created["taskId"] == result["request_id"]
    assert [each["request_id"] for each in listed.structured_content["requests"]] == [created["taskId"]]
    assert takes.seen[-1] == {
        **{name: created[name] for name in ("taskId", "createdAt", "ttlMs", "pollIntervalMs")},
        "resultType": "complete",
        "status": "completed",
        "lastUpdatedAt": takes.seen[-1]["lastUpdatedAt"],
        "result": answer.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


async def test_a_task_says_from_when_it_is_and_what_will_be_done(settings: Settings, song: Path) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    takes = TakesTasks(follows=False)
    async with host(settings, takes) as client:
        created = await create(client, takes, audio=song.name)
    assert created == {
        "resultType": "task",
        "taskId": created["taskId"],
        "status": "working",
        "statusMessage": created["statusMessage"],
        "createdAt": created["createdAt"],
        "lastUpdatedAt": created["lastUpdatedAt"],
        "ttlMs": None,
        "pollIntervalMs": 2000,
    }
    assert created["statusMessage"].startswith("Accepted. The extended file will last 4 s.")
    assert "get_outpaint_result" not in created["statusMessage"]
    times = [datetime.fromisoformat(created[name]) for name in ("createdAt", "lastUpdatedAt")]
    assert before <= times[0] <= times[1] <= datetime.now(UTC)


async def test_who_does_not_take_tasks_sees_what_they_saw_before(
    settings: Settings, song: Path, era: str
) -> None:
    server = build_server(settings, surroundings=around())
    async with Client(server, mode=era) as client:
        answer = await client.call_tool("submit_outpaint", {"audio": str(song), "tags": ""})
        assert answer.structured_content["message"].startswith("Accepted.")
        assert "get_outpaint_result" in answer.structured_content["message"]
        if era == "auto":
            required: Any = {"requiredCapabilities": {"extensions": {TASKS: {}}}}
            for method in METHODS:
                code, _, data = await error_of(client, method, answer.structured_content["request_id"])
                assert (code, data) == (MISSING_REQUIRED_CLIENT_CAPABILITY, required)


async def test_a_client_of_the_older_protocol_gets_no_task_whatever_it_can_do(
    settings: Settings, song: Path
) -> None:
    takes = TakesTasks()
    async with host(settings, takes, "legacy") as client:
        answer = await client.call_tool("submit_outpaint", {"audio": str(song), "tags": ""})
        code, _, _ = await error_of(client, "get", answer.structured_content["request_id"])
    assert answer.structured_content["status"] == "in_queue"
    assert (code, takes.created) == (-32601, [])


async def test_what_starts_nothing_is_no_task(settings: Settings, song: Path) -> None:
    takes = TakesTasks()
    async with host(settings, takes) as client:
        dry = await client.call_tool("submit_outpaint", {"audio": str(song), "tags": "", "dry_run": True})
        refused = await client.call_tool("submit_outpaint", {"audio": "nothing.wav", "tags": ""})
        other = await client.call_tool("list_audio", {})
    assert "request_id" not in dry.structured_content
    assert refused.is_error
    assert [each["name"] for each in other.structured_content["files"]] == [song.name]
    assert takes.created == []


async def test_the_same_submission_is_the_same_task(settings: Settings, song: Path) -> None:
    takes = TakesTasks(follows=False)
    async with host(settings, takes) as client:
        first, again = [await create(client, takes, audio=str(song)) for _ in range(2)]
    assert (again["taskId"], again["createdAt"]) == (first["taskId"], first["createdAt"])
    assert again["statusMessage"].startswith("Nothing new was started")


async def test_a_task_goes_on_where_the_server_that_took_it_is_gone(settings: Settings, song: Path) -> None:
    takes = TakesTasks(follows=False)
    async with host(settings, takes) as client:
        created = await create(client, takes, audio=str(song))
    async with host(settings, takes) as client:
        answer = await takes.follow(client.session, created["taskId"])
    assert Path(answer.structured_content["path"]).is_file()


ENDS = {
    "failed": (Status.FAILED, {"status": "completed"}),
    "unknown": (Status.UNKNOWN, {"status": "completed"}),
    "cancelled": (Status.CANCELLED, {"status": "cancelled", "statusMessage": "It was too long."}),
}


@pytest.mark.parametrize("ending", ENDS)
async def test_how_a_request_ended_is_how_its_task_ended(settings: Settings, ending: str) -> None:
    status, expected = ENDS[ending]
    store = Store(settings.data_dir)
    task_id = add(store)
    store.queue.end(claim(store).lease, status, error=GenerationFailed("It was too long."))
    ended_at = store.journal.get(task_id).ended_at
    store.close()
    async with host(settings) as client:
        task = await tell(client.session, "get", task_id)
        assert {name: task[name] for name in expected} == expected
        assert datetime.fromisoformat(task["lastUpdatedAt"]) == datetime.fromtimestamp(ended_at or 0, UTC)
        assert "error" not in task
        if ending == "cancelled":
            assert "result" not in task
        else:
            result = CallToolResult.model_validate(task["result"], by_name=False)
            assert result.is_error
            assert result.structured_content["status"] == status
            assert "It was too long." in text_of(result)
        # An end is an end: there is nothing to cancel, and the answer is the same.
        assert await tell(client.session, "cancel", task_id) == {"resultType": "complete"}
        assert (await tell(client.session, "get", task_id))["status"] == task["status"]


async def test_a_file_that_was_thrown_away_is_an_error_of_the_tool(settings: Settings, song: Path) -> None:
    async with host(settings) as client:
        answer = await client.call_tool(
            "submit_outpaint", {"audio": str(song), "tags": "", "extend_after_duration": 1}
        )
        result = answer.structured_content
        (settings.data_dir / "jobs").rename(settings.data_dir / "elsewhere")
        Path(result["path"]).unlink()
        task = await tell(client.session, "get", result["request_id"])
    assert (task["status"], task["result"]["isError"]) == ("completed", True)
    assert "structuredContent" not in task["result"]


async def test_a_task_that_is_cancelled_while_it_waits_is_cancelled(settings: Settings) -> None:
    store = Store(settings.data_dir)
    task_id = add(store, provider="runcomfy")  # without a token nobody carries it out
    store.close()
    async with host(settings) as client:
        waiting = await tell(client.session, "get", task_id)
        assert (waiting["status"], waiting["statusMessage"]) == ("working", "Next in the queue.")
        assert await tell(client.session, "cancel", task_id) == {"resultType": "complete"}
        assert (await tell(client.session, "get", task_id))["status"] == "cancelled"


async def test_answers_to_what_was_never_asked_are_ignored(settings: Settings) -> None:
    store = Store(settings.data_dir)
    task_id = add(store, provider="runcomfy")
    store.close()
    async with host(settings) as client:
        answers = {"agree-0": {"action": "accept", "content": {"agree": True}}, "x": {"ignored": True}}
        told = await tell(client.session, "update", task_id, input_responses=answers)
        assert told == {"resultType": "complete"}
        assert (await tell(client.session, "get", task_id))["status"] == "working"


async def test_progress_is_in_the_words_of_a_status(settings: Settings) -> None:
    store, elsewhere = Store(settings.data_dir), Presence(settings.data_dir / "servers")
    task_id = add(store)
    store.queue.report(claim(store, elsewhere.server_id).lease, at_work())
    async with host(settings) as client:
        task = await tell(client.session, "get", task_id)
    elsewhere.close()
    store.close()
    assert (task["status"], task["statusMessage"]) == ("working", "In progress (rendering), 50% done.")


async def test_an_unknown_task_and_somebody_elses_are_the_same(settings: Settings) -> None:
    store = Store(settings.data_dir)
    alices, bobs, persons = [
        add(store, caller=Principal(client=name).owner, provider="runcomfy") for name in ("alice", "bob", "")
    ]
    store.close()
    with calling_as("alice"):
        async with host(settings) as client:
            own = await tell(client.session, "get", alices)
            # Remote callers' requests are deleted some time after their end, which is to come.
            assert (own["taskId"], own["ttlMs"] >= 1000 * 86_400 * settings.retention_days) == (alices, True)
            errors = {
                await error_of(client, method, task_id)
                for method in METHODS
                for task_id in (bobs, persons, UNKNOWN, "no id", "", "op_" + "9" * 100_000)
            }
    assert errors == {(INVALID_PARAMS, "There is no task with this id.", None)}
    store = Store(settings.data_dir)
    assert {store.journal.get(each).status.is_final for each in (bobs, persons)} == {False}
    store.close()


async def test_where_the_data_folder_cannot_be_used_the_error_says_so(settings: Settings) -> None:
    settings.data_dir.write_text("not a folder")
    async with host(settings) as client:
        code, message, _ = await error_of(client, "get", UNKNOWN)
    assert code == INTERNAL_ERROR
    assert str(settings.data_dir) in message


async def test_the_extension_is_announced(settings: Settings) -> None:
    async with host(settings, mode="auto") as client:
        assert (client.server_capabilities.extensions or {})[TASKS] == {}

"""Tasks over HTTP: the header by which others route has to name the task that the body names."""

# ruff: noqa: ASYNC240 - small files in a folder of the test's own

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import HEADER_MISMATCH, INVALID_PARAMS
from tests.over_http.callers import ALICE, BOB, SHARED, asking
from tests.over_http.conftest import KEY
from tests.task_client import ERA, TASKS, TakesTasks, create, tell

if TYPE_CHECKING:
    from pathlib import Path

    from tests.over_http.conftest import Door, Serve

pytestmark = pytest.mark.anyio

UNKNOWN = "op_" + "0" * 20
NO_TEXT: list[object] = [7, None, [UNKNOWN], {}]


async def post(door: Door, method: str, task_id: object, *, named: str | None) -> tuple[int, Any]:
    """Ask something of a task with what headers we like."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": ERA,
        "io.modelcontextprotocol/clientCapabilities": {"extensions": {TASKS: {}}},
    }
    params = {"taskId": task_id, "inputResponses": {}, "_meta": meta}
    headers = {"MCP-Protocol-Version": ERA, "Mcp-Method": method}
    if named is not None:
        headers["Mcp-Name"] = named
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer = await door.http.post("/mcp", json=body, headers=headers)
    return answer.status_code, answer.json().get("error", {}).get("code")


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_a_header_that_names_another_task_or_none_is_refused(serve: Serve, method: str) -> None:
    async with serve() as door:
        for named in (None, "", "op_" + "1" * 20, f"{UNKNOWN}0", "=?base64?b3A=?=", "=?base64?!?="):
            assert await post(door, method, UNKNOWN, named=named) == (400, HEADER_MISMATCH), named
        for named in (UNKNOWN, f"=?base64?{b64encode(UNKNOWN.encode()).decode()}?="):
            status, code = await post(door, method, UNKNOWN, named=named)
            assert code == INVALID_PARAMS, (named, status)


async def test_what_is_no_text_is_no_task(serve: Serve) -> None:
    async with serve() as door:
        for task_id in NO_TEXT:
            _, code = await post(door, "tasks/get", task_id, named="7")
            assert code == INVALID_PARAMS


async def test_a_task_is_followed_over_http(serve: Serve, song: Path) -> None:
    takes = TakesTasks()
    async with serve() as door, Client(f"{door.origin}/mcp/{KEY}", mode=ERA, extensions=[takes]) as client:
        answer = await client.call_tool(
            "submit_outpaint", {"audio": str(song), "tags": "", "extend_after_duration": 1}
        )
        [created] = takes.created
        assert await tell(client.session, "cancel", created["taskId"]) == {"resultType": "complete"}
    assert answer.structured_content["status"] == "completed"
    assert answer.structured_content["request_id"] == created["taskId"]


async def test_another_client_with_the_same_key_follows_it_as_well(serve: Serve, song: Path) -> None:
    async with serve() as door:
        url = f"{door.origin}/mcp/{KEY}"
        takes = TakesTasks(follows=False)
        async with Client(url, mode=ERA, extensions=[takes]) as client:
            created = await create(client, takes, audio=str(song))
        async with Client(url, mode=ERA, extensions=[takes]) as client:
            answer = await takes.follow(client.session, created["taskId"])
    assert answer.structured_content["status"] == "completed"


async def test_a_task_is_its_callers_alone(serve: Serve, song: Path) -> None:
    takes = TakesTasks(follows=False)
    unlike = "op_" + "1" * 20
    async with (
        serve(http=SHARED) as door,
        asking(door, ALICE, mode=ERA, extensions=[takes]) as alice,
        asking(door, BOB, mode=ERA, extensions=[takes]) as bob,
    ):
        content = b64encode(song.read_bytes()).decode()
        created = await create(alice, takes, audio=f"data:audio/wav;base64,{content}")
        task_id = str(created["taskId"])
        errors = [
            await error_of(bob, method, each)
            for each in (task_id, unlike)
            for method in ("get", "update", "cancel")
        ]
        answer = await takes.follow(alice.session, task_id)
    assert {*errors} == {(INVALID_PARAMS, "There is no task with this id.", None)}
    assert answer.structured_content["status"] == "completed"


async def error_of(client: Client, method: str, task_id: str) -> tuple[int, str, Any]:
    more: dict[str, Any] = {"input_responses": {}} if method == "update" else {}
    with pytest.raises(MCPError) as refused:
        await tell(client.session, method, task_id, **more)
    return refused.value.error.code, refused.value.error.message, refused.value.error.data

"""A request that costs more than was expected asks the person through its task, where the client shows forms."""

# ruff: noqa: ASYNC110 - what others do is looked for

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS, ElicitResult
from tests.hosting import quick_schedule, settings_on
from tests.task_client import ERA, TakesTasks, create, tell
from tests.waiting import PATIENCE_SECONDS
from tests.warm import around

from outpaint_mcp.providers.base import RemoteTiming
from outpaint_mcp.server.app import build_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mcp.client.session import ClientRequestContext
    from mcp.types import ElicitRequestParams
    from tests.fakes.runcomfy import FakeRunComfy

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

AGREED = {"action": "accept", "content": {"agree": True}}


async def agrees_to_the_plan(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
    del context, params
    return ElicitResult(action="accept", content={"agree": True})


class Held:
    """A task of two steps, of which the first has cost too much."""

    def __init__(self, client: Client, task_id: str) -> None:
        self._client = client
        self.task_id = task_id

    async def get(self) -> dict[str, Any]:
        return await tell(self._client.session, "get", self.task_id)

    async def once(self, *statuses: str) -> dict[str, Any]:
        """Ask for it until it has one of these."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while (task := await self.get())["status"] not in statuses:
                await anyio.sleep(0.02)
        return task

    async def update(self, **answers: object) -> None:
        told = await tell(self._client.session, "update", self.task_id, input_responses=answers)
        assert told == {"resultType": "complete"}


@asynccontextmanager
async def held(
    fake: FakeRunComfy, settings: Settings, song: Path, *, shows_forms: bool = True
) -> AsyncIterator[Held]:
    """Connect a client, and wait until its task is held; by then the service bills as it should again."""
    fake.switches = replace(fake.switches, bill=0.25)
    server = build_server(
        settings_on(fake, settings), surroundings=around(timing=RemoteTiming(schedule=quick_schedule()))
    )
    takes = TakesTasks(follows=False)
    callback: Any = agrees_to_the_plan if shows_forms else None
    async with Client(server, mode=ERA, extensions=[takes], elicitation_callback=callback) as client:
        created = await create(client, takes, audio=str(song), extend_before_duration=1)
        opened = Held(client, created["taskId"])
        with anyio.fail_after(PATIENCE_SECONDS):
            while "$0.2500" not in (await opened.get())["statusMessage"]:
                await anyio.sleep(0.02)
        assert fake.count("submit") == 1
        fake.switches = replace(fake.switches, bill=None)
        yield opened


async def test_a_person_who_agrees_lets_the_task_go_on(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with held(fake, settings, song) as opened:
        asked = await opened.get()
        assert asked["status"] == "input_required"
        [(key, request)] = asked["inputRequests"].items()
        params = request["params"]
        assert (request["method"], params["mode"]) == ("elicitation/create", "form")
        assert "billed $0.2500, expected $0.0009; with what is left $0.2509 in all" in params["message"]
        assert params["message"].endswith("If you decline, it is cancelled.")
        assert params["requestedSchema"]["required"] == ["agree"]
        assert (await opened.get())["inputRequests"] == asked["inputRequests"]
        await opened.update(**{key: AGREED})
        done = await opened.once("completed")
        await opened.update(**{key: {"action": "decline"}})  # it has been answered
        again = await opened.get()
    assert done["result"]["structuredContent"]["status"] == "completed"
    assert (again["status"], fake.count("submit")) == ("completed", 2)


@pytest.mark.parametrize(
    "answer",
    [{"action": "decline"}, {"action": "accept", "content": {"agree": False}}],
    ids=["declined", "unticked"],
)
async def test_a_person_who_does_not_agree_ends_the_task(
    fake: FakeRunComfy, settings: Settings, song: Path, answer: dict[str, object]
) -> None:
    async with held(fake, settings, song) as opened:
        [key] = (await opened.get())["inputRequests"]
        await opened.update(**{key: answer})
        task = await opened.once("cancelled")
    assert task["statusMessage"].startswith("Cancelled. RunComfy has carried out 1 of 2 steps")
    assert fake.count("submit") == 1


async def test_a_question_that_was_closed_stays_open(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with held(fake, settings, song) as opened:
        first = (await opened.get())["inputRequests"]
        [key] = first
        await opened.update(**{key: {"action": "cancel"}})
        assert (await opened.get())["inputRequests"] == first
        await opened.update(**{f"{key}0": AGREED})  # another question's
        assert (await opened.get())["inputRequests"] == first
    assert fake.count("submit") == 1


@pytest.mark.parametrize(
    "answer",
    [
        7,
        {},
        {"action": "accept"},
        {"action": "accept", "content": {}},
        {"action": "accept", "content": {"agree": "yes"}},
        {"action": "agree"},
    ],
)
async def test_what_is_no_answer_changes_nothing(
    fake: FakeRunComfy, settings: Settings, song: Path, answer: object
) -> None:
    async with held(fake, settings, song) as opened:
        [key] = (await opened.get())["inputRequests"]
        with pytest.raises(MCPError, match="no answer to the question") as refused:
            await opened.update(**{key: answer})
        assert refused.value.error.code == INVALID_PARAMS
        assert (await opened.get())["status"] == "input_required"


async def test_a_client_that_shows_no_forms_reads_what_the_person_can_do(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with held(fake, settings, song, shows_forms=False) as opened:
        task = await opened.get()
    assert task["status"] == "working"
    assert "inputRequests" not in task
    assert f"outpaint-mcp approve {opened.task_id}" in task["statusMessage"]

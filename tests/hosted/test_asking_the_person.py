"""A request that costs more than was expected asks the person where the host can; no agent can answer for them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp.client import Client
from mcp.types import CallToolResult, ElicitRequestFormParams, ElicitResult, TextContent
from tests.hosting import quick_schedule, settings_on
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

AGREED = ElicitResult(action="accept", content={"agree": True})


class Person:
    """Answers what the host asks, in order.

    Attributes:
        asked: what it was shown.
    """

    def __init__(self, *answers: ElicitResult) -> None:
        self.answers = [*answers]
        self.asked: list[ElicitRequestFormParams] = []

    async def __call__(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        del context
        assert isinstance(params, ElicitRequestFormParams)
        self.asked.append(params)
        return self.answers.pop(0)


class Host:
    """A client of the server, and a request of two steps of which the first costs too much."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.request_id = ""

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        answer = await self._client.call_tool(tool, arguments)
        assert isinstance(answer, CallToolResult)
        assert not answer.is_error, answer.content
        return answer.structured_content or {}

    async def result(self, wait_seconds: float = 45) -> dict[str, Any]:
        return await self.call("get_outpaint_result", request_id=self.request_id, wait_seconds=wait_seconds)

    async def refusal(self, tool: str, **arguments: Any) -> str:  # noqa: ANN401 - JSON
        answer = await self._client.call_tool(tool, arguments)
        assert isinstance(answer, CallToolResult)
        assert answer.is_error
        return "".join(each.text for each in answer.content if isinstance(each, TextContent))


@asynccontextmanager
async def host(
    fake: FakeRunComfy, settings: Settings, song: Path, era: str, person: Person | None
) -> AsyncIterator[Host]:
    """Connect a host, and wait until the request is held; `person` is None where the host cannot ask.

    They have agreed to its steps by then.
    """
    if person is not None:
        person.answers.insert(0, AGREED)
    fake.switches = replace(fake.switches, bill=0.25)
    server = build_server(
        settings_on(fake, settings), surroundings=around(timing=RemoteTiming(schedule=quick_schedule()))
    )
    async with Client(server, mode=era, elicitation_callback=person) as client:
        opened = Host(client)
        both = {"extend_before_duration": 1, "extend_after_duration": 1}
        submission = await opened.call("submit_outpaint", audio=str(song), tags="lofi", **both)
        opened.request_id = submission["request_id"]
        if person is not None:
            person.asked.clear()
        with anyio.fail_after(PATIENCE_SECONDS):
            while (
                "waiting for agreement"
                not in (
                    await opened.call("get_outpaint_status", request_id=opened.request_id, wait_seconds=5)
                )["message"]
            ):
                pass
        assert fake.count("submit") == 1
        yield opened


async def test_a_person_who_agrees_lets_the_request_go_on(
    fake: FakeRunComfy, settings: Settings, song: Path, era: str
) -> None:
    person = Person(AGREED)
    async with host(fake, settings, song, era, person) as opened:
        fake.switches = replace(fake.switches, bill=None)
        result = await opened.result()
    [asked] = person.asked
    assert "billed $0.2500, expected $0.0009; with what is left $0.2509 in all" in asked.message
    assert opened.request_id in asked.message
    assert asked.requested_schema["properties"]["agree"]["type"] == "boolean"
    assert asked.requested_schema["required"] == ["agree"]
    assert (result["status"], fake.count("submit")) == ("completed", 2)


@pytest.mark.parametrize(
    "answer",
    [ElicitResult(action="decline"), ElicitResult(action="accept", content={"agree": False})],
    ids=["declined", "unticked"],
)
async def test_a_person_who_does_not_agree_is_not_asked_the_same_again(
    fake: FakeRunComfy, settings: Settings, song: Path, era: str, answer: ElicitResult
) -> None:
    person = Person(answer)
    async with host(fake, settings, song, era, person) as opened:
        for _ in range(2):
            result = await opened.result()
            assert result["status"] == "in_progress"
            assert f"outpaint-mcp approve {opened.request_id}" in result["message"]
        cancelled = await opened.call("cancel_outpaint", request_id=opened.request_id)
    assert (len(person.asked), cancelled["outcome"], fake.count("submit")) == (1, "cancelled", 1)


async def test_a_question_that_was_closed_is_asked_again(
    fake: FakeRunComfy, settings: Settings, song: Path, era: str
) -> None:
    person = Person(ElicitResult(action="cancel"), AGREED)
    async with host(fake, settings, song, era, person) as opened:
        assert (await opened.result())["status"] == "in_progress"
        assert (await opened.result())["status"] == "completed"
    assert len(person.asked) == 2


async def test_a_host_that_cannot_ask_is_told_what_the_user_can_do(
    fake: FakeRunComfy, settings: Settings, song: Path, era: str
) -> None:
    async with host(fake, settings, song, era, None) as opened:
        result = await opened.result()
        assert result["status"] == "in_progress"
        assert f"Ask the user to run `outpaint-mcp approve {opened.request_id}`" in result["message"]
        await opened.call("cancel_outpaint", request_id=opened.request_id)
    assert fake.count("submit") == 1


async def test_no_argument_of_an_agents_agrees(
    fake: FakeRunComfy, settings: Settings, song: Path, era: str
) -> None:
    async with host(fake, settings, song, era, None) as opened:
        for name in ("agreed", "agree", "approve", "question", "answer"):
            refused = await opened.refusal(
                "get_outpaint_result", request_id=opened.request_id, **{name: {"agree": True}}
            )
            assert "get_outpaint_result takes request_id" in refused
        await opened.call("cancel_outpaint", request_id=opened.request_id)
    assert fake.count("submit") == 1


async def test_asking_for_the_status_asks_nobody(
    fake: FakeRunComfy, settings: Settings, song: Path, era: str
) -> None:
    """It is a tool that changes nothing, which hosts let through unseen."""
    person = Person()
    async with host(fake, settings, song, era, person) as opened:
        await opened.call("cancel_outpaint", request_id=opened.request_id)
    assert person.asked == []

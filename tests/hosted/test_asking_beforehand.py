"""Before a request is taken on, the person is asked which file is meant, and whether several steps may be paid for."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from mcp.client import Client
from mcp.types import CallToolResult, ElicitResult, TextContent
from tests.hosted.test_asking_the_person import AGREED, Person
from tests.hosting import quick_schedule, settings_on
from tests.warm import around

from outpaint_mcp.providers.base import RemoteTiming
from outpaint_mcp.server.app import build_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import MakeSong
    from tests.fakes.runcomfy import FakeRunComfy

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

TWO_STEPS = {"tags": "lofi", "extend_before_duration": 1, "extend_after_duration": 1}


@asynccontextmanager
async def connected(settings: Settings, era: str, person: Person | None) -> AsyncIterator[Client]:
    """Connect a host; `person` is None where it cannot ask."""
    server = build_server(settings, surroundings=around(timing=RemoteTiming(schedule=quick_schedule())))
    async with Client(server, mode=era, elicitation_callback=person) as client:
        yield client


async def call(client: Client, tool: str, **arguments: Any) -> tuple[dict[str, Any], str]:  # noqa: ANN401 - JSON
    """Return the answer, and its text where it is an error."""
    answer = await client.call_tool(tool, arguments)
    assert isinstance(answer, CallToolResult)
    text = "".join(each.text for each in answer.content if isinstance(each, TextContent))
    return answer.structured_content or {}, text if answer.is_error else ""


async def test_a_plan_of_several_paid_steps_is_sent_if_the_person_agrees_to_it(
    fake: FakeRunComfy, settings: Settings, song: Path, era: str
) -> None:
    person = Person(AGREED)
    async with connected(settings_on(fake, settings), era, person) as client:
        submission, _ = await call(client, "submit_outpaint", audio=str(song), **TWO_STEPS)
    [asked] = person.asked
    assert "RunComfy generates this in 2 paid steps: up to $0.00" in asked.message
    assert submission["request_id"].startswith("op_")
    assert fake.count("submit") >= 1


@pytest.mark.parametrize(
    "answer",
    [
        ElicitResult(action="decline"),
        ElicitResult(action="cancel"),
        ElicitResult(action="accept", content={"agree": False}),
    ],
    ids=["declined", "closed", "unticked"],
)
async def test_a_plan_that_the_person_does_not_agree_to_is_not_begun(
    fake: FakeRunComfy, settings: Settings, song: Path, era: str, answer: ElicitResult
) -> None:
    async with connected(settings_on(fake, settings), era, Person(answer)) as client:
        _, refusal = await call(client, "submit_outpaint", audio=str(song), **TWO_STEPS)
        listed, _ = await call(client, "list_outpaints")
    assert "The user was asked, and did not agree to this: RunComfy generates this in 2 paid steps" in refusal
    assert "Nothing was started." in refusal
    assert listed["requests"] == []
    assert fake.count("submit") == 0


@pytest.mark.parametrize("inputs", [{"extend_before_duration": 0}, {"provider": "local"}, {"dry_run": True}])
async def test_what_takes_one_step_or_costs_nothing_asks_nobody(
    fake: FakeRunComfy, settings: Settings, song: Path, era: str, inputs: dict[str, Any]
) -> None:
    person = Person()
    async with connected(settings_on(fake, settings), era, person) as client:
        _, refusal = await call(client, "submit_outpaint", audio=str(song), **TWO_STEPS | inputs)
    assert (refusal, person.asked) == ("", [])


async def test_a_host_that_cannot_ask_submits_as_ever_and_tells_the_cost(
    fake: FakeRunComfy, settings: Settings, song: Path, era: str
) -> None:
    async with connected(settings_on(fake, settings), era, None) as client:
        submission, _ = await call(client, "submit_outpaint", audio=str(song), **TWO_STEPS)
    assert submission["estimated_cost_usd"] > 0


@pytest.fixture
def two_files(make_song: MakeSong) -> list[str]:
    """Two recordings that one name fits, as they are named in a message."""
    return [make_song(f"{folder} beat.wav").name for folder in ("lazy", "busy")]


async def test_of_several_files_that_fit_the_person_chooses(
    settings: Settings, two_files: list[str], era: str
) -> None:
    person = Person(*(ElicitResult(action="accept", content={"file": each}) for each in two_files))
    async with connected(settings, era, person) as client:
        submission, _ = await call(client, "submit_outpaint", audio="beat", tags="lofi")
        listed, _ = await call(client, "list_outpaints")
        analysis, _ = await call(client, "analyze_audio", audio="beat", wait_seconds=0)
    assert submission["request_id"]
    assert listed["requests"][0]["title"] == "lazy beat"
    assert analysis["title"] == "busy beat"
    assert [each.message for each in person.asked] == ['"beat" fits 2 files. Which of them is meant?'] * 2
    offered = person.asked[0].requested_schema["properties"]["file"]
    assert sorted(offered["enum"]) == sorted(two_files)


@pytest.mark.parametrize("can_ask", [False, True])
async def test_where_nobody_chose_the_error_names_the_files(
    settings: Settings, two_files: list[str], era: str, *, can_ask: bool
) -> None:
    person = Person(ElicitResult(action="cancel")) if can_ask else None
    async with connected(settings, era, person) as client:
        _, refusal = await call(client, "submit_outpaint", audio="beat", tags="lofi")
    assert "fits 2 files" in refusal
    assert all(each in refusal for each in two_files)


async def test_a_file_that_nobody_offered_cannot_be_chosen(
    settings: Settings, two_files: list[str], era: str
) -> None:
    person = Person(ElicitResult(action="accept", content={"file": "/etc/passwd"}))
    async with connected(settings, era, person) as client:
        _, refusal = await call(client, "submit_outpaint", audio="beat", tags="lofi")
        listed, _ = await call(client, "list_outpaints")
    assert refusal
    assert listed["requests"] == []
    assert two_files

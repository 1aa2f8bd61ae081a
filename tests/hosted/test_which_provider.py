"""Who carries a request out: the one that took it, whatever the settings say since, and never the other instead."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mcp.client import Client
from mcp.types import CallToolResult, TextContent
from tests.fakes.runcomfy import Switches
from tests.hosting import open_house, settings_on
from tests.warm import around

from outpaint_mcp.errors import ProviderUnavailable, Unauthorized
from outpaint_mcp.models import Status, SubmitRequest
from outpaint_mcp.principals import PERSON
from outpaint_mcp.server.app import build_server
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.lifespan import open_service

if TYPE_CHECKING:
    from tests.fakes.runcomfy import FakeRunComfy

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio


def request_for(song: Path) -> SubmitRequest:
    return SubmitRequest.of(audio=str(song), tags="lofi", extend_after_duration=1, seed=7)


async def test_local_requests_are_carried_out_and_delivered_where_runcomfy_takes_the_new_ones(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_service(settings, runs=False, vocabulary=TOOLS) as service:
        request_id = (await service.submit(PERSON, request_for(song))).request_id
    async with open_house(fake, settings) as house:
        result = await house.result(request_id)
        assert (result.provider, result.status, result.cost_usd) == ("local", Status.COMPLETED, None)
        assert result.path
        hosted = await house.extend(song)
        assert hosted.provider == "runcomfy"  # nor is the local one's result taken for this one
        assert [each.provider for each in await house.listed()] == ["runcomfy", "local"]
    assert fake.count("submit") == 1


async def test_runcomfys_requests_are_carried_out_and_delivered_where_new_ones_stay_here(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.switches = Switches(queue_polls=0, running_polls=0)
    async with open_house(fake, settings, runs=False) as house:
        request_id = (await house.submit(song)).request_id
    async with open_service(settings_on(fake, settings, provider="local"), vocabulary=TOOLS) as service:
        assert (await service.submit(PERSON, request_for(song))).provider == "local"
        result = await service.result(PERSON, request_id, wait_seconds=60)
    assert (result.provider, result.status) == ("runcomfy", Status.COMPLETED)
    assert fake.count("submit") == 1


async def test_what_runcomfy_made_can_be_extended_here(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house(fake, settings) as house:
        first = await house.extend(song)
    async with open_service(settings, vocabulary=TOOLS, surroundings=around()) as service:
        submission = await service.submit(PERSON, request_for(Path(first.request_id)))
        second = await service.result(PERSON, submission.request_id, wait_seconds=60)
    assert (second.provider, second.status) == ("local", Status.COMPLETED)
    assert second.duration_seconds == pytest.approx(5)


async def test_what_was_made_here_can_be_extended_by_runcomfy(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_service(settings, vocabulary=TOOLS, surroundings=around()) as service:
        first = await service.result(
            PERSON, (await service.submit(PERSON, request_for(song))).request_id, wait_seconds=60
        )
    async with open_house(fake, settings) as house:
        second = await house.extend(first.request_id)
        newest, _ = await house.listed()
    assert (second.provider, newest.parent_request_id) == ("runcomfy", first.request_id)


TOKENS = {
    "none": (None, "needs a token, and none is set. Put it into RUNCOMFY_API_TOKEN"),
    "wrong": ("not-the-token", "does not accept the token (HTTP 401"),
    "no_token_at_all": ("a b", "has characters that no token has"),
}


@pytest.mark.parametrize(("token", "words"), TOKENS.values(), ids=TOKENS)
async def test_without_a_token_that_is_taken_the_server_runs_and_says_what_to_do(
    fake: FakeRunComfy, settings: Settings, song: Path, token: str | None, words: str
) -> None:
    async with Client(
        build_server(settings_on(fake, settings, token=token), surroundings=around())
    ) as client:
        assert len((await client.list_tools()).tools) == 7
        said = await refusal(client, song)
        listed = await client.call_tool("list_outpaints", {})
    assert words in said
    assert token is None or token not in said
    if token is None:  # nobody took it on
        assert (listed.structured_content or {})["requests"] == []
    else:
        [only] = (listed.structured_content or {})["requests"]
        assert (only["provider"], only["status"], only["cost_usd"]) == ("runcomfy", "failed", 0)
        assert words in only["error"]
    assert not fake.jobs
    assert not settings.output_dir.exists()


async def refusal(client: Client, song: Path) -> str:
    answer: Any = await client.call_tool(
        "submit_outpaint", {"audio": str(song), "tags": "lofi", "extend_after_duration": 1}
    )
    assert isinstance(answer, CallToolResult)
    assert answer.is_error
    [content] = answer.content
    assert isinstance(content, TextContent)
    return content.text


async def test_where_runcomfy_cannot_be_reached_the_server_runs_and_takes_the_request_in(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    unreachable = settings_on(fake, settings, runcomfy_base=f"http://127.0.0.1:{free_port()}/v1")
    arguments = {"audio": str(song), "tags": "lofi", "extend_after_duration": 1}
    async with Client(build_server(unreachable, surroundings=around())) as client:
        assert len((await client.list_tools()).tools) == 7
        answer = await client.call_tool("submit_outpaint", arguments)
    submitted = answer.structured_content or {}
    assert (submitted["provider"], submitted["status"]) == ("runcomfy", "in_queue")
    assert submitted["message"].startswith("Request saved; RunComfy has not accepted it yet")
    assert "since the catalogue could not be read" in submitted["message"]


async def test_what_could_not_be_sent_fails_in_words_and_cost_nothing(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/v1"
    async with open_house(fake, settings, runcomfy_base=nowhere) as house:
        house.give_up_soon()
        with pytest.raises(ProviderUnavailable, match=r"cannot be reached.*is not billed"):
            await house.submit(song)
        [listed] = await house.listed()
    assert (listed.provider, listed.status, listed.cost_usd) == ("runcomfy", Status.FAILED, 0)


async def test_nobody_else_steps_in_where_runcomfy_refuses(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house(fake, settings, token="not-the-token") as house:
        with pytest.raises(Unauthorized):
            await house.submit(song)
        assert house.rows("SELECT provider FROM jobs") == [("runcomfy",)]
        assert not list((settings.data_dir / "jobs").iterdir())


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])

"""Dry runs, and who carries a request out: what is said before anything is started."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from mcp.client import Client
from mcp.types import CallToolResult, TextContent
from tests.fakes.runcomfy import Fault
from tests.hosting import House, open_house, settings_on
from tests.warm import around

from outpaint_mcp.errors import InvalidRequest, Unauthorized
from outpaint_mcp.models import Status, SubmitRequest
from outpaint_mcp.principals import PERSON
from outpaint_mcp.server.app import build_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeSong
    from tests.fakes.runcomfy import FakeRunComfy

    from outpaint_mcp.config import Settings
    from outpaint_mcp.service.service import OutpaintService

pytestmark = pytest.mark.anyio


def asked(audio: Path, **inputs: Any) -> SubmitRequest:  # noqa: ANN401 - inputs
    return SubmitRequest.of(audio=str(audio), **{"tags": "", "extend_after_duration": 2, "seed": 7} | inputs)


async def test_a_dry_run_says_what_would_be_done_and_starts_nothing(
    service: OutpaintService, song: Path, settings: Settings
) -> None:
    found = await service.foresee(PERSON, asked(song, takes=2, tags="violins"))
    assert (found.provider, found.expected_duration_seconds, found.estimated_cost_usd) == ("local", 5, None)
    assert found.expected_wait_seconds
    for words in ("nothing was started", "2 takes", "It is free.", "not steer", "dry_run=false"):
        assert words in found.message
    assert (await service.list(PERSON)).requests == []
    assert not list((settings.data_dir / "jobs").iterdir())
    assert not settings.output_dir.exists()


async def test_a_dry_run_says_nothing_of_tags_that_nobody_gave(service: OutpaintService, song: Path) -> None:
    assert "steer" not in (await service.foresee(PERSON, asked(song))).message


async def test_an_end_where_nothing_is_added_is_said_to_have_no_effect(
    service: OutpaintService, song: Path
) -> None:
    message = (await service.foresee(PERSON, asked(song, beginning="fade", ending="cut"))).message
    assert "beginning=fade has no effect: nothing is added before the source." in message.replace('"', "")
    assert "ending" not in message
    before = asked(song, extend_before_duration=5, extend_after_duration=0, beginning="fade", ending="cut")
    message = (await service.foresee(PERSON, before)).message
    assert "nothing is added after the source." in message
    assert "beginning" not in message


async def test_what_cannot_be_carried_out_is_refused_in_a_dry_run_too(
    service: OutpaintService, song: Path
) -> None:
    with pytest.raises(InvalidRequest, match="begins at 83 s"):
        await service.foresee(PERSON, asked(song, source_start_seconds=83))


async def test_a_source_that_fades_out_is_named_with_the_cut_that_would_do(
    service: OutpaintService, make_song: MakeSong
) -> None:
    song = make_song(seconds=24)
    samples, rate = soundfile.read(song, always_2d=True)
    fade = np.geomspace(1, 1e-3, 12 * rate)
    samples[-len(fade) :] *= fade[:, None]
    soundfile.write(song, samples, rate)
    message = (await service.foresee(PERSON, asked(song))).message
    assert "The source fades out from 0:1" in message
    assert "placement" in message
    assert "fades out" not in (await service.foresee(PERSON, asked(song, source_end_seconds=10))).message


async def test_a_dry_run_of_the_hosted_model_has_the_cost_and_the_steps_that_the_submission_has(
    house: House, song: Path
) -> None:
    house.fake.hold()
    inputs: dict[str, Any] = {"extend_before_duration": 1, "extend_after_duration": 1}
    found = await house.service.foresee(PERSON, asked(song, **inputs, takes=2))
    assert (house.jobs(), await house.listed()) == ([], [])
    submission = await house.submit(song, **inputs, takes=2)
    assert found.estimated_cost_usd == submission.estimated_cost_usd
    for words in ("For each of 2 takes: At most $0.0017", "In 2 paid steps", "up to RunComfy"):
        assert words in found.message


async def test_a_dry_run_says_that_the_limit_would_be_passed(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house(fake, settings, max_cost_usd=0.0001) as house:
        found = await house.service.foresee(PERSON, asked(song))
    assert "OUTPAINT_MAX_COST_USD" in found.message
    assert "dry_run=false" not in found.message


async def test_with_a_limit_a_dry_run_says_that_the_price_is_not_known_and_guesses_none(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house(fake, settings, max_cost_usd=5) as house:
        fake.fail("model", Fault(status=404))
        found = await house.service.foresee(PERSON, asked(song))
    assert found.estimated_cost_usd is None
    for words in ("The price could not be read", "limit of $5", "Try again later"):
        assert words in found.message
    for words in ("list price", "dry_run=false"):
        assert words not in found.message


async def test_without_a_token_a_dry_run_has_the_list_price_and_says_what_is_missing(
    service: OutpaintService, song: Path
) -> None:
    found = await service.foresee(PERSON, asked(song), provider="runcomfy")
    assert found.provider == "runcomfy"
    assert found.estimated_cost_usd == pytest.approx(0.00105)
    for words in ("RUNCOMFY_API_TOKEN", "reported by third parties", "env in the host's settings"):
        assert words in found.message
    assert "dry_run=false" not in found.message


async def test_without_a_token_the_hosted_model_says_what_it_needs_and_costs(
    service: OutpaintService, song: Path
) -> None:
    with pytest.raises(Unauthorized) as refused:
        await service.submit(PERSON, asked(song), provider="runcomfy")
    for words in ("RUNCOMFY_API_TOKEN", "$0.0002 a second", "about $0.04 for 30 s after a song of 3 minutes"):
        assert words in str(refused.value)
    assert (await service.list(PERSON)).requests == []


async def test_a_request_goes_to_the_provider_that_it_names(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    local = dataclasses.replace(settings_on(fake, settings), provider="local")
    async with open_house(fake, settings, provider=local.provider) as house:
        hosted = await house.service.submit(PERSON, asked(song), provider="runcomfy")
        own = await house.service.submit(PERSON, asked(song))
        assert (hosted.provider, own.provider) == ("runcomfy", "local")
        assert not own.is_repeat
        for each in (hosted, own):
            assert (await house.result(each.request_id)).status is Status.COMPLETED
        assert len(house.jobs()) == 1


async def test_a_provider_that_there_is_none_of_is_refused_with_those_that_there_are(
    service: OutpaintService, song: Path
) -> None:
    with pytest.raises(InvalidRequest, match="runcomfy, local") as refused:
        await service.submit(PERSON, asked(song), provider="nobody")
    assert refused.value.field == "provider"


@pytest.mark.parametrize("provider", [None, "", "local"])
async def test_the_tool_takes_no_provider_for_the_configured_one(
    client: Client, song: Path, provider: str | None
) -> None:
    arguments = {"audio": str(song), "tags": "", "provider": provider, "dry_run": True}
    answer = await client.call_tool("submit_outpaint", arguments)
    assert isinstance(answer, CallToolResult)
    assert (answer.structured_content or {})["provider"] == "local"
    assert "request_id" not in (answer.structured_content or {})


async def test_the_tool_names_the_providers_and_the_configured_one(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    for provider in ("local", "runcomfy"):
        configured = settings_on(fake, settings, provider=provider)
        async with Client(build_server(configured, surroundings=around())) as client:
            submit = (await client.list_tools()).tools[0]
            answer = await client.call_tool(
                "submit_outpaint", {"audio": str(song), "tags": "", "provider": "nobody"}
            )
        field = submit.input_schema["properties"]["provider"]
        assert (field["default"], field["enum"]) == (provider, ["runcomfy", "local"])
        assert f"Default: {provider}." in field["description"]
        assert isinstance(answer, CallToolResult)
        assert isinstance(answer.content[0], TextContent)
        assert "Give one of runcomfy, local." in answer.content[0].text

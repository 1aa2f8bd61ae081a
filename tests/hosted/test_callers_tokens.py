"""A caller's own token: for that caller's requests, in memory alone; whoever it was sent with has to come again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.fakes.runcomfy import TOKEN
from tests.hosting import open_house
from tests.waiting import PATIENCE_SECONDS

from outpaint_mcp.errors import LimitReached, RequestNotFound, Unauthorized
from outpaint_mcp.models import Status, SubmitRequest
from outpaint_mcp.principals import OPERATOR, PERSON, Principal
from outpaint_mcp.storage.job_queue import WAITING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.runcomfy import FakeRunComfy
    from tests.hosting import House

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

ANN = Principal("ann", tokens=(("runcomfy", TOKEN),))
ANN_WITHOUT = Principal("ann")
BOB = Principal("bob")


def request_for(song: Path, seed: int = 7) -> SubmitRequest:
    return SubmitRequest.of(audio=str(song), tags="lofi", extend_after_duration=1, seed=seed)


async def test_a_request_is_sent_with_its_callers_token_and_nobody_elses(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house(
        fake, settings, token="an operator's token that the service does not know"
    ) as house:
        submission = await house.service.submit(ANN, request_for(song))
        result = await house.service.result(ANN, submission.request_id, wait_seconds=PATIENCE_SECONDS)
        assert result.status is Status.COMPLETED
        assert fake.count("submit") == 1
        with pytest.raises(Unauthorized):
            await house.service.submit(BOB, request_for(song))
    assert fake.count("submit") == 1
    assert ANN.tokens[0][1] not in repr(ANN)


async def test_a_caller_can_use_the_hosted_model_where_the_operator_has_no_token(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house(fake, settings, token=None) as house:
        with pytest.raises(Unauthorized, match="X-RunComfy-Token"):
            await house.service.submit(BOB, request_for(song))
        forecast = await house.service.foresee(ANN, request_for(song))
        assert forecast.estimated_cost_usd
        submission = await house.service.submit(ANN, request_for(song))
        result = await house.service.result(ANN, submission.request_id, wait_seconds=PATIENCE_SECONDS)
        assert result.status is Status.COMPLETED


async def test_a_token_counts_for_the_call_that_it_came_with_and_no_other(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house(fake, settings, token=None) as house:
        with pytest.raises(Unauthorized):
            await house.service.submit(ANN_WITHOUT, request_for(song))
        assert (await house.service.foresee(ANN, request_for(song))).estimated_cost_usd
        await house.service.submit(ANN, request_for(song))
        with pytest.raises(Unauthorized):
            await house.service.submit(ANN_WITHOUT, request_for(song, seed=8))


async def test_a_token_that_is_refused_is_its_callers_to_replace(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    wrong = Principal("ann", tokens=(("runcomfy", "an expired token"),))
    async with open_house(fake, settings) as house:
        with pytest.raises(Unauthorized, match="another one in the header X-RunComfy-Token") as refusal:
            await house.service.submit(wrong, request_for(song))
    assert "RUNCOMFY_API_TOKEN" not in str(refusal.value)
    assert fake.count("submit") == 0


@pytest.mark.parametrize("own_token", [None, TOKEN, "another"])
async def test_what_outlives_its_token_waits_says_so_and_goes_on_when_its_caller_comes_again(
    fake: FakeRunComfy, settings: Settings, song: Path, own_token: str | None
) -> None:
    fake.hold()
    async with open_house(fake, settings, token=own_token) as house:
        request_id = (await house.service.submit(ANN, request_for(song))).request_id
    fake.release()
    async with open_house(fake, settings, token=own_token) as house:
        await house.status_once(request_id, lambda seen: WAITING in seen.message)
        polls = fake.count("status")
        await house.service.list(ANN_WITHOUT)
        await house.service.status(OPERATOR, request_id)
        await asyncio.sleep(1.5)  # longer than the dispatcher takes to look
        assert fake.count("status") == polls, "nobody else's token is used for it"
        result = await house.service.result(ANN, request_id, wait_seconds=PATIENCE_SECONDS)
        assert result.status is Status.COMPLETED
    assert fake.count("submit") == 1


async def test_what_was_never_sent_waits_and_can_be_cancelled_without_its_token(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house(fake, settings, runs=False, token=None) as house:
        request_id = (await house.service.submit(ANN, request_for(song))).request_id
    async with open_house(fake, settings, token=None) as house:
        await asyncio.sleep(1.5)  # as above
        assert (await house.service.status(ANN_WITHOUT, request_id)).status is Status.IN_QUEUE
        cancelled = await house.service.cancel(ANN_WITHOUT, request_id)
        assert cancelled.status is Status.CANCELLED
    assert fake.count("submit") == 0


async def test_two_callers_with_the_same_token_stay_two(house: House, song: Path) -> None:
    other = Principal("bob", tokens=ANN.tokens)
    first = await house.service.submit(ANN, request_for(song))
    second = await house.service.submit(other, request_for(song))
    assert first.request_id != second.request_id
    with pytest.raises(RequestNotFound):
        await house.service.status(other, first.request_id)
    with pytest.raises(RequestNotFound):
        await house.service.status(PERSON, first.request_id)


@pytest.mark.parametrize("before", [(), (("runcomfy", "an earlier token of theirs"),)])
async def test_each_call_goes_with_the_token_that_it_brings(
    fake: FakeRunComfy, settings: Settings, song: Path, before: tuple[tuple[str, str], ...]
) -> None:
    async with open_house(
        fake, settings, token="an operator's token that the service does not know"
    ) as house:
        await house.service.list(Principal("ann", tokens=before))
        submission = await house.service.submit(ANN, request_for(song))
        result = await house.service.result(ANN, submission.request_id, wait_seconds=PATIENCE_SECONDS)
        assert result.status is Status.COMPLETED
        with pytest.raises(Unauthorized):
            await house.service.submit(Principal("ann", tokens=before), request_for(song, seed=8))


async def test_one_caller_brings_so_many_tokens_and_none_of_anothers_is_forgotten_for_it(
    house: House, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outpaint_mcp.providers.remote.accounts._MOST_TOKENS", 2)
    for number in range(3):
        await house.service.list(Principal("bob", tokens=(("runcomfy", f"token {number}"),)))
    with pytest.raises(LimitReached, match="2 tokens"):
        await house.service.submit(Principal("bob", tokens=(("runcomfy", "token 2"),)), request_for(song))
    submission = await house.service.submit(ANN, request_for(song))
    result = await house.service.result(ANN, submission.request_id, wait_seconds=PATIENCE_SECONDS)
    assert result.status is Status.COMPLETED

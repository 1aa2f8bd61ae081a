"""Cancelling: what has not begun never does, what is under way is not thrown away, and the answer says which."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.fakes.runcomfy import Fault
from tests.hosting import fetch_nothing, open_house, quick_schedule
from tests.waiting import until

from outpaint_mcp.models import CancelOutcome, Status
from outpaint_mcp.principals import PERSON
from outpaint_mcp.sources import fetch
from outpaint_mcp.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.runcomfy import FakeRunComfy
    from tests.hosting import House

    from outpaint_mcp.config import Settings
    from outpaint_mcp.sources import DownloadPolicy

pytestmark = pytest.mark.anyio


@pytest.fixture
def others(settings: Settings) -> Iterator[OtherServer]:
    server = OtherServer(settings.data_dir)
    yield server
    server.store.close()


class OtherServer:
    """Another server on the same data folder: this one sees only once a second what it was told."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)

    def want_all_cancelled(self, _: str = "") -> None:
        for takes in self.store.journal.newest(PERSON, limit=100):
            for take in takes:
                self.store.queue.cancel(take.request_id)


async def test_what_waits_in_the_services_queue_is_cancelled_there(house: House, song: Path) -> None:
    house.fake.hold()
    request_id = (await house.submit(song)).request_id
    cancellation = await house.service.cancel(PERSON, request_id)
    assert (cancellation.outcome, cancellation.status) == (CancelOutcome.CANCELLED, Status.CANCELLED)
    assert [job.status for job in house.jobs()] == ["cancelled"]
    assert (await house.result(request_id)).path is None
    again = await house.service.cancel(PERSON, request_id)
    assert again.outcome is CancelOutcome.NOT_CANCELLABLE
    assert again.message == "Nothing to cancel: the request is cancelled."
    assert house.fake.count("cancel") == 1


async def test_what_is_in_progress_there_cannot_be_cancelled_and_goes_on(house: House, song: Path) -> None:
    house.fake.switches = replace(house.fake.switches, queue_polls=0)
    house.fake.hold()
    request_id = (await house.submit(song)).request_id
    for _ in range(2):  # who asks again is told the same
        cancellation = await house.service.cancel(PERSON, request_id)
        assert cancellation.outcome is CancelOutcome.NOT_CANCELLABLE
        assert cancellation.status is Status.IN_PROGRESS
        assert "Not cancelled: RunComfy is already carrying the request out" in cancellation.message
    house.fake.release()
    result = await house.result(request_id)
    assert result.status is Status.COMPLETED
    assert result.path


async def test_what_completes_in_that_very_moment_is_not_lost(house: House, song: Path) -> None:
    house.fake.switches = replace(house.fake.switches, cancel="race")
    house.fake.hold()
    request_id = (await house.submit(song)).request_id
    assert (await house.service.cancel(PERSON, request_id)).outcome is CancelOutcome.NOT_CANCELLABLE
    assert (await house.result(request_id)).status is Status.COMPLETED


async def test_a_service_that_never_cancels_is_believed(house: House, song: Path) -> None:
    house.fake.switches = replace(house.fake.switches, cancel="never")
    house.fake.hold()
    request_id = (await house.submit(song)).request_id
    assert (await house.service.cancel(PERSON, request_id)).outcome is CancelOutcome.NOT_CANCELLABLE


async def test_a_cancellation_whose_answer_was_lost_is_one(house: House, song: Path) -> None:
    house.fake.hold()
    request_id = (await house.submit(song)).request_id
    house.fake.fail("cancel", Fault(kind="drop"))
    cancellation = await house.service.cancel(PERSON, request_id)
    assert (cancellation.outcome, cancellation.status) == (CancelOutcome.CANCELLED, Status.CANCELLED)
    assert [job.status for job in house.jobs()] == ["cancelled"]


async def test_what_was_cancelled_at_the_service_by_others_is_cancelled(house: House, song: Path) -> None:
    house.fake.hold()
    request_id = (await house.submit(song)).request_id
    house.jobs()[0].end("cancelled")
    result = await house.result(request_id)
    assert (result.status, result.error) == (Status.CANCELLED, "It was cancelled at RunComfy.")


async def test_between_steps_the_later_ones_are_never_sent(house: House, song: Path) -> None:
    house.fake.switches = replace(house.fake.switches, queue_polls=0)
    house.fake.hold()
    request_id = (await house.submit(song, extend_before_duration=1)).request_id
    cancellation = await house.service.cancel(PERSON, request_id)
    assert (cancellation.outcome, cancellation.status) == (CancelOutcome.CANCELLED, Status.CANCELLED)
    assert "step 1 of 2, 1.25 s before, is under way at RunComfy (" in cancellation.message
    assert "and is billed. Nothing more is sent." in cancellation.message
    [listed] = await house.listed()
    assert listed.cost_usd is None  # nobody knows yet what step 1 costs
    assert house.fake.count("submit") == 1


async def test_after_a_step_was_made_its_cost_is_told_and_the_next_is_not_sent(
    house: House, song: Path, others: OtherServer
) -> None:
    house.fake.on("download", others.want_all_cancelled)
    result = await house.result((await house.submit(song, extend_before_duration=1)).request_id)
    assert result.status is Status.CANCELLED
    assert (result.error or "").startswith(
        "Cancelled. RunComfy has carried out 1 of 2 steps, which may be billed"
    )
    assert result.cost_usd == pytest.approx(house.jobs()[0].cost_usd)
    assert house.fake.count("submit") == 1


async def test_while_it_is_prepared_it_is_cancelled_before_anything_is_sent(
    house: House, song: Path, others: OtherServer
) -> None:
    house.fake.on("model", others.want_all_cancelled)
    submission = await house.submit(song)
    assert submission.status is Status.CANCELLED
    [listed] = await house.listed()
    assert (listed.status, listed.cost_usd) == (Status.CANCELLED, 0)
    assert house.fake.count("submit") == 0


async def test_while_its_source_is_fetched_it_is_cancelled_at_once(
    fake: FakeRunComfy, settings: Settings
) -> None:
    async def fetch_forever(_url: str, _to: Path, *, policy: DownloadPolicy | None = None) -> None:
        assert policy is None
        await asyncio.Event().wait()

    async with open_house(fake, settings, accept_seconds=0, fetch_link=fetch_forever) as house:
        request_id = (await house.submit("https://music.example/song.wav")).request_id
        await house.status_once(request_id, lambda seen: "fetching the source" in seen.message)
        assert (await house.service.cancel(PERSON, request_id)).status is Status.CANCELLED
    assert not fake.calls


async def test_a_wish_that_the_service_did_not_hear_is_carried_out_later(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.hold()
    async with open_house(fake, settings, cancel_seconds=0.3) as house:
        request_id = (await house.submit(song)).request_id
        fake.fail("cancel", *[Fault(status=503)] * 2)  # which the client tries again, with growing pauses
        cancellation = await house.service.cancel(PERSON, request_id)
        assert (
            cancellation.outcome is CancelOutcome.NOT_CANCELLABLE
        )  # it might yet be carried out, and billed
        assert "has not yet confirmed whether it can be cancelled" in cancellation.message
        assert (await house.result(request_id)).status is Status.CANCELLED
        assert [job.status for job in house.jobs()] == ["cancelled"]


async def test_a_wish_that_the_service_did_not_understand_is_told_and_uttered_again(
    house: House, song: Path
) -> None:
    house.fake.hold()
    request_id = (await house.submit(song)).request_id
    house.fake.fail("cancel", *[Fault(status=401)] * 2)
    assert (await house.service.cancel(PERSON, request_id)).status is Status.CANCELLED
    assert house.fake.count("cancel") == 3


async def test_a_wish_that_no_token_of_ours_can_carry_out_gives_the_request_up(
    house: House, song: Path
) -> None:
    house.fake.hold()
    request_id = (await house.submit(song)).request_id
    for endpoint in ("cancel", "status"):
        house.fake.fail(endpoint, *[Fault(status=401, body={"message": "revoked"})] * 1_000)
    await house.service.cancel(PERSON, request_id)
    ended = await house.result(request_id)
    assert ended.status is Status.CANCELLED
    assert "Given up" in ended.message
    assert "(HTTP 401: revoked)" in ended.message
    assert house.fake.count("cancel") > 1


async def test_two_refused_cancellations_with_good_answers_between_them_are_no_revoked_token(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.hold()
    schedule = replace(quick_schedule(), unheard_of_seconds=0.01)  # less than lies between two looks
    async with open_house(fake, settings, schedule=schedule) as house:
        request_id = (await house.submit(song)).request_id
        fake.fail("cancel", *[Fault(status=401)] * 2)
        assert (await house.service.cancel(PERSON, request_id)).status is Status.CANCELLED
    assert [job.status for job in fake.jobs.values()] == ["cancelled"]


async def test_a_wish_ends_a_submission_that_is_refused_again_and_again(house: House, song: Path) -> None:
    house.fake.fail("submit", *[Fault(status=429)] * 1_000)
    submitting = asyncio.create_task(house.submit(song))
    await until(lambda: house.fake.count("submit") > 0)
    (request,) = await house.listed()
    cancellation = await house.service.cancel(PERSON, request.request_id)
    assert (cancellation.outcome, cancellation.status) == (CancelOutcome.CANCELLED, Status.CANCELLED)
    submitted = house.fake.count("submit")
    await submitting
    assert house.fake.count("submit") == submitted


async def test_a_hiccup_that_is_over_does_not_make_a_finished_file_one_to_give_up(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    calls, may_go_on = 0, asyncio.Event()

    async def fetch_slowly(url: str, destination: Path, *, policy: DownloadPolicy) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError
        await may_go_on.wait()
        await fetch(url, destination, policy=policy)

    async with open_house(fake, settings, fetch_link=fetch_slowly) as house:
        request_id = (await house.submit(song)).request_id
        await until(lambda: calls == 2)
        cancellation = await house.service.cancel(PERSON, request_id)
        assert cancellation.outcome is CancelOutcome.NOT_CANCELLABLE
        may_go_on.set()
        assert (await house.result(request_id)).status is Status.COMPLETED


async def test_a_file_that_cannot_be_fetched_can_be_given_up(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house(fake, settings, fetch_link=fetch_nothing) as house:
        request_id = (await house.submit(song)).request_id
        await house.status_once(request_id, lambda seen: "Trying again" in seen.message)
        cancellation = await house.service.cancel(PERSON, request_id)
    assert (cancellation.outcome, cancellation.status) == (CancelOutcome.CANCELLED, Status.CANCELLED)
    assert "which may be billed" in cancellation.message


async def test_a_file_that_cannot_be_fetched_can_be_given_up_whatever_server_tries(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async def fetch_for_ever(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    async with open_house(fake, settings, fetch_link=fetch_nothing) as house:
        request_id = (await house.submit(song)).request_id
        await house.status_once(request_id, lambda seen: "Trying again" in seen.message)
    asked = fake.count("result")
    async with open_house(fake, settings, fetch_link=fetch_for_ever) as house:
        await house.status_once(request_id, lambda seen: "fetching the result" in seen.message)
        await until(lambda: fake.count("result") > asked)
        cancellation = await house.service.cancel(PERSON, request_id)
        assert (await house.result(request_id)).cost_usd == house.jobs()[0].cost_usd
    assert (cancellation.outcome, cancellation.status) == (CancelOutcome.CANCELLED, Status.CANCELLED)
    assert "RunComfy has carried out 1 of 1 steps, which may be billed (its request" in cancellation.message
    assert fake.count("cancel") == 0


async def test_a_wish_to_give_up_a_file_that_cannot_be_fetched_outlives_the_server_that_heard_it(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house(fake, settings, fetch_link=fetch_nothing) as house:
        request_id = (await house.submit(song)).request_id
        await house.status_once(request_id, lambda seen: "Trying again" in seen.message)
    async with open_house(fake, settings, runs=False) as house:
        house.store.queue.cancel(request_id)
    async with open_house(fake, settings, fetch_link=fetch_nothing) as house:
        result = await house.result(request_id)
    assert result.status is Status.CANCELLED
    assert "which may be billed" in (result.error or "")
    assert fake.count("cancel") == 0


async def test_a_wish_outlives_the_server_that_heard_it(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.hold()
    async with open_house(fake, settings) as house:
        request_id = (await house.submit(song)).request_id
    async with open_house(fake, settings, runs=False) as house:
        house.store.queue.cancel(request_id)
    async with open_house(fake, settings) as house:
        assert (await house.result(request_id)).status is Status.CANCELLED
    assert [job.status for job in fake.jobs.values()] == ["cancelled"]


async def test_what_another_server_carries_out_is_cancelled_by_it(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.hold()
    async with open_house(fake, settings) as first, open_house(fake, settings) as second:
        request_id = (await first.submit(song)).request_id
        await until(lambda: fake.count("status") > 0)
        assert (await second.service.cancel(PERSON, request_id)).status is Status.CANCELLED
    assert fake.count("cancel") == 1


async def test_a_request_whose_answer_was_lost_cannot_be_cancelled(house: House, song: Path) -> None:
    house.fake.fail("submit", Fault(kind="drop"))
    request_id = (await house.submit(song)).request_id
    cancellation = await house.service.cancel(PERSON, request_id)
    assert cancellation.outcome is CancelOutcome.NOT_CANCELLABLE
    assert cancellation.message == "Nothing to cancel: the request is unknown."
    assert house.fake.count("cancel") == 0


async def test_a_wish_makes_no_cancelled_request_of_one_whose_answer_was_lost(
    fake: FakeRunComfy, settings: Settings, song: Path, others: OtherServer
) -> None:
    fake.fail("submit", Fault(kind="hang", accepts=True))
    async with open_house(fake, settings, accept_seconds=0) as house:
        request_id = (await house.submit(song)).request_id
        await until(lambda: fake.count("submit") == 1)
    others.want_all_cancelled()
    async with open_house(fake, settings) as house:
        assert (await house.result(request_id)).status is Status.UNKNOWN


async def test_what_is_cancelled_in_the_queue_costs_nothing_more_and_the_steps_before_are_told(
    house: House, song: Path
) -> None:
    house.fake.on("download", lambda _: house.fake.hold())
    request_id = (await house.submit(song, extend_before_duration=1)).request_id
    await house.status_once(request_id, lambda seen: "in RunComfy's queue" in seen.message)
    cancellation = await house.service.cancel(PERSON, request_id)
    assert (cancellation.outcome, cancellation.status) == (CancelOutcome.CANCELLED, Status.CANCELLED)
    assert "RunComfy has carried out 1 of 2 steps" in cancellation.message
    listed = await house.service.list(PERSON)
    assert (listed.spent_usd, listed.open_estimate_usd) == pytest.approx((house.jobs()[0].cost_usd, 0))

"""Money: what a request costs is said before it is sent, kept below the limit, and added up afterwards."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.fakes.runcomfy import Fault
from tests.hosting import open_house

from outpaint_mcp.errors import InsufficientBalance, OverBudget, ProviderRejected, Unauthorized
from outpaint_mcp.models import Status
from outpaint_mcp.principals import PERSON
from outpaint_mcp.providers.remote.plan import plan
from outpaint_mcp.providers.runcomfy.model import LIMITS
from outpaint_mcp.storage.records import RequestProgress, StepState

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.runcomfy import FakeRunComfy
    from tests.hosting import House
    from tests.waiting import Clock

    from outpaint_mcp.config import Settings
    from outpaint_mcp.errors import OutpaintError

pytestmark = pytest.mark.anyio


async def test_the_estimate_is_told_with_the_figures_that_it_rests_on(house: House, song: Path) -> None:
    house.fake.hold()
    submission = await house.submit(song)
    assert submission.estimated_cost_usd == pytest.approx(0.00085)
    assert (
        "At most $0.0009: 4 s x $0.0002 (RunComfy's catalogue, including the source's own seconds"
        in submission.message
    )
    [listed] = await house.listed()
    status = await house.service.status(PERSON, submission.request_id)
    assert listed.estimated_cost_usd == status.estimated_cost_usd == submission.estimated_cost_usd


async def test_a_price_for_each_output_is_counted_by_steps(house: House, song: Path) -> None:
    house.fake.hold()
    house.fake.switches = replace(house.fake.switches, price_unit="output", price_usd=0.05)
    submission = await house.submit(song, extend_before_duration=1)
    assert submission.estimated_cost_usd == pytest.approx(0.1)
    assert "At most $0.1000: 2 x $0.05 (RunComfy's catalogue)." in submission.message
    assert "In 2 paid steps: one side at a time" in submission.message


async def test_a_price_by_the_second_is_counted_over_all_steps(house: House, song: Path) -> None:
    house.fake.hold()
    submission = await house.submit(song, extend_before_duration=1, extend_after_duration=2)
    assert submission.estimated_cost_usd == pytest.approx((3 + 1.25 + 3 + 2.25) * 0.0002)


SILENT_CATALOGUES = {
    "not_there": [Fault(status=404)],
    "in_trouble": [Fault(status=500)] * 20,
    "hanging": [Fault(kind="hang")] * 20,
    "without_a_price": [Fault(status=200, body={"model_id": "acestep-ai/ace-step/audio-outpaint"})],
}


@pytest.mark.parametrize("faults", SILENT_CATALOGUES.values(), ids=SILENT_CATALOGUES)
async def test_where_the_catalogue_is_silent_the_estimate_says_that_it_is_the_list_price(
    house: House, song: Path, faults: list[Fault]
) -> None:
    house.fake.hold()
    house.fake.fail("model", *faults)
    submission = await house.submit(song)
    assert submission.estimated_cost_usd == pytest.approx(0.00085)
    assert "About $0.0009: 4 s x $0.0002 (the list price as reported by third parties" in submission.message
    assert "since the catalogue could not be read" in submission.message


@pytest.mark.parametrize("faults", SILENT_CATALOGUES.values(), ids=SILENT_CATALOGUES)
async def test_with_a_limit_nothing_is_sent_at_a_price_that_nobody_knows(
    fake: FakeRunComfy, settings: Settings, song: Path, faults: list[Fault]
) -> None:
    async with open_house(fake, settings, max_cost_usd=5) as house:
        house.be_quick()
        fake.fail("model", *faults)
        with pytest.raises(OverBudget, match=r"price could not be read.* limit of \$5 .*Try again later"):
            await house.submit(song)
        [listed] = await house.listed()
        assert (listed.status, listed.cost_usd, listed.estimated_cost_usd) == (Status.FAILED, 0, None)
    assert fake.count("submit") == 0


async def test_what_is_over_the_limit_is_refused_before_anything_is_sent(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house(fake, settings, max_cost_usd=0.0008) as house:
        with pytest.raises(OverBudget, match=r"\$0\.0009, .*limit of \$0\.0008 .*OUTPAINT_MAX_COST_USD"):
            await house.submit(song)
        [listed] = await house.listed()
        assert (listed.status, listed.cost_usd, listed.estimated_cost_usd) == (Status.FAILED, 0, None)
        assert fake.count("submit") == 0
        fake.hold()
        assert (await house.submit(song, extend_after_duration=0.5)).message.startswith("Accepted.")


async def test_every_step_counts_towards_the_limit(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house(fake, settings, max_cost_usd=0.0016) as house:
        with pytest.raises(OverBudget, match=r"\$0\.0017"):
            await house.submit(song, extend_before_duration=1)
    assert fake.count("submit") == 0


async def test_a_caller_has_the_limit_for_a_day_and_others_have_their_own(
    fake: FakeRunComfy, settings: Settings, song: Path, clock: Clock
) -> None:
    fake.hold()
    async with open_house(fake, settings, now=clock, max_day_usd=0.0018) as house:
        asked = [await house.submit(song, seed=seed, caller="ann") for seed in (1, 2)]
        with pytest.raises(OverBudget, match=r"after \$0\.0017 in the last 24 hours"):
            await house.submit(song, seed=3, caller="ann")
        await house.submit(song, seed=3, caller="bob")
        clock.now += 86_399
        with pytest.raises(OverBudget):
            await house.submit(song, seed=4, caller="ann")
        clock.now += 2
        with pytest.raises(OverBudget):  # what was asked for long ago and has not ended is still to be paid
            await house.submit(song, seed=4, caller="ann")
        fake.release()
        for each in asked:
            await house.result(each.request_id)
        clock.now += 86_400
        await house.submit(song, seed=5, caller="ann")
    assert fake.count("submit") == 4


async def test_one_person_on_a_machine_of_their_own_has_the_limit_for_each_request(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.hold()
    async with open_house(fake, settings, max_cost_usd=0.0009) as house:
        for seed in (1, 2, 3):
            await house.submit(song, seed=seed)
    assert fake.count("submit") == 3


async def test_what_it_really_cost_counts_once_that_is_known(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.switches = replace(fake.switches, billed_source=False)
    fake.hold()
    async with open_house(fake, settings, max_day_usd=0.0012) as house:
        first = await house.submit(song, caller="ann")
        with pytest.raises(OverBudget):
            await house.submit(song, seed=1, caller="ann")
        fake.release()
        assert (await house.result(first.request_id)).cost_usd == pytest.approx(0.00025)
        await house.submit(song, seed=2, caller="ann")


async def test_requests_at_once_cannot_slip_under_the_limit_together(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.hold()
    async with open_house(fake, settings, max_day_usd=0.0018) as house:
        answers = await asyncio.gather(
            *(house.submit(song, seed=seed, caller="ann") for seed in range(4)), return_exceptions=True
        )
    assert sum(isinstance(answer, OverBudget) for answer in answers) == 2
    assert fake.count("submit") == 2


async def test_what_it_cost_is_told_everywhere(house: House, song: Path) -> None:
    house.fake.switches = replace(house.fake.switches, billed_source=False)
    results = [await house.extend(song, seed=seed) for seed in (1, 2)]
    assert [result.cost_usd for result in results] == pytest.approx([0.00025] * 2)
    status = await house.service.status(PERSON, results[0].request_id)
    listed = await house.service.list(PERSON, limit=1)
    assert status.cost_usd == listed.requests[0].cost_usd == pytest.approx(0.00025)
    assert status.estimated_cost_usd is listed.requests[0].estimated_cost_usd is None
    assert (listed.spent_usd, listed.open_estimate_usd) == pytest.approx((0.0005, 0))


async def test_where_the_cost_is_not_told_the_estimate_stays(house: House, song: Path) -> None:
    house.fake.switches = replace(house.fake.switches, includes_cost=False)
    result = await house.extend(song)
    status, listed = await house.service.status(PERSON, result.request_id), await house.service.list(PERSON)
    assert result.cost_usd is status.cost_usd is listed.requests[0].cost_usd is None
    assert status.estimated_cost_usd == listed.requests[0].estimated_cost_usd == pytest.approx(0.00085)
    assert (listed.spent_usd, listed.open_estimate_usd) == pytest.approx((0, 0.00085))


async def test_what_may_have_been_billed_stays_with_its_estimate(house: House, song: Path) -> None:
    house.fake.fail("submit", Fault(kind="drop"))
    unknown = await house.submit(song)
    listed = await house.service.list(PERSON)
    assert (unknown.status, listed.requests[0].cost_usd) == (Status.UNKNOWN, None)
    assert (listed.spent_usd, listed.open_estimate_usd) == pytest.approx((0, 0.00085))


REFUSALS: dict[str, tuple[Fault, type[OutpaintError], str]] = {
    "bad_inputs": (Fault(status=422, body={"detail": "tags: bad"}), ProviderRejected, "tags: bad"),
    "no_permission": (Fault(status=403), Unauthorized, "may not use this model"),
    "no_token": (Fault(status=400, body={"error_code": 400004}), Unauthorized, "RUNCOMFY_API_TOKEN"),
    "no_money": (Fault(status=400, body={"error_code": 400002}), InsufficientBalance, "Top it up"),
    "no_money_at_200": (Fault(status=200, body={"error_code": 400002}), InsufficientBalance, "Top it up"),
}


@pytest.mark.parametrize(("fault", "kind", "words"), REFUSALS.values(), ids=REFUSALS)
async def test_what_was_refused_cost_nothing_and_says_why(
    house: House, song: Path, fault: Fault, kind: type[OutpaintError], words: str
) -> None:
    house.fake.fail("submit", fault)
    with pytest.raises(kind, match=words):
        await house.submit(song)
    listed = await house.service.list(PERSON)
    assert (listed.requests[0].status, listed.requests[0].cost_usd) == (Status.FAILED, 0)
    assert listed.requests[0].error
    assert words in listed.requests[0].error
    assert (listed.spent_usd, listed.open_estimate_usd) == (0, 0)


async def test_an_account_without_enough_money_is_told_its_balance(house: House, song: Path) -> None:
    house.fake.switches = replace(house.fake.switches, balance_usd=0.0)
    with pytest.raises(InsufficientBalance, match=r"Its balance is \$0\.00\."):
        await house.submit(song)
    assert (await house.service.list(PERSON)).open_estimate_usd == 0


async def test_a_failed_run_that_was_billed_is_counted(house: House, song: Path) -> None:
    house.fake.switches = replace(house.fake.switches, result_fails="string")
    await house.failed(song)
    assert (await house.service.list(PERSON)).spent_usd == pytest.approx(0.00085)


async def test_a_run_whose_file_is_of_no_use_is_counted(house: House, song: Path) -> None:
    house.fake.switches = replace(house.fake.switches, content="html")
    await house.failed(song)
    listed = await house.service.list(PERSON)
    assert (listed.spent_usd, listed.open_estimate_usd) == pytest.approx((0.00085, 0))


async def test_while_steps_are_left_the_whole_estimate_counts_and_not_only_what_is_paid(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house(fake, settings, runs=False) as house:
        request_id = (await house.submit(song, extend_before_duration=1)).request_id
        job = house.store.queue.claim("a server", "runcomfy")
        assert job
        steps = [
            replace(step, estimated_cost_usd=0.0008)
            for step in plan(LIMITS, 3, before_seconds=1, after_seconds=1)
        ]
        house.store.ledger.settle_plan(job.lease, steps, source_seconds=3, basis="")
        fetched = replace(steps[0], state=StepState.FETCHED, sent_at=1.0, cost_usd=0.0008)
        house.store.queue.update_step(job.lease, fetched)
        house.store.queue.report(job.lease, RequestProgress(status=Status.IN_PROGRESS))
        status, listed = await house.service.status(PERSON, request_id), await house.service.list(PERSON)
    assert (status.status, status.cost_usd) == (Status.IN_PROGRESS, 0.0008)
    assert (listed.spent_usd, listed.open_estimate_usd) == pytest.approx((0, 0.0016))

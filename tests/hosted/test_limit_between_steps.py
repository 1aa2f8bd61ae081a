"""Between the steps of a request: the limit holds to the last of them, and what costs more waits for the person."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.fakes.runcomfy import Fault
from tests.hosting import Parts, open_house, open_house_around
from tests.waiting import until

from outpaint_mcp.errors import OverBudget
from outpaint_mcp.models import Status
from outpaint_mcp.principals import PERSON
from outpaint_mcp.providers.remote.plan import plan
from outpaint_mcp.providers.runcomfy.model import LIMITS
from outpaint_mcp.storage.job_queue import JobQueue
from outpaint_mcp.storage.records import StepState
from outpaint_mcp.storage.spending import NotAgreed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.runcomfy import FakeRunComfy
    from tests.hosting import House
    from tests.waiting import Clock

    from outpaint_mcp.config import Settings
    from outpaint_mcp.reports.models import StatusReport
    from outpaint_mcp.storage.records import Lease, Step

pytestmark = pytest.mark.anyio

BOTH_SIDES: dict[str, Any] = {"extend_before_duration": 1, "extend_after_duration": 1}
TWO_STEPS_USD = 0.0017


def bill(fake: FakeRunComfy, bill: object) -> None:
    fake.switches = replace(fake.switches, bill=bill)


def planned() -> list[Step]:
    steps = plan(LIMITS, 3, before_seconds=1, after_seconds=1)
    return [replace(step, estimated_cost_usd=TWO_STEPS_USD / 2) for step in steps]


async def held(house: House, request_id: str) -> StatusReport:
    """Wait until a request waits for the person."""
    return await house.status_once(request_id, lambda seen: "waiting for agreement" in seen.message)


async def submit_held(house: House, song: Path) -> str:
    """Submit a request whose first bill is a surprise, and wait until it waits for the person; returns its id."""
    request_id = (await house.submit(song, **BOTH_SIDES)).request_id
    await held(house, request_id)
    return request_id


async def agree(house: House, request_id: str) -> None:
    question = await house.service.agreements.question(PERSON, request_id)
    assert question
    assert await house.service.agreements.agree(question)


async def test_of_six_steps_that_are_billed_at_a_hundred_times_the_limit_one_is_sent(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    bill(fake, 5.0)
    async with open_house(fake, settings, max_cost_usd=0.05) as house:
        submission = await house.submit(song, extend_before_duration=10, extend_after_duration=10)
        assert "In 6 paid steps" in submission.message
        result = await house.result(submission.request_id)
        listed = await house.service.list(PERSON)
        folder = house.settings.data_dir / "jobs" / submission.request_id
        await until(lambda: {path.name for path in folder.iterdir()} == {"step-1"})
        await house.service.housekeeper.tidy()
        assert (folder / "step-1").exists()  # paid for, and not lost
    assert fake.count("submit") == 1
    assert (result.status, result.cost_usd) == (Status.FAILED, 5.0)
    for words in (
        "over the limit of $0.05 that the operator has set (OUTPAINT_MAX_COST_USD)",
        "So far it has cost $5.0000; nothing more is sent.",
        f"stays in {folder} for a month (step-1)",
        "RunComfy has carried out 1 of 6 steps",
    ):
        assert words in (result.error or "")
    assert (listed.spent_usd, listed.open_estimate_usd) == (5.0, 0)


async def test_what_was_paid_for_before_the_limit_was_reached_is_deleted_after_a_month(
    fake: FakeRunComfy, settings: Settings, song: Path, clock: Clock
) -> None:
    bill(fake, 5.0)
    async with open_house(fake, settings, now=clock, max_cost_usd=0.05) as house:
        request_id = (await house.submit(song, **BOTH_SIDES)).request_id
        await house.result(request_id)
        part = house.settings.data_dir / "jobs" / request_id / "step-1"
        clock.now += 29 * 86_400
        await house.service.housekeeper.tidy()
        assert part.exists()
        clock.now += 2 * 86_400
        await house.service.housekeeper.tidy()
        assert not part.parent.exists()


async def test_what_was_billed_is_held_against_the_limit_by_the_next_server_too(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    """The server ends between the bill and the next step, and another one goes on."""
    bill(fake, 5.0)
    fake.switches = replace(fake.switches, download="expired")
    async with open_house(fake, settings, max_cost_usd=0.05) as house:
        request_id = (await house.submit(song, **BOTH_SIDES)).request_id
        await until(lambda: ("finished",) in house.rows("SELECT state FROM steps"))
    fake.switches = replace(fake.switches, download="ok")
    async with open_house(fake, settings) as house:  # the limit is that of the server that took it
        result = await house.result(request_id)
    assert "over the limit of $0.05" in (result.error or "")
    assert (result.status, fake.count("submit")) == (Status.FAILED, 1)


async def test_bills_below_their_estimates_change_nothing(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.switches = replace(fake.switches, billed_source=False)
    async with open_house(fake, settings, max_cost_usd=TWO_STEPS_USD) as house:
        result = await house.extend(song, **BOTH_SIDES)
    assert result.cost_usd == pytest.approx(0.0005)


async def test_a_bill_that_is_not_told_counts_as_its_estimate(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.switches = replace(fake.switches, includes_cost=False)
    async with open_house(fake, settings, max_cost_usd=TWO_STEPS_USD) as house:
        await house.extend(song, **BOTH_SIDES)
    assert fake.count("submit") == 2


async def test_a_step_that_cost_more_than_its_estimate_holds_the_rest_until_the_person_agrees(
    house: House, song: Path
) -> None:
    bill(house.fake, 0.25)
    request_id = (await house.submit(song, **BOTH_SIDES)).request_id
    seen = await held(house, request_id)
    assert seen.status is Status.IN_PROGRESS
    assert (
        "billed $0.2500, expected $0.0009; with what is left $0.2509 in all, instead of $0.0017;"
        " waiting for agreement" in seen.message
    )
    assert f"Ask the user to run `outpaint-mcp approve {request_id}`" in seen.message
    assert (seen.cost_usd, seen.estimated_cost_usd) == pytest.approx((0.25, 0.25085))
    assert (await house.service.list(PERSON)).open_estimate_usd == pytest.approx(0.25085)
    assert house.fake.count("submit") == 1
    bill(house.fake, None)
    await agree(house, request_id)
    result = await house.result(request_id)
    assert result.status is Status.COMPLETED
    assert result.cost_usd == pytest.approx(0.25085)
    assert "was expected" not in result.message  # it was agreed to
    assert house.fake.count("submit") == 2


async def test_whoever_waits_for_a_request_that_waits_for_the_person_waits_no_longer(
    house: House, song: Path
) -> None:
    bill(house.fake, 0.25)
    request_id = (await house.submit(song, **BOTH_SIDES)).request_id
    report = await house.service.result(PERSON, request_id, wait_seconds=600)
    assert report.status is Status.IN_PROGRESS
    assert "waiting for agreement" in report.message
    await house.service.cancel(PERSON, request_id)


async def test_agreeing_covers_what_was_billed_and_not_the_next_surprise(house: House, song: Path) -> None:
    bill(house.fake, 0.25)
    request_id = (await house.submit(song, extend_before_duration=1, extend_after_duration=4)).request_id
    await held(house, request_id)
    await agree(house, request_id)
    seen = await house.status_once(request_id, lambda seen: "billed $0.5000" in seen.message)
    assert "billed $0.5000, expected $0.2510" in seen.message
    assert house.fake.count("submit") == 2
    await agree(house, request_id)
    assert (await house.result(request_id)).cost_usd == pytest.approx(0.75)


async def test_the_last_steps_bill_asks_nobody_since_nothing_is_left_to_send(
    house: House, song: Path
) -> None:
    bill(house.fake, 0.25)
    result = await house.extend(song)
    assert result.cost_usd == 0.25
    for report in (result, await house.service.status(PERSON, result.request_id)):
        assert "RunComfy billed $0.2500, where $0.0009 was expected." in report.message
    assert await house.service.agreements.question(PERSON, result.request_id) is None


async def test_a_bill_that_is_off_by_some_hundredths_asks_nobody(house: House, song: Path) -> None:
    bill(house.fake, 0.00085 * 1.09)
    await house.extend(song, **BOTH_SIDES)


async def test_a_held_request_can_be_cancelled(house: House, song: Path) -> None:
    bill(house.fake, 0.25)
    request_id = await submit_held(house, song)
    cancellation = await house.service.cancel(PERSON, request_id)
    assert cancellation.status is Status.CANCELLED
    assert "RunComfy has carried out 1 of 2 steps" in cancellation.message
    assert await house.service.agreements.question(PERSON, request_id) is None
    listed = await house.service.list(PERSON)
    assert (listed.spent_usd, listed.open_estimate_usd) == (0.25, 0)
    assert house.fake.count("submit") == 1


async def test_a_held_request_is_still_held_by_the_server_that_takes_it_over(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    bill(fake, 0.25)
    async with open_house(fake, settings) as house:
        request_id = await submit_held(house, song)
    async with open_house(fake, settings) as house:
        await until(lambda: house.rows("SELECT attempt, server_id IS NOT NULL FROM jobs") == [(2, 1)])
        await held(house, request_id)
        assert (await house.service.status(PERSON, request_id)).status is Status.IN_PROGRESS
        assert fake.count("submit") == 1
        await agree(house, request_id)
        assert (await house.result(request_id)).status is Status.COMPLETED
    assert fake.count("submit") == 2


async def test_what_was_agreed_while_no_server_ran_holds_for_the_next(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    bill(fake, 0.25)
    async with open_house(fake, settings) as house:
        request_id = await submit_held(house, song)
    bill(fake, None)
    async with open_house(fake, settings, runs=False) as house:
        await agree(house, request_id)
    async with open_house(fake, settings) as house:
        assert (await house.result(request_id)).status is Status.COMPLETED


async def test_the_limit_is_not_exceeded_by_agreeing(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    """The first surprise is within the limit, and agreed to; the second is not."""
    bill(fake, 0.25)
    async with open_house(fake, settings, max_cost_usd=0.4) as house:
        request_id = (await house.submit(song, extend_before_duration=1, extend_after_duration=4)).request_id
        await held(house, request_id)
        await agree(house, request_id)
        result = await house.result(request_id)
    assert "So far it has cost $0.5000" in (result.error or "")
    assert fake.count("submit") == 2


async def test_nobody_agrees_to_figures_that_they_have_not_seen(house: House, song: Path) -> None:
    bill(house.fake, 0.25)
    request_id = await submit_held(house, song)
    question = await house.service.agreements.question(PERSON, request_id)
    assert question
    earlier = question._replace(costs=replace(question.costs, billed_usd=0.1))
    assert not await house.service.agreements.agree(earlier)
    assert house.fake.count("submit") == 1
    assert await house.service.agreements.question(PERSON, request_id) == question
    await house.service.cancel(PERSON, request_id)


async def test_the_bill_of_one_take_holds_the_others_too(house: House, song: Path) -> None:
    bill(house.fake, 0.25)
    submission = await house.submit(song, **BOTH_SIDES, takes=2)
    whole = submission.request_id
    takes = [take.request_id for take in house.store.journal.takes(whole)]
    for take in takes:
        await held(house, take)
    assert house.fake.count("submit") == 2
    question = await house.service.agreements.question(PERSON, takes[1])
    assert question == await house.service.agreements.question(PERSON, whole)
    assert question
    assert "(2 takes)" in question.text
    assert "billed $0.5000, expected $0.0017; with what is left $0.5017 in all" in question.text
    bill(house.fake, None)
    await agree(house, whole)
    assert (await house.result(whole)).status is Status.COMPLETED
    assert house.fake.count("submit") == 4


async def test_two_takes_cannot_slip_under_the_limit_together(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    """Each alone, with its own bill, would be within it."""
    bill(fake, 0.0012)
    async with open_house(fake, settings, max_cost_usd=2 * TWO_STEPS_USD + 1e-6) as house:
        request_id = (await house.submit(song, **BOTH_SIDES, takes=2)).request_id

        def have_stopped() -> bool:
            takes = house.store.journal.takes(request_id)
            return all(take.status.is_final or take.awaits_agreement for take in takes)

        await until(have_stopped)
        assert "over the limit" in str(house.rows("SELECT error FROM jobs"))
        await house.service.cancel(PERSON, request_id)
    assert fake.count("submit") <= 2  # of four


@pytest.mark.parametrize("limit", [None, 0.05])
async def test_a_price_that_rises_between_two_steps_is_seen_before_the_second_is_sent(
    fake: FakeRunComfy, settings: Settings, song: Path, limit: float | None
) -> None:
    raised: dict[str, Any] = {"price_usd": 0.002}
    fake.on("download", lambda _: setattr(fake, "switches", replace(fake.switches, **raised)))
    async with open_house(fake, settings, max_cost_usd=limit) as house:
        request_id = (await house.submit(song, **BOTH_SIDES)).request_id
        seen = await held(house, request_id)
        assert "with what is left $0.0094 in all, instead of $0.0017; waiting for agreement" in seen.message
        assert fake.count("submit") == 1
        raised["price_usd"] = 0.0002
        await agree(house, request_id)
        assert (await house.result(request_id)).status is Status.COMPLETED


async def test_a_price_that_rises_beyond_the_limit_between_two_steps_ends_the_request(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.on("download", lambda _: setattr(fake, "switches", replace(fake.switches, price_usd=0.2)))
    async with open_house(fake, settings, max_cost_usd=0.05) as house:
        request_id = (await house.submit(song, **BOTH_SIDES)).request_id
        result = await house.result(request_id)
    assert "This request would cost up to $0.8509, which is over the limit of $0.05" in (result.error or "")
    assert fake.count("submit") == 1


async def test_a_catalogue_that_falls_silent_between_two_steps_leaves_the_price_that_it_had(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.on("download", lambda _: fake.fail("model", Fault(status=404)))
    async with open_house(fake, settings, max_cost_usd=TWO_STEPS_USD) as house:
        await house.extend(song, **BOTH_SIDES)
    assert fake.count("submit") == 2


async def test_what_was_sent_and_not_billed_yet_counts_where_the_limit_is_reached(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.switches = replace(fake.switches, includes_cost=False)
    fake.on("download", lambda _: setattr(fake, "switches", replace(fake.switches, price_usd=0.2)))
    async with open_house(fake, settings, max_cost_usd=0.05) as house:
        result = await house.result((await house.submit(song, **BOTH_SIDES)).request_id)
    assert "So far it has cost $0.0009; nothing more is sent." in (result.error or "")


async def test_a_price_that_falls_between_two_steps_asks_nobody(house: House, song: Path) -> None:
    fake = house.fake
    fake.on("download", lambda _: setattr(fake, "switches", replace(fake.switches, price_usd=0.0001)))
    result = await house.extend(song, **BOTH_SIDES)
    assert result.cost_usd == pytest.approx(0.00085 + 0.000425)


async def test_a_price_that_rose_before_the_next_server_sends_the_first_step_asks_before_anything_is_paid(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house(fake, settings, runs=False) as house:
        request_id = (await house.submit(song, **BOTH_SIDES)).request_id
        job = house.store.queue.claim("a server", "runcomfy")
        assert job
        house.store.ledger.settle_plan(job.lease, planned(), source_seconds=3, basis="")
        house.store.queue.release(job.lease)
    fake.switches = replace(fake.switches, price_usd=0.02)
    async with open_house(fake, settings) as house:
        await held(house, request_id)
        assert house.jobs() == []
        await house.service.cancel(PERSON, request_id)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -1, 1e308, "NaN", 10**400])
async def test_a_bill_that_cannot_be_believed_is_told_and_in_no_sum_and_holds_the_rest(
    house: House, song: Path, odd: object
) -> None:
    bill(house.fake, odd)
    request_id = (await house.submit(song, **BOTH_SIDES)).request_id
    seen = await held(house, request_id)
    assert "a bill that cannot be believed (" in seen.message
    assert seen.cost_usd is None
    assert seen.estimated_cost_usd == pytest.approx(TWO_STEPS_USD)
    bill(house.fake, None)
    await agree(house, request_id)
    result = await house.result(request_id)
    assert result.status is Status.COMPLETED
    assert result.cost_usd is None
    for report in (result, await house.service.status(PERSON, request_id)):
        assert "RunComfy reports a cost that cannot be believed (" in report.message
    listed = await house.service.list(PERSON)
    assert (listed.spent_usd, listed.open_estimate_usd) == pytest.approx((0, TWO_STEPS_USD))
    assert "null" not in listed.model_dump_json(exclude_none=True)


async def test_a_bill_that_comes_between_the_look_and_the_sending_holds_the_step_all_the_same(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    asked: list[Step] = []

    class Queue(JobQueue):
        def begin_sending(self, lease: Lease, step: Step) -> None:
            if step.number == 2 and not asked:
                asked.append(step)
                with self._database.write("ledger") as connection:
                    connection.execute("UPDATE steps SET cost_usd = 0.25 WHERE number = 1")
            super().begin_sending(lease, step)

    async with open_house_around(Parts(queue=Queue), fake, settings) as house:
        request_id = await submit_held(house, song)
        assert (len(asked), fake.count("submit")) == (1, 1)
        await agree(house, request_id)
        assert (await house.result(request_id)).status is Status.COMPLETED


async def test_three_bills_beyond_all_measure_are_no_sum(house: House, song: Path) -> None:
    bill(house.fake, 1e308)
    for seed in (1, 2, 3):
        await house.extend(song, seed=seed)
    listed = await house.service.list(PERSON)
    assert (listed.spent_usd, listed.open_estimate_usd) == pytest.approx((0, 3 * 0.00085))


async def test_the_check_and_the_sending_are_one_transaction(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    """Whatever was looked at before: a step is not sent if another take's bill has come since."""
    async with open_house(fake, settings, runs=False, max_cost_usd=0.01) as house:
        whole = (await house.submit(song, **BOTH_SIDES, takes=2)).request_id
        queue, ledger = house.store.queue, house.store.ledger
        jobs = [queue.claim("a server", "runcomfy") for _ in range(2)]
        leases = [job.lease for job in jobs if job]
        steps = [
            replace(step, estimated_cost_usd=0.001)
            for step in plan(LIMITS, 3, before_seconds=1, after_seconds=1)
        ]
        for lease in leases:
            ledger.settle_plan(lease, steps, source_seconds=3, basis="")
        first = replace(steps[0], state=StepState.SENDING, sent_at=1.0)
        ledger.check_sending(whole)
        queue.update_step(leases[1], replace(first, state=StepState.FINISHED, cost_usd=0.002))
        with pytest.raises(NotAgreed):
            queue.begin_sending(leases[0], first)
        queue.update_step(leases[1], replace(first, state=StepState.FINISHED, cost_usd=5.0))
        with pytest.raises(OverBudget):
            queue.begin_sending(leases[0], first)
        assert house.rows("SELECT count(*) FROM steps WHERE state = 'sending'") == [(0,)]

"""How often the service is asked, and by whom; and that no answer to a question fails what is paid for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.runcomfy import Fault, Flaky, Switches
from tests.hosting import open_house
from tests.waiting import until

from outpaint_mcp.models import Status
from outpaint_mcp.principals import PERSON
from outpaint_mcp.providers.remote.schedule import PollSchedule

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.runcomfy import FakeRunComfy
    from tests.hosting import House

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio


class Metronome:
    """A clock and a sleep in a time of their own: who sleeps longest is woken last."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def clock(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self._sleepers.append((self.seconds + seconds, woken))
        await woken.wait()

    async def run(self) -> None:
        """Wake one sleeper after the other, each in its time."""
        await asyncio.sleep(0)
        while self._sleepers:
            self._sleepers.sort(key=lambda sleeper: sleeper[0])
            self.seconds, woken = self._sleepers.pop(0)
            woken.set()
            for _ in range(5):  # whoever was woken gets to its next sleep
                await asyncio.sleep(0)


@given(age=st.floats(0, 30))
def test_a_young_request_is_looked_at_every_two_seconds(age: float) -> None:
    assert PollSchedule().pause_seconds(age) == 2


@given(age=st.floats(0, 1e6), later=st.floats(0, 1e6))
def test_an_old_one_less_often_but_every_ten_seconds_at_least(age: float, later: float) -> None:
    schedule = PollSchedule()
    assert 2 <= schedule.pause_seconds(age) <= schedule.pause_seconds(age + later) <= 10
    assert schedule.pause_seconds(150 + later) == 10


async def test_who_comes_alone_does_not_wait() -> None:
    metronome = Metronome()
    schedule = PollSchedule(clock=metronome.clock, sleep=metronome.sleep)
    for _ in range(3):
        await schedule.turn()
        metronome.seconds += 0.2


async def test_a_hundred_requests_ask_no_more_than_five_times_a_second_in_all() -> None:
    metronome = Metronome()
    schedule = PollSchedule(clock=metronome.clock, sleep=metronome.sleep)
    asked: list[float] = []

    async def follow() -> None:
        for _ in range(4):
            await schedule.sleep(schedule.pause_seconds(0))
            await schedule.turn()
            asked.append(metronome.seconds)

    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(follow())
        group.create_task(metronome.run())
    assert len(asked) == 400
    assert min(later - earlier for earlier, later in pairwise(asked)) >= 0.2 - 1e-9
    assert asked[-1] - asked[0] < 400 / 5 + 2  # and none waits longer than that takes


async def test_many_who_wait_for_a_request_cause_no_more_questions(house: House, song: Path) -> None:
    request_id = (await house.submit(song)).request_id
    reports = await asyncio.gather(*(house.result(request_id) for _ in range(20)))
    assert {report.status for report in reports} == {Status.COMPLETED}
    assert len({report.path for report in reports}) == 1
    # Once in the queue, once in progress, once completed; then what was made.
    assert (house.fake.count("status"), house.fake.count("result"), house.fake.count("download")) == (3, 1, 1)


async def test_two_servers_on_one_data_folder_ask_no_more_than_one(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house(fake, settings) as first, open_house(fake, settings) as second:
        request_id = (await first.submit(song)).request_id
        reports = await asyncio.gather(*(house.result(request_id) for house in (first, second)))
    assert reports[0] == reports[1]
    assert (fake.count("submit"), fake.count("status"), fake.count("result")) == (1, 3, 1)


async def test_no_answer_to_a_question_fails_a_request(house: House, song: Path) -> None:
    house.be_quick()
    garbage = Fault(status=200, body="<html>all is well</html>")
    no_status = Fault(status=200, body={"request_id": "x"})
    trouble = Fault(status=200, body={"error_code": 500001, "error_message": "oh"})
    house.fake.fail(
        "status",
        *(Fault(status=502), Fault(status=503, retry_after="0"), garbage, Fault(status=429), no_status),
        *(Fault(kind="drop"), trouble, Fault(kind="hang"), Fault(status=401), Fault(status=500)),
    )
    house.fake.fail("result", Fault(status=504), garbage, Fault(kind="drop"))
    assert (await house.extend(song)).status is Status.COMPLETED
    assert house.fake.count("status") >= 10 + 3
    assert house.fake.count("submit") == 1


async def test_trouble_with_the_service_is_told_meanwhile(house: House, song: Path) -> None:
    house.fake.hold()
    request_id = (await house.submit(song)).request_id
    house.fake.fail("status", *[Fault(status=401, body={"message": "expired"})] * 1_000)
    seen = await house.status_once(request_id, lambda seen: "checked again" in seen.message)
    assert "1.25 s after; RunComfy does not accept the token (HTTP 401: expired)" in seen.message
    assert "it continues there, and is checked again" in seen.message


async def test_a_flaky_service_costs_time_and_nothing_else(house: House, song: Path) -> None:
    house.be_quick()
    flaky = Flaky(server_error=0.2, too_many=0.1, dropped=0.1, hang=0.05, seed=3)
    house.fake.on(
        "submit_accepted",
        lambda _: setattr(house.fake, "switches", replace(house.fake.switches, flaky=flaky)),
    )
    assert (await house.extend(song)).status is Status.COMPLETED
    assert house.fake.count("submit") == 1


async def test_a_request_that_the_service_has_forgotten_fails_with_the_reason(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.hold()
    async with open_house(fake, settings) as house:
        request_id = (await house.submit(song)).request_id
    [job] = fake.jobs.values()
    fake.expire(job.request_id)
    async with open_house(fake, settings) as house:
        result = await house.result(request_id)
    assert result.status is Status.FAILED
    assert f"does not know the request any more ({job.request_id}): it has expired" in (result.error or "")
    assert fake.count("submit") == 1


async def test_a_young_request_that_is_not_known_everywhere_yet_is_waited_for(
    house: House, song: Path
) -> None:
    house.fake.on("submit_accepted", house.fake.expire)
    request_id = (await house.submit(song)).request_id
    await until(lambda: house.fake.count("status") >= 4)
    assert (await house.service.status(PERSON, request_id)).status is Status.IN_QUEUE
    house.jobs()[0].is_expired = False
    assert (await house.result(request_id)).status is Status.COMPLETED


async def test_the_place_in_the_services_queue_is_passed_on(house: House, song: Path) -> None:
    house.fake.switches = Switches(queue_polls=3)
    house.fake.hold()
    request_id = (await house.submit(song)).request_id
    seen = await house.status_once(request_id, lambda seen: seen.queue_position == 3)
    assert seen.status is Status.IN_QUEUE
    assert seen.message.startswith("In the queue, 2 ahead (1.25 s after).")
    house.fake.release()
    assert (await house.result(request_id)).status is Status.COMPLETED


async def test_words_that_nobody_documented_count_as_waiting(house: House, song: Path) -> None:
    house.fake.switches = Switches(status_words=("pending", "starting", "refining"))
    house.fake.on("status", lambda _: house.fake.hold() if house.jobs()[0].status == "refining" else None)
    request_id = (await house.submit(song)).request_id
    seen = await house.status_once(request_id, lambda seen: "RunComfy says refining" in seen.message)
    assert seen.status is Status.IN_PROGRESS
    house.fake.finish_all()
    assert (await house.result(request_id)).status is Status.COMPLETED

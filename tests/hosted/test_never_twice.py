"""A request is sent once: not again by whoever asks again, and not by us, whatever becomes of its answer."""

# ruff: noqa: ASYNC240 - small files in a folder of the test's own

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from mcp.client import Client
from tests.fakes.runcomfy import Fault, Switches
from tests.hosting import Parts, nobodys_base, open_house, open_house_around, settings_on
from tests.waiting import until
from tests.warm import around

from outpaint_mcp.errors import ProviderRejected, RateLimited
from outpaint_mcp.models import Status
from outpaint_mcp.principals import PERSON
from outpaint_mcp.server.app import build_server
from outpaint_mcp.storage.job_queue import JobQueue

if TYPE_CHECKING:
    from tests.fakes.runcomfy import FakeRunComfy
    from tests.hosting import House
    from tests.waiting import Clock

    from outpaint_mcp.config import Settings
    from outpaint_mcp.storage.records import Lease, Step

pytestmark = pytest.mark.anyio


async def test_the_same_request_again_is_the_first_one_and_the_answer_says_so(
    house: House, song: Path
) -> None:
    house.fake.hold()
    first = await house.submit(song)
    assert first.message.startswith("Accepted.")
    again = await house.submit(song)
    assert again.request_id == first.request_id
    assert "Nothing new was started: an identical request was submitted" in again.message
    assert "another seed" in again.message
    house.fake.release()
    await house.result(first.request_id)
    after_the_end = await house.submit(song)
    assert (after_the_end.request_id, after_the_end.status) == (first.request_id, Status.COMPLETED)
    assert house.fake.count("submit") == 1


async def test_five_at_once_are_one_request(house: House, song: Path) -> None:
    house.fake.hold()
    answers = await asyncio.gather(*(house.submit(song, seed=-1) for _ in range(5)))
    assert len({answer.request_id for answer in answers}) == 1
    assert sum("Nothing new was started" in answer.message for answer in answers) == 4
    await until(lambda: house.fake.count("status") > 0)
    assert house.fake.count("submit") == 1


async def test_five_at_once_through_the_tools_are_one_request(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.hold()
    arguments = {"audio": str(song), "tags": "lofi", "extend_after_duration": 1}
    async with Client(build_server(settings_on(fake, settings), surroundings=around())) as client:
        answers = await asyncio.gather(*(client.call_tool("submit_outpaint", arguments) for _ in range(5)))
        await until(lambda: fake.count("submit") > 0)
    structures = [answer.structured_content or {} for answer in answers]
    assert len(structures) == 5
    assert len({each["request_id"] for each in structures}) == 1
    assert sum("Nothing new was started" in each["message"] for each in structures) == 4
    assert fake.count("submit") == 1


async def test_whatever_makes_a_difference_makes_another_request(house: House, song: Path) -> None:
    house.fake.hold()
    ids = {(await house.submit(song)).request_id}
    changes: list[dict[str, Any]] = [
        {"seed": 8},
        {"tags": "metal"},
        {"lyrics": "la"},
        {"extend_after_duration": 1.5},
        {"caller": "somebody else"},
    ]
    for number, change in enumerate(changes, 2):
        ids.add((await house.submit(song, **change)).request_id)
        assert len(ids) == house.fake.count("submit") == number


async def test_a_file_that_has_changed_is_another_source(house: House, song: Path) -> None:
    house.fake.hold()
    first = await house.submit(song)
    seen = song.stat()
    os.utime(song, ns=(seen.st_atime_ns, seen.st_mtime_ns + 1))
    second = await house.submit(song)
    assert second.request_id != first.request_id
    assert house.fake.count("submit") == 2


async def test_what_was_refused_does_not_stand_in_the_way(house: House, song: Path) -> None:
    house.fake.fail("submit", Fault(status=422))
    with pytest.raises(ProviderRejected):
        await house.submit(song)
    assert (await house.submit(song)).message.startswith("Accepted.")
    assert house.fake.count("submit") == 2


async def test_what_was_cancelled_does_not_stand_in_the_way(house: House, song: Path) -> None:
    house.fake.hold()
    first = await house.submit(song)
    await house.service.cancel(PERSON, first.request_id)
    second = await house.submit(song)
    assert second.request_id != first.request_id
    assert second.message.startswith("Accepted.")


async def test_ten_minutes_after_one_that_was_made_the_same_request_is_a_new_one(
    fake: FakeRunComfy, settings: Settings, song: Path, clock: Clock
) -> None:
    async with open_house(fake, settings, now=clock) as house:
        first = await house.extend(song)
        clock.now += 599
        assert (await house.submit(song)).request_id == first.request_id
        clock.now += 2
        assert (await house.submit(song)).request_id != first.request_id


async def test_what_is_under_way_or_nobody_knows_the_fate_of_is_the_same_request_at_any_age(
    fake: FakeRunComfy, settings: Settings, song: Path, clock: Clock
) -> None:
    fake.hold()
    async with open_house(fake, settings, now=clock) as house:
        waiting = await house.submit(song)
        fake.fail("submit", Fault(kind="drop"))
        unknown = await house.submit(song, seed=5)
        clock.now += 86_400
        again = await house.submit(song)
        assert (again.request_id, again.is_repeat) == (waiting.request_id, True)
        assert (await house.submit(song, seed=5)).request_id == unknown.request_id
    assert fake.count("submit") == 2


async def test_one_that_has_failed_unseen_does_not_stand_in_the_way(house: House, song: Path) -> None:
    house.fake.switches = replace(house.fake.switches, result_fails="absent")
    first = await house.submit(song)
    await until(lambda: house.record(first.request_id).status.is_final)
    second = await house.submit(song)
    assert second.request_id != first.request_id
    assert second.is_repeat is None


async def test_one_whose_longer_file_was_taken_away_is_made_anew(house: House, song: Path) -> None:
    first = await house.extend(song)
    assert (await house.submit(song)).request_id == first.request_id
    assert first.path
    Path(first.path).unlink()
    second = await house.extend(song)
    assert second.request_id != first.request_id
    assert second.sha256 == first.sha256
    assert house.fake.count("submit") == 2


LOST = {
    "server_error": Fault(status=500),
    "bad_gateway": Fault(status=502, body="<html>Bad Gateway</html>"),
    "timed_out_there": Fault(status=504, accepts=True),
    "trouble_inside_of_a_success": Fault(status=200, body={"error_code": 500001, "error_message": "oh"}),
    "dropped": Fault(kind="drop"),
    "dropped_unread": Fault(kind="refuse"),
    "hanging": Fault(kind="hang", accepts=True),
    "without_an_id": Fault(status=200, body={"status": "in_queue"}),
}


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
async def test_a_submission_whose_answer_was_lost_is_unknown_everywhere_and_never_sent_again(
    fake: FakeRunComfy, settings: Settings, song: Path, fault: Fault
) -> None:
    fake.fail("submit", fault)
    async with open_house(fake, settings) as house:
        house.be_quick()
        submission = await house.submit(song, tags="a tired waltz", seed=77, lyrics="nobody's business")
        request_id = submission.request_id
        again = await house.submit(song, tags="a tired waltz", seed=77, lyrics="nobody's business")
        assert (again.request_id, again.status) == (request_id, Status.UNKNOWN)
        assert "Nothing new was started" in again.message
    async with open_house(fake, settings) as house:  # as after a restart
        status, result = await house.service.status(PERSON, request_id), await house.result(request_id)
        [listed] = await house.listed()
        cancellation = await house.service.cancel(PERSON, request_id)
    assert {submission.status, status.status, result.status, listed.status} == {Status.UNKNOWN}
    assert cancellation.outcome == "not_cancellable"
    for words in (submission.message, again.message, status.error, result.error, listed.error):
        assert words
        assert 'tags "a tired waltz", seed 77' in words
        assert "1.25 s after" in words
        assert re.search(r"Sent at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", words)
        assert "may have been carried out and billed" in words
        assert "nobody's business" not in words
    assert "never resubmitted automatically" in status.message
    assert fake.count("submit") == 1


async def test_it_is_all_on_disk_before_anything_is_sent(house: House, song: Path) -> None:
    seen: list[tuple[Any, ...]] = []

    def look(_: str) -> None:
        seen.extend(
            house.rows(
                "SELECT requests.request_id, requests.provider, jobs.estimated_cost_usd, steps.state,"
                " steps.sent_at > 0, steps.remote_id FROM requests JOIN jobs USING (request_id)"
                " JOIN steps USING (request_id)"
            )
        )

    house.fake.on("submit_read", look)
    submission = await house.submit(song)
    assert seen == [(submission.request_id, "runcomfy", pytest.approx(0.00085), "sending", 1, None)]


async def test_a_server_that_leaves_while_it_is_sending_waits_for_the_answer(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    answered = Event()

    def take_time(_: str) -> None:
        answered.wait(30)

    fake.on("submit_read", take_time)
    async with open_house(fake, settings, accept_seconds=0) as house:
        request_id = (await house.submit(song)).request_id
        await until(lambda: fake.count("submit") == 1)
        leaving = asyncio.get_running_loop()
        leaving.call_soon(leaving.call_soon, leaving.call_soon, answered.set)  # once it is on its way out
    async with open_house(fake, settings) as house:
        assert (await house.result(request_id)).status is Status.COMPLETED
    assert fake.count("submit") == 1


async def test_a_server_that_could_not_wait_for_the_answer_leaves_an_unknown_request(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.fail("submit", Fault(kind="hang", accepts=True))
    async with open_house(fake, settings, accept_seconds=0) as house:
        request_id = (await house.submit(song)).request_id
        await until(lambda: fake.count("submit") == 1)
    async with open_house(fake, settings) as house:
        result = await house.result(request_id)
    assert result.status is Status.UNKNOWN
    assert "the server stopped before it arrived" in (result.error or "")
    assert fake.count("submit") == 1


async def test_what_was_refused_unread_is_sent_again_in_a_moment_and_taken_on_once(
    house: House, song: Path
) -> None:
    house.fake.fail("submit", Fault(status=429, retry_after="0"), Fault(status=429, body="<html>"))
    result = await house.extend(song)
    assert result.status is Status.COMPLETED
    assert (house.fake.count("submit"), len(house.jobs())) == (3, 1)


@pytest.mark.parametrize("retry_after", [None, "60"])
async def test_what_is_refused_for_too_long_fails_and_costs_nothing_and_what_asks_for_longer_is_asked_once(
    house: House, song: Path, retry_after: str | None
) -> None:
    house.fake.fail("submit", *[Fault(status=429, retry_after=retry_after)] * 1_000)
    with pytest.raises(RateLimited, match="not accepted, and is not billed"):
        await house.submit(song)
    assert (house.fake.count("submit") == 1) is (retry_after is not None)
    assert house.jobs() == []


async def test_a_submission_that_may_have_been_taken_on_after_a_refusal_is_not_sent_again_either(
    house: House, song: Path
) -> None:
    house.fake.fail("submit", Fault(status=429, retry_after="0"), Fault(kind="drop"))
    result = await house.result((await house.submit(song)).request_id)
    assert result.status is Status.UNKNOWN
    assert (house.fake.count("submit"), len(house.jobs())) == (2, 1)


@pytest.mark.parametrize("why", ["refused unread", "offline"])
async def test_between_two_tries_a_step_is_not_under_way_and_is_the_next_servers_to_send(
    fake: FakeRunComfy, settings: Settings, song: Path, why: str
) -> None:
    base = fake.base if why == "refused unread" else nobodys_base()
    fake.fail("submit", *[Fault(status=429)] * 2)
    async with open_house(fake, settings, accept_seconds=0, runcomfy_base=base) as house:
        request_id = (await house.submit(song)).request_id
        await until(lambda: house.rows("SELECT 1 FROM steps") != [])
        await until(lambda: fake.count("submit") == 1 or why == "offline")
        await until(lambda: house.rows("SELECT state, sent_at FROM steps") == [("planned", None)])
        refused = fake.count("submit")
    assert fake.count("submit") == refused
    async with open_house(fake, settings) as house:
        assert (await house.result(request_id)).status is Status.COMPLETED
    assert len(fake.jobs) == 1


async def test_what_was_accepted_goes_on_with_the_next_server(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.hold()
    async with open_house(fake, settings) as house:
        request_id = (await house.submit(song)).request_id
    fake.release()
    async with open_house(fake, settings) as house:
        assert (await house.result(request_id)).status is Status.COMPLETED
    assert fake.count("submit") == 1


async def test_what_was_not_sent_yet_is_sent_by_the_next_server(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.switches = Switches(queue_polls=0, running_polls=0)
    async with open_house(fake, settings, accept_seconds=0, runs=False) as house:
        submission = await house.submit(song)
    assert (submission.status, fake.count("submit")) == (Status.IN_QUEUE, 0)
    async with open_house(fake, settings) as house:
        assert (await house.result(submission.request_id)).status is Status.COMPLETED
    assert fake.count("submit") == 1


async def test_a_server_that_leaves_before_it_has_posted_leaves_nothing_unknown(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    is_written, may_return = Event(), Event()

    class SlowDisk(JobQueue):
        """Takes its time to say that a step is on disk."""

        def begin_sending(self, lease: Lease, step: Step) -> None:
            super().begin_sending(lease, step)
            is_written.set()
            may_return.wait(10)

    async with open_house_around(Parts(queue=SlowDisk), fake, settings) as house:
        submitting = asyncio.create_task(house.submit(song))
        await until(is_written.is_set)
        asyncio.get_running_loop().call_later(0.3, may_return.set)  # while the server leaves
    submitting.cancel()
    await asyncio.wait({submitting})
    assert fake.count("submit") == 0
    async with open_house(fake, settings) as house:
        (request,) = await house.listed()
        assert (await house.result(request.request_id)).status is Status.COMPLETED
    assert fake.count("submit") == 1

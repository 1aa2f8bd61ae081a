"""No more submissions are looked at, or wait for that, than a process can hold."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest
from tests.waiting import until

from outpaint_mcp.errors import ServerBusy
from outpaint_mcp.principals import PERSON, Principal
from outpaint_mcp.service import admission
from outpaint_mcp.service.admission import Admission

if TYPE_CHECKING:
    from collections.abc import Awaitable

pytestmark = pytest.mark.anyio


class Crowd:
    """Submissions that stay until they are let go."""

    def __init__(self, gate: Admission) -> None:
        self.gate = gate
        self.inside = self.most_inside = 0
        self.may_go = asyncio.Event()

    async def submit(self, principal: Principal = PERSON) -> None:
        async with self.gate.turn(principal):
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            await self.may_go.wait()
            self.inside -= 1

    def come(self, number: int, principal: Principal = PERSON) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self.submit(principal)) for _ in range(number)]

    async def outcomes(self, *submissions: Awaitable[None]) -> list[BaseException | None]:
        self.may_go.set()
        return await asyncio.gather(*submissions, return_exceptions=True)


async def test_of_two_thousand_at_once_some_wait_and_the_rest_are_told_when_to_try_again() -> None:
    crowd = Crowd(Admission())
    submissions = crowd.come(2_000)
    taken = admission.MOST_SUBMISSIONS + admission.MOST_WAITING
    await until(lambda: sum(each.done() for each in submissions) == 2_000 - taken)
    refused = [each.exception() for each in submissions if each.done()]
    assert all(isinstance(each, ServerBusy) for each in refused)
    assert re.search(r"busy.* Try again in [1-9]\d* s\.$", str(refused[0]))
    assert (await crowd.outcomes(*submissions)).count(None) == taken
    assert crowd.most_inside == admission.MOST_SUBMISSIONS


async def test_whoever_stops_waiting_or_fails_inside_leaves_a_place() -> None:
    crowd = Crowd(Admission(most_submissions=1, most_waiting=1))
    first, second = crowd.come(2)
    await until(lambda: crowd.inside == 1)
    for waiting in (second, first):
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    crowd.inside = 0
    assert await crowd.outcomes(*crowd.come(2)) == [None, None]


async def test_no_caller_takes_all_places_and_what_they_leave_is_theirs_again() -> None:
    ann, ben = Principal(client="ann"), Principal(client="ben")
    crowd = Crowd(Admission(most_submissions=2, most_waiting=8, most_of_one_caller=3))
    theirs = crowd.come(6, ann)
    await until(lambda: sum(each.done() for each in theirs) == 3)
    assert all(isinstance(each.exception(), ServerBusy) for each in theirs if each.done())
    others = [*crowd.come(2, ben), *crowd.come(4)]
    assert (await crowd.outcomes(*others)) == [None] * 6
    await asyncio.wait(theirs)
    assert (await crowd.outcomes(*crowd.come(3, ann))) == [None] * 3

"""Waiting for requests: woken at once, by one look for all who wait, and for no longer than they want to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import pytest
from tests.stores import add, at_work, claim, end, new_request
from tests.waiting import until

from outpaint_mcp.errors import RequestNotFound
from outpaint_mcp.jobs.signal import UpdateSignal
from outpaint_mcp.models import Status
from outpaint_mcp.principals import PERSON
from outpaint_mcp.reports.progress import in_words
from outpaint_mcp.service.poller import StatusPoller
from outpaint_mcp.storage.journal import Journal
from outpaint_mcp.storage.records import RequestProgress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.principals import Principal
    from outpaint_mcp.storage.records import RequestRecord
    from outpaint_mcp.storage.store import Store

pytestmark = pytest.mark.anyio

LONG_SECONDS = 3_600.0


class CountingJournal(Journal):
    """The real journal, and how often it was looked into."""

    looks = 0

    def takes_of(self, principal: Principal, request_id: str) -> list[RequestRecord]:
        self.looks += 1
        return super().takes_of(principal, request_id)

    def takes_of_all(self, request_ids: Sequence[str]) -> dict[str, list[RequestRecord]]:
        self.looks += 1
        return super().takes_of_all(request_ids)


@pytest.fixture
def journal(store: Store) -> CountingJournal:
    return CountingJournal(store._database)


@pytest.fixture
def signal() -> UpdateSignal:
    return UpdateSignal()


@pytest.fixture
def poller(journal: CountingJournal, signal: UpdateSignal) -> StatusPoller:
    return StatusPoller(journal, signal)


async def test_a_request_is_looked_at_once_where_nobody_wants_to_wait(
    store: Store, poller: StatusPoller, journal: CountingJournal
) -> None:
    request_id = add(store)
    (found,) = await poller.follow(PERSON, request_id, 0)
    assert (found.request_id, found.status) == (request_id, Status.IN_QUEUE)
    assert journal.looks == 1


async def test_who_waits_gets_all_takes_as_soon_as_all_have_ended(
    store: Store, poller: StatusPoller, signal: UpdateSignal
) -> None:
    new = new_request(takes=2)
    store.journal.add(new)
    waiting = asyncio.create_task(poller.follow(PERSON, new.request_id, LONG_SECONDS))
    end(store, new.ids[0])
    signal.notify(new.ids[0])
    await asyncio.sleep(0.1)
    assert not waiting.done()
    end(store, new.ids[1], Status.FAILED)
    signal.notify(new.ids[1])
    with anyio.fail_after(60):
        found = await waiting
    assert [take.status for take in found] == [Status.COMPLETED, Status.FAILED]


async def test_the_end_that_another_process_wrote_is_seen_though_it_wakes_nobody(
    store: Store, elsewhere: Store, poller: StatusPoller
) -> None:
    request_id = add(store)
    waiting = asyncio.create_task(poller.follow(PERSON, request_id, LONG_SECONDS))
    await asyncio.sleep(0)
    end(elsewhere, request_id)
    with anyio.fail_after(60):
        (found,) = await waiting
    assert found.status is Status.COMPLETED


async def test_a_wait_ends_when_it_is_over_with_where_the_request_is(
    store: Store, poller: StatusPoller
) -> None:
    request_id = add(store)
    with anyio.fail_after(60):
        (found,) = await poller.follow(PERSON, request_id, 0.1)
    assert found.status is Status.IN_QUEUE


async def test_many_who_wait_share_each_look(
    store: Store, poller: StatusPoller, journal: CountingJournal
) -> None:
    request_id = add(store)
    updates = 0

    async def count(_progress: RequestProgress) -> None:
        nonlocal updates
        updates += 1

    waiting = [asyncio.create_task(poller.follow(PERSON, request_id, LONG_SECONDS, count)) for _ in range(20)]
    await until(lambda: updates >= 20 * 4)
    end(store, request_id)
    with anyio.fail_after(60):
        await asyncio.gather(*waiting)
    first_looks = len(waiting)
    assert journal.looks - first_looks <= updates / 20 + 2


async def test_one_who_leaves_does_not_end_the_look_of_the_others(store: Store, poller: StatusPoller) -> None:
    request_id = add(store)
    one, other = (asyncio.create_task(poller.follow(PERSON, request_id, LONG_SECONDS)) for _ in range(2))
    await until(lambda: bool(poller._looks))
    one.cancel()
    await asyncio.wait({one})
    end(store, request_id)
    with anyio.fail_after(60):
        (found,) = await other
    assert found.status is Status.COMPLETED


async def test_a_look_that_is_under_way_ends_with_the_poller_whether_anybody_waits_for_it_or_not(
    store: Store, poller: StatusPoller
) -> None:
    requests = add(store), add(store)
    before = asyncio.all_tasks()
    waiting, leaving = (asyncio.create_task(poller.follow(PERSON, each, LONG_SECONDS)) for each in requests)
    await until(lambda: len(poller._looks) == len(requests))
    leaving.cancel()
    await asyncio.wait({leaving})
    await poller.close()
    assert [each.status for each in await waiting] == [Status.IN_QUEUE]
    assert asyncio.all_tasks() == before


async def test_whoever_waits_when_waiting_ends_gets_where_the_request_is_and_so_does_whoever_comes_then(
    store: Store, poller: StatusPoller
) -> None:
    requests = [add(store) for _ in range(3)]
    waiting = [asyncio.create_task(poller.follow(PERSON, each, LONG_SECONDS)) for each in requests]
    await until(lambda: len(poller._looks) == len(requests))
    poller.stop_waiting()
    with anyio.fail_after(60):
        found = await asyncio.gather(*waiting, poller.follow(PERSON, requests[0], LONG_SECONDS))
    assert [(each.request_id, each.status) for (each,) in found] == [
        (each, Status.IN_QUEUE) for each in (*requests, requests[0])
    ]


async def test_all_that_are_waited_for_are_read_in_one_go(
    store: Store, poller: StatusPoller, journal: CountingJournal
) -> None:
    requests = [add(store) for _ in range(30)]
    updates = 0

    async def count(_progress: RequestProgress) -> None:
        nonlocal updates
        updates += 1

    waiting = [asyncio.create_task(poller.follow(PERSON, each, LONG_SECONDS, count)) for each in requests]
    await until(lambda: updates >= 30 * 5)
    first_looks, looks = len(requests), journal.looks
    poller.stop_waiting()
    await asyncio.gather(*waiting)
    assert looks - first_looks <= updates / 3


async def test_one_that_is_deleted_while_somebody_waits_is_not_found_any_more(
    store: Store, poller: StatusPoller
) -> None:
    gone, other = add(store), add(store)
    waiting = [asyncio.create_task(poller.follow(PERSON, each, LONG_SECONDS)) for each in (gone, other)]
    await until(lambda: len(poller._looks) == 2)
    with store._database.write("test") as connection:
        connection.execute("DELETE FROM jobs WHERE request_id = ?", (gone,))
        connection.execute("DELETE FROM requests WHERE request_id = ?", (gone,))
    end(store, other)
    with pytest.raises(RequestNotFound):
        await waiting[0]
    (found,) = await waiting[1]
    assert found.status is Status.COMPLETED


async def test_who_waits_is_kept_up_to_date(store: Store, poller: StatusPoller, signal: UpdateSignal) -> None:
    request_id = add(store)
    updates: list[RequestProgress] = []

    async def note(progress: RequestProgress) -> None:
        updates.append(progress)

    waiting = asyncio.create_task(poller.follow(PERSON, request_id, LONG_SECONDS, note))
    await until(lambda: bool(updates))
    job = claim(store)
    store.queue.report(job.lease, at_work(0.5, "listening"))
    signal.notify(request_id)
    await until(lambda: updates[-1] == at_work(0.5, "listening"))
    store.queue.end(job.lease, Status.CANCELLED)
    signal.notify(request_id)
    await waiting
    assert updates[0] == RequestProgress(status=Status.IN_QUEUE, queue_position=1)


async def test_an_unknown_request_is_not_waited_for(poller: StatusPoller) -> None:
    with pytest.raises(RequestNotFound):
        await poller.follow(PERSON, "op_00000000000000000000", LONG_SECONDS)


async def test_a_take_can_be_waited_for_by_its_own_id(store: Store, poller: StatusPoller) -> None:
    new = new_request(takes=2)
    store.journal.add(new)
    end(store, new.ids[0])
    end(store, new.ids[1], Status.FAILED)
    (found,) = await poller.follow(PERSON, new.ids[1], LONG_SECONDS)
    assert (found.request_id, found.status) == (new.ids[1], Status.FAILED)


@pytest.mark.parametrize(
    ("live", "words"),
    [
        (RequestProgress(status=Status.IN_QUEUE, queue_position=1), "Next in the queue"),
        (RequestProgress(status=Status.IN_QUEUE, queue_position=3), "In the queue, 2 ahead"),
        (at_work(0.425, "listening"), "In progress (listening), 42% done"),
    ],
)
def test_where_a_request_is_takes_a_few_words(live: RequestProgress, words: str) -> None:
    assert in_words(live) == words

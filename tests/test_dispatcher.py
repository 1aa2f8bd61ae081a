"""The dispatcher at work: every job is carried out once and comes to an end, whatever goes wrong around it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from tests.dispatching import dispatching, has, has_ended, is_free, refusing
from tests.stores import add, at_work, claim, outcome, settle_plan
from tests.waiting import until

from outpaint_mcp.errors import (
    GenerationFailed,
    Hint,
    ServerStopping,
    SourceUnreachable,
    StorageFailed,
    SubmissionUnknown,
)
from outpaint_mcp.jobs.liveness import Presence
from outpaint_mcp.jobs.run import PermanentFailure, RunCancelled
from outpaint_mcp.jobs.signal import UpdateSignal
from outpaint_mcp.models import Status
from outpaint_mcp.storage.job_queue import JobQueue
from outpaint_mcp.storage.leased_jobs import LeaseLost
from outpaint_mcp.storage.records import CancelWish, Credentials, Lease
from outpaint_mcp.storage.store import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.stores import Stores

    from outpaint_mcp.config import Settings
    from outpaint_mcp.jobs.run import Run
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.storage.records import Job
    from outpaint_mcp.storage.store import Store

pytestmark = pytest.mark.anyio


async def finish_at_once(_run: Run) -> Outcome:
    return outcome()


async def work_for_ever(run: Run) -> Outcome:
    await run.report(at_work())
    await asyncio.Event().wait()
    raise AssertionError


class FakeExecutor:
    """Carries jobs out as a test says, and remembers which."""

    def __init__(self, work: Callable[[Run], Awaitable[Outcome]] = finish_at_once) -> None:
        self.most_running: int | None = None
        self.credentials = Credentials()
        self.runs: list[Run] = []
        self._work = work

    async def carry_out(self, run: Run) -> Outcome:
        self.runs.append(run)
        return await self._work(run)


class CountingQueue(JobQueue):
    """The real queue, and how often it was looked at and written to."""

    looks = 0
    ends = 0
    reports = 0

    def has_claimable(self, *args: Any, **options: Any) -> bool:  # noqa: ANN401 - passed on
        self.looks += 1
        return super().has_claimable(*args, **options)

    def end(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - passed on
        self.ends += 1
        super().end(*args, **options)

    def report(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - passed on
        self.reports += 1
        super().report(*args, **options)


@pytest.fixture
def queue(store: Store) -> CountingQueue:
    store.queue = counting = CountingQueue(store._database)
    return counting


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert not any(record.exc_info for record in caplog.records)
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# The usual course.


async def test_a_job_is_carried_out_and_what_became_of_it_is_there(store: Store, settings: Settings) -> None:
    request_id = add(store)
    executor = FakeExecutor()
    async with dispatching(store, settings.data_dir, executor):
        await until(has_ended(store, request_id))
    ended = store.journal.get(request_id)
    assert (ended.status, ended.outcome) == (Status.COMPLETED, outcome())
    (run,) = executor.runs
    assert run.job.request_id == request_id
    assert run.folder == settings.data_dir / "jobs" / request_id


async def test_jobs_begin_in_their_order_and_no_more_at_once_than_their_provider_allows(
    store: Store, settings: Settings
) -> None:
    ids = [add(store) for _ in range(5)]
    at_once, most = 0, 0
    two_at_once = asyncio.Event()

    async def work(_run: Run) -> Outcome:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        if most == 2:
            two_at_once.set()
        await two_at_once.wait()
        await asyncio.sleep(0)
        at_once -= 1
        return outcome()

    executor = FakeExecutor(work)
    executor.most_running = 2
    async with dispatching(store, settings.data_dir, executor):
        await until(lambda: all(has_ended(store, each)() for each in ids))
    assert [run.job.request_id for run in executor.runs] == ids
    assert most == 2


async def test_a_job_that_another_process_added_is_found_without_anybody_ringing(
    store: Store, elsewhere: Store, settings: Settings
) -> None:
    async with dispatching(store, settings.data_dir, FakeExecutor()):
        request_id = add(elsewhere)
        await until(has(elsewhere, request_id, Status.COMPLETED))


async def test_progress_is_there_for_all_to_see_and_written_once(
    store: Store, elsewhere: Store, queue: CountingQueue, settings: Settings
) -> None:
    go_on = asyncio.Event()

    async def work(run: Run) -> Outcome:
        for _ in range(3):
            await run.report(at_work(0.25, "listening"))
        await go_on.wait()
        return outcome()

    request_id = add(store)
    async with dispatching(store, settings.data_dir, FakeExecutor(work)):
        await until(lambda: elsewhere.journal.get(request_id).live == at_work(0.25, "listening"))
        go_on.set()
        await until(has_ended(elsewhere, request_id))
    assert queue.reports == 1


async def test_who_waits_is_woken_by_progress_and_by_the_end(store: Store, settings: Settings) -> None:
    signal = UpdateSignal()
    go_on = asyncio.Event()

    async def work(run: Run) -> Outcome:
        await go_on.wait()
        await run.report(at_work())
        await go_on.wait()
        return outcome()

    request_id = add(store)
    async with dispatching(store, settings.data_dir, FakeExecutor(work), signal=signal):
        for _ in ("progress", "end"):
            go_on.clear()
            waiting = asyncio.create_task(signal.wait(request_id, 3_600))
            await asyncio.sleep(0)
            go_on.set()
            with anyio.fail_after(60):
                await waiting
        await until(has_ended(store, request_id))


@pytest.mark.parametrize(
    ("failure", "status", "error", "kind"),
    [
        (RunCancelled(), Status.CANCELLED, None, None),
        (
            RunCancelled("One step may be billed."),
            Status.CANCELLED,
            "One step may be billed.",
            "OutpaintError",
        ),
        (
            PermanentFailure(SourceUnreachable("It is gone.")),
            Status.FAILED,
            "It is gone.",
            "SourceUnreachable",
        ),
        (GenerationFailed("It broke."), Status.FAILED, "It broke.", "GenerationFailed"),
        (StorageFailed("No space."), Status.FAILED, "No space.", "StorageFailed"),
        (SubmissionUnknown("Lost."), Status.UNKNOWN, "Lost.", "SubmissionUnknown"),
    ],
)
async def test_every_end_is_written_as_what_it_is(  # noqa: PLR0913 - what is raised, and what is written
    store: Store,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    failure: Exception,
    status: Status,
    error: str | None,
    kind: str | None,
) -> None:
    async def work(_run: Run) -> Outcome:
        raise failure

    request_id = add(store)
    async with dispatching(store, settings.data_dir, FakeExecutor(work)):
        await until(has_ended(store, request_id))
    ended = store.journal.get(request_id)
    assert (ended.status, ended.error, ended.error_kind) == (status, error, kind)
    assert warnings(caplog) == []


async def test_what_to_do_about_a_failure_is_written_with_it(store: Store, settings: Settings) -> None:
    async def work(_run: Run) -> Outcome:
        raise GenerationFailed("It broke.", hint=Hint.SUBMIT_AGAIN, field="audio")

    request_id = add(store)
    async with dispatching(store, settings.data_dir, FakeExecutor(work)):
        await until(has_ended(store, request_id))
    ended = store.journal.get(request_id)
    assert (ended.error_hint, ended.error_field) == (Hint.SUBMIT_AGAIN, "audio")


async def test_a_bug_ends_its_job_alone_and_is_logged_with_its_place_and_not_its_words(
    store: Store, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    words = "https://files.example/song.mp3?token=a-secret"

    async def stumble_here(run: Run) -> Outcome:
        if run.job.request_id == broken:
            raise KeyError(words)
        return outcome()

    broken, fine = add(store), add(store)
    async with dispatching(store, settings.data_dir, FakeExecutor(stumble_here)):
        await until(has(store, fine, Status.COMPLETED))
        await until(has(store, broken, Status.FAILED))
    ended = store.journal.get(broken)
    assert ended.error_kind == "InternalError"
    (logged,) = warnings(caplog)
    assert "KeyError" in logged
    assert "stumble_here" in logged  # the traceback
    for text in (logged, ended.error or ""):
        assert "a-secret" not in text
        assert "KeyError" in text


async def test_a_job_that_somebody_wants_cancelled_learns_it(
    store: Store, elsewhere: Store, settings: Settings
) -> None:
    async def work(run: Run) -> Outcome:
        await run.unless_cancelled(asyncio.sleep(3_600))
        raise AssertionError

    request_id = add(store)
    async with dispatching(store, settings.data_dir, FakeExecutor(work)):
        await until(lambda: bool(store.queue.servers_at_work()))
        elsewhere.queue.cancel(request_id)
        await until(has(store, request_id, Status.CANCELLED))


async def test_who_is_refused_is_refused_once_and_the_job_goes_on(store: Store, settings: Settings) -> None:
    async def work(run: Run) -> Outcome:
        await run.cancel_wanted.wait()
        await run.refuse_to_cancel()
        await run.stop_if_cancelled()
        return outcome()

    request_id = add(store)
    async with dispatching(store, settings.data_dir, FakeExecutor(work)):
        await until(lambda: bool(store.queue.servers_at_work()))
        store.queue.cancel(request_id)
        await until(has(store, request_id, Status.COMPLETED))
    assert store.queue.cancel_wish(request_id) is CancelWish.REFUSED


# Files.


async def test_what_was_generated_stays_and_whatever_else_the_job_had_goes(
    store: Store, settings: Settings
) -> None:
    async def work(run: Run) -> Outcome:
        run.folder.mkdir(parents=True)
        for name in ("longer.wav", "as made.mp3", "source", "progress.json"):
            (run.folder / name).write_bytes(b"RIFF")
        longer = outcome(str(run.folder / "longer.wav"))
        return dataclasses.replace(longer, as_made=outcome(str(run.folder / "as made.mp3")))

    request_id = add(store)
    folder = settings.data_dir / "jobs" / request_id
    async with dispatching(store, settings.data_dir, FakeExecutor(work)):
        await until(has_ended(store, request_id))
        await until(lambda: len([*folder.iterdir()]) == 2)
    assert {path.name for path in folder.iterdir()} == {"longer.wav", "as made.mp3"}


async def test_a_job_that_failed_leaves_no_files(store: Store, settings: Settings) -> None:
    async def work(run: Run) -> Outcome:
        run.folder.mkdir(parents=True)
        (run.folder / "source").write_bytes(b"RIFF")
        raise GenerationFailed("It broke.")

    request_id = add(store)
    async with dispatching(store, settings.data_dir, FakeExecutor(work)):
        await until(has_ended(store, request_id))
        await until(lambda: not (settings.data_dir / "jobs" / request_id).exists())


async def test_files_that_cannot_be_removed_end_neither_their_job_nor_another_and_the_rest_goes(
    store: Store, settings: Settings
) -> None:
    released = asyncio.Event()
    slow, quick = add(store), add(store)
    folder = settings.data_dir / "jobs" / quick
    (folder / "in the way").mkdir(parents=True)  # unlink fails on a folder
    (folder / "source").touch()
    (folder / "a file").touch()

    async def work(run: Run) -> Outcome:
        if run.job.request_id == slow:
            await released.wait()
        return outcome()

    async with dispatching(store, settings.data_dir, FakeExecutor(work)):
        await until(has(store, quick, Status.COMPLETED))
        await until(lambda: [path.name for path in folder.iterdir()] == ["in the way"])
        assert not store.journal.get(slow).status.is_final
        released.set()
        await until(has(store, slow, Status.COMPLETED))


# Trouble.


async def test_signs_of_life_that_cannot_be_read_for_a_while_hold_the_queue_up_and_no_longer(
    store: Store, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    servers = settings.data_dir / "servers"
    of_another = add(store)
    claim(store, "1-gone")
    presence = Presence(servers)
    servers.rename(servers.with_name("away"))
    servers.write_text("in the way")
    mine = add(store)
    async with dispatching(store, settings.data_dir, FakeExecutor(), presence=presence) as dispatcher:
        await until(lambda: len(warnings(caplog)) == 1)
        assert not store.journal.get(mine).status.is_final
        servers.unlink()
        servers.with_name("away").rename(servers)
        dispatcher.ring()
        await until(has(store, mine, Status.COMPLETED))
        await until(has(store, of_another, Status.COMPLETED))


async def test_a_claim_that_fails_takes_no_other_job_along_and_is_reported_once(
    store: Store, queue: CountingQueue, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = add(store), add(store)
    with refusing(settings, "server_id", f"old.request_id = '{second}' AND new.server_id IS NOT NULL"):
        async with dispatching(store, settings.data_dir, FakeExecutor()) as dispatcher:
            await until(has(store, first, Status.COMPLETED))
            looks = queue.looks

            def have_it_look() -> bool:
                dispatcher.ring()
                return queue.looks > looks + 5

            await until(have_it_look)
    (reported,) = warnings(caplog)
    assert "the disk is broken" in reported
    assert store.journal.get(second).status is Status.IN_QUEUE
    async with dispatching(store, settings.data_dir, FakeExecutor()):
        await until(has(store, second, Status.COMPLETED))


async def test_trouble_that_comes_back_is_reported_again(
    store: Store, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with dispatching(store, settings.data_dir, FakeExecutor()) as dispatcher:
        for times in (1, 2):
            with refusing(settings, "server_id", "new.server_id IS NOT NULL"):
                request_id = add(store)
                dispatcher.ring()
                await until(lambda times=times: len(warnings(caplog)) == times)  # type: ignore[misc]
            await until(has(store, request_id, Status.COMPLETED))


async def test_an_end_is_written_as_soon_as_it_can_be_and_the_trouble_reported_once(
    store: Store, queue: CountingQueue, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    request_id = add(store)
    with refusing(settings, "outcome", "new.status = 'completed'"):
        async with dispatching(store, settings.data_dir, FakeExecutor()):
            await until(lambda: queue.ends >= 3)
            assert not store.journal.get(request_id).status.is_final
    async with dispatching(store, settings.data_dir, FakeExecutor()):
        await until(has(store, request_id, Status.COMPLETED))
    (reported,) = warnings(caplog)
    assert f"The state of request {request_id} cannot be written" in reported
    assert "the disk is broken" in reported


@pytest.mark.parametrize("is_paid", [False, True])
async def test_a_disk_that_is_full_at_the_end_gets_its_room_from_the_jobs_files_unless_money_was_spent_on_them(
    store: Store, queue: CountingQueue, settings: Settings, *, is_paid: bool
) -> None:
    async def work(run: Run) -> Outcome:
        run.folder.mkdir(parents=True, exist_ok=True)
        for name in ("source", "cut", "answer.json"):
            (run.folder / name).write_bytes(b"RIFF")
        raise GenerationFailed("It broke.")

    request_id = add(store)
    if is_paid:
        settle_plan(store, claim(store, "gone").lease)
    folder = settings.data_dir / "jobs" / request_id
    with refusing(settings, "status", "new.status = 'failed'"):
        async with dispatching(store, settings.data_dir, FakeExecutor(work)):
            await until(lambda: queue.ends >= 3)
            assert (folder / "cut").exists() is is_paid
            # What another server would begin with, or take up, is there in any case.
            assert (folder / "source").exists()
            assert (folder / "answer.json").exists()


async def test_progress_that_cannot_be_written_is_no_reason_to_give_a_job_up(
    store: Store, queue: CountingQueue, settings: Settings
) -> None:
    async def work(run: Run) -> Outcome:
        for share in (0.1, 0.2, 0.3):
            await run.report(at_work(share))
        return outcome()

    request_id = add(store)
    with refusing(settings, "progress", "new.progress IS NOT NULL"):
        async with dispatching(store, settings.data_dir, FakeExecutor(work)):
            await until(has_ended(store, request_id))
    assert queue.reports == 3
    assert store.journal.get(request_id).status is Status.COMPLETED


# Leaving, and others that have left.


async def test_a_server_that_leaves_hands_its_jobs_back_in_their_order(
    store: Store, settings: Settings
) -> None:
    first, second = add(store), add(store)
    async with dispatching(store, settings.data_dir, FakeExecutor(work_for_ever)):
        await until(has(store, second, Status.IN_PROGRESS))
    assert store.queue.servers_at_work() == set()
    records = [store.journal.get(each) for each in (first, second)]
    assert [record.status for record in records] == [Status.IN_QUEUE] * 2
    assert [record.live and record.live.queue_position for record in records] == [1, 2]


async def test_a_server_that_is_left_in_the_moment_in_which_a_job_was_added_stops_all_the_same(
    store: Store, settings: Settings
) -> None:
    with anyio.fail_after(30):
        for _ in range(20):
            async with dispatching(store, settings.data_dir, FakeExecutor(work_for_ever)) as dispatcher:
                add(store)
                dispatcher.ring()
    assert store.queue.servers_at_work() == set()


async def test_a_database_that_another_process_blocks_does_not_keep_a_server_from_leaving(
    store: Store, settings: Settings
) -> None:
    request_id = add(store)
    with closing(sqlite3.connect(settings.data_dir / FILE_NAME, isolation_level=None)) as blocker:
        with anyio.fail_after(8):
            async with dispatching(store, settings.data_dir, FakeExecutor(work_for_ever)):
                await until(has(store, request_id, Status.IN_PROGRESS))
                blocker.execute("BEGIN IMMEDIATE")
        assert store.queue.servers_at_work()
        blocker.execute("ROLLBACK")
    async with dispatching(store, settings.data_dir, FakeExecutor()):  # and finds the first one dead
        await until(has(store, request_id, Status.COMPLETED))


async def test_the_jobs_of_a_dead_server_are_carried_out_and_those_of_a_sleeping_one_are_not(
    store: Store, settings: Settings
) -> None:
    asleep = Presence(settings.data_dir / "servers")
    of_the_dead, of_the_sleeping, mine = add(store), add(store), add(store)
    assert claim(store, "1-gone").request_id == of_the_dead
    assert claim(store, asleep.server_id).request_id == of_the_sleeping
    executor = FakeExecutor()
    async with dispatching(store, settings.data_dir, executor):
        await until(has(store, of_the_dead, Status.COMPLETED))
        await until(has(store, mine, Status.COMPLETED))
        assert store.queue.servers_at_work() == {asleep.server_id}
        asleep.close()
        await until(has(store, of_the_sleeping, Status.COMPLETED))


async def test_a_server_that_is_stopping_hands_its_job_back_and_takes_no_more(
    store: Store, settings: Settings
) -> None:
    async def work(_run: Run) -> Outcome:
        raise ServerStopping("This server is stopping.")

    first, second = add(store), add(store)
    executor = FakeExecutor(work)
    executor.most_running = 1
    async with dispatching(store, settings.data_dir, executor) as dispatcher:
        await until(lambda: len(executor.runs) == 1)
        await until(is_free(store))
        for _ in range(5):
            dispatcher.ring()
            await asyncio.sleep(0.05)
        assert len(executor.runs) == 1
    records = [store.journal.get(each) for each in (first, second)]
    assert [record.live and record.live.queue_position for record in records] == [1, 2]


async def test_a_job_that_is_claimed_while_the_server_begins_to_stop_is_handed_back(
    store: Store, settings: Settings
) -> None:
    first, second = add(store), add(store)
    is_claiming, goes_on = threading.Event(), threading.Event()

    class SlowQueue(JobQueue):
        def claim(self, *args: Any, **options: Any) -> Job | None:  # noqa: ANN401 - passed on
            job = super().claim(*args, **options)
            if job is not None and job.request_id == second:
                is_claiming.set()
                goes_on.wait()
            return job

    async def work(_run: Run) -> Outcome:
        await until(is_claiming.is_set)
        raise ServerStopping("This server is stopping.")

    store.queue = SlowQueue(store._database)
    executor = FakeExecutor(work)
    async with dispatching(store, settings.data_dir, executor):
        await until(is_claiming.is_set)
        lease = executor.runs[0].job.lease
        await until(lambda: lease not in store.queue.leases(lease.server_id))
        goes_on.set()
        await until(is_free(store))
        assert len(executor.runs) == 1
    records = [store.journal.get(each) for each in (first, second)]
    assert [record.live and record.live.queue_position for record in records] == [1, 2]


# Leases that are lost.


async def test_a_run_whose_job_was_taken_away_is_stopped_and_writes_nothing(
    store: Store, elsewhere: Store, stores: Stores, settings: Settings
) -> None:
    stopped = asyncio.Event()

    async def work(run: Run) -> Outcome:
        await run.report(at_work())
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    thief = Presence(settings.data_dir / "servers")
    request_id = add(store)
    executor = FakeExecutor(work)
    async with dispatching(store, settings.data_dir, executor):
        await until(has(store, request_id, Status.IN_PROGRESS))
        elsewhere.queue.take_back([executor.runs[0].job.lease.server_id])
        elsewhere.queue.claim(thief.server_id, "local")
        before = stores.rows()
        with anyio.fail_after(60):
            await stopped.wait()
        assert stores.rows() == before
    assert stores.rows() == before
    assert len(executor.runs) == 1
    thief.close()


async def test_a_job_that_was_lost_and_claimed_again_is_carried_out_by_its_new_run_alone(
    store: Store, elsewhere: Store, settings: Settings
) -> None:
    stopped = asyncio.Event()

    async def work(run: Run) -> Outcome:
        if run.job.lease.attempt > 1:
            await stopped.wait()
            return outcome("/second.wav")
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    request_id = add(store)
    executor = FakeExecutor(work)
    async with dispatching(store, settings.data_dir, executor) as dispatcher:
        await until(lambda: len(executor.runs) == 1)
        elsewhere.queue.take_back([executor.runs[0].job.lease.server_id])
        dispatcher.ring()
        await until(has_ended(store, request_id))
    found = store.journal.get(request_id).outcome
    assert found is not None
    assert found.path.name == "second.wav"


@pytest.mark.parametrize("write", ["report", "refuse_to_cancel", "end"])
async def test_whoever_meets_a_lost_lease_stops_there(  # noqa: PLR0913 - two servers, and what they leave
    store: Store,
    elsewhere: Store,
    stores: Stores,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    write: str,
) -> None:
    met: list[str] = []
    thief = Presence(settings.data_dir / "servers")
    before: list[object] = []

    async def work(run: Run) -> Outcome:
        elsewhere.queue.take_back([run.job.lease.server_id])
        elsewhere.queue.claim(thief.server_id, "local")
        before.append(stores.rows())
        try:
            if write == "report":
                await run.report(at_work())
            if write == "refuse_to_cancel":
                await run.refuse_to_cancel()
        except (LeaseLost, asyncio.CancelledError):  # the dispatcher may be quicker to find out
            met.append(write)
            raise
        met.append("end")
        return outcome()

    request_id = add(store)
    executor = FakeExecutor(work)
    async with dispatching(store, settings.data_dir, executor):
        await until(lambda: bool(met))
    # On a slow machine it may be claimed here again before the thief does.
    assert set(met) == {write}
    assert stores.rows() == before[-1]
    assert not store.journal.get(request_id).status.is_final
    assert warnings(caplog) == []
    thief.close()


async def test_a_job_that_cannot_be_given_back_at_once_takes_no_other_along(
    store: Store, queue: CountingQueue, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, tries = queue.release, 0

    def no_thread(lease: Lease) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise RuntimeError("can't start new thread")
        release(lease)

    monkeypatch.setattr(queue, "release", no_thread)
    lost, other = add(store), add(store)

    async def work(run: Run) -> Outcome:
        if run.job.request_id == lost and not tries:
            raise LeaseLost
        return outcome()

    async with dispatching(store, settings.data_dir, FakeExecutor(work)):
        await until(has(store, other, Status.COMPLETED))
        await until(has(store, lost, Status.COMPLETED))
    assert tries == 2


async def test_a_job_that_cannot_be_read_fails_and_is_in_no_others_way(
    store: Store, settings: Settings
) -> None:
    unreadable, other = add(store), add(store)
    with sqlite3.connect(settings.data_dir / FILE_NAME) as connection:
        connection.execute("UPDATE jobs SET inputs = 'no JSON' WHERE request_id = ?", (unreadable,))
    async with dispatching(store, settings.data_dir, FakeExecutor()):
        await until(has(store, other, Status.COMPLETED))
    assert store.journal.get(unreadable).status is Status.FAILED

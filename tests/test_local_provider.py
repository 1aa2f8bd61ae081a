"""The local provider at work: what becomes of a job when its worker, its source or its server fails."""

# ruff: noqa: ASYNC240 - small files in a folder of the test's own

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import soundfile
from tests.dispatching import dispatching, has, has_ended, moment, provider_context
from tests.stores import add, at_work, claim, new_request, outcome
from tests.waiting import until

from outpaint_mcp.errors import GenerationFailed, SourceBusy, WorkerDied, WorkerInterrupted
from outpaint_mcp.models import Status
from outpaint_mcp.providers.local.provider import LocalProvider
from outpaint_mcp.sources import fetch
from outpaint_mcp.workers.forking import start_nursery
from outpaint_mcp.workers.orders import Extend
from outpaint_mcp.workers.outliving import JobFolder
from outpaint_mcp.workers.pool import WorkerPool
from outpaint_mcp.workers.wire import Progress, Reply, encode_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.storage.records import RequestRecord
    from outpaint_mcp.storage.store import Store

    Work = Callable[[Extend, Callable[[float, str], None]], Awaitable[Outcome]]

pytestmark = pytest.mark.anyio


async def finish_at_once(_order: Extend, _on_progress: Callable[[float, str], None]) -> Outcome:
    return outcome()


async def say_nothing(_order: Extend, _on_progress: Callable[[float, str], None]) -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError


class FakePool(WorkerPool):
    """Carries orders out as a test says, with no process."""

    def __init__(self, work: Work = finish_at_once) -> None:
        super().__init__(start_nursery=None)
        self.orders: list[Extend] = []
        self.turn = asyncio.Event()  # slots are free
        self.turn.set()
        self.is_stopped = False
        self._work = work

    async def run(
        self,
        order: Any,  # noqa: ANN401 - any order
        *,
        on_progress: Any = None,  # noqa: ANN401 - as the pool's
        timeout_seconds: float | None = None,
    ) -> Any:  # noqa: ANN401 - an order's answer
        assert isinstance(order, Extend)
        assert timeout_seconds is None  # it may take as long as it likes, as long as it reports
        self.orders.append(order)
        await self.turn.wait()
        on_progress(0.0, "starting")
        try:
            return await self._work(order, on_progress)
        except asyncio.CancelledError:
            self.is_stopped = True
            raise


def provider(
    store: Store,
    settings: Settings,
    pool: WorkerPool,
    *,
    hang_seconds: float = 60,
    fetch_link: Any = fetch,  # noqa: ANN401 - as `fetch`
) -> LocalProvider:
    context = provider_context(store, settings, pool, fetch=fetch_link, sleep=moment)
    return LocalProvider(context, hang_seconds=hang_seconds)


async def carry_out(
    store: Store, settings: Settings, executor: LocalProvider, request_id: str
) -> RequestRecord:
    """Have a request carried out to its end."""
    async with dispatching(store, settings.data_dir, executor):
        await until(has_ended(store, request_id))
    return store.journal.get(request_id)


def folder_of(settings: Settings, request_id: str) -> Path:
    return settings.data_dir / "jobs" / request_id


async def test_a_recording_is_extended_by_a_worker(store: Store, settings: Settings, song: Path) -> None:
    request_id = add(store, source=str(song))
    pool = WorkerPool()
    ended = await carry_out(store, settings, provider(store, settings, pool), request_id)
    await pool.close()
    assert ended.status is Status.COMPLETED, ended.error
    assert ended.outcome is not None
    assert (ended.outcome.before_seconds, ended.outcome.after_seconds, ended.outcome.seed) == (1, 2, 7)
    assert soundfile.info(ended.outcome.path).duration == pytest.approx(6)
    found = ended.outcome.path
    await until(lambda: [*found.parent.iterdir()] == [found])


async def test_a_worker_is_told_what_is_asked(store: Store, settings: Settings, song: Path) -> None:
    new = new_request(source=str(song))
    request = new.request.model_copy(update={"source_start_seconds": 0.5, "source_end_seconds": 2.5})
    store.journal.add(new.__class__(**{**fields_of(new), "request": request}))
    pool = FakePool()
    await carry_out(store, settings, provider(store, settings, pool), new.ids[0])
    (order,) = pool.orders
    assert (order.source, order.folder) == (song, folder_of(settings, new.ids[0]))
    assert (order.wishes.before_seconds, order.wishes.after_seconds, order.seed) == (1, 2, 7)
    assert (order.start_seconds, order.end_seconds) == (0.5, 2.5)


def fields_of(record: Any) -> dict[str, Any]:  # noqa: ANN401 - any dataclass
    return {name: getattr(record, name) for name in record.__slots__}


async def test_a_workers_progress_is_the_requests(store: Store, settings: Settings, song: Path) -> None:
    go_on = asyncio.Event()

    async def work(_order: Extend, on_progress: Callable[[float, str], None]) -> Outcome:
        on_progress(0.25, "listening")
        await go_on.wait()
        return outcome()

    request_id = add(store, source=str(song))
    async with dispatching(store, settings.data_dir, provider(store, settings, FakePool(work))):
        await until(lambda: store.journal.get(request_id).live == at_work(0.25, "listening"))
        go_on.set()
        await until(has_ended(store, request_id))


async def test_audio_that_came_with_the_request_is_read_from_the_jobs_own_folder(
    store: Store, settings: Settings
) -> None:
    request_id = add(store, source="")
    pool = FakePool()
    await carry_out(store, settings, provider(store, settings, pool), request_id)
    assert pool.orders[0].source == folder_of(settings, request_id) / "source"


async def test_a_link_is_fetched_into_the_jobs_own_folder(store: Store, settings: Settings) -> None:
    fetched: list[tuple[str, Path]] = []

    async def fetch_link(url: str, destination: Path, **_: object) -> None:
        fetched.append((url, destination))

    request_id = add(store, source="https://files.example/song.mp3")
    pool = FakePool()
    await carry_out(store, settings, provider(store, settings, pool, fetch_link=fetch_link), request_id)
    source = folder_of(settings, request_id) / "source"
    assert fetched == [("https://files.example/song.mp3", source)]
    assert pool.orders[0].source == source


async def test_what_is_extended_is_called_as_its_host_calls_the_file(
    store: Store, settings: Settings
) -> None:
    async def fetch_link(_url: str, _destination: Path, **_: object) -> str:
        return "My Song"

    request_id = add(store, title="uc", source="https://files.example/uc?id=1")
    executor = provider(store, settings, FakePool(), fetch_link=fetch_link)
    assert (await carry_out(store, settings, executor, request_id)).title == "My Song"


async def test_a_host_that_is_busy_is_asked_again(store: Store, settings: Settings) -> None:
    tries: list[str] = []

    async def fetch_link(url: str, _destination: Path, **_: object) -> None:
        tries.append(url)
        if len(tries) < 3:
            raise SourceBusy("HTTP 503.")

    request_id = add(store, source="https://files.example/song.mp3")
    executor = provider(store, settings, FakePool(), fetch_link=fetch_link)
    assert (await carry_out(store, settings, executor, request_id)).status is Status.COMPLETED
    assert len(tries) == 3


async def test_a_server_that_was_asleep_does_not_take_its_worker_for_hung(
    store: Store, settings: Settings, song: Path
) -> None:
    async def work(_order: Extend, _on_progress: Callable[[float, str], None]) -> Outcome:
        time.sleep(1.5)  # noqa: ASYNC251 - nothing of this process runs meanwhile, as when it is stopped
        await asyncio.sleep(0.3)  # the worker's next report comes a tick later
        return outcome()

    request_id = add(store, source=str(song))
    executor = provider(store, settings, FakePool(work), hang_seconds=1)
    assert (await carry_out(store, settings, executor, request_id)).status is Status.COMPLETED


async def test_a_worker_that_is_silent_is_stopped_with_the_reason(
    store: Store, settings: Settings, song: Path
) -> None:
    pool = FakePool(say_nothing)
    request_id = add(store, source=str(song))
    executor = provider(store, settings, pool, hang_seconds=0.5)
    ended = await carry_out(store, settings, executor, request_id)
    assert (ended.status, ended.error_kind) == (Status.FAILED, "GenerationFailed")
    assert "silent" in (ended.error or "")
    assert pool.is_stopped


async def test_slow_links_keep_no_file_waiting_and_are_not_taken_for_hung_workers(
    store: Store, settings: Settings, song: Path
) -> None:
    arrived = asyncio.Event()

    async def fetch_link(_url: str, destination: Path, **_: object) -> None:
        await arrived.wait()
        destination.write_bytes(song.read_bytes())

    links = [add(store, source=f"https://slow.example/{number}.wav") for number in range(4)]
    executor = provider(store, settings, FakePool(), fetch_link=fetch_link, hang_seconds=0.25)
    async with dispatching(store, settings.data_dir, executor):
        await until(
            lambda: all(getattr(store.journal.get(each).live, "step", "") == "fetching" for each in links)
        )
        local = add(store, source=str(song))
        await until(has(store, local, Status.COMPLETED))
        await asyncio.sleep(1)  # four times what a worker may be silent for
        assert not any(store.journal.get(each).status.is_final for each in links)
        arrived.set()
        for each in links:
            await until(has(store, each, Status.COMPLETED))


async def test_a_job_that_waits_for_its_turn_is_not_taken_for_hung(
    store: Store, settings: Settings, song: Path
) -> None:
    request_id = add(store, source=str(song))
    pool = FakePool()
    pool.turn.clear()
    async with dispatching(store, settings.data_dir, provider(store, settings, pool, hang_seconds=0.25)):
        await until(lambda: len(pool.orders) == 1)
        await asyncio.sleep(1)
        assert not store.journal.get(request_id).status.is_final
        pool.turn.set()
        await until(has(store, request_id, Status.COMPLETED))


async def test_a_job_that_somebody_wants_cancelled_stops_its_worker(
    store: Store, settings: Settings, song: Path
) -> None:
    pool = FakePool(say_nothing)
    request_id = add(store, source=str(song))
    async with dispatching(store, settings.data_dir, provider(store, settings, pool)):
        await until(has(store, request_id, Status.IN_PROGRESS))
        store.queue.cancel(request_id)
        await until(has(store, request_id, Status.CANCELLED))
        assert pool.is_stopped


async def test_a_source_that_was_moved_behind_a_link_is_not_read(
    store: Store, settings: Settings, song: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.wav"
    song.rename(secret)
    song.symlink_to(secret)
    request_id = add(store, source=str(song))
    pool = FakePool()
    ended = await carry_out(store, settings, provider(store, settings, pool), request_id)
    assert (ended.status, ended.error_kind) == (Status.FAILED, "SourceNotAllowed")
    assert pool.orders == []


@pytest.mark.parametrize("forks", [False, True])
async def test_a_system_that_starts_no_process_fails_the_job_with_the_reason(
    store: Store, settings: Settings, song: Path, monkeypatch: pytest.MonkeyPatch, *, forks: bool
) -> None:
    monkeypatch.setattr(sys, "executable", str(song))  # not a program
    request_id = add(store, source=str(song))
    pool = WorkerPool(start_nursery=start_nursery if forks else None)
    ended = await carry_out(store, settings, provider(store, settings, pool), request_id)
    await pool.close()
    assert (ended.status, ended.error_kind) == (Status.FAILED, "ProviderUnavailable")
    assert "No worker process can be started" in (ended.error or "")


@pytest.mark.parametrize(("times", "status"), [(1, Status.COMPLETED), (2, Status.FAILED)])
async def test_a_worker_that_was_interrupted_is_started_once_more(
    store: Store, settings: Settings, song: Path, times: int, status: Status
) -> None:
    async def work(_order: Extend, _on_progress: Callable[[float, str], None]) -> Outcome:
        if len(pool.orders) <= times:
            raise WorkerInterrupted("It was interrupted.")
        return outcome()

    request_id = add(store, source=str(song))
    pool = FakePool(work)
    ended = await carry_out(store, settings, provider(store, settings, pool), request_id)
    assert ended.status is status
    assert len(pool.orders) == 2


async def test_a_worker_that_died_of_its_work_is_not_started_again(
    store: Store, settings: Settings, song: Path
) -> None:
    async def work(_order: Extend, _on_progress: Callable[[float, str], None]) -> Outcome:
        raise WorkerDied("Out of memory.")

    request_id = add(store, source=str(song))
    pool = FakePool(work)
    ended = await carry_out(store, settings, provider(store, settings, pool), request_id)
    assert (ended.status, ended.error_kind) == (Status.FAILED, "WorkerDied")
    assert len(pool.orders) == 1


# Workers that have outlived their server.


async def test_a_worker_that_still_works_is_followed_and_its_answer_taken_up(
    store: Store, settings: Settings, song: Path
) -> None:
    request_id = add(store, source=str(song))
    claim(store, "1-gone")
    survivor = JobFolder(folder_of(settings, request_id))
    pool = FakePool()
    async with dispatching(store, settings.data_dir, provider(store, settings, pool)):
        with survivor.locked():
            survivor.write_progress(Progress(share=0.75, step="writing"))
            await until(lambda: store.journal.get(request_id).live == at_work(0.75, "writing"))
            found = outcome(str(folder_of(settings, request_id) / "output.wav"))
            survivor.write_reply(Reply(answer=found))
        await until(has(store, request_id, Status.COMPLETED))
    assert store.journal.get(request_id).outcome == found
    assert pool.orders == []


async def test_a_worker_that_still_works_is_stopped_where_somebody_wants_the_job_cancelled(
    store: Store, settings: Settings, song: Path
) -> None:
    request_id = add(store, source=str(song))
    survivor = JobFolder(folder_of(settings, request_id))
    pool = FakePool()
    async with dispatching(store, settings.data_dir, provider(store, settings, pool)):
        with survivor.locked():
            await until(lambda: bool(store.queue.servers_at_work()))
            store.queue.cancel(request_id)
            await until(survivor.is_asked_to_stop)
            assert not store.journal.get(request_id).status.is_final
        await until(has(store, request_id, Status.CANCELLED))
    assert pool.orders == []


async def test_a_worker_whose_request_was_cancelled_without_its_server_is_asked_to_stop(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    executor = provider(store, settings, FakePool())
    survivor = JobFolder(tmp_path / "job")
    executor.stop(tmp_path / "job")  # nobody is there
    with survivor.locked():
        executor.stop(tmp_path / "job")
        assert survivor.is_asked_to_stop()


def leave(settings: Settings, request_id: str, reply: Reply[Any]) -> None:
    """Leave what a worker writes when its server is gone."""
    left = JobFolder(folder_of(settings, request_id))
    with left.locked():
        left.write_reply(reply)


async def test_what_a_worker_left_behind_is_the_jobs_result(
    store: Store, settings: Settings, song: Path
) -> None:
    request_id = add(store, source=str(song))
    left = outcome(str(folder_of(settings, request_id) / "left.wav"))
    leave(settings, request_id, Reply(answer=left))
    pool = FakePool()
    ended = await carry_out(store, settings, provider(store, settings, pool), request_id)
    assert ended.outcome == left
    assert pool.orders == []


async def test_what_a_worker_failed_of_with_nobody_listening_is_why_the_job_failed(
    store: Store, settings: Settings, song: Path
) -> None:
    request_id = add(store, source=str(song))
    leave(settings, request_id, Reply(error=encode_error(GenerationFailed("It broke."))))
    pool = FakePool()
    ended = await carry_out(store, settings, provider(store, settings, pool), request_id)
    assert (ended.status, ended.error) == (Status.FAILED, "It broke.")
    assert pool.orders == []


async def test_what_cannot_be_read_of_a_worker_is_generated_again(
    store: Store, settings: Settings, song: Path
) -> None:
    request_id = add(store, source=str(song))
    folder = folder_of(settings, request_id)
    folder.mkdir(parents=True)
    (folder / "answer.json").write_text('{"of": "another version"}')
    pool = FakePool()
    ended = await carry_out(store, settings, provider(store, settings, pool), request_id)
    assert ended.status is Status.COMPLETED
    assert len(pool.orders) == 1

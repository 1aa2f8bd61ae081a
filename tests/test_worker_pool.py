"""The one pool of workers: who runs when, how work ends, and what is left of it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import soundfile
from tests.audio.composing import sequenced
from tests.e2e.processes import HAS_PROC, kill, nurseries_of, until, workers_of
from tests.workers import NO_COPIES, extend, measure, probe

from outpaint_mcp.errors import (
    GenerationFailed,
    Hint,
    InternalError,
    InvalidRequest,
    ProviderUnavailable,
    ServerStopping,
    SourceError,
    SourceTooLarge,
    UnsupportedAudio,
    WorkerDied,
    WorkerInterrupted,
    WorkerTimedOut,
)
from outpaint_mcp.models import SubmitRequest
from outpaint_mcp.sources import LocalFile
from outpaint_mcp.workers import outliving, wire
from outpaint_mcp.workers.forking import CAN_FORK, start_nursery
from outpaint_mcp.workers.listening import Content, SourceAnalyzer
from outpaint_mcp.workers.looks import Analyze, LengthSeconds, Measure, Probe, Probed
from outpaint_mcp.workers.orders import Extend
from outpaint_mcp.workers.pool import WorkerPool
from outpaint_mcp.workers.probing import Prober
from outpaint_mcp.workers.process import PlainProcess, redacted
from outpaint_mcp.workers.slots import Slots

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.workers.order import Order

pytestmark = pytest.mark.anyio
needs_proc = pytest.mark.skipif(not HAS_PROC, reason="looks for processes in /proc")


@pytest.fixture(params=[pytest.param(True, marks=pytest.mark.skipif(not CAN_FORK, reason="no fork")), False])
def forks(request: pytest.FixtureRequest) -> bool:
    """Both ways to start a worker."""
    return bool(request.param)


@pytest.fixture
async def pool(
    forks: bool,  # noqa: FBT001 - a fixture
    marked: None,  # noqa: ARG001 - for the workers
) -> AsyncIterator[WorkerPool]:
    opened = WorkerPool(slots=2, start_nursery=start_nursery if forks else None, start_seconds=30)
    yield opened
    await opened.close()
    assert opened.busy == 0


async def _until(look: Callable[[], Any]) -> Any:  # noqa: ANN401 - what was seen
    return await asyncio.to_thread(until, look)


async def _worker_of(settings: Settings) -> int:
    (worker,) = await _until(lambda: workers_of(settings.data_dir))
    return int(worker)


@needs_proc
async def test_a_worker_for_which_there_are_too_few_files_leaves_none_open_and_no_process(
    settings: Settings,
    marked: None,  # noqa: ARG001 - for the workers
) -> None:
    def open_files() -> set[int]:
        return {int(each.name) for each in os.scandir("/proc/self/fd")}

    before, limits = open_files(), resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(before)
    try:
        for room in range(1, 12):
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + room, limits[1]))
            with suppress(OSError):
                process = PlainProcess()
                process.pipes.close()
                process.kill()
                process._wait()
                break
            assert open_files() == before
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    await _until(lambda: not workers_of(settings.data_dir))


@asynccontextmanager
async def _being_read(pipe: Path) -> AsyncIterator[None]:
    """Wait until somebody reads a named pipe, and have that reader wait for as long as the block lasts."""

    def look() -> int:
        with suppress(OSError):  # nobody has opened it yet
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        return 0

    writer = await _until(look)
    yield
    os.close(writer)


async def _hold(slots: Slots, order: list[str], name: str, release: asyncio.Event) -> None:
    async with slots.take(is_short=name.startswith("short")):
        order.append(name)
        await release.wait()


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_short_tasks_go_first_and_one_place_is_always_theirs() -> None:
    slots, order, release = Slots(3), [], asyncio.Event()  # type: ignore[var-annotated]
    names = ("long 1", "long 2", "long 3", "short 1", "short 2", "short 3")
    tasks = [asyncio.create_task(_hold(slots, order, name, release)) for name in names]
    await _settle()
    assert order == ["long 1", "long 2", "short 1"]
    assert (slots.long, slots.busy) == (2, 3)
    tasks[1].cancel()
    await _settle()
    assert order[3:] == ["short 2"]
    release.set()
    await asyncio.wait(tasks)
    assert sorted(order) == sorted(names)
    assert slots.busy == 0


async def test_who_no_longer_waits_is_passed_over_and_takes_no_place() -> None:
    slots, order, release = Slots(1), [], asyncio.Event()  # type: ignore[var-annotated]
    names = ("long 1", "long 2", "long 3")
    first, second, third = (asyncio.create_task(_hold(slots, order, name, release)) for name in names)
    await _settle()
    second.cancel()
    first.cancel()
    await _settle()
    assert order == ["long 1", "long 3"]
    third.cancel()
    await asyncio.wait({first, second, third})
    assert slots.busy == 0


async def test_a_task_that_is_cancelled_as_its_turn_comes_hands_the_place_on() -> None:
    slots, order, release = Slots(1), [], asyncio.Event()  # type: ignore[var-annotated]
    first, second, third = (
        asyncio.create_task(_hold(slots, order, name, release)) for name in ("long 1", "long 2", "long 3")
    )
    await _settle()
    second.get_loop().call_soon(first.cancel)
    second.get_loop().call_soon(lambda: second.get_loop().call_soon(second.cancel))
    await _settle()
    assert "long 3" in order
    third.cancel()
    await asyncio.wait({first, second, third})
    assert slots.busy == 0


@pytest.mark.parametrize(("cores", "total", "long"), [(1, 2, 1), (2, 2, 1), (8, 8, 7), (None, 2, 1)])
@pytest.mark.parametrize("is_known", [True, False], ids=["of its own", "of the machine"])
def test_there_is_one_worker_a_core_and_room_for_a_look_on_a_single_one(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, total: int, long: int, *, is_known: bool
) -> None:
    if is_known:
        monkeypatch.setattr(os, "cpu_count", lambda: 64)  # of which a container is given these
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {*range(cores or 1)}, raising=False)
    else:
        monkeypatch.setattr(os, "cpu_count", lambda: cores)
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    pool = WorkerPool()
    assert (pool._slots._total, pool.long_slots) == (total, long)


async def test_answers_and_progress_arrive(pool: WorkerPool, song: Path, tmp_path: Path) -> None:
    probed = await pool.run(probe(song))
    assert (probed.seconds, probed.container, probed.channels) == (3.0, "WAV", 2)
    assert await pool.run(measure(song)) == LengthSeconds(seconds=3.0)
    seen: list[tuple[float, str]] = []
    order = Analyze(path=song, folder=tmp_path / "analysis", max_seconds=60)
    await pool.run(order, on_progress=lambda share, step: seen.append((share, step)))
    assert seen
    assert all(0 <= share <= 1 and step for share, step in seen)


async def test_an_error_of_a_worker_is_raised_as_what_it_is(pool: WorkerPool, song: Path) -> None:
    with pytest.raises(SourceTooLarge, match="at most 0"):
        await pool.run(Probe(path=song, max_seconds=1))


@needs_proc
async def test_a_look_does_not_wait_for_long_tasks(
    pool: WorkerPool, song: Path, endless: Path, settings: Settings
) -> None:
    long = [asyncio.create_task(pool.run(measure(endless))) for _ in range(3)]
    await _until(lambda: workers_of(settings.data_dir))
    assert pool.busy == pool.long_slots == 1
    probes = [pool.run(probe(song)) for _ in range(3)]
    assert [probed.seconds for probed in await asyncio.gather(*probes)] == [3.0] * 3
    assert len(workers_of(settings.data_dir)) == 1
    for each in long:
        each.cancel()
    await asyncio.wait(long)
    assert workers_of(settings.data_dir) == []


@needs_proc
async def test_a_worker_that_takes_too_long_is_stopped_and_waiting_for_a_slot_is_not_counted(
    pool: WorkerPool, endless: Path, settings: Settings
) -> None:
    first = asyncio.create_task(pool.run(measure(endless)))
    await _worker_of(settings)
    late = asyncio.create_task(pool.run(measure(endless), timeout_seconds=0))
    await asyncio.sleep(0.01)
    assert not late.done()
    first.cancel()
    with pytest.raises(WorkerTimedOut, match="did not finish within 0 seconds"):
        await late
    await _until(lambda: not workers_of(settings.data_dir))


@needs_proc
async def test_waiting_for_a_slot_is_not_held_against_a_source(
    pool: WorkerPool, song: Path, endless: Path, settings: Settings
) -> None:
    first = asyncio.create_task(pool.run(measure(endless)))
    await _worker_of(settings)
    analyzer = SourceAnalyzer(pool, NO_COPIES, settings.data_dir / "analyses", timeout_seconds=0)
    waiting = asyncio.create_task(analyzer.locate(LocalFile(song)))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    first.cancel()
    with pytest.raises(SourceError, match="could not be analyzed"):
        await waiting


async def test_more_files_than_are_remembered_can_be_looked_at_at_once(tmp_path: Path) -> None:
    begun, failures = asyncio.Event(), []

    class Pool:
        async def run(self, order: Probe, **_: object) -> Probed:
            await begun.wait()
            if int(order.path.stem) % 2:
                raise UnsupportedAudio("It is not audio.")
            return Probed(seconds=1, container="WAV", subtype="PCM_16", channels=1)

    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    prober = Prober(Pool(), NO_COPIES)  # type: ignore[arg-type]
    looks = [asyncio.create_task(prober.look_at_file(tmp_path / f"{each}.wav")) for each in range(300)]
    await _until(lambda: len(prober._looks) == 300)
    begun.set()
    lengths = await asyncio.gather(*looks, return_exceptions=True)
    assert [isinstance(each, Probed) for each in lengths] == [not each % 2 for each in range(300)]
    assert failures == []
    assert len(prober._looks) <= 256


@needs_proc
@pytest.mark.parametrize("forks", [True, False][not CAN_FORK :])
async def test_how_a_source_ends_is_known_at_once_while_a_long_task_runs(
    pool: WorkerPool, song: Path, endless: Path
) -> None:
    long = asyncio.create_task(pool.run(measure(endless)))
    await _until(lambda: pool.busy)
    request = SubmitRequest.of(audio=str(song), tags="")
    async with asyncio.timeout(30):
        music = await Prober(pool, NO_COPIES).full_music(LocalFile(song), request, None)
    assert music is not None
    assert not long.done()
    long.cancel()
    await asyncio.wait({long})


@needs_proc
@pytest.mark.parametrize("forks", [True, False][not CAN_FORK :])
async def test_a_look_that_hangs_is_told_as_what_it_is(
    pool: WorkerPool, endless: Path, settings: Settings
) -> None:
    looking = asyncio.create_task(Prober(pool, NO_COPIES, timeout_seconds=0.1).look(LocalFile(endless)))
    with pytest.raises(SourceError, match="copy it to a disk"):
        await looking
    analyzer = SourceAnalyzer(pool, NO_COPIES, settings.data_dir / "analyses", timeout_seconds=0.1)
    with pytest.raises(SourceError, match="could not be analyzed"):
        await analyzer.locate(LocalFile(endless))
    with pytest.raises(SourceError, match="could not be analyzed"):
        await analyzer.analyze(Content(endless, "0" * 64))
    await _until(lambda: not workers_of(settings.data_dir))


@needs_proc
@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        (signal.SIGKILL, WorkerDied, "was killed"),
        (signal.SIGSEGV, WorkerDied, "SIGSEGV"),
        (signal.SIGTERM, WorkerInterrupted, "SIGTERM"),
        (signal.SIGINT, WorkerInterrupted, "SIGINT"),
        (signal.SIGHUP, WorkerInterrupted, "SIGHUP"),
    ],
)
async def test_a_worker_that_dies_of_a_signal_says_so_and_whether_it_was_meant(  # noqa: PLR0913 - fixtures
    pool: WorkerPool,
    endless: Path,
    tmp_path: Path,
    settings: Settings,
    how: signal.Signals,
    kind: type[WorkerDied],
    words: str,
) -> None:
    running = asyncio.create_task(pool.run(extend(endless, tmp_path)))
    worker = await _worker_of(settings)
    async with _being_read(endless):
        kill(worker, how)
        with pytest.raises(kind, match=words) as caught:
            await running
    assert type(caught.value) is kind
    assert "shorter source" in str(caught.value)
    assert caught.value.hint is Hint.SUBMIT_AGAIN


@needs_proc
async def test_the_death_of_a_worker_that_extends_nothing_is_no_reason_to_submit_again(
    pool: WorkerPool, endless: Path, settings: Settings
) -> None:
    running = asyncio.create_task(pool.run(measure(endless)))
    worker = await _worker_of(settings)
    async with _being_read(endless):
        kill(worker, signal.SIGKILL)
        with pytest.raises(WorkerDied) as caught:
            await running
    assert caught.value.hint is None
    assert str(caught.value).endswith("Nothing else is affected.")


@needs_proc
@pytest.mark.parametrize("order", [probe, measure])
async def test_what_is_interrupted_is_begun_once_more(
    pool: WorkerPool, song: Path, endless: Path, settings: Settings, order: Callable[[Path], Order[Any]]
) -> None:
    running = asyncio.create_task(pool.run(order(endless)))
    worker = await _worker_of(settings)
    async with _being_read(endless):
        await asyncio.to_thread(song.replace, endless)
        kill(worker, signal.SIGTERM)
        found = await running
    assert isinstance(found, Probed | LengthSeconds)
    assert found.seconds == 3.0


@pytest.mark.parametrize("name", ["no such\0file.wav"])
async def test_a_bug_in_a_worker_is_an_internal_error_and_its_traceback_is_in_the_log(
    pool: WorkerPool, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with pytest.raises(InternalError) as caught:
        await pool.run(measure(tmp_path / name))
    assert "nternal error" in str(caught.value)
    assert "shorter" not in str(caught.value)
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert "Traceback (most recent call last)" in record.getMessage()
    assert "ValueError: embedded null byte" in record.getMessage()


def test_what_is_logged_of_a_worker_holds_no_signature_and_no_token() -> None:
    text = (
        "File '/music/a.wav': https://host/b.wav?X-Amz-Signature=abc&x=1 failed; s3://bucket/key?sig=d#e\n"
        'Authorization: Bearer abc.def api_key=ghi TOKEN=\'jkl\' {"secret": "mno"} bearer pqr'
    )
    shown = redacted(text)
    assert "/music/a.wav" in shown
    assert "https://host/b.wav" in shown
    for secret in ("abc", "sig=", "def", "ghi", "jkl", "mno", "pqr", "X-Amz"):
        assert secret not in shown, secret


async def test_a_folder_that_cannot_be_used_is_told(pool: WorkerPool, song: Path, tmp_path: Path) -> None:
    (tmp_path / "in the way").touch()
    with pytest.raises(GenerationFailed, match="could not use a file"):
        await pool.run(extend(song, tmp_path / "in the way" / "job"))


async def test_an_order_that_cannot_be_sent_leaves_no_worker(
    pool: WorkerPool, song: Path, settings: Settings
) -> None:
    with pytest.raises(TypeError, match="does not cross"):
        await pool.run(Probe(path=song, max_seconds=object()))  # type: ignore[arg-type]
    assert not HAS_PROC or workers_of(settings.data_dir) == []
    assert (await pool.run(probe(song))).seconds == 3.0


async def test_a_callback_that_raises_ends_its_own_task_only(
    pool: WorkerPool, song: Path, tmp_path: Path
) -> None:
    def fail(_share: float, _step: str) -> None:
        raise InvalidRequest("no")

    order = Analyze(path=song, folder=tmp_path / "analysis", max_seconds=60)
    with pytest.raises(InvalidRequest):
        await pool.run(order, on_progress=fail)
    assert (await pool.run(probe(song))).seconds == 3.0


async def test_a_system_that_starts_no_process_is_told(
    pool: WorkerPool, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(song))  # not a program
    with pytest.raises(ProviderUnavailable, match="No worker process can be started"):
        await pool.run(probe(song))


@needs_proc
async def test_closing_ends_what_runs_and_what_waits_and_begins_nothing(
    pool: WorkerPool, song: Path, endless: Path, tmp_path: Path, settings: Settings
) -> None:
    extending = asyncio.create_task(pool.run(extend(song, tmp_path / "job", after_seconds=240)))
    waiting = asyncio.create_task(pool.run(measure(endless)))
    looking = asyncio.create_task(pool.run(probe(endless)))
    await _until(lambda: len(workers_of(settings.data_dir)) == 2)
    await pool.close()
    assert workers_of(settings.data_dir) == []
    assert nurseries_of(settings.data_dir) == []
    for each in (extending, waiting, looking):
        with pytest.raises(ServerStopping):
            await each
    with pytest.raises(ServerStopping):
        await pool.run(probe(song))
    await pool.close()


@needs_proc
async def test_closing_while_a_worker_starts_leaves_none(
    pool: WorkerPool, endless: Path, settings: Settings
) -> None:
    starting = asyncio.create_task(pool.run(measure(endless)))
    await asyncio.sleep(0)
    await pool.close()
    with pytest.raises(ServerStopping):
        await starting
    await _until(lambda: not workers_of(settings.data_dir))


@needs_proc
async def test_extending_goes_on_without_its_server_and_its_answer_is_found(
    pool: WorkerPool, song: Path, endless: Path, tmp_path: Path, settings: Settings
) -> None:
    folder = tmp_path / "job"
    extending = asyncio.create_task(pool.run(extend(song, folder)))
    await _until(lambda: outliving.is_at_work(folder))
    worker = await _worker_of(settings)
    kill(worker, signal.SIGSTOP)
    looking = asyncio.create_task(pool.run(probe(endless)))
    await _until(lambda: len(workers_of(settings.data_dir)) == 2)
    await pool.close(outlive=True)
    for each in (extending, looking):
        with pytest.raises(ServerStopping):
            await each
    assert workers_of(settings.data_dir) == [worker]
    assert outliving.answer_of(folder, Extend) is None
    kill(worker, signal.SIGCONT)
    outcome = await _until(lambda: outliving.answer_of(folder, Extend))
    assert outcome.path.parent == folder
    assert outcome.path.stat().st_size == outcome.size_bytes
    assert outcome.duration_seconds == pytest.approx(4, abs=0.1)
    progress = outliving.progress_of(folder)
    assert progress is not None
    assert 0 <= progress[0] <= 1
    await _until(lambda: not outliving.is_at_work(folder))


@pytest.mark.parametrize(("kind", "differ"), [("music", True), ("loop", False), ("silence", False)])
async def test_an_outcome_says_whether_another_seed_gives_another_file(
    pool: WorkerPool, tmp_path: Path, kind: str, *, differ: bool
) -> None:
    music = sequenced(bpm=120, beats=16, sample_rate=22_050)[0]
    made = {"music": music[:150_000], "loop": music[: 16 * 11_025], "silence": 0 * music}[kind]
    source = tmp_path / "source.wav"
    soundfile.write(source, made, 22_050)
    (tmp_path / "job").mkdir()
    outcome = await pool.run(extend(source, tmp_path / "job", after_seconds=4))
    assert outcome.seeds_differ is differ


@needs_proc
async def test_what_outlives_its_server_stops_when_it_is_asked_to(
    pool: WorkerPool, song: Path, tmp_path: Path, settings: Settings
) -> None:
    folder = tmp_path / "job"
    extending = asyncio.create_task(pool.run(extend(song, folder, after_seconds=240)))
    await _until(lambda: outliving.is_at_work(folder))
    (worker,) = workers_of(settings.data_dir)
    kill(worker, signal.SIGSTOP)  # it must not be done before it is asked
    await pool.close(outlive=True)
    with pytest.raises(ServerStopping):
        await extending
    outliving.ask_to_stop(folder)
    kill(worker, signal.SIGCONT)
    await _until(lambda: not outliving.is_at_work(folder))
    await _until(lambda: not workers_of(settings.data_dir))
    assert outliving.answer_of(folder, Extend) is None


def test_what_a_worker_left_is_read_back_and_cleared_by_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    assert not outliving.is_at_work(folder)
    assert outliving.progress_of(folder) is None
    assert outliving.answer_of(folder, Measure) is None
    now = 0.0
    job = outliving.JobFolder(folder, clock=lambda: now)
    with job.locked():
        assert outliving.is_at_work(folder)
        for at, share in ((0.0, 0.1), (0.24, 0.2), (0.25, 0.3), (0.4, 0.4)):
            now = at
            job.write_progress(wire.Progress(share=share, step="writing"))
        job.write_reply(wire.Reply(answer=LengthSeconds(seconds=4)))
        outliving.ask_to_stop(folder)
        assert job.is_asked_to_stop()
    assert not outliving.is_at_work(folder)
    assert outliving.progress_of(folder) == (0.3, "writing")
    assert outliving.answer_of(folder, Measure) == LengthSeconds(seconds=4)
    with job.locked():
        assert outliving.progress_of(folder) is None
        assert outliving.answer_of(folder, Measure) is None
        assert not job.is_asked_to_stop()
        error = SourceTooLarge("Too long.", field="audio")
        job.write_reply(wire.Reply(error=wire.encode_error(error)))
    with pytest.raises(SourceTooLarge, match="Too long") as caught:
        outliving.answer_of(folder, Measure)
    assert caught.value.field == "audio"
    (folder / "answer.json").write_text("{")
    assert outliving.answer_of(folder, Measure) is None
    with job.locked():
        (folder / "lock").unlink()  # as whoever cancels a request deletes its folder
        assert job.is_asked_to_stop()
    assert {path.name for path in folder.iterdir()} <= {"lock", "answer.json"}


def test_a_job_that_another_process_is_at_is_not_begun_twice(tmp_path: Path) -> None:
    def lock_again() -> None:
        with outliving.JobFolder(tmp_path, lock_timeout_seconds=0).locked():
            raise AssertionError

    with outliving.JobFolder(tmp_path).locked(), ThreadPoolExecutor() as other:
        outliving.ask_to_stop(tmp_path)
        with pytest.raises(GenerationFailed, match="Another process"):
            other.submit(lock_again).result()
        assert (tmp_path / "stop").exists()


def test_a_worker_that_is_seen_to_have_its_job_in_hand_may_outlive_its_server_at_once(tmp_path: Path) -> None:
    (tmp_path / "progress.json").mkdir()  # so that nothing comes after the lock
    job = outliving.JobFolder(tmp_path)
    assert not job.is_taken
    with pytest.raises(OSError, match=r"progress\.json"), job.locked():
        raise AssertionError
    assert job.is_taken


@needs_proc
async def test_a_job_whose_worker_is_being_started_as_its_server_leaves_is_begun_all_the_same(
    pool: WorkerPool, song: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "job"
    extending = asyncio.create_task(pool.run(extend(song, folder)))
    await _settle()
    await pool.close(outlive=True)
    with suppress(ServerStopping):  # on an idle machine it may have finished
        await extending
    assert outliving.is_at_work(folder) or outliving.answer_of(folder, Extend) is not None
    await _until(lambda: outliving.answer_of(folder, Extend))

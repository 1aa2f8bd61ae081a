"""What can befall a worker process, and that it befalls one request only."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from tests.dispatching import dispatching, has_ended, provider_context
from tests.e2e.processes import HAS_PROC, kill, nurseries_of, recording_workers, until, workers_of, workers_on
from tests.e2e.rpc import PATIENCE_SECONDS
from tests.e2e.sound import check_longer_file
from tests.stores import new_request
from tests.waiting import until as eventually
from tests.workers import NO_COPIES, extend

from outpaint_mcp.errors import SourceError
from outpaint_mcp.models import CancelOutcome, Status, SubmitRequest
from outpaint_mcp.principals import PERSON
from outpaint_mcp.providers.local.provider import HANG_SECONDS, LocalProvider
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.lifespan import open_service
from outpaint_mcp.sources import LocalFile
from outpaint_mcp.workers import outliving, wire
from outpaint_mcp.workers.inputs import open_order
from outpaint_mcp.workers.looks import Measure
from outpaint_mcp.workers.orders import Extend
from outpaint_mcp.workers.pool import WorkerPool
from outpaint_mcp.workers.probing import Prober
from outpaint_mcp.workers.process import SINGLE_THREADED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.conftest import MakeSong
    from tests.e2e.rpc import Server

    from outpaint_mcp.config import Settings
    from outpaint_mcp.service.service import OutpaintService
    from outpaint_mcp.storage.records import RequestRecord
    from outpaint_mcp.storage.store import Store
    from outpaint_mcp.workers.order import Order

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(not HAS_PROC, reason="looks for processes in /proc")]

# Room for the order and a few windows, and not for the samples.
_BARELY_ANY_MEMORY = """
import numpy, soundfile, soxr
from pathlib import Path
from outpaint_mcp.workers import making, orders, wire, worker
wire.prepare(orders.Extend)
pages = int(Path("/proc/self/statm").read_text().split()[0])
worker.MAX_MEMORY_BYTES = pages * 4096 + (24 << 20)
worker.main()
"""


_extend = partial(extend, before_seconds=240, after_seconds=240)


@pytest.fixture
def three_slots(marked: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - for the workers
    """Room for two jobs and a look."""
    monkeypatch.setattr("outpaint_mcp.workers.pool.count_cores", lambda: 3)


@pytest.fixture
async def service(three_slots: None, settings: Settings) -> AsyncIterator[OutpaintService]:  # noqa: ARG001
    """The service, on three cores."""
    async with open_service(settings, vocabulary=TOOLS) as opened:
        yield opened


@pytest.fixture
def hang_seconds() -> float:
    return HANG_SECONDS


@pytest.fixture
async def carried_out(
    three_slots: None,  # noqa: ARG001 - for the mark
    settings: Settings,
    store: Store,
    hang_seconds: float,
) -> AsyncIterator[Store]:
    """A store whose local jobs are carried out."""
    pool = WorkerPool()
    local = LocalProvider(provider_context(store, settings, pool), hang_seconds=hang_seconds)
    async with dispatching(store, settings.data_dir, local):
        yield store
    await pool.close()


def _add(store: Store, song: Path, *, seconds: float) -> str:
    """Write a request; returns its id."""
    new = new_request(source=str(song))
    request = new.request.model_copy(update={"extend_after_duration": seconds})
    store.journal.add(replace(new, request=request))
    return new.request_id


async def _submit(service: OutpaintService, song: Path, tags: str, *, seconds: float) -> str:
    """Submit a request that no other of these tags is like; returns its id."""
    request = SubmitRequest.of(audio=str(song), tags=tags, extend_after_duration=seconds)
    return (await service.submit(PERSON, request)).request_id


async def _hold(settings: Settings, request_id: str) -> int:
    """Stop a job's worker in its tracks, and return the worker's id."""
    (worker,) = await asyncio.to_thread(until, lambda: workers_on(settings.data_dir, request_id))
    kill(worker, signal.SIGSTOP)
    return worker


async def _end_of(store: Store, request_id: str) -> RequestRecord:
    await eventually(has_ended(store, request_id))
    return store.journal.get(request_id)


@pytest.mark.parametrize(
    ("how", "reason", "hang_seconds"),
    [
        (signal.SIGKILL, "was killed", HANG_SECONDS),
        (signal.SIGSEGV, "SIGSEGV", HANG_SECONDS),
        (signal.SIGSTOP, "silent", 4.0),
    ],
    ids=["killed", "crashed", "hung"],
)
async def test_a_worker_that_dies_or_hangs_fails_its_own_request_with_the_reason(
    carried_out: Store, make_song: MakeSong, settings: Settings, how: signal.Signals, reason: str
) -> None:
    doomed = _add(carried_out, make_song("long.wav", seconds=20), seconds=240)
    worker = await _hold(settings, doomed)
    other = None
    if how is not signal.SIGSTOP:  # a machine at work would take this one for hung as well
        other = _add(carried_out, make_song(), seconds=1)
        kill(worker, how)
        kill(worker, signal.SIGCONT)
    ended = await _end_of(carried_out, doomed)
    assert ended.status is Status.FAILED
    assert reason in (ended.error or "")
    if other is not None:
        assert (await _end_of(carried_out, other)).status is Status.COMPLETED
    assert worker not in workers_of(settings.data_dir)
    await eventually(lambda: not (settings.data_dir / "jobs" / doomed).exists())


async def test_a_worker_is_out_of_reach_of_signals_to_its_servers_terminal_and_group(
    service: OutpaintService, make_song: MakeSong, settings: Settings
) -> None:
    held = await _submit(service, make_song("long.wav", seconds=20), "held", seconds=240)
    worker = await _hold(settings, held)
    assert os.getsid(worker) != os.getsid(0)
    assert os.getpgid(worker) != os.getpgid(0)
    assert (await service.cancel(PERSON, held)).outcome is CancelOutcome.CANCELLED
    assert worker not in workers_of(settings.data_dir)


@pytest.mark.usefixtures("three_slots")  # for the mark on its workers
async def test_a_source_whose_look_hangs_is_refused_and_its_worker_stopped(
    song: Path, endless: Path, settings: Settings
) -> None:
    pool = WorkerPool()
    prober = Prober(pool, NO_COPIES, timeout_seconds=5)
    first = await Prober(pool, NO_COPIES).look(LocalFile(song))
    assert first is not None
    assert first.seconds == 3.0
    looking = asyncio.create_task(prober.look(LocalFile(endless)))
    (worker,) = await asyncio.to_thread(until, lambda: workers_of(settings.data_dir))
    kill(worker, signal.SIGSTOP)
    with pytest.raises(SourceError, match="could not be looked at"):
        await looking
    assert workers_of(settings.data_dir) == []
    assert await prober.look(LocalFile(song)) == first
    await pool.close()


async def test_cancelling_stops_a_running_worker_and_the_queue_goes_on(
    service: OutpaintService, make_song: MakeSong, settings: Settings
) -> None:
    long_song = make_song("long.wav", seconds=20)
    running = [await _submit(service, long_song, tags, seconds=240) for tags in ("first", "second")]
    workers = [await _hold(settings, each) for each in running]
    queued = await _submit(service, long_song, "queued", seconds=1)
    doomed = await _submit(service, long_song, "doomed", seconds=1)
    assert (await service.status(PERSON, doomed)).queue_position == 2
    assert (await service.cancel(PERSON, doomed)).outcome is CancelOutcome.CANCELLED
    assert (await service.status(PERSON, queued)).status is Status.IN_QUEUE
    assert (await service.cancel(PERSON, running[0])).outcome is CancelOutcome.CANCELLED
    assert (await service.status(PERSON, running[0])).status is Status.CANCELLED
    assert workers[0] not in workers_of(settings.data_dir)
    assert workers[1] in workers_of(settings.data_dir)
    ended = await service.status(PERSON, queued, wait_seconds=PATIENCE_SECONDS)
    assert ended.status is Status.COMPLETED
    assert (await service.cancel(PERSON, queued)).outcome is CancelOutcome.NOT_CANCELLABLE
    assert (await service.cancel(PERSON, running[1])).outcome is CancelOutcome.CANCELLED


def _start(order: Order[Any], *program: str) -> subprocess.Popen[bytes]:
    """Start a worker in an interpreter of its own, and send it an order."""
    opened = open_order(order, [])
    process = subprocess.Popen(
        [sys.executable, *program, *map(str, opened.descriptors)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | SINGLE_THREADED,
        pass_fds=opened.descriptors,
    )
    opened.close()
    assert process.stdin is not None
    process.stdin.write(opened.line)
    process.stdin.flush()
    return process


def test_a_worker_that_runs_out_of_memory_says_so(make_song: MakeSong, tmp_path: Path) -> None:
    song = make_song(seconds=20, sample_rate=48_000)
    with _start(_extend(song, tmp_path / "job"), "-c", _BARELY_ANY_MEMORY) as process:
        assert process.stdout is not None
        last = wire.decode(wire.reply_type(Extend), process.stdout.readlines()[-1])
    assert last.error is not None
    assert "ran out of memory" in last.error.message
    assert last.error.kind == "GenerationFailed"


def test_a_worker_ends_when_its_server_is_gone(endless: Path) -> None:
    order = Measure(path=endless, max_seconds=3600)
    with _start(order, "-m", "outpaint_mcp.workers.worker") as process, endless.open("wb"):
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(PATIENCE_SECONDS) == 1


def test_a_worker_that_may_outlive_its_server_does_so_for_a_while_only(
    make_song: MakeSong, tmp_path: Path
) -> None:
    program = (
        "from outpaint_mcp.workers import outliving, worker; outliving.OUTLIVE_SECONDS = 0.3; worker.main()"
    )
    folder = tmp_path / "job"
    with _start(_extend(make_song(seconds=20), folder), "-c", program) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        process.stdin.close()
        assert process.wait(PATIENCE_SECONDS) == 1
    assert not outliving.is_at_work(folder)
    assert not list(folder.glob("output.[fw]*"))


@pytest.mark.parametrize("last", [b"\0", b"more\n"])
def test_a_byte_on_its_lifeline_ends_even_a_worker_that_may_outlive_its_server(
    make_song: MakeSong, tmp_path: Path, last: bytes
) -> None:
    order = _extend(make_song(seconds=20), tmp_path / "job")
    with _start(order, "-m", "outpaint_mcp.workers.worker") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        process.stdin.write(last)
        process.stdin.flush()
        assert process.wait(PATIENCE_SECONDS) == 1


def test_a_worker_without_a_whole_order_ends_at_once() -> None:
    for sent in (b"", b"Probe {", b"Probe {}\n\0"):
        done = subprocess.run(
            [sys.executable, "-m", "outpaint_mcp.workers.worker"],
            input=sent,
            check=False,
            capture_output=True,
        )
        assert (done.returncode, done.stdout) == (1, b"")


_SERVER = """
import asyncio, sys
from pathlib import Path
from outpaint_mcp.workers.forking import start_nursery
from outpaint_mcp.workers.pool import WorkerPool
from outpaint_mcp.workers.inputs import open_order
from outpaint_mcp.workers.looks import Measure
from outpaint_mcp.workers.orders import Extend
from outpaint_mcp.workers import inputs, wire
from tests.workers import pipes_as_well
inputs.open_regular = pipes_as_well
async def main():
    pool = WorkerPool(slots=3, start_nursery=start_nursery if sys.argv[1] == "forks" else None)
    await asyncio.gather(*(pool.run(wire.decode_order(line.encode())) for line in sys.argv[2:]))
asyncio.run(main())
"""


@pytest.mark.parametrize("way", ["forks", "starts"])
def test_extending_alone_goes_on_when_its_server_is_killed(
    make_song: MakeSong, tmp_path: Path, settings: Settings, environment: dict[str, str], way: str
) -> None:
    folder, pipe = tmp_path / "job", tmp_path / "endless.wav"
    os.mkfifo(pipe)
    orders = (_extend(make_song(seconds=20), folder), Measure(path=pipe, max_seconds=3600))
    lines = [wire.encode_order(order).decode() for order in orders]
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER, way, *lines],
        env=os.environ | environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as server:
        until(lambda: outliving.is_at_work(folder))
        with pipe.open("wb"):
            server.kill()
            server.wait()
            until(lambda: len(workers_of(settings.data_dir)) == 1)
    assert outliving.is_at_work(folder)
    until(lambda: not nurseries_of(settings.data_dir))
    until(lambda: outliving.progress_of(folder))
    outliving.ask_to_stop(folder)
    until(lambda: not workers_of(settings.data_dir))
    until(lambda: not outliving.is_at_work(folder))


# Servers that leave while a local job is under way.


def _begin(server: Server, song: Path, settings: Settings) -> tuple[str, int]:
    """Submit a job that takes a while; returns its request and its worker."""
    answer = server.tool(
        "submit_outpaint", audio=str(song), tags="", extend_before_duration=60, extend_after_duration=60
    )
    request_id = str(answer["request_id"])
    (worker,) = until(lambda: workers_on(settings.data_dir, request_id))
    return request_id, worker


def _leave_at_work(server: Server, song: Path, settings: Settings) -> tuple[str, int]:
    """End a server below its job, whose worker is stopped for now; returns the same."""
    request_id, worker = _begin(server, song, settings)
    kill(worker, signal.SIGSTOP)
    assert server.end() == 0
    assert workers_of(settings.data_dir) == [worker]
    return request_id, worker


def test_a_job_finishes_without_the_server_whose_client_has_hung_up_and_the_next_takes_its_result_up(
    start_server: Callable[..., Server], make_song: MakeSong, settings: Settings
) -> None:
    song = make_song("long.wav", seconds=20)
    request_id, worker = _leave_at_work(start_server(), song, settings)
    assert nurseries_of(settings.data_dir) == []
    kill(worker, signal.SIGCONT)
    folder = settings.data_dir / "jobs" / request_id
    until(lambda: not workers_of(settings.data_dir))
    left = outliving.answer_of(folder, Extend)
    assert left is not None
    assert left.path.parent == folder
    written_at = left.path.stat().st_mtime_ns
    result = start_server().finished(request_id)
    check_longer_file(result, song)
    assert left.path.stat().st_mtime_ns == written_at


def test_a_job_that_outlives_its_server_is_followed_by_the_next_and_not_started_again(
    start_server: Callable[..., Server], make_song: MakeSong, settings: Settings
) -> None:
    song = make_song("long.wav", seconds=20)
    request_id, worker = _leave_at_work(start_server(), song, settings)
    second = start_server()
    until(lambda: second.tool("get_outpaint_status", request_id=request_id)["status"] == "in_progress")
    assert workers_of(settings.data_dir) == [worker]
    kill(worker, signal.SIGCONT)
    with recording_workers(settings.data_dir) as workers:
        check_longer_file(second.finished(request_id), song)
    assert workers <= {worker}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_nothing_survives_a_server_that_is_told_to_end(
    start_server: Callable[..., Server], make_song: MakeSong, settings: Settings, how: signal.Signals
) -> None:
    first = start_server()
    request_id, _ = _begin(first, make_song("long.wav", seconds=20), settings)
    first.process.send_signal(how)
    assert first.process.wait(PATIENCE_SECONDS) == 128 + how
    assert workers_of(settings.data_dir) == []
    assert nurseries_of(settings.data_dir) == []
    assert not outliving.is_at_work(settings.data_dir / "jobs" / request_id)


def test_a_job_that_outlives_its_server_is_stopped_by_a_cancellation_elsewhere(
    start_server: Callable[..., Server], make_song: MakeSong, settings: Settings
) -> None:
    first = start_server()
    request_id, worker = _begin(first, make_song("long.wav", seconds=20), settings)
    kill(worker, signal.SIGSTOP)
    assert first.end() == 0
    cancelled = start_server().tool("cancel_outpaint", request_id=request_id)
    assert cancelled["outcome"] == "cancelled"
    kill(worker, signal.SIGCONT)
    until(lambda: not workers_of(settings.data_dir))
    until(lambda: not (settings.data_dir / "jobs" / request_id).exists())

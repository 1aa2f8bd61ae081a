"""What can befall a worker process, and that it befalls one request only."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.e2e.processes import HAS_PROC, kill, until, workers_of
from tests.e2e.rpc import PATIENCE_SECONDS

from outpaint_mcp.errors import SourceError
from outpaint_mcp.jobs.liveness import Presence
from outpaint_mcp.models import CancelOutcome, Status, SubmitRequest
from outpaint_mcp.providers.local.jobs import Jobs
from outpaint_mcp.providers.local.provider import LocalProvider
from outpaint_mcp.providers.local.runner import HANG_SECONDS, Runner
from outpaint_mcp.sources import LocalFile
from outpaint_mcp.workers.probing import MAX_SOURCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import MakeSong

    from outpaint_mcp.config import Settings
    from outpaint_mcp.providers.base import ProviderStatus
    from outpaint_mcp.storage.database import Database

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(not HAS_PROC, reason="looks for processes in /proc")]

# Room for the order and a few windows, and not for the samples.
_BARELY_ANY_MEMORY = """
import numpy, soundfile, soxr
from pathlib import Path
from outpaint_mcp.workers import worker
from outpaint_mcp.audio.engine import outpaint
pages = int(Path("/proc/self/statm").read_text().split()[0])
worker.MAX_MEMORY_BYTES = pages * 4096 + (24 << 20)
worker.main()
"""


@pytest.fixture
def hang_seconds() -> float:
    return HANG_SECONDS


@pytest.fixture
async def provider(
    environment: dict[str, str],
    settings: Settings,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    hang_seconds: float,
) -> AsyncIterator[LocalProvider]:
    """A local provider on two cores."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)  # the mark by which our workers are told from others
    jobs, presence = Jobs(database), Presence(settings.data_dir / "servers")
    folder = settings.data_dir / "jobs"
    runner = Runner(
        jobs,
        presence,
        folder,
        most_running=2,
        max_source_seconds=MAX_SOURCE_SECONDS,
        hang_seconds=hang_seconds,
    )
    running = asyncio.create_task(runner.run())
    yield LocalProvider(jobs, folder, ring=runner.ring)
    running.cancel()
    await asyncio.wait({running})
    presence.close()


async def _submit(provider: LocalProvider, song: Path, name: str, *, seconds: float) -> str:
    request = SubmitRequest.of(audio=str(song), tags="", extend_after_duration=seconds)
    await provider.submit(name, request, LocalFile(path=song))
    return name


async def _submit_and_hold(provider: LocalProvider, song: Path, name: str, settings: Settings) -> int:
    """Submit a long job, stop its worker in its tracks, and return the worker's id."""
    others = set(workers_of(settings.data_dir))
    await _submit(provider, song, name, seconds=240)
    worker = (await asyncio.to_thread(until, lambda: set(workers_of(settings.data_dir)) - others)).pop()
    kill(worker, signal.SIGSTOP)
    return worker


async def _end_of(provider: LocalProvider, request_id: str) -> ProviderStatus:
    def look() -> ProviderStatus | None:
        seen = provider._jobs.status(request_id)
        return seen if seen.status.is_final else None

    return await asyncio.to_thread(until, look)


@pytest.mark.parametrize(
    ("how", "reason", "hang_seconds"),
    [
        (signal.SIGKILL, "was killed", HANG_SECONDS),
        (signal.SIGSEGV, "SIGSEGV", HANG_SECONDS),
        (signal.SIGSTOP, "Nothing was heard", 1.0),
    ],
    ids=["killed", "crashed", "hung"],
)
async def test_a_worker_that_dies_or_hangs_fails_its_own_request_with_the_reason(
    provider: LocalProvider, make_song: MakeSong, settings: Settings, how: signal.Signals, reason: str
) -> None:
    long_song = make_song("long.wav", seconds=20)
    worker = await _submit_and_hold(provider, long_song, "doomed", settings)
    other = None
    if how is not signal.SIGSTOP:  # a machine at work would take this one for hung as well
        other = await _submit(provider, make_song(), "other", seconds=1)
        kill(worker, how)
        kill(worker, signal.SIGCONT)
    ended = await _end_of(provider, "doomed")
    assert ended.status is Status.FAILED
    assert reason in (ended.error or "")
    if other is not None:
        assert (await _end_of(provider, other)).status is Status.COMPLETED
    assert worker not in workers_of(settings.data_dir)
    assert not (settings.data_dir / "jobs" / "doomed").exists()


async def test_a_worker_is_out_of_reach_of_signals_to_its_servers_terminal_and_group(
    provider: LocalProvider, make_song: MakeSong, settings: Settings
) -> None:
    worker = await _submit_and_hold(provider, make_song("long.wav", seconds=20), "held", settings)
    assert os.getsid(worker) != os.getsid(0)
    assert os.getpgid(worker) != os.getpgid(0)
    assert await provider.cancel("held") is CancelOutcome.CANCELLED


@pytest.mark.usefixtures("provider")  # for the mark on its workers
async def test_a_source_whose_look_hangs_is_refused_and_its_worker_stopped(
    song: Path, settings: Settings, database: Database
) -> None:
    impatient = LocalProvider(Jobs(database), settings.data_dir / "jobs", probe_seconds=2)
    looking = asyncio.create_task(impatient.source_seconds(LocalFile(song)))
    (worker,) = await asyncio.to_thread(until, lambda: workers_of(settings.data_dir))
    kill(worker, signal.SIGSTOP)
    with pytest.raises(SourceError, match="could not be looked at"):
        await looking
    assert workers_of(settings.data_dir) == []


async def test_cancelling_stops_a_running_worker_and_the_queue_goes_on(
    provider: LocalProvider, make_song: MakeSong, settings: Settings
) -> None:
    long_song = make_song("long.wav", seconds=20)
    workers = [await _submit_and_hold(provider, long_song, name, settings) for name in ("first", "second")]
    queued = await _submit(provider, long_song, "queued", seconds=1)
    doomed = await _submit(provider, long_song, "doomed", seconds=1)
    assert (await provider.status(doomed)).queue_position == 2
    assert await provider.cancel(doomed) is CancelOutcome.CANCELLED
    assert (await provider.status(queued)).status is Status.IN_QUEUE
    assert await provider.cancel("first") is CancelOutcome.CANCELLED
    assert (await provider.status("first")).status is Status.CANCELLED
    assert workers[0] not in workers_of(settings.data_dir)
    assert workers[1] in workers_of(settings.data_dir)
    assert (await _end_of(provider, queued)).status is Status.COMPLETED
    assert await provider.cancel(queued) is CancelOutcome.NOT_CANCELLABLE
    assert await provider.cancel("second") is CancelOutcome.CANCELLED


def test_a_worker_that_runs_out_of_memory_says_so(make_song: MakeSong, tmp_path: Path) -> None:
    song = make_song(seconds=20, sample_rate=48_000)
    order = {
        "task": "extend",
        "source": str(song),
        "folder": str(tmp_path / "job"),
        "before_seconds": 240,
        "after_seconds": 240,
        "start_seconds": 0,
        "end_seconds": 0,
        "comment": "",
        "seed": 1,
        "max_seconds": 3600,
    }
    process = subprocess.Popen(
        [sys.executable, "-c", _BARELY_ANY_MEMORY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        last = json.loads(process.stdout.readlines()[-1])
    assert "ran out of memory" in last["error"]
    assert last["kind"] == "GenerationFailed"


def test_a_worker_ends_when_its_server_is_gone(make_song: MakeSong, tmp_path: Path) -> None:
    song = make_song(seconds=20)
    order = {"task": "extend", "source": str(song), "folder": str(tmp_path / "job"), "seed": 1}
    order |= {"before_seconds": 240, "after_seconds": 240, "max_seconds": 3600}
    order |= {"start_seconds": 0, "end_seconds": 0, "comment": ""}
    process = subprocess.Popen(
        [sys.executable, "-m", "outpaint_mcp.workers.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdin.close()
        assert process.wait(PATIENCE_SECONDS) == 1
    assert not list((tmp_path / "job").glob("output.[fw]*"))

"""The warm process that forks the workers: it stays small, leaves nothing behind, and can be lost."""

# ruff: noqa: ASYNC240 - files in /proc answer at once

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.e2e.processes import HAS_PROC, kill, nurseries_of, until, workers_of
from tests.workers import measure, probe

from outpaint_mcp.errors import WorkerDied
from outpaint_mcp.workers.forking import NurseryGone
from outpaint_mcp.workers.looks import Analyze
from outpaint_mcp.workers.pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from outpaint_mcp.config import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(not HAS_PROC, reason="looks for processes in /proc")]

_SECRET = "RUNCOMFY_API_TOKEN"


@pytest.fixture
async def pool(marked: None) -> AsyncIterator[WorkerPool]:  # noqa: ARG001 - for the workers
    opened = WorkerPool(slots=2)
    yield opened
    await opened.close()


async def _until(look: Callable[[], Any]) -> Any:  # noqa: ANN401 - what was seen
    return await asyncio.to_thread(until, look)


def _open_files(pid: int | str) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _children(pid: int) -> list[tuple[int, str]]:
    """Return the children of a process, and the states that they are in."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid:
                found.append((int(path.parent.name), state))
    return found


async def test_a_hundred_tasks_leave_no_file_open_no_process_and_no_thread(
    pool: WorkerPool, song: Path, settings: Settings
) -> None:
    await pool.run(Analyze(path=song, folder=settings.data_dir / "analysis", max_seconds=60))
    (nursery,) = nurseries_of(settings.data_dir)
    before = (
        _open_files("self"),
        _open_files(nursery),
    )  # of which an earlier test may have left some to be closed
    for _ in range(50):
        await asyncio.gather(pool.run(probe(song)), pool.run(probe(song)))
    await _until(lambda: _open_files("self") <= before[0] and _open_files(nursery) <= before[1])
    assert nurseries_of(settings.data_dir) == [nursery]
    assert _children(nursery) == []
    assert len(list(Path(f"/proc/{nursery}/task").iterdir())) == 1
    await pool.close()
    await _until(lambda: nursery not in dict(_children(os.getpid())))


async def test_a_worker_has_nothing_open_but_its_pipes_and_what_it_works_on(
    pool: WorkerPool, endless: Path, settings: Settings
) -> None:
    running = asyncio.create_task(pool.run(measure(endless)))
    (worker,) = await _until(lambda: workers_of(settings.data_dir))
    await _until(lambda: _open_files(worker) == 5)  # and a copy of stdout, before stdout joined stderr
    links = [str(path.readlink()) for path in Path(f"/proc/{worker}/fd").iterdir()]
    assert [link for link in links if not link.startswith("pipe:")] == [str(endless)]
    status = Path(f"/proc/{worker}/status").read_text().splitlines()
    signals = {
        line.partition(":")[0]: int(line.split()[1], 16)
        for line in status
        if line.startswith(("SigI", "SigC", "SigB"))
    }
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        assert not (signals["SigIgn"] | signals["SigCgt"] | signals["SigBlk"]) >> (each - 1) & 1, each
    running.cancel()
    await asyncio.wait({running})
    assert workers_of(settings.data_dir) == []


async def test_signals_to_the_servers_group_do_not_reach_it_and_secrets_neither(
    pool: WorkerPool, song: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(_SECRET, "not for workers")
    await pool.run(probe(song))
    (nursery,) = nurseries_of(settings.data_dir)
    assert os.getsid(nursery) == nursery != os.getsid(0)
    assert _SECRET.encode() not in Path(f"/proc/{nursery}/environ").read_bytes()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        kill(nursery, each)
    await pool.run(probe(song))
    assert nurseries_of(settings.data_dir) == [nursery]


async def test_a_nursery_that_is_killed_is_started_again_and_what_runs_goes_on(
    pool: WorkerPool, song: Path, endless: Path, settings: Settings
) -> None:
    running = asyncio.create_task(pool.run(measure(endless)))
    (worker,) = await _until(lambda: workers_of(settings.data_dir))
    (nursery,) = nurseries_of(settings.data_dir)
    kill(nursery)
    await _until(lambda: not nurseries_of(settings.data_dir))
    assert (await pool.run(probe(song))).seconds == 3.0
    assert (await pool.run(probe(song))).seconds == 3.0
    assert len(nurseries_of(settings.data_dir)) == 1
    assert workers_of(settings.data_dir) == [worker]
    assert not running.done()
    running.cancel()
    await asyncio.wait({running})
    await _until(lambda: not workers_of(settings.data_dir))


async def test_a_worker_that_dies_after_its_nursery_is_told_as_dead(
    pool: WorkerPool, endless: Path, settings: Settings
) -> None:
    running = asyncio.create_task(pool.run(measure(endless)))
    (worker,) = await _until(lambda: workers_of(settings.data_dir))
    kill(nurseries_of(settings.data_dir)[0])
    await _until(lambda: not nurseries_of(settings.data_dir))
    kill(worker)
    with pytest.raises(WorkerDied, match="ended early"):
        await running


async def test_a_nursery_that_cannot_run_costs_nothing_but_its_warmth(
    pool: WorkerPool, song: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python, tries = tmp_path / "python", tmp_path / "tries"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *nursery*) echo >> "{tries}"; exit 1;; esac\nexec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    for _ in range(5):
        assert (await pool.run(probe(song))).seconds == 3.0
    assert len(tries.read_text().splitlines()) == 3
    assert nurseries_of(settings.data_dir) == []


async def test_the_event_loop_goes_on_while_a_nursery_starts(
    pool: WorkerPool, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python, gate = tmp_path / "python", tmp_path / "gate"
    os.mkfifo(gate)
    python.write_text(f'#!/bin/sh\nread line < "{gate}"\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    running = asyncio.create_task(pool.run(probe(song)))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not running.done()
    await asyncio.to_thread(gate.write_text, "go\n")
    assert (await running).seconds == 3.0


async def test_a_task_that_is_cancelled_while_the_nursery_starts_leaves_no_worker(
    pool: WorkerPool, endless: Path, settings: Settings
) -> None:
    before = _open_files("self")
    running = asyncio.create_task(pool.run(measure(endless)))
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})
    await pool.close()
    await _until(lambda: not workers_of(settings.data_dir) + nurseries_of(settings.data_dir))
    await _until(lambda: _open_files("self") <= before)


@pytest.mark.parametrize("idle_seconds", [0.1, 600])
def test_a_nursery_ends_when_it_is_idle_and_when_its_server_is_gone(idle_seconds: float) -> None:
    program = (
        "import socket, sys; from outpaint_mcp.workers.nursery import Nursery;"
        "Nursery(socket.socket(fileno=int(sys.argv[1])), idle_seconds=float(sys.argv[2])).serve()"
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(theirs.fileno()), str(idle_seconds)],
            pass_fds=(theirs.fileno(),),
        )
        theirs.close()
        if idle_seconds > 1:
            ours.close()
        assert process.wait(20) == 0


async def test_forks_that_were_cancelled_do_not_count_against_the_nursery(
    pool: WorkerPool, song: Path, settings: Settings
) -> None:
    nursery = pool._nursery
    assert nursery is not None
    for _ in range(4):
        fork = asyncio.create_task(nursery.fork("Probe"))
        await asyncio.sleep(0)
        fork.cancel()
        await asyncio.wait({fork})
    assert nursery.is_usable
    await pool.run(probe(song))
    assert len(nurseries_of(settings.data_dir)) == 1


async def test_a_nursery_that_was_closed_is_not_started_again(
    pool: WorkerPool, song: Path, settings: Settings
) -> None:
    """Whoever had a slot as the pool was closed may ask for a worker afterwards."""
    await pool.run(probe(song))
    await pool.close()
    assert pool._nursery is not None
    with pytest.raises(NurseryGone):
        await pool._nursery.fork("Probe")
    assert nurseries_of(settings.data_dir) == []

"""The local provider's queue at work: what goes wrong around it, it outlives."""

# ruff: noqa: ASYNC110, ASYNC251 - jobs are polled; a loop that stands still on purpose

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from outpaint_mcp.errors import ProviderUnavailable, SourceError, StorageFailed
from outpaint_mcp.jobs.liveness import Presence
from outpaint_mcp.models import CancelOutcome, Status, SubmitRequest
from outpaint_mcp.providers.local.jobs import Job, Jobs
from outpaint_mcp.providers.local.provider import LocalProvider, open_local_provider
from outpaint_mcp.providers.local.runner import Runner
from outpaint_mcp.sources import InlineAudio, LocalFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.storage.database import Database

    Call = Callable[..., Awaitable[dict[str, Any]]]

pytestmark = pytest.mark.anyio

_MADE = {"path": "/longer.wav"}


class CountingJobs(Jobs):
    """The real queue, and how often it was looked at and an end was tried to be written down."""

    looks = 0
    ends = 0

    def has_queued(self) -> bool:
        self.looks += 1
        return super().has_queued()

    def end(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - passed on
        self.ends += 1
        super().end(*args, **options)


@pytest.fixture
def jobs(database: Database) -> CountingJobs:
    return CountingJobs(database)


async def _make_at_once(_order: dict[str, Any], **_: object) -> dict[str, Any]:
    return _MADE


async def _make_for_ever(_order: dict[str, Any], **_: object) -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


@asynccontextmanager
async def _running(
    jobs: Jobs, data_dir: Path, *, call: Call = _make_at_once, hang_seconds: float = 60
) -> AsyncIterator[Runner]:
    presence = Presence(data_dir / "servers")
    runner = Runner(
        jobs,
        presence,
        data_dir / "jobs",
        most_running=9,
        max_source_seconds=60,
        hang_seconds=hang_seconds,
        call=call,
    )
    running = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        running.cancel()
        await asyncio.wait({running})
        presence.close()
    assert running.cancelled()


def _add(jobs: Jobs, song: Path, *names: str) -> None:
    for name in names:
        jobs.add(Job(request_id=name, source=str(song), before_seconds=1, after_seconds=2, seed=3))


async def _until(look: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not look():
            await asyncio.sleep(0.01)


def _has(jobs: Jobs, name: str, status: Status) -> Callable[[], bool]:
    return lambda: jobs.status(name).status is status


@contextmanager
def _refusing(database: Database, change: str, condition: str) -> Iterator[None]:
    """Have the database refuse a change of a job, as a broken disk would."""
    with database.write() as connection:
        connection.execute(
            f"CREATE TRIGGER broken BEFORE UPDATE OF {change} ON jobs WHEN {condition}"
            " BEGIN SELECT RAISE(ABORT, 'the disk is broken'); END"
        )
    yield
    with database.write() as connection:
        connection.execute("DROP TRIGGER broken")


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert not any(record.exc_info for record in caplog.records)
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_signs_of_life_that_cannot_be_read_for_a_while_hold_the_queue_up_and_no_longer(
    jobs: CountingJobs, settings: Settings, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    servers = settings.data_dir / "servers"
    _add(jobs, song, "of another")
    async with _running(jobs, settings.data_dir) as runner:
        await _until(_has(jobs, "of another", Status.COMPLETED))
        servers.rename(servers.with_name("away"))
        servers.write_text("in the way")
        with jobs._database.write() as connection:
            connection.execute(
                "UPDATE jobs SET status = 'in_progress', source = ?, server_id = '1-gone'", (str(song),)
            )
        _add(jobs, song, "mine")
        runner.ring()
        await _until(lambda: len(_warnings(caplog)) == 1)
        servers.unlink()
        servers.with_name("away").rename(servers)
        await _until(_has(jobs, "mine", Status.COMPLETED))
        await _until(_has(jobs, "of another", Status.COMPLETED))


async def test_a_claim_that_fails_takes_no_other_job_along_and_is_told_once(
    jobs: CountingJobs, database: Database, settings: Settings, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _add(jobs, song, "first", "second")
    with _refusing(database, "server_id", "old.request_id = 'second' AND new.status = 'in_progress'"):
        async with _running(jobs, settings.data_dir) as runner:
            await _until(_has(jobs, "first", Status.COMPLETED))
            looks = jobs.looks
            while jobs.looks < looks + 5:
                runner.ring()
                await asyncio.sleep(0.01)
    (told,) = _warnings(caplog)
    assert "the disk is broken" in told
    assert jobs.status("second").status is Status.IN_QUEUE
    async with _running(jobs, settings.data_dir):
        await _until(_has(jobs, "second", Status.COMPLETED))


async def test_files_that_cannot_be_removed_end_neither_their_job_nor_another(
    jobs: CountingJobs, settings: Settings, song: Path
) -> None:
    released = asyncio.Event()

    async def call(order: dict[str, Any], **_: object) -> dict[str, Any]:
        if order["folder"].endswith("slow"):
            await released.wait()
        return _MADE

    (settings.data_dir / "jobs" / "quick" / "source").mkdir(parents=True)  # unlink fails on a folder
    _add(jobs, song, "slow", "quick")
    async with _running(jobs, settings.data_dir, call=call):
        await _until(_has(jobs, "quick", Status.COMPLETED))
        assert jobs.status("slow").status is Status.IN_PROGRESS
        released.set()
        await _until(_has(jobs, "slow", Status.COMPLETED))


async def test_an_end_is_written_down_as_soon_as_it_can_be_and_the_trouble_told_once(
    jobs: CountingJobs, database: Database, settings: Settings, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _add(jobs, song, "a")
    async with _running(jobs, settings.data_dir):
        with _refusing(database, "outcome", "new.status = 'completed'"):
            await _until(lambda: jobs.ends == 3)
        await _until(_has(jobs, "a", Status.COMPLETED))
    (told,) = _warnings(caplog)
    assert "the disk is broken" in told


async def test_progress_that_cannot_be_written_down_is_no_reason_to_give_a_job_up(
    jobs: CountingJobs, database: Database, settings: Settings, song: Path
) -> None:
    refused = asyncio.Event()

    async def call(_order: dict[str, Any], **_: object) -> dict[str, Any]:
        await refused.wait()
        return _MADE

    _add(jobs, song, "a")
    with _refusing(database, "progress", "new.step = 'starting'"):
        async with _running(jobs, settings.data_dir, call=call):
            await _until(_has(jobs, "a", Status.IN_PROGRESS))
            for _ in range(60):
                await asyncio.sleep(0.01)  # two ticks and a bit
            refused.set()
            await _until(lambda: jobs.status("a").status.is_final)
    assert jobs.status("a").status is Status.COMPLETED


async def test_a_server_that_was_asleep_does_not_take_its_worker_for_hung(
    jobs: CountingJobs, settings: Settings, song: Path
) -> None:
    async def call(_order: dict[str, Any], **_: object) -> dict[str, Any]:
        time.sleep(1.5)  # nothing of this process runs meanwhile, as when it is stopped
        await asyncio.sleep(0.3)  # the worker's next word comes a tick later
        return _MADE

    _add(jobs, song, "a")
    async with _running(jobs, settings.data_dir, call=call, hang_seconds=1):
        await _until(lambda: jobs.status("a").status.is_final)
    assert jobs.status("a").status is Status.COMPLETED


async def test_a_worker_that_says_nothing_is_given_up_with_the_reason(
    jobs: CountingJobs, settings: Settings, song: Path
) -> None:
    _add(jobs, song, "a")
    async with _running(jobs, settings.data_dir, call=_make_for_ever, hang_seconds=0.5):
        await _until(_has(jobs, "a", Status.FAILED))
    assert "Nothing was heard" in (jobs.status("a").error or "")


async def test_a_server_that_leaves_hands_its_jobs_back_with_no_attempt_used(
    jobs: CountingJobs, settings: Settings, song: Path
) -> None:
    _add(jobs, song, "a", "b")
    async with _running(jobs, settings.data_dir, call=_make_for_ever):
        await _until(_has(jobs, "b", Status.IN_PROGRESS))
    again = jobs.claim("next", most_running=9)
    assert again is not None
    assert (again.request_id, again.attempts) == ("a", 1)
    assert jobs.status("b").queue_position == 1


async def test_a_database_that_another_process_blocks_does_not_keep_a_server_from_leaving(
    jobs: CountingJobs, settings: Settings, song: Path
) -> None:
    _add(jobs, song, "a")
    blocker = sqlite3.connect(settings.data_dir / "outpaint.sqlite3")
    with anyio.fail_after(8):
        async with _running(jobs, settings.data_dir, call=_make_for_ever):
            await _until(_has(jobs, "a", Status.IN_PROGRESS))
            blocker.execute("BEGIN IMMEDIATE")
    blocker.close()
    assert jobs.servers_at_work()  # the next server finds this one dead, and its job with it


async def _submit(provider: LocalProvider, song: Path, name: str) -> None:
    request = SubmitRequest.of(audio=str(song), tags="")
    await provider.submit(name, request, LocalFile(song))


async def test_a_provider_that_runs_nothing_takes_requests_on_and_leaves_them_to_others(
    database: Database, settings: Settings, song: Path
) -> None:
    Jobs(database).add(
        Job(request_id="left over", source=str(song), before_seconds=0, after_seconds=1, seed=1)
    )
    async with open_local_provider(database, settings.data_dir, runs=False) as provider:
        await _submit(provider, song, "new")
        assert (await provider.status("left over")).queue_position == 1
        assert (await provider.status("new")).queue_position == 2
        assert await provider.cancel("new") is CancelOutcome.CANCELLED
    assert not (settings.data_dir / "servers").exists()
    async with open_local_provider(database, settings.data_dir) as provider:
        await _until(_has(Jobs(database), "left over", Status.COMPLETED))


async def test_a_job_whose_server_sleeps_is_cancelled_without_it(
    database: Database, settings: Settings, song: Path
) -> None:
    jobs = Jobs(database)
    async with open_local_provider(database, settings.data_dir, runs=False) as provider:
        await _submit(provider, song, "a")
        asleep = jobs.claim("asleep", most_running=9)
        assert asleep is not None
        assert await provider.cancel("a") is CancelOutcome.CANCELLED
        assert (await provider.status("a")).status is Status.CANCELLED
        jobs.end(asleep, "asleep", Status.COMPLETED, outcome=_MADE)
        assert (await provider.status("a")).status is Status.CANCELLED


@pytest.mark.parametrize("name", ["servers", "jobs"])
async def test_a_folder_of_the_queue_that_cannot_be_used_is_told(
    database: Database, settings: Settings, name: str
) -> None:
    (settings.data_dir / name).write_text("in the way")
    with pytest.raises(StorageFailed, match="OUTPAINT_DATA_DIR"):
        async with open_local_provider(database, settings.data_dir):
            raise AssertionError


async def test_the_folders_of_the_queue_are_their_owners_alone(
    database: Database, settings: Settings
) -> None:
    settings.data_dir.chmod(0o755)
    async with open_local_provider(database, settings.data_dir):
        for name in ("servers", "jobs"):
            assert (settings.data_dir / name).stat().st_mode & 0o077 == 0, name


async def test_audio_that_finds_no_room_is_told_and_leaves_nothing(
    database: Database, settings: Settings
) -> None:
    async with open_local_provider(database, settings.data_dir, runs=False) as provider:
        (settings.data_dir / "jobs").rmdir()
        (settings.data_dir / "jobs").write_text("in the way")
        with pytest.raises(StorageFailed, match="OUTPAINT_DATA_DIR"):
            await provider.submit(
                "a", SubmitRequest.of(audio="data:", tags=""), InlineAudio(b"RIFF", "audio/wav")
            )


async def test_audio_of_a_request_that_is_refused_is_thrown_away(
    database: Database, settings: Settings
) -> None:
    async with open_local_provider(database, settings.data_dir, runs=False) as provider:
        await provider.give_up("late")
        with pytest.raises(ProviderUnavailable):
            await provider.submit(
                "late", SubmitRequest.of(audio="data:", tags=""), InlineAudio(b"RIFF", "audio/wav")
            )
        assert await provider.kept() == []


async def test_a_source_that_takes_too_long_to_look_at_is_refused(
    database: Database, settings: Settings, song: Path
) -> None:
    provider = LocalProvider(Jobs(database), settings.data_dir / "jobs", probe_seconds=0.01)
    with pytest.raises(SourceError, match="copy it to a disk"):
        await provider.source_seconds(LocalFile(song))


async def test_a_system_that_starts_no_process_makes_the_provider_unavailable(
    database: Database, settings: Settings, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = LocalProvider(Jobs(database), settings.data_dir / "jobs")
    monkeypatch.setattr(sys, "executable", str(song))  # not a program
    with pytest.raises(ProviderUnavailable, match="No worker process can be started"):
        await provider.source_seconds(LocalFile(song))


@pytest.mark.skipif(os.name != "posix", reason="a shell script stands for the worker")
async def test_no_more_sources_are_looked_at_at_once_than_there_are_cores(
    database: Database, settings: Settings, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, most = tmp_path / "at once", tmp_path / "most"
    at_once.mkdir()
    worker = tmp_path / "worker"
    worker.write_text(
        f'#!/bin/sh\nmkdir "{at_once}/$$"; ls "{at_once}" | wc -l >> "{most}"; sleep 0.1; rmdir "{at_once}/$$"\n'
        """echo '{"outcome": {"seconds": 3}}'\n"""
    )
    worker.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(worker))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    provider = LocalProvider(Jobs(database), settings.data_dir / "jobs")
    found = await asyncio.gather(*(provider.source_seconds(LocalFile(song)) for _ in range(8)))
    assert found == [3] * 8
    assert max(map(int, most.read_text().split())) <= 2

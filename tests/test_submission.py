"""Taking requests on: what is written where, for whom, and what is left where that fails."""

# ruff: noqa: ASYNC240 - small files in a folder of the test's own

from __future__ import annotations

import asyncio
import base64
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.dispatching import has
from tests.stores import add, claim, end, outcome
from tests.waiting import until
from tests.warm import around

from outpaint_mcp.errors import StorageFailed
from outpaint_mcp.jobs.liveness import Presence
from outpaint_mcp.models import CancelOutcome, Status, SubmitRequest
from outpaint_mcp.principals import PERSON
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.lifespan import open_service
from outpaint_mcp.storage.journal import Journal
from outpaint_mcp.storage.leased_jobs import LeaseLost

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeSong

    from outpaint_mcp.config import Settings
    from outpaint_mcp.service.service import OutpaintService
    from outpaint_mcp.storage.records import NewRequest, RequestRecord
    from outpaint_mcp.storage.store import Store

pytestmark = pytest.mark.anyio


def request_for(audio: Path | str, *, seed: int = 7, takes: int = 1) -> SubmitRequest:
    return SubmitRequest.of(audio=str(audio), tags="", extend_after_duration=1, seed=seed, takes=takes)


def inline(song: Path) -> str:
    return f"data:audio/wav;base64,{base64.b64encode(song.read_bytes()).decode()}"


async def test_a_service_that_runs_nothing_takes_requests_on_and_leaves_them_to_others(
    store: Store, settings: Settings, song: Path
) -> None:
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around()) as service:
        first = await service.submit(PERSON, request_for(song, seed=1))
        second = await service.submit(PERSON, request_for(song, seed=2))
        assert (await service.status(PERSON, first.request_id)).queue_position == 1
        assert (await service.status(PERSON, second.request_id)).queue_position == 2
        assert (await service.cancel(PERSON, second.request_id)).outcome is CancelOutcome.CANCELLED
        assert not store.queue.servers_at_work()
    assert not list((settings.data_dir / "servers").glob("*.lock"))
    async with open_service(settings, vocabulary=TOOLS, surroundings=around()):
        await until(has(store, first.request_id, Status.COMPLETED))


async def test_a_source_that_is_spoilt_once_the_request_is_written_makes_no_error_of_its_submission(
    store: Store, settings: Settings, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Journal.add

    def add_and_spoil(journal: Journal, new: NewRequest) -> object:
        added = plain(journal, new)
        song.write_text("These are words, and no music at all.")
        return added

    monkeypatch.setattr(Journal, "add", add_and_spoil)
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around()) as service:
        submission = await service.submit(PERSON, request_for(song))
    assert store.journal.get(submission.request_id).status is Status.IN_QUEUE


async def test_what_waits_is_listed_with_the_seconds_that_make_its_total(
    settings: Settings, make_song: MakeSong
) -> None:
    song = make_song("long.wav", seconds=10)
    wanted = SubmitRequest.of(
        audio=str(song), tags="", total_seconds=60, extend_before_duration=5, source_end_seconds=8
    )
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around()) as service:
        await service.submit(PERSON, wanted)
        (listed,) = (await service.list(PERSON)).requests
        assert (listed.extend_before_duration, listed.extend_after_duration) == (5, 47)


async def test_a_job_whose_server_sleeps_is_cancelled_without_it(
    store: Store, settings: Settings, song: Path
) -> None:
    soon = around(cancel_seconds=0.1)
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=soon) as service:
        request_id = (await service.submit(PERSON, request_for(song))).request_id
        asleep = Presence(settings.data_dir / "servers")
        job = claim(store, asleep.server_id)
        assert (await service.cancel(PERSON, request_id)).outcome is CancelOutcome.CANCELLED
        with pytest.raises(LeaseLost):  # it wakes up
            store.queue.end(job.lease, Status.COMPLETED, outcome=outcome())
        assert (await service.status(PERSON, request_id)).status is Status.CANCELLED
        asleep.close()


@pytest.mark.parametrize("name", ["servers", "jobs"])
async def test_a_folder_that_cannot_be_used_is_reported(settings: Settings, name: str) -> None:
    settings.data_dir.mkdir()
    (settings.data_dir / name).write_text("in the way")
    with pytest.raises(StorageFailed, match="OUTPAINT_DATA_DIR"):
        async with open_service(settings, vocabulary=TOOLS, surroundings=around()):
            raise AssertionError


async def test_the_folders_of_the_service_are_their_owners_alone(settings: Settings) -> None:
    settings.data_dir.mkdir(mode=0o755)
    async with open_service(settings, vocabulary=TOOLS, surroundings=around()):
        for name in ("servers", "jobs"):
            assert (settings.data_dir / name).stat().st_mode & 0o077 == 0, name


@pytest.mark.parametrize("takes", [1, 2])
async def test_audio_that_came_with_a_request_is_there_for_each_take(
    settings: Settings, store: Store, song: Path, takes: int
) -> None:
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around()) as service:
        submission = await service.submit(PERSON, request_for(inline(song), takes=takes))
    for take in store.journal.takes(submission.request_id):
        source = settings.data_dir / "jobs" / take.request_id / "source"
        assert source.read_bytes() == song.read_bytes()
        assert source.stat().st_nlink == takes


async def test_audio_that_finds_no_room_is_reported_and_leaves_no_request(
    settings: Settings, song: Path
) -> None:
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around()) as service:
        (settings.data_dir / "jobs").write_text("in the way")
        with pytest.raises(StorageFailed, match="OUTPAINT_DATA_DIR"):
            await service.submit(PERSON, request_for(inline(song)))
        assert (await service.list(PERSON)).requests == []


async def test_audio_of_a_request_that_is_there_already_is_thrown_away(
    settings: Settings, song: Path
) -> None:
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around()) as service:
        first = await service.submit(PERSON, request_for(inline(song)))
        again = await service.submit(PERSON, request_for(inline(song)))
        assert (again.request_id, again.is_repeat) == (first.request_id, True)
    assert [path.name for path in (settings.data_dir / "jobs").iterdir()] == [first.request_id]


async def test_audio_of_a_request_that_cannot_be_written_is_thrown_away(
    settings: Settings, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around()) as service:

        def fail(_new: object) -> None:
            raise StorageFailed("The disk is broken.")

        monkeypatch.setattr(service._store.journal, "add", fail)
        with pytest.raises(StorageFailed):
            await service.submit(PERSON, request_for(inline(song)))
    assert [*(settings.data_dir / "jobs").iterdir()] == []


async def test_audio_whose_server_died_before_its_request_was_written_goes_after_an_hour(
    settings: Settings, service: OutpaintService
) -> None:
    new, old = (settings.data_dir / "jobs" / f"op_{digit * 20}" for digit in "12")
    for folder in (new, old):
        folder.mkdir()
        (folder / "source").write_bytes(b"RIFF")
    os.utime(old, (time.time() - 3_700,) * 2)
    await service.housekeeper.tidy()
    assert (new.exists(), old.exists()) == (True, False)


async def test_what_has_no_request_but_is_more_than_audio_may_be_all_that_is_left_and_stays(
    settings: Settings, service: OutpaintService
) -> None:
    folder = settings.data_dir / "jobs" / f"op_{'3' * 20}"
    folder.mkdir()
    for name in ("source", "step-1"):
        (folder / name).write_bytes(b"RIFF")
    os.utime(folder, (0, 0))
    await service.housekeeper.tidy()
    assert len(list(folder.iterdir())) == 2


async def test_whoever_tidies_up_when_the_server_stops_ends_with_the_folder_at_hand(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_ids = [add(store) for _ in range(3)]
    folders = [settings.data_dir / "jobs" / each for each in request_ids]
    for request_id, folder in zip(request_ids, folders, strict=True):
        end(store, request_id, Status.FAILED)
        folder.mkdir(parents=True)
    began, goes_on, get = threading.Event(), threading.Event(), Journal.get

    def hang(journal: Journal, request_id: str) -> RequestRecord:
        began.set()
        goes_on.wait()
        return get(journal, request_id)

    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around()) as service:
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "get", hang)
            tidying = asyncio.create_task(service.housekeeper.tidy())
            await until(began.is_set)
            tidying.cancel()
            await asyncio.sleep(0)
            goes_on.set()
            await asyncio.wait({tidying})
    assert tidying.cancelled()
    assert sum(folder.exists() for folder in folders) == 2


async def test_files_of_a_request_that_came_to_nothing_go(
    settings: Settings, store: Store, song: Path
) -> None:
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around()) as service:
        request_id = (await service.submit(PERSON, request_for(inline(song)))).request_id
        await service.housekeeper.tidy()
        assert (settings.data_dir / "jobs" / request_id).exists()
        end(store, request_id, Status.FAILED)
        await service.housekeeper.tidy()
        assert not (settings.data_dir / "jobs" / request_id).exists()

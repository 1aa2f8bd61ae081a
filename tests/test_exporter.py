"""The forms of a result: a part of it, another format, the provider's own file."""

# ruff: noqa: ASYNC240 - small files in a folder of the test's own

from __future__ import annotations

import asyncio
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from filelock import FileLock
from tests.stores import add
from tests.waiting import until
from tests.warm import around

from outpaint_mcp.errors import DeliveryFailed, InvalidRequest, ServerStopping, StorageFailed
from outpaint_mcp.export_options import ExportOptions, Format
from outpaint_mcp.models import Status, SubmitRequest
from outpaint_mcp.principals import PERSON
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.lifespan import open_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.waiting import Clock

    from outpaint_mcp.config import Settings
    from outpaint_mcp.reports.models import ResultReport
    from outpaint_mcp.service.service import OutpaintService
    from outpaint_mcp.storage.store import Store

pytestmark = pytest.mark.anyio

WAIT_SECONDS = 60
DAY_SECONDS = 86_400


@pytest.fixture
async def aging_service(settings: Settings, clock: Clock) -> AsyncIterator[OutpaintService]:
    """The service, with a clock that a test sets."""
    async with open_service(settings, vocabulary=TOOLS, surroundings=around(now=clock)) as opened:
        yield opened


async def extended(service: OutpaintService, song: Path, **asked: float) -> ResultReport:
    inputs = {"extend_before_duration": 1.0, "extend_after_duration": 2.0, "seed": 7} | asked
    submission = await service.submit(PERSON, SubmitRequest.of(audio=str(song), tags="", **inputs))
    report = await service.result(PERSON, submission.request_id, wait_seconds=WAIT_SECONDS)
    assert report.status is Status.COMPLETED, report.error
    return report


@pytest.mark.parametrize(
    ("format_", "container", "subtype"),
    [("source", "WAV", "PCM_16"), ("flac", "FLAC", "PCM_16"), ("opus", "OGG", "OPUS")],
)
async def test_a_result_comes_in_the_format_that_is_asked_for_and_stays_as_long(  # all: audio/test_formats
    service: OutpaintService, song: Path, format_: Format, container: str, subtype: str
) -> None:
    whole = await extended(service, song)
    report = await service.result(
        PERSON, whole.request_id, wait_seconds=WAIT_SECONDS, options=ExportOptions(format=format_)
    )
    assert report.path is not None, report.message
    info = soundfile.info(report.path)
    assert (info.format, info.subtype) == (container, subtype)
    assert info.duration == pytest.approx(6.0, abs=0.1)
    assert report.duration_seconds == pytest.approx(info.duration, abs=0.1)
    assert report.verdict == whole.verdict
    assert ("lossy" in report.message) is (format_ == "opus")


@pytest.mark.parametrize(("part", "seconds"), [("before", 1.0), ("after", 2.0)])
async def test_only_the_new_part_is_delivered_frame_by_frame_as_it_is_in_the_whole(
    service: OutpaintService, song: Path, part: str, seconds: float
) -> None:
    whole = await extended(service, song)
    options = ExportOptions(part=part)  # type: ignore[arg-type]
    report = await service.result(PERSON, whole.request_id, wait_seconds=WAIT_SECONDS, options=options)
    samples, rate = soundfile.read(whole.path, dtype="int16")
    new, _ = soundfile.read(report.path, dtype="int16")
    frames = int(seconds * rate)
    assert np.array_equal(new, samples[:frames] if part == "before" else samples[-frames:])
    assert Path(report.path or "").name == f"song, {seconds:.0f}s {part}.wav"
    assert report.duration_seconds == seconds
    assert part in report.message


async def test_a_part_that_nothing_was_added_to_is_refused(service: OutpaintService, song: Path) -> None:
    whole = await extended(service, song, extend_before_duration=0)
    with pytest.raises(InvalidRequest, match="Nothing was added before"):
        await service.result(PERSON, whole.request_id, options=ExportOptions(part="before"))


async def test_the_music_that_a_total_adds_is_a_part_whatever_else_was_given(
    service: OutpaintService, song: Path
) -> None:
    whole = await extended(
        service, song, extend_before_duration=0, extend_after_duration=0, total_seconds=5.5
    )
    report = await service.result(
        PERSON, whole.request_id, wait_seconds=WAIT_SECONDS, options=ExportOptions(part="after")
    )
    assert report.path is not None
    assert soundfile.info(report.path).duration == report.duration_seconds == 2.5


async def test_each_form_is_written_once_and_the_others_stay(
    service: OutpaintService, song: Path, settings: Settings
) -> None:
    whole = await extended(service, song)
    first, again = [
        await service.result(
            PERSON, whole.request_id, wait_seconds=WAIT_SECONDS, options=ExportOptions(format="mp3")
        )
        for _ in range(2)
    ]
    assert again == first
    assert (await service.result(PERSON, whole.request_id)).path == whole.path
    assert {str(path) for path in settings.output_dir.iterdir()} == {whole.path, first.path}
    assert not list((settings.data_dir / "exports").iterdir())


async def test_forms_that_are_asked_for_at_once_do_not_get_in_each_others_way(
    service: OutpaintService, song: Path, settings: Settings
) -> None:
    whole = await extended(service, song)
    formats: tuple[Format, ...] = ("wav16", "mp3", "ogg", "m4a", "mp3")
    reports = await asyncio.gather(
        *(
            service.result(
                PERSON, whole.request_id, wait_seconds=WAIT_SECONDS, options=ExportOptions(format=each)
            )
            for each in formats
        )
    )
    assert len({report.path for report in reports}) == 4
    assert ["lossy" in report.message for report in reports] == [False, True, True, True, True]
    assert {str(path) for path in settings.output_dir.iterdir()} == {whole.path} | {r.path for r in reports}


async def test_a_file_that_takes_longer_than_the_wait_is_being_written_and_there_later(
    settings: Settings, song: Path
) -> None:
    surroundings = around(delivery_seconds=0.05)
    async with open_service(settings, vocabulary=TOOLS, surroundings=surroundings) as service:
        whole = await extended(service, song)
        mp3 = ExportOptions(format="mp3")
        with FileLock(settings.data_dir / "locks" / f"{whole.request_id}.whole-mp3.lock"):
            first = await service.result(PERSON, whole.request_id, options=mp3)
            assert (first.path, first.status) == (None, Status.IN_PROGRESS)
            assert first.progress is not None
            assert "is being written" in first.message
        assert (await service.result(PERSON, whole.request_id, wait_seconds=WAIT_SECONDS, options=mp3)).path


async def test_what_was_being_converted_when_a_server_was_killed_is_removed_after_a_day(
    service: OutpaintService, settings: Settings
) -> None:
    left, fresh = (settings.data_dir / "exports" / name for name in ("left", "fresh"))
    for folder in (left, fresh):
        folder.mkdir(parents=True)
    (left / "converted.mp3.part").write_bytes(b"half")
    os.utime(left, (0, 0))
    await service.housekeeper.tidy()
    assert not left.exists()
    assert fresh.exists()


async def test_what_another_server_removes_at_this_moment_is_no_trouble(
    service: OutpaintService, settings: Settings
) -> None:
    folder = settings.data_dir / "exports"
    folder.mkdir()
    (folder / "gone").symlink_to(folder / "nowhere")
    await service.housekeeper.tidy()


async def test_a_data_folder_without_room_for_a_conversion_is_reported_and_nothing_is_lost(
    service: OutpaintService, song: Path, settings: Settings
) -> None:
    whole = await extended(service, song)
    (settings.data_dir / "exports").write_text("a file in the folder's place")
    with pytest.raises(StorageFailed, match="OUTPAINT_DATA_DIR"):
        await service.result(
            PERSON, whole.request_id, wait_seconds=WAIT_SECONDS, options=ExportOptions(format="mp3")
        )
    assert (await service.result(PERSON, whole.request_id)).path == whole.path


async def test_a_delivered_file_that_was_removed_is_delivered_again_while_it_is_stored(
    service: OutpaintService, song: Path, settings: Settings
) -> None:
    whole = await extended(service, song)
    path = Path(whole.path or "")
    content = path.read_bytes()
    path.unlink()
    assert await service.result(PERSON, whole.request_id) == whole
    assert path.read_bytes() == content
    mp3 = ExportOptions(format="mp3")
    converted = await service.result(PERSON, whole.request_id, wait_seconds=WAIT_SECONDS, options=mp3)
    Path(converted.path or "").unlink()
    again = await service.result(PERSON, whole.request_id, wait_seconds=WAIT_SECONDS, options=mp3)
    assert again.path == converted.path
    assert sorted(settings.output_dir.iterdir()) == sorted(Path(each.path or "") for each in (whole, again))


async def test_a_delivered_file_whose_folder_is_away_is_not_delivered_again(
    service: OutpaintService, song: Path, settings: Settings
) -> None:
    whole = await extended(service, song)
    settings.output_dir.rename(settings.output_dir.with_name("away"))
    with pytest.raises(DeliveryFailed, match="moved or deleted"):
        await service.result(PERSON, whole.request_id)
    assert not settings.output_dir.exists()


async def test_a_part_is_not_taken_for_the_extended_file(service: OutpaintService, song: Path) -> None:
    submission = await service.submit(
        PERSON, SubmitRequest.of(audio=str(song), tags="", extend_after_duration=2)
    )
    part = await service.result(
        PERSON, submission.request_id, wait_seconds=WAIT_SECONDS, options=ExportOptions(part="after")
    )
    analysis, _ = await service.analyze(PERSON, submission.request_id)
    assert analysis.duration_seconds == 5
    (listed,) = (await service.list(PERSON)).requests
    assert listed.path != part.path


async def test_the_local_providers_own_file_is_the_one_that_there_is(
    service: OutpaintService, song: Path, settings: Settings
) -> None:
    whole = await extended(service, song)
    report = await service.result(PERSON, whole.request_id, options=ExportOptions(restore_source=False))
    assert report.path == whole.path
    assert len(list(settings.output_dir.iterdir())) == 1


async def test_after_a_week_what_was_delivered_is_there_and_no_other_form_can_be_had(
    aging_service: OutpaintService, song: Path, settings: Settings, clock: Clock
) -> None:
    service = aging_service
    whole = await extended(service, song)
    stored = settings.data_dir / "jobs" / whole.request_id
    await service.housekeeper.tidy()
    assert stored.is_dir()
    clock.now += 8 * DAY_SECONDS
    await service.housekeeper.tidy()
    assert not stored.exists()
    assert (await service.result(PERSON, whole.request_id)).path == whole.path
    with pytest.raises(DeliveryFailed, match=r"7 days.*Convert .* yourself") as caught:
        await service.result(
            PERSON, whole.request_id, wait_seconds=WAIT_SECONDS, options=ExportOptions(format="mp3")
        )
    assert (caught.value.request_id, caught.value.path) == (whole.request_id, whole.path)


async def test_what_a_server_left_of_a_job_that_it_had_done_is_deleted_and_its_result_stays(
    service: OutpaintService, song: Path, settings: Settings
) -> None:
    whole = await extended(service, song)
    stored = settings.data_dir / "jobs" / whole.request_id
    made = list(stored.iterdir())
    (stored / "step-1").write_bytes(b"killed before this was deleted")
    await service.housekeeper.tidy()
    assert list(stored.iterdir()) == made


async def test_a_result_can_be_had_in_other_forms_for_a_week_after_its_last_delivery(
    aging_service: OutpaintService, song: Path, settings: Settings, clock: Clock
) -> None:
    whole = await extended(aging_service, song)
    stored = settings.data_dir / "jobs" / whole.request_id
    clock.now += 6 * DAY_SECONDS
    mp3 = ExportOptions(format="mp3")
    assert (await aging_service.result(PERSON, whole.request_id, wait_seconds=WAIT_SECONDS, options=mp3)).path
    clock.now += 6 * DAY_SECONDS
    await aging_service.housekeeper.tidy()
    assert stored.is_dir()
    clock.now += 2 * DAY_SECONDS
    await aging_service.housekeeper.tidy()
    assert not stored.exists()


async def test_a_result_that_nobody_fetches_waits_for_a_month_after_its_end(
    aging_service: OutpaintService, song: Path, settings: Settings, clock: Clock
) -> None:
    asked = SubmitRequest.of(audio=str(song), tags="", extend_after_duration=2)
    request_id = (await aging_service.submit(PERSON, asked)).request_id
    ended = await aging_service.status(PERSON, request_id, wait_seconds=WAIT_SECONDS)
    assert ended.status is Status.COMPLETED
    stored = settings.data_dir / "jobs" / request_id
    clock.now += 29 * DAY_SECONDS
    await aging_service.housekeeper.tidy()
    assert stored.is_dir()
    clock.now += 2 * DAY_SECONDS
    await aging_service.housekeeper.tidy()
    assert not stored.exists()
    with pytest.raises(DeliveryFailed, match="no longer stored"):
        await aging_service.result(PERSON, request_id, wait_seconds=WAIT_SECONDS)


async def test_a_server_that_runs_for_weeks_tidies_up_meanwhile(
    settings: Settings, song: Path, clock: Clock
) -> None:
    surroundings = around(now=clock, tidy_seconds=0.05)
    async with open_service(settings, vocabulary=TOOLS, surroundings=surroundings) as service:
        whole = await extended(service, song)
        stored = settings.data_dir / "jobs" / whole.request_id
        assert stored.is_dir()
        clock.now += 8 * DAY_SECONDS
        await until(lambda: not stored.exists())


async def test_a_result_whose_file_was_edited_is_no_source_under_its_id_but_under_its_path(
    service: OutpaintService, song: Path
) -> None:
    whole = await extended(service, song)
    delivered = Path(whole.path or "")
    samples, rate = soundfile.read(delivered, dtype="int16")
    soundfile.write(delivered, samples[: 4 * rate], rate)
    with pytest.raises(DeliveryFailed, match="name the file instead") as caught:
        await service.submit(PERSON, SubmitRequest.of(audio=whole.request_id, tags=""))
    assert (caught.value.request_id, caught.value.path) == (whole.request_id, whole.path)
    assert (await extended(service, delivered)).duration_seconds == 7.0
    analysis, _ = await service.analyze(PERSON, whole.request_id)
    assert analysis.duration_seconds == 6.0  # of what was generated
    mp3 = await service.result(
        PERSON, whole.request_id, wait_seconds=WAIT_SECONDS, options=ExportOptions(format="mp3")
    )
    assert mp3.duration_seconds == pytest.approx(6.0, abs=0.1)


async def test_nothing_that_the_service_started_outlives_it(settings: Settings, song: Path) -> None:
    before = asyncio.all_tasks()
    async with open_service(settings, vocabulary=TOOLS, surroundings=around()) as service:
        whole = await extended(service, song)
        lock = FileLock(settings.data_dir / "locks" / f"{whole.request_id}.whole-mp3.lock")
        lock.acquire()
        mp3 = ExportOptions(format="mp3")
        waiting = [
            asyncio.create_task(
                service.result(PERSON, whole.request_id, wait_seconds=WAIT_SECONDS, options=mp3)
            ),
            asyncio.create_task(service.analyze(PERSON, str(song))),
        ]
        under_way = ("Exporter._deliver", "Analyses._analyze")
        await until(lambda: all(name in repr(asyncio.all_tasks()) for name in under_way))
    lock.release()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in ended] == [ServerStopping, ServerStopping]
    assert not any("Free up" in str(each) or "permissions" in str(each) for each in ended)
    assert asyncio.all_tasks() == before
    assert not list((settings.data_dir / "exports").glob("*"))
    assert [str(path) for path in settings.output_dir.iterdir()] == [whole.path]


async def test_who_waits_for_a_request_gets_where_it_is_when_the_server_stops(
    settings: Settings, store: Store
) -> None:
    request_id = add(store)
    before = asyncio.all_tasks()
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around()) as service:
        waiting, leaving = (
            asyncio.create_task(service.result(PERSON, request_id, wait_seconds=WAIT_SECONDS))
            for _ in range(2)
        )
        await until(lambda: "StatusPoller._look_later" in repr(asyncio.all_tasks()))
        leaving.cancel()
        await asyncio.wait({leaving})
    assert asyncio.all_tasks() - before <= {waiting}
    report = await waiting
    assert (report.request_id, report.status) == (request_id, Status.IN_QUEUE)


def test_forms_have_names_that_tell_them_apart() -> None:
    changes: list[dict[str, str | bool]] = [
        {},
        {"part": "after"},
        {"format": "mp3"},
        {"restore_source": False},
    ]
    names = {str(dataclasses.replace(ExportOptions(), **change)) for change in changes}  # type: ignore[arg-type]
    assert len(names) == len(changes)

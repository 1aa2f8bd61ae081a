"""The editions of a result: a part of it, another format, the provider's own file."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import anyio
import numpy as np
import pytest
import soundfile

from outpaint_mcp.errors import DeliveryFailed, InvalidRequest, StorageFailed, WorkerDied
from outpaint_mcp.models import Status, SubmitRequest
from outpaint_mcp.results import ExportOptions, Format
from outpaint_mcp.service.lifespan import open_service

if TYPE_CHECKING:
    from outpaint_mcp.config import Settings
    from outpaint_mcp.providers.base import ProviderStatus
    from outpaint_mcp.reports.models import ResultReport
    from outpaint_mcp.service.service import OutpaintService

pytestmark = pytest.mark.anyio

WAIT_SECONDS = 60


async def extended(service: OutpaintService, song: Path, **asked: float) -> ResultReport:
    inputs = {"extend_before_duration": 1.0, "extend_after_duration": 2.0, "seed": 7} | asked
    submission = await service.submit(SubmitRequest.of(audio=str(song), tags="", **inputs))
    report = await service.result(submission.request_id, wait_seconds=WAIT_SECONDS)
    assert report.status is Status.COMPLETED, report.error
    return report


@pytest.mark.parametrize("format_", get_args(Format))
async def test_a_result_comes_in_every_format_and_stays_as_long(
    service: OutpaintService, song: Path, format_: Format
) -> None:
    whole = await extended(service, song)
    report = await service.result(
        whole.request_id, wait_seconds=WAIT_SECONDS, options=ExportOptions(format=format_)
    )
    assert report.path is not None, report.message
    info = soundfile.info(report.path)
    wanted = {
        "source": ("WAV", "PCM_16"),
        "wav16": ("WAV", "PCM_16"),
        "wav24": ("WAV", "PCM_24"),
        "wav_float": ("WAV", "FLOAT"),
        "flac": ("FLAC", "PCM_16"),
        "mp3": ("MP3", "MPEG_LAYER_III"),
        "ogg": ("OGG", "VORBIS"),
        "opus": ("OGG", "OPUS"),
    }
    assert (info.format, info.subtype) == wanted[format_]
    assert info.duration == pytest.approx(6.0, abs=0.1)
    assert report.duration_seconds == pytest.approx(info.duration, abs=0.1)
    assert report.verdict == whole.verdict
    assert ("lossy" in report.message) is (format_ in {"mp3", "ogg", "opus"})


@pytest.mark.parametrize(("part", "seconds"), [("before", 1.0), ("after", 2.0)])
async def test_only_the_new_part_is_delivered_frame_by_frame_as_it_is_in_the_whole(
    service: OutpaintService, song: Path, part: str, seconds: float
) -> None:
    whole = await extended(service, song)
    options = ExportOptions(part=part)  # type: ignore[arg-type]
    report = await service.result(whole.request_id, wait_seconds=WAIT_SECONDS, options=options)
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
        await service.result(whole.request_id, options=ExportOptions(part="before"))


async def test_each_edition_is_made_once_and_the_others_stay(
    service: OutpaintService, song: Path, settings: Settings
) -> None:
    whole = await extended(service, song)
    first, again = [
        await service.result(whole.request_id, wait_seconds=WAIT_SECONDS, options=ExportOptions(format="mp3"))
        for _ in range(2)
    ]
    assert again == first
    assert (await service.result(whole.request_id)).path == whole.path
    assert {str(path) for path in settings.output_dir.iterdir()} == {whole.path, first.path}
    assert not list((settings.data_dir / "exporter").iterdir())


async def test_editions_that_are_asked_at_once_do_not_get_in_each_others_way(
    service: OutpaintService, song: Path, settings: Settings
) -> None:
    whole = await extended(service, song)
    formats: tuple[Format, ...] = ("wav16", "mp3", "ogg", "opus", "mp3")
    reports = await asyncio.gather(
        *(
            service.result(whole.request_id, wait_seconds=WAIT_SECONDS, options=ExportOptions(format=each))
            for each in formats
        )
    )
    assert len({report.path for report in reports}) == 4
    assert {str(path) for path in settings.output_dir.iterdir()} == {whole.path} | {r.path for r in reports}


async def test_an_edition_that_fails_after_its_caller_has_left_is_told_to_the_next_one(
    service: OutpaintService, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await extended(service, song)
    may_fail, calls = asyncio.Event(), 0

    async def fail_late(*_: object, **__: object) -> dict[str, object]:
        nonlocal calls
        calls += 1
        await may_fail.wait()
        raise WorkerDied("It died.")

    monkeypatch.setattr("outpaint_mcp.service.exporter.call_worker", fail_late)
    monkeypatch.setattr("outpaint_mcp.service.service._DELIVERY_SECONDS", 0.05)
    first = await service.result(whole.request_id, options=ExportOptions(format="mp3"))
    assert (first.path, first.status) == (None, Status.COMPLETED)
    assert "is being written" in first.message
    may_fail.set()
    await asyncio.sleep(0)
    with pytest.raises(WorkerDied):
        await service.result(whole.request_id, wait_seconds=WAIT_SECONDS, options=ExportOptions(format="mp3"))
    assert calls == 1


async def test_who_waits_for_an_edition_hears_how_far_it_is(
    service: OutpaintService, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await extended(service, song)
    heard: list[ProviderStatus] = []

    async def note(seen: ProviderStatus) -> None:
        heard.append(seen)

    monkeypatch.setattr("outpaint_mcp.service.exporter._NEWS_SECONDS", 0.01)
    await service.result(
        whole.request_id, wait_seconds=WAIT_SECONDS, options=ExportOptions(format="mp3"), on_update=note
    )
    assert heard
    assert "mp3" in heard[-1].step


async def test_what_was_being_written_when_a_server_was_killed_goes_after_a_day(
    service: OutpaintService, settings: Settings
) -> None:
    left, fresh = (settings.data_dir / "exporter" / name for name in ("left", "fresh"))
    for folder in (left, fresh):
        folder.mkdir(parents=True)
    (left / "options.mp3.part").write_bytes(b"half")
    os.utime(left, (0, 0))
    await service.tidy()
    assert not left.exists()
    assert fresh.exists()


async def test_what_another_server_throws_away_this_moment_is_no_trouble(
    service: OutpaintService, settings: Settings
) -> None:
    folder = settings.data_dir / "exporter"
    folder.mkdir()
    (folder / "gone").symlink_to(folder / "nowhere")
    await service.tidy()


async def test_a_data_folder_that_takes_no_edition_is_told_and_nothing_is_lost(
    service: OutpaintService, song: Path, settings: Settings
) -> None:
    whole = await extended(service, song)
    (settings.data_dir / "exporter").write_text("a file in the folder's place")
    with pytest.raises(StorageFailed, match="OUTPAINT_DATA_DIR"):
        await service.result(whole.request_id, wait_seconds=WAIT_SECONDS, options=ExportOptions(format="mp3"))
    assert (await service.result(whole.request_id)).path == whole.path


async def test_a_part_is_not_taken_for_the_longer_file(service: OutpaintService, song: Path) -> None:
    submission = await service.submit(SubmitRequest.of(audio=str(song), tags="", extend_after_duration=2))
    part = await service.result(
        submission.request_id, wait_seconds=WAIT_SECONDS, options=ExportOptions(part="after")
    )
    analysis, _ = await service.analyze(submission.request_id)
    assert analysis.duration_seconds == 5
    (listed,) = (await service.list()).requests
    assert listed.path != part.path


async def test_the_local_providers_own_file_is_the_one_that_there_is(
    service: OutpaintService, song: Path, settings: Settings
) -> None:
    whole = await extended(service, song)
    report = await service.result(whole.request_id, options=ExportOptions(restore_source=False))
    assert report.path == whole.path
    assert len(list(settings.output_dir.iterdir())) == 1


async def test_after_a_week_what_was_delivered_is_there_and_nothing_else_can_be_made_of_it(
    service: OutpaintService, song: Path, settings: Settings
) -> None:
    whole = await extended(service, song)
    kept = settings.data_dir / "jobs" / whole.request_id
    await service.tidy()
    assert kept.is_dir()
    service._journal._now = lambda now=service._journal._now: now() + 8 * 86_400  # type: ignore[misc]
    await service.tidy()
    assert not kept.exists()
    assert (await service.result(whole.request_id)).path == whole.path
    with pytest.raises(DeliveryFailed, match="7 days"):
        await service.result(whole.request_id, wait_seconds=WAIT_SECONDS, options=ExportOptions(format="mp3"))


async def test_a_server_that_runs_for_weeks_tidies_up_meanwhile(
    settings: Settings, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outpaint_mcp.service.lifespan._TIDY_SECONDS", 0.05)
    async with open_service(settings) as service:
        whole = await extended(service, song)
        kept = settings.data_dir / "jobs" / whole.request_id
        assert kept.is_dir()
        service._journal._now = lambda now=service._journal._now: now() + 8 * 86_400  # type: ignore[misc]
        with anyio.fail_after(WAIT_SECONDS):
            while kept.exists():  # noqa: ASYNC110 - what another task does is looked for
                await anyio.sleep(0.01)


def test_editions_have_names_that_tell_them_apart() -> None:
    changes: list[dict[str, str | bool]] = [
        {},
        {"part": "after"},
        {"format": "mp3"},
        {"restore_source": False},
    ]
    names = {str(dataclasses.replace(ExportOptions(), **change)) for change in changes}  # type: ignore[arg-type]
    assert len(names) == len(changes)

"""Analyses are jobs: they go on when a call ends, are stored by content, and everybody who asks shares them."""

# ruff: noqa: ASYNC240 - small files in a folder of the test's own

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from tests.hosting import Web
from tests.waiting import PATIENCE_SECONDS, until
from tests.warm import around

from outpaint_mcp.audio.layout import Layout, Part, PartKind
from outpaint_mcp.cli.demo_music import compose_piece
from outpaint_mcp.errors import ServerBusy, ServerStopping, SourceUnreachable, UnsupportedAudio
from outpaint_mcp.models import SubmitRequest
from outpaint_mcp.principals import PERSON, Principal
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.analyses import STORED_ANALYSES_DAYS
from outpaint_mcp.service.lifespan import Surroundings, open_service
from outpaint_mcp.service.origins import NO_RESULT, _from_layout, origin_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mcp.client import Client
    from tests.conftest import MakeSong

    from outpaint_mcp.config import Settings
    from outpaint_mcp.service.service import OutpaintService

pytestmark = pytest.mark.anyio

LINK = "https://music.example/song.wav"


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[OutpaintService]:
    async with open_service(settings, vocabulary=TOOLS, surroundings=around()) as opened:
        yield opened


async def ask(client: Client, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    answer = await client.call_tool("analyze_audio", arguments)
    return answer.structured_content or {}


def answers_in(settings: Settings) -> dict[Path, int]:
    """When each stored answer was written."""
    found = (settings.data_dir / "analyses").glob("*/answer.json")
    return {path: path.stat().st_mtime_ns for path in found}


async def extended(service: OutpaintService, audio: str, *, before: float = 0, after: float = 0) -> str:
    request = SubmitRequest.of(
        audio=audio, tags="", extend_before_duration=before, extend_after_duration=after
    )
    submission = await service.submit(PERSON, request)
    result = await service.result(PERSON, submission.request_id, wait_seconds=PATIENCE_SECONDS)
    assert result.status == "completed"
    return submission.request_id


async def test_a_call_that_does_not_wait_says_how_far_it_is_and_the_next_has_the_analysis(
    client: Client, make_song: MakeSong
) -> None:
    song = make_song("long.wav", seconds=120)
    first = await ask(client, audio=str(song), wait_seconds=0)
    assert first["status"] == "in_progress"
    assert 0 <= first["progress"] <= 1
    assert "call analyze_audio again" in first["message"]
    last = await ask(client, audio=str(song))
    assert (last["status"], last["duration_seconds"]) == ("completed", 120.0)


async def test_an_analysis_goes_on_when_its_call_is_cut_off(
    service: OutpaintService, make_song: MakeSong, settings: Settings
) -> None:
    song = make_song("long.wav", seconds=60)
    cut = asyncio.create_task(service.analyze(PERSON, str(song), picture=True))
    await until(lambda: any((settings.data_dir / "analyses").glob("*/lock")))
    cut.cancel()
    with suppress(asyncio.CancelledError):
        await cut
    await until(lambda: any((settings.data_dir / "analyses").glob("*-picture-*/answer.json")))
    written = answers_in(settings)
    report, picture = await service.analyze(PERSON, str(song), picture=True)
    assert report.duration_seconds == 60.0
    assert picture is not None
    assert answers_in(settings) == written


async def test_what_has_the_same_content_is_analyzed_once_whatever_it_is_called_and_in_whichever_process(
    song: Path, settings: Settings
) -> None:
    copy = song.with_name("another name.wav")
    shutil.copy(song, copy)
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around()) as first:
        both = await asyncio.gather(first.analyze(PERSON, str(song)), first.analyze(PERSON, str(copy)))
        assert [report.title for report, _ in both] == [song.stem, copy.stem]
    analyses = [path for path in answers_in(settings) if not path.parent.name.startswith("file-")]
    assert len(analyses) == 1
    written = answers_in(settings)
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around()) as second:
        report, _ = await second.analyze(PERSON, str(song))
    assert report.model_copy(update={"title": ""}) == both[0][0].model_copy(update={"title": ""})
    assert answers_in(settings) == written


async def test_a_file_that_has_changed_is_analyzed_anew(service: OutpaintService, song: Path) -> None:
    assert (await service.analyze(PERSON, str(song)))[0].duration_seconds == 3.0
    soundfile.write(song, np.zeros((22_050, 2)), 22_050)
    assert (await service.analyze(PERSON, str(song)))[0].duration_seconds == 1.0


async def test_what_went_wrong_is_not_stored(service: OutpaintService, settings: Settings) -> None:
    broken = settings.input_dirs[0] / "song.mp3"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 100)
    for _ in range(2):
        with pytest.raises(UnsupportedAudio, match="PNG image"):
            await service.analyze(PERSON, str(broken))
    assert [path.parent.name[:5] for path in answers_in(settings)] == ["file-"]


async def test_a_link_is_fetched_once_for_calls_that_follow_each_other(
    settings: Settings, song: Path
) -> None:
    fetched: list[str] = []
    web = Web({LINK: song.read_bytes()})

    async def fetch(url: str, path: Path, **options: Any) -> None:  # noqa: ANN401 - passed on
        fetched.append(url)
        await web(url, path, **options)

    surroundings = Surroundings(fetch=fetch)
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=surroundings) as service:
        await service.analyze(PERSON, LINK)
        _, picture = await service.analyze(PERSON, LINK, picture=True)
    assert picture is not None
    assert fetched == [LINK]


async def test_a_call_that_was_cut_off_leaves_its_failure_to_the_next(settings: Settings) -> None:
    fails = asyncio.Event()
    fetched: list[str] = []

    async def fetch(url: str, *_: object, **__: object) -> None:
        fetched.append(url)
        await fails.wait()
        raise SourceUnreachable("HTTP 404")

    surroundings = Surroundings(fetch=fetch)
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=surroundings) as service:
        report, _ = await service.analyze(PERSON, LINK, wait_seconds=0)
        assert report.status == "in_progress"
        fails.set()
        await until(lambda: all(job.task.done() for job in service._rooms.of(PERSON).analyses._jobs.values()))
        with pytest.raises(SourceUnreachable, match="404"):
            await service.analyze(PERSON, LINK, wait_seconds=0)
        assert fetched == [LINK]
        with pytest.raises(SourceUnreachable, match="404"):
            await service.analyze(PERSON, LINK)
        assert fetched == [LINK, LINK]


async def test_a_server_that_stops_ends_its_analyses(settings: Settings, make_song: MakeSong) -> None:
    song = make_song("long.wav", seconds=120)
    before = asyncio.all_tasks()
    async with open_service(settings, vocabulary=TOOLS, runs=False, surroundings=around()) as service:
        waiting = asyncio.create_task(service.analyze(PERSON, str(song)))
        await until(lambda: any((settings.data_dir / "analyses").glob("*/lock")))
    with pytest.raises(ServerStopping):
        await waiting
    assert asyncio.all_tasks() == before


async def test_analyses_that_nobody_asked_for_in_a_long_time_are_deleted(
    service: OutpaintService, song: Path, make_song: MakeSong, settings: Settings
) -> None:
    await service.analyze(PERSON, str(song))
    old = [path.parent for path in answers_in(settings)]
    long_ago = time.time() - (STORED_ANALYSES_DAYS + 1) * 86_400
    for folder in old:
        os.utime(folder, (long_ago, long_ago))
    await service.analyze(PERSON, str(make_song("another.wav", seconds=2)))
    await service.housekeeper.tidy()
    assert not any(folder.exists() for folder in old)
    assert len(answers_in(settings)) == len(old)


async def test_a_song_and_what_was_made_of_it_have_one_tempo_and_one_key(
    service: OutpaintService, settings: Settings
) -> None:
    piece = settings.input_dirs[0] / "piece.wav"
    compose_piece(piece)
    first = await extended(service, str(piece), before=4, after=7)
    chain = await extended(service, first, before=3, after=9)
    path = (await service.result(PERSON, chain)).path
    assert path is not None
    renamed = piece.with_name("renamed.wav")
    shutil.copy(path, renamed)
    reports = [(await service.analyze(PERSON, each))[0] for each in (str(piece), first, chain, str(renamed))]
    assert reports[0].tempo_bpm is not None
    assert (
        len({(each.tempo_bpm, each.tempo_confidence, each.key, each.key_confidence) for each in reports}) == 1
    )
    assert len({each.duration_seconds for each in reports}) == 3


async def test_the_seams_of_all_steps_of_a_chain_are_known(service: OutpaintService, song: Path) -> None:
    first = await extended(service, str(song), before=1, after=2)
    chain = await extended(service, first, before=4, after=2)
    origin = (await service._rooms.of(PERSON).references.resolve_for_analysis(chain)).origin
    assert origin is not None
    assert {5.0, 8.0} <= set(origin.seams_seconds)
    assert origin.song_spans_seconds == ((5.0, 8.0),)


async def test_a_result_of_which_only_a_model_knows_the_parts_has_those_of_what_it_was_made_of(
    service: OutpaintService, song: Path
) -> None:
    first = await extended(service, str(song), before=1, after=2)
    chain = await extended(service, first, before=4, after=2)
    journal = service._store.journal
    record = journal.get(chain)
    assert record.outcome is not None
    bare = dataclasses.replace(record, outcome=dataclasses.replace(record.outcome, layout=None))
    origin, inner = origin_of(journal, bare), origin_of(journal, journal.get(first))
    assert origin.seams_seconds == tuple(sorted((4.0, 10.0, *(4.0 + at for at in inner.seams_seconds))))
    assert origin.song_spans_seconds == ((5.0, 8.0),)
    assert origin.carry_on_from_seconds is None
    alone = dataclasses.replace(bare, parent_request_id=None)
    assert origin_of(journal, alone) == ((4.0, 10.0), ((4.0, 10.0),), None)


async def test_a_file_of_nobody_s_making_has_no_origin(service: OutpaintService) -> None:
    assert await service._rooms.of(PERSON).references.origin_of_file("0" * 64) == NO_RESULT


def test_an_origin_is_read_from_what_the_file_consists_of() -> None:
    kinds = (
        PartKind.LEAD_IN,
        PartKind.SOURCE,
        PartKind.SOURCE,
        PartKind.NEW,
        PartKind.SOURCE,
        PartKind.RING_OUT,
    )
    origin = _from_layout(Layout(10, tuple(Part(kind, 10 * place) for place, kind in enumerate(kinds, 1))))
    assert origin.seams_seconds == (1.0, 3.0, 6.0, 10.0, 15.0)
    assert origin.song_spans_seconds == ((1.0, 6.0), (10.0, 15.0))
    assert origin.carry_on_from_seconds == 15.0


async def test_one_caller_has_so_many_recordings_analyzed_at_a_time(
    service: OutpaintService, make_song: MakeSong, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outpaint_mcp.service.rooms._MOST_ANALYSES", 1)
    alice, bob = Principal(client="alice"), Principal(client="bob")
    for caller in (alice, bob):
        folder = settings.reach_of(caller).upload_dir
        folder.mkdir(parents=True)
        for number in range(2):
            make_song(f"{caller.client} {number}.wav", seconds=60 + number).rename(folder / f"{number}.wav")
    await service.analyze(alice, "0.wav", wait_seconds=0)
    with pytest.raises(ServerBusy, match="being analyzed for you"):
        await service.analyze(alice, "1.wav", wait_seconds=0)
    await service.analyze(bob, "0.wav", wait_seconds=0)
    report, _ = await service.analyze(alice, "0.wav", wait_seconds=PATIENCE_SECONDS)
    assert report.status == "completed"
    report, _ = await service.analyze(alice, "1.wav", wait_seconds=PATIENCE_SECONDS)
    assert report.status == "completed"

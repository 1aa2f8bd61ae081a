"""What can be extended, as the service lists it."""

# ruff: noqa: ASYNC240 - small files in a folder of the test's own

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.warm import around
from tests.workers import NO_COPIES

from outpaint_mcp.errors import InvalidRequest, SourceNotAllowed, SourceUnreachable, WorkerDied
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.models import SubmitRequest
from outpaint_mcp.principals import PERSON
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.lifespan import open_service
from outpaint_mcp.sources import scanning
from outpaint_mcp.workers.pool import WorkerPool
from outpaint_mcp.workers.probing import Prober

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeSong

    from outpaint_mcp.config import Settings
    from outpaint_mcp.service.service import OutpaintService
    from outpaint_mcp.workers.looks import Lengths, ProbeMany

pytestmark = pytest.mark.anyio


@pytest.fixture
def music(settings: Settings) -> Path:
    return settings.input_dirs[0]


def put(folder: Path, *names: str) -> None:
    """Write files that are audio by their names alone, each older than the one before."""
    for age, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no audio")
        os.utime(path, (1_700_000_000 - age, 1_700_000_000 - age))


async def names(service: OutpaintService, folder: str = "", query: str = "", limit: int = 100) -> list[str]:
    return [
        each.name
        for each in (await service.list_audio(PERSON, folder=folder, query=query, limit=limit)).files
    ]


async def extended(service: OutpaintService, audio: str, **options: str) -> str:
    request = SubmitRequest.of(audio=audio, tags="", extend_after_duration=1)
    request_id = (await service.submit(PERSON, request)).request_id
    await service.result(PERSON, request_id, wait_seconds=45, options=ExportOptions(**options))  # type: ignore[arg-type]
    return request_id


async def test_nothing_is_listed_where_there_is_nothing(service: OutpaintService) -> None:
    found = await service.list_audio(PERSON)
    assert (found.files, found.message) == ([], "There are no such files.")
    assert (await service.list_audio(PERSON, query="x")).files == []


async def test_files_are_named_as_they_can_be_given(
    service: OutpaintService, music: Path, settings: Settings
) -> None:
    put(
        music,
        "a.wav",
        "album/b.flac",
        "~c.wav",
        "album/Artist: d.wav",
        ".hidden.wav",
        "notes.txt",
        "file:e.wav",
    )
    put(settings.output_dir, "a.wav")
    listed = await names(service)
    assert listed == [
        "a.wav",
        str(settings.output_dir / "a.wav"),
        "album/b.flac",
        (music / "~c.wav").as_uri(),
        "album/Artist: d.wav",
        (music / "file:e.wav").as_uri(),
    ]
    for name in listed:
        assert (await service._rooms.of(PERSON).references.resolve(name)).taken == ""


async def test_a_query_lists_whole_names_first_then_parts_then_words(
    service: OutpaintService, music: Path, settings: Settings
) -> None:
    put(settings.output_dir, "My Song.wav", "My Song, extended 30s after.wav")
    put(music, "my song (mix).ogg", "album/My_Song.flac", "not mysong.wav", "my/old song.wav", "other.wav")
    os.utime(settings.output_dir / "My Song.wav")
    assert await names(service, query=" my song ") == [
        "My Song.wav",
        "my song (mix).ogg",
        "album/My_Song.flac",
        "My Song, extended 30s after.wav",
        "not mysong.wav",
        "my/old song.wav",
    ]
    found = await service.list_audio(PERSON, query="my song", limit=2)
    assert found.message == "2 of 6 files, best match first."


async def test_a_query_that_nothing_fits_lists_the_nearest_names(
    service: OutpaintService, music: Path
) -> None:
    put(music, "Awakening.ogg", "Other.wav")
    found = await service.list_audio(PERSON, query="awakning")
    assert [each.name for each in found.files] == ["Awakening.ogg"]
    assert found.message == "1 of 1 files, none fits; the nearest names."


async def test_one_folder_can_be_listed_by_name_or_path(service: OutpaintService, music: Path) -> None:
    put(music, "a.wav", "Album/b.wav", "Album/disc 2/c.wav")
    for folder in ("Album", "album", str(music / "Album"), "Music/album"):
        assert await names(service, folder=folder) == ["Album/b.wav", "Album/disc 2/c.wav"]
    assert await names(service, folder="disc 2") == ["Album/disc 2/c.wav"]
    with pytest.raises(SourceNotAllowed, match="outside"):
        await service.list_audio(PERSON, folder="../data")
    with pytest.raises(SourceUnreachable, match="no folder here"):
        await service.list_audio(PERSON, folder="single")


@pytest.mark.parametrize("limit", [0, -1, 1_001])
async def test_a_limit_that_is_none_is_refused(service: OutpaintService, limit: int) -> None:
    with pytest.raises(InvalidRequest, match="use 1 to 1000"):
        await service.list_audio(PERSON, limit=limit)


async def test_a_search_that_was_cut_short_says_so(
    service: OutpaintService, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(music, *(f"{number}.wav" for number in range(9)))
    monkeypatch.setattr(scanning, "_MOST_ENTRIES", 5)
    assert "There is more in these folders" in (await service.list_audio(PERSON)).message


async def test_results_are_named_with_their_request_wherever_and_in_whatever_form_they_are(
    service: OutpaintService, song: Path, tmp_path: Path
) -> None:
    request_id = await extended(service, str(song), format="mp3")
    await service.result(PERSON, request_id, target=tmp_path / "Desktop" / "mine.wav")
    await service.result(PERSON, request_id, options=ExportOptions(part="after"))
    listed = {each.name: each.request_id for each in (await service.list_audio(PERSON)).files}
    assert listed == {
        "song.wav": None,
        "song, extended 1s after.mp3": request_id,
        request_id: request_id,
        "song, 1s after.wav": None,
    }
    listed = {
        each.name: each.request_id for each in (await service.list_audio(PERSON, folder="Longer")).files
    }
    assert set(listed.values()) == {request_id, None}


async def test_what_lies_now_where_a_result_was_put_outside_the_folders_is_not_read(
    service: OutpaintService, song: Path, tmp_path: Path
) -> None:
    request_id = await extended(service, str(song))
    elsewhere = tmp_path / "Desktop" / "mine.wav"
    await service.result(PERSON, request_id, target=elsewhere)
    elsewhere.write_bytes(song.read_bytes() + b"another")
    listed = (await service.list_audio(PERSON)).files
    assert elsewhere.name not in " ".join(each.name for each in listed)
    assert request_id not in {each.name for each in listed}


async def test_a_result_that_was_changed_or_removed_is_none_any_more(
    service: OutpaintService, song: Path, settings: Settings
) -> None:
    await extended(service, str(song))
    path = settings.output_dir / "song, extended 1s after.wav"
    with path.open("ab") as file:
        file.write(b"more")
    assert [each.request_id for each in (await service.list_audio(PERSON)).files] == [None, None]
    path.unlink()
    assert await names(service) == ["song.wav"]


async def test_results_are_known_behind_a_link_to_the_output_folder(song: Path, settings: Settings) -> None:
    (real := settings.data_dir.with_name("real")).mkdir()
    settings.output_dir.symlink_to(real)
    async with open_service(settings, vocabulary=TOOLS, surroundings=around()) as service:
        request_id = await extended(service, str(song))
        found = (await service.list_audio(PERSON, query="extended")).files
    assert [each.request_id for each in found] == [request_id]


async def test_lengths_are_read_once_until_a_file_changes(make_song: MakeSong, music: Path) -> None:
    put(music, "none.wav")
    songs = [make_song(f"{number}.wav", seconds=number) for number in (1, 2)]
    paths = [*songs, music / "none.wav", music / "gone.wav"]
    pool = _CountingPool()
    prober = Prober(pool, NO_COPIES)
    for _ in range(2):
        assert await prober.lengths_seconds(paths, within_seconds=30) == {songs[0]: 1.0, songs[1]: 2.0}
    make_song("1.wav", seconds=3)
    assert (await prober.lengths_seconds(paths, within_seconds=30))[songs[0]] == 3.0
    await pool.close()
    assert pool.asked == [4, 1]


async def test_many_files_take_few_workers_and_no_time_takes_none(music: Path) -> None:
    put(music, *(f"{number}.wav" for number in range(60)))
    pool = _CountingPool()
    prober = Prober(pool, NO_COPIES)
    paths = sorted(music.iterdir())
    assert await prober.lengths_seconds(paths, within_seconds=0) == {}
    assert pool.asked == []
    assert await prober.lengths_seconds(paths, within_seconds=60) == {}
    await pool.close()
    assert len(pool.asked) == 3


async def test_a_file_that_keeps_or_kills_its_worker_is_listed_without_its_length(
    song: Path, endless: Path
) -> None:
    pool = WorkerPool()
    assert await Prober(pool, NO_COPIES).lengths_seconds([endless, song], within_seconds=0.3) == {}
    assert pool.busy == 0
    await pool.close()

    class DeadlyPool(WorkerPool):
        async def run(self, *_: object, **__: object) -> Lengths:  # type: ignore[override]
            raise WorkerDied("It died.")

    assert await Prober(DeadlyPool(), NO_COPIES).lengths_seconds([song], within_seconds=30) == {}


class _CountingPool(WorkerPool):
    """Counts the files of each order."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    async def run(self, order: ProbeMany, **options: object) -> Lengths:  # type: ignore[override]
        self.asked.append(len(order.paths))
        return await super().run(order, **options)  # type: ignore[arg-type]

"""Exports under way: shared, in the background, with progress of their own, and stopped with the server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.deliveries import Pool, add_completed, add_request, any_type, outcome_at

from outpaint_mcp.errors import DeliveryFailed, Hint, InvalidRequest, ServerBusy, ServerStopping, WorkerDied
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.service.exporter import BeingWritten, Exporter
from outpaint_mcp.service.output_folder import OutputFolder
from outpaint_mcp.storage.records import Delivery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.errors import OutpaintError
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.storage.records import RequestProgress
    from outpaint_mcp.storage.store import Store

pytestmark = pytest.mark.anyio

CONTENT = b"an extended file"
WHOLE, MP3, OGG = ExportOptions(), ExportOptions(format="mp3"), ExportOptions(format="ogg")


class Exports:
    """An exporter with one generated request; `seen` is what whoever waits learned, by format."""

    def __init__(
        self, settings: Settings, store: Store, path: Path, *, takes: int = 1, caller: str = ""
    ) -> None:
        self.journal = store.journal
        self.outcome: Outcome = outcome_at(path, CONTENT)
        self.request_id = add_completed(store, self.outcome, takes=takes, caller=caller)
        self.pool = Pool()
        self.seen: dict[str, list[float | None]] = {"mp3": [], "ogg": [], "source": []}
        self.exporter = Exporter(
            OutputFolder(self.journal, settings),
            settings.data_dir / "exports",
            any_type(self.pool),
            update_seconds=0.01,
        )

    async def deliver(
        self, options: ExportOptions, target: Path | None = None, *, wait_seconds: float = 20
    ) -> list[Delivery | OutpaintError | BeingWritten]:
        async def note(status: RequestProgress) -> None:
            self.seen[options.format].append(status.progress)

        delivered = await self.exporter.deliver(
            self.journal.takes(self.request_id),
            options,
            target=target,
            wait_seconds=wait_seconds,
            on_update=note,
        )
        return [*delivered.values()]

    async def until_seen(self, format_: str, progress: float) -> None:
        async with asyncio.timeout(10):
            while progress not in self.seen[format_]:  # noqa: ASYNC110 - what other tasks do is waited for
                await asyncio.sleep(0.001)


@pytest.fixture
async def exports(settings: Settings, store: Store, tmp_path: Path) -> AsyncIterator[Exports]:
    opened = Exports(settings, store, tmp_path / "output.wav")
    yield opened
    await opened.exporter.close()


async def test_a_form_is_written_once_for_all_who_ask_and_found_afterwards(exports: Exports) -> None:
    first, second = (asyncio.create_task(exports.deliver(MP3)) for _ in range(2))
    await exports.pool.until_asked(1)
    exports.pool.finish()
    assert await first == await second == await exports.deliver(MP3)
    assert len(exports.pool.orders) == 1


async def test_a_failure_after_its_caller_has_left_is_reported_once_to_the_next(exports: Exports) -> None:
    assert await exports.deliver(MP3, wait_seconds=0.05) == [BeingWritten(0.0)]
    await exports.pool.until_asked(1)
    exports.pool.finish(failure=WorkerDied("It died."))
    await exports.pool.until_ended(1)
    (failure,) = await exports.deliver(MP3)
    assert isinstance(failure, DeliveryFailed)
    assert failure.hint is Hint.GET_RESULT
    assert failure.request_id is not None
    assert "It died." in str(failure)
    assert len(exports.pool.orders) == 1
    again = asyncio.create_task(exports.deliver(MP3))
    await exports.pool.until_asked(2)
    exports.pool.finish()
    assert isinstance((await again)[0], Delivery)


async def test_a_delivery_after_its_caller_has_left_is_there_for_the_next(exports: Exports) -> None:
    assert await exports.deliver(MP3, wait_seconds=0.05) == [BeingWritten(0.0)]
    await exports.pool.until_asked(1)
    exports.pool.finish()
    assert isinstance((await exports.deliver(MP3))[0], Delivery)
    assert len(exports.pool.orders) == 1


async def test_two_conversions_of_one_request_have_progress_of_their_own(exports: Exports) -> None:
    mp3 = asyncio.create_task(exports.deliver(MP3))
    await exports.pool.until_asked(1)
    ogg = asyncio.create_task(exports.deliver(OGG))
    await exports.pool.until_asked(2)
    exports.pool.report(0, 0.25)
    exports.pool.report(1, 0.75)
    await exports.until_seen("mp3", 0.25)
    await exports.until_seen("ogg", 0.75)
    exports.pool.finish(0)
    await mp3
    exports.seen["ogg"].clear()
    await exports.until_seen("ogg", 0.75)  # the other one's end takes nothing away
    exports.pool.finish(1)
    await ogg
    assert set(exports.seen["mp3"]) <= {0.0, 0.25}
    assert set(exports.seen["ogg"]) == {0.75}


async def test_takes_that_are_written_count_in_the_progress(
    settings: Settings, store: Store, tmp_path: Path
) -> None:
    exports = Exports(settings, store, tmp_path / "output.wav", takes=2)
    both = asyncio.create_task(exports.deliver(MP3))
    await exports.pool.until_asked(2)
    exports.pool.finish(0)
    await exports.until_seen("mp3", 0.5)
    exports.pool.report(1, 0.5)
    await exports.until_seen("mp3", 0.75)
    exports.pool.finish(1)
    await both
    await exports.exporter.close()


async def test_one_form_at_two_places_is_converted_once(exports: Exports, tmp_path: Path) -> None:
    places = [tmp_path / "here.mp3", tmp_path / "there.mp3", None]
    waiting = [asyncio.create_task(exports.deliver(MP3, place)) for place in places]
    await exports.pool.until_asked(1)
    exports.pool.finish()
    here, there, anywhere = [(await each)[0] for each in waiting]
    assert isinstance(here, Delivery)
    assert isinstance(there, Delivery)
    assert {here.path, there.path} == {str(tmp_path / "here.mp3"), str(tmp_path / "there.mp3")}
    assert anywhere in {here, there}
    assert len(exports.pool.orders) == 1


@pytest.mark.parametrize("options", [WHOLE, MP3])
async def test_a_stored_file_that_was_changed_is_not_the_source_of_anything(
    exports: Exports, settings: Settings, options: ExportOptions
) -> None:
    exports.outcome.path.write_bytes(b"X" + CONTENT[1:])
    (failure,) = await exports.deliver(options)
    assert isinstance(failure, DeliveryFailed)
    assert "changed or damaged" in str(failure)
    assert not exports.pool.orders
    assert not settings.output_dir.exists() or not list(settings.output_dir.iterdir())


async def test_a_stored_file_that_is_gone_is_reported(exports: Exports) -> None:
    exports.outcome.path.unlink()
    (failure,) = await exports.deliver(MP3)
    assert isinstance(failure, DeliveryFailed)
    assert (failure.hint, failure.request_id) == (Hint.SUBMIT_AGAIN, exports.request_id)
    assert "no longer stored" in str(failure)


async def test_whoever_waits_when_the_server_stops_is_told_so_and_nothing_is_left(
    exports: Exports, settings: Settings
) -> None:
    waiting = asyncio.create_task(exports.deliver(MP3))
    await exports.pool.until_asked(1)
    await exports.exporter.close()
    assert exports.pool.ended == 1
    (failure,) = await waiting
    assert isinstance(failure, ServerStopping)
    assert (failure.hint, failure.request_id) == (Hint.GET_RESULT, exports.request_id)
    assert not list((settings.data_dir / "exports").iterdir())
    with pytest.raises(ServerStopping):
        await exports.deliver(MP3)


async def test_nothing_was_added_where_no_part_is(exports: Exports) -> None:
    exports.request_id = add_request(exports.journal, before=0)
    with pytest.raises(InvalidRequest, match="Nothing was added before"):
        await exports.deliver(ExportOptions(part="before"))


async def test_so_many_files_are_written_at_a_time_for_a_remote_caller(
    settings: Settings, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outpaint_mcp.service.exporter._MOST_EXPORTS", 1)
    exports = Exports(settings, store, tmp_path / "output.wav", caller="alice-0123456789abcdef")
    try:
        assert await exports.deliver(MP3, wait_seconds=0) == [BeingWritten(0.0)]
        with pytest.raises(ServerBusy, match="being written for you"):
            await exports.deliver(OGG, wait_seconds=0)
        assert await exports.deliver(MP3, wait_seconds=0) == [BeingWritten(0.0)], "the same is no other"
    finally:
        await exports.exporter.close()

"""Where requests stand that were written down and may or may not have reached their provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outpaint_mcp.errors import ProviderUnavailable
from outpaint_mcp.models import Status, SubmitRequest
from outpaint_mcp.providers.base import ProviderStatus
from outpaint_mcp.providers.local.provider import LocalProvider, open_local_provider
from outpaint_mcp.reports.requests import in_words
from outpaint_mcp.service.poller import StatusPoller
from outpaint_mcp.sources import LocalFile
from outpaint_mcp.storage.journal import Journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.storage.database import Database
    from outpaint_mcp.storage.records import RequestRecord

pytestmark = pytest.mark.anyio

_REQUEST = SubmitRequest.of(audio="song.wav", tags="")


class Clock:
    """A wall clock that is set by hand."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(database: Database, clock: Clock) -> Journal:
    return Journal(database, now=clock)


@pytest.fixture
async def provider(database: Database, settings: Settings) -> AsyncIterator[LocalProvider]:
    """A queue in which nothing is begun."""
    async with open_local_provider(database, settings.data_dir, runs=False) as opened:
        yield opened


def _write_down(journal: Journal) -> RequestRecord:
    record, _ = journal.add(
        _REQUEST,
        provider="local",
        shown_audio="song.wav",
        title="song",
        parent_request_id=None,
        expected_duration_seconds=None,
    )
    return record


async def test_a_request_on_its_way_to_the_provider_waits_in_the_queue(
    journal: Journal, provider: LocalProvider, clock: Clock, song: Path
) -> None:
    record, watch = _write_down(journal), StatusPoller(journal, {"local": provider})
    clock.now += 29
    assert (await watch.look(record.request_id)).status is Status.IN_QUEUE
    await provider.submit(record.request_id, _REQUEST, LocalFile(song))
    clock.now += 1_000
    assert (await watch.look(record.request_id)).status is Status.IN_QUEUE


@pytest.mark.parametrize("step_seconds", [31, -3_600], ids=["later", "after the clock was set back"])
async def test_a_request_that_never_arrived_has_failed_and_is_refused_from_then_on(
    journal: Journal, provider: LocalProvider, clock: Clock, song: Path, step_seconds: float
) -> None:
    record, watch = _write_down(journal), StatusPoller(journal, {"local": provider})
    clock.now += step_seconds
    seen = await watch.look(record.request_id)
    assert seen.status is Status.FAILED
    assert "submit it again" in (seen.error or "")
    # Whoever had it was only held up: what it is told and what the journal says are the same.
    with pytest.raises(ProviderUnavailable, match="given up"):
        await provider.submit(record.request_id, _REQUEST, LocalFile(song))
    assert (await provider.status(record.request_id)).status is Status.FAILED


async def test_a_request_that_arrives_while_it_is_being_given_up_is_carried_out(
    journal: Journal, provider: LocalProvider, clock: Clock, song: Path
) -> None:
    class Slow(LocalProvider):
        """Hears of the request between the watch's question and its verdict."""

        async def give_up(self, request_id: str) -> None:
            await provider.submit(request_id, _REQUEST, LocalFile(song))
            await super().give_up(request_id)

    record = _write_down(journal)
    clock.now += 31
    watch = StatusPoller(journal, {"local": Slow(provider._jobs, provider._folder)})
    assert (await watch.look(record.request_id)).status is Status.IN_QUEUE


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (ProviderStatus(status=Status.IN_QUEUE, queue_position=1), "Next in the queue"),
        (ProviderStatus(status=Status.IN_QUEUE, queue_position=3), "In the queue, 2 ahead"),
        (
            ProviderStatus(status=Status.IN_PROGRESS, progress=0.425, step="listening"),
            "In progress (listening), 42% done",
        ),
    ],
)
def test_where_a_request_stands_is_said_in_a_few_words(seen: ProviderStatus, words: str) -> None:
    assert in_words(seen) == words

"""One suite for every provider: whoever carries requests out keeps the same promises."""

# ruff: noqa: ASYNC110, ASYNC240 - providers are polled; small files in a folder of the test's own

from __future__ import annotations

import asyncio
import hashlib
import secrets
from typing import TYPE_CHECKING

import anyio
import pytest
import soundfile
from tests.fakes.runcomfy import FakeRunComfy
from tests.hosting import open_hosted_on

from outpaint_mcp.errors import ProviderUnavailable, RequestNotFound, SourceError
from outpaint_mcp.models import CancelOutcome, Status, SubmitRequest
from outpaint_mcp.providers.local.provider import open_local_provider
from outpaint_mcp.sources import InlineAudio, LocalFile, RemoteUrl, Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import MakeSong

    from outpaint_mcp.config import Settings
    from outpaint_mcp.providers.base import Provider, ProviderStatus
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.storage.database import Database

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["local", "runcomfy"])
async def provider(
    request: pytest.FixtureRequest, database: Database, settings: Settings
) -> AsyncIterator[Provider]:
    """Each provider in turn; a new one is added to the parameters and to the match."""
    match request.param:
        case "local":
            async with open_local_provider(database, settings.data_dir) as local:
                yield local
        case "runcomfy":
            with FakeRunComfy() as fake:
                async with open_hosted_on(fake, database, settings, submit_seconds=0.5) as hosted:
                    yield hosted
                fake.check()
        case other:
            raise NotImplementedError(other)


@pytest.fixture
def source(song: Path) -> Source:
    return LocalFile(song)


def new_id() -> str:
    return f"op_{secrets.token_hex(10)}"


async def submit(  # noqa: PLR0913 - what a request says
    provider: Provider,
    source: Source,
    *,
    before: float = 0,
    after: float = 1,
    seed: int = -1,
    request_id: str | None = None,
) -> str:
    request_id = request_id or new_id()
    request = SubmitRequest.of(
        audio="as resolved",
        tags="lofi",
        extend_before_duration=before,
        extend_after_duration=after,
        seed=seed,
    )
    await provider.submit(request_id, request, source)
    return request_id


async def ended(provider: Provider, request_id: str) -> ProviderStatus:
    while True:
        seen = await provider.status(request_id)
        if seen.status.is_final:
            return seen
        await asyncio.sleep(provider.poll_seconds)


async def made(provider: Provider, request_id: str) -> Outcome:
    seen = await ended(provider, request_id)
    assert seen.status is Status.COMPLETED, seen.error
    return await provider.result(request_id)


def bytes_of(outcome: Outcome) -> bytes:
    return outcome.path.read_bytes()


async def test_it_has_a_name_and_a_pace(provider: Provider) -> None:
    assert provider.name
    assert 0 < provider.poll_seconds <= 10


async def test_a_request_goes_from_the_queue_to_a_result_that_is_what_it_says(
    provider: Provider, source: Source
) -> None:
    request_id = await submit(provider, source, before=0.5, after=1.5, seed=3)
    assert (await provider.status(request_id)).status in {Status.IN_QUEUE, Status.IN_PROGRESS}
    outcome = await made(provider, request_id)
    content = bytes_of(outcome)
    assert len(content) == outcome.size_bytes
    assert hashlib.sha256(content).hexdigest() == outcome.sha256
    assert soundfile.info(outcome.path).duration == pytest.approx(outcome.duration_seconds, abs=1e-6)
    assert (outcome.before_seconds, outcome.after_seconds, outcome.seed) == (0.5, 1.5, 3)
    assert outcome.duration_seconds == pytest.approx(5)
    assert outcome.note
    assert (await provider.result(request_id)) == outcome


async def test_what_it_says_of_a_running_request_stays_within_bounds(
    provider: Provider, source: Source
) -> None:
    request_id = await submit(provider, source)
    while not (seen := await provider.status(request_id)).status.is_final:
        assert seen.error is None
        assert seen.progress is None or 0 <= seen.progress <= 1
        assert (seen.queue_position is None) is (seen.status is not Status.IN_QUEUE)
        await asyncio.sleep(provider.poll_seconds)
    assert (seen.queue_position, seen.error) == (None, None)


async def test_a_local_files_length_is_known_beforehand(provider: Provider, source: Source) -> None:
    assert await provider.source_seconds(source) in {3.0, None}


async def test_a_links_length_is_not_looked_at_beforehand(provider: Provider) -> None:
    assert await provider.source_seconds(RemoteUrl("https://nothing.invalid/song.mp3")) is None


async def test_audio_that_nobody_can_use_is_refused_beforehand(provider: Provider, song: Path) -> None:
    song.write_bytes(b"not audio at all" * 99)
    for source in (LocalFile(song), InlineAudio(song.read_bytes(), "audio/wav")):
        with pytest.raises(SourceError):
            await provider.source_seconds(source)


async def test_audio_that_came_inside_the_request_is_extended(provider: Provider, song: Path) -> None:
    inline = InlineAudio(song.read_bytes(), "audio/wav")
    song.unlink()
    outcome = await made(provider, await submit(provider, inline))
    assert outcome.duration_seconds == pytest.approx(4)


async def test_a_source_that_cannot_be_fetched_fails_its_request_with_the_reason(provider: Provider) -> None:
    request_id = await submit(provider, RemoteUrl("https://nothing.invalid/song.mp3?token=secret"))
    seen = await ended(provider, request_id)
    assert seen.status is Status.FAILED
    assert "nothing.invalid" in (seen.error or "")
    assert "secret" not in (seen.error or "")
    with pytest.raises(RequestNotFound):
        await provider.result(request_id)


async def test_a_source_that_is_gone_by_its_turn_fails_its_request_and_nobody_elses(
    provider: Provider, source: Source, song: Path
) -> None:
    gone = await submit(provider, LocalFile(song.with_name("gone.wav")))
    fine = await submit(provider, source)
    seen = await ended(provider, gone)
    assert seen.status is Status.FAILED
    assert seen.error
    assert (await ended(provider, fine)).status is Status.COMPLETED


async def test_the_same_seed_gives_the_same_bytes_and_other_seeds_other_takes(
    provider: Provider, make_song: MakeSong
) -> None:
    source = LocalFile(make_song(seconds=12))
    requests = [await submit(provider, source, after=4, seed=seed) for seed in (5, 5, 6, 7, 8)]
    first, again, *others = [bytes_of(await made(provider, request_id)) for request_id in requests]
    assert first == again
    # Two seeds may well agree on the best way to go on from so short a song; four do not.
    assert {first} != set(others)


async def test_a_random_seed_is_told_and_can_be_used_again(provider: Provider, source: Source) -> None:
    drawn = await made(provider, await submit(provider, source, seed=-1))
    assert 0 <= drawn.seed < 2**31
    again = await made(provider, await submit(provider, source, seed=drawn.seed))
    assert bytes_of(again) == bytes_of(drawn)


async def test_several_requests_at_once_each_get_their_own_result(provider: Provider, source: Source) -> None:
    requests = [await submit(provider, source, after=after) for after in (1, 1.5, 2)]
    outcomes = await asyncio.gather(*(made(provider, request_id) for request_id in requests))
    assert [outcome.after_seconds for outcome in outcomes] == [1, 1.5, 2]
    assert len({outcome.path for outcome in outcomes}) == 3


async def test_a_request_is_cancelled_wherever_it_stands(provider: Provider, make_song: MakeSong) -> None:
    long = LocalFile(make_song(seconds=30, sample_rate=44_100))
    requests = [await submit(provider, long, before=240, after=240) for _ in range(8)]
    while (await provider.status(requests[0])).status is Status.IN_QUEUE:
        await asyncio.sleep(provider.poll_seconds)
    for request_id in reversed(requests):  # the queued ones first, then those in progress
        assert await provider.cancel(request_id) is CancelOutcome.CANCELLED
        assert (await provider.status(request_id)).status is Status.CANCELLED
        assert await provider.cancel(request_id) is CancelOutcome.NOT_CANCELLABLE
        with pytest.raises(RequestNotFound):
            await provider.result(request_id)


async def test_a_finished_request_is_not_cancellable_and_keeps_its_result(
    provider: Provider, source: Source
) -> None:
    request_id = await submit(provider, source)
    outcome = await made(provider, request_id)
    assert await provider.cancel(request_id) is CancelOutcome.NOT_CANCELLABLE
    assert await provider.result(request_id) == outcome
    assert outcome.path.exists()


@pytest.mark.parametrize("method", ["status", "result", "cancel"])
async def test_an_unknown_request_is_not_found(provider: Provider, method: str) -> None:
    with pytest.raises(RequestNotFound):
        await getattr(provider, method)("op_00000000000000000000")


async def test_a_request_that_was_given_up_has_failed_and_is_not_taken_on_any_more(
    provider: Provider, source: Source
) -> None:
    request_id = new_id()
    await provider.give_up(request_id)
    with pytest.raises(ProviderUnavailable, match="submit it again"):
        await submit(provider, source, request_id=request_id)
    seen = await provider.status(request_id)
    assert seen.status is Status.FAILED
    assert seen.error
    assert await provider.cancel(request_id) is CancelOutcome.NOT_CANCELLABLE


async def test_a_request_that_was_taken_on_cannot_be_given_up(provider: Provider, source: Source) -> None:
    request_id = await submit(provider, source)
    await provider.give_up(request_id)
    await made(provider, request_id)
    await provider.give_up(request_id)
    assert (await provider.status(request_id)).status is Status.COMPLETED


async def test_what_was_delivered_can_be_discarded_more_than_once(provider: Provider, source: Source) -> None:
    request_id = await submit(provider, source)
    outcome = await made(provider, request_id)
    await provider.discard(request_id)
    await provider.discard(request_id)
    assert not outcome.path.exists()
    assert (await provider.status(request_id)).status is Status.COMPLETED


async def test_a_request_outlives_the_process_that_took_it(
    database: Database, settings: Settings, source: Source
) -> None:
    # Left in the very moment in which the submission has rung: the queue has to stop all the same.
    with anyio.fail_after(30):
        async with open_local_provider(database, settings.data_dir) as first:
            request_id = await submit(first, source, seed=4)
        async with open_local_provider(database, settings.data_dir) as second:
            assert (await made(second, request_id)).seed == 4

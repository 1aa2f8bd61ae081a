"""One suite for every provider: whoever carries requests out keeps the same promises."""

# ruff: noqa: ASYNC240 - small files in a folder of the test's own

from __future__ import annotations

import asyncio
import base64
import hashlib
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest
import soundfile
from tests.fakes.runcomfy import FakeRunComfy
from tests.hosting import open_house, settings_on
from tests.stores import new_request
from tests.waiting import Clock, until
from tests.warm import around

from outpaint_mcp.audio.layout import Part, PartKind
from outpaint_mcp.errors import DeliveryFailed, InvalidRequest, OutpaintError, RequestNotFound, SourceError
from outpaint_mcp.models import CancelOutcome, Status, SubmitRequest
from outpaint_mcp.principals import OPERATOR, PERSON, Principal
from outpaint_mcp.providers.registry import PROVIDERS
from outpaint_mcp.providers.runcomfy.model import account_of
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.conversion import STORED_DAYS
from outpaint_mcp.service.lifespan import open_service
from outpaint_mcp.sources import fetch
from outpaint_mcp.storage.journal import UNFETCHED_DAYS
from outpaint_mcp.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from tests.conftest import MakeSong

    from outpaint_mcp.config import Settings
    from outpaint_mcp.reports.models import ResultReport, StatusReport, Submission
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.service.service import OutpaintService

pytestmark = pytest.mark.anyio

WAIT_SECONDS = 120.0
UNKNOWN_ID = "op_00000000000000000000"


@dataclass(frozen=True, slots=True)
class Opened:
    """The service with one provider for new requests, and the store behind it."""

    provider: str
    account: str
    service: OutpaintService
    store: Store

    async def submit(self, audio: Path | str, *, caller: str = "", **inputs: Any) -> Submission:  # noqa: ANN401 - inputs
        """Ask for one second more, or for what the inputs say."""
        asked = {"tags": "lofi", "extend_after_duration": 1} | inputs
        principal = Principal(caller) if caller else PERSON
        return await self.service.submit(principal, SubmitRequest.of(audio=str(audio), **asked))

    async def ended(self, request_id: str) -> StatusReport:
        """Wait for the end of a request."""
        report = await self.service.status(OPERATOR, request_id, wait_seconds=WAIT_SECONDS)
        assert report.status.is_final
        return report

    async def delivered(self, request_id: str) -> ResultReport:
        """Wait for the extended file of a request."""
        report = await self.service.result(OPERATOR, request_id, wait_seconds=WAIT_SECONDS, details=True)
        assert report.status is Status.COMPLETED, report.error
        assert report.path is not None, report.message
        return report

    async def generated(self, request_id: str) -> Outcome:
        """Wait for what the provider generates."""
        report = await self.ended(request_id)
        assert report.status is Status.COMPLETED, report.error
        found = self.store.journal.get(request_id).outcome
        assert found is not None
        return found


class World:
    """What the service is opened in; it may be opened several times."""

    def __init__(self, provider: str, settings: Settings, fake: FakeRunComfy | None) -> None:
        self.provider = provider
        self.settings = settings if fake is None else settings_on(fake, settings)
        self.clock = Clock()
        self.fetch_link: Callable[..., Coroutine[object, object, str | None]] = fetch
        self._fake = fake

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Opened]:
        """Open the service; a new provider is added to the match."""
        match self.provider:
            case "local":
                opened = open_service(
                    self.settings,
                    vocabulary=TOOLS,
                    surroundings=around(now=self.clock, fetch=self.fetch_link),
                )
                store = Store(self.settings.data_dir, now=self.clock)
                try:
                    async with opened as service:
                        yield Opened("local", "", service, store)
                finally:
                    store.close()
            case "runcomfy":
                assert self._fake is not None
                async with open_house(
                    self._fake, self.settings, now=self.clock, accept_seconds=0.5, fetch_link=self.fetch_link
                ) as house:
                    yield Opened("runcomfy", account_of(self.settings), house.service, house.store)
            case other:
                raise NotImplementedError(other)


@pytest.fixture(params=[*PROVIDERS])
async def world(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[World]:
    """Each provider in turn."""
    if request.param == "local":
        yield World(request.param, settings, None)
        return
    with FakeRunComfy() as fake:
        yield World(request.param, settings, fake)
        fake.check()


@pytest.fixture
async def opened(world: World) -> AsyncIterator[Opened]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(world.open())


@pytest.mark.parametrize("name", [*PROVIDERS])
def test_it_says_who_it_is(name: str) -> None:
    description = PROVIDERS[name].description
    assert description.name == name
    assert description.title
    assert description.instructions.strip()
    assert description.tool_text.strip()
    assert 0 <= description.accepts_within_seconds < 5


async def test_a_request_goes_from_the_queue_to_a_result_that_is_what_it_says(
    opened: Opened, song: Path
) -> None:
    submission = await opened.submit(song, extend_before_duration=0.5, extend_after_duration=1.5, seed=3)
    assert submission.provider == opened.provider
    assert not (await opened.service.status(OPERATOR, submission.request_id)).error
    result = await opened.delivered(submission.request_id)
    content = Path(result.path or "").read_bytes()
    assert len(content) == result.size_bytes
    assert hashlib.sha256(content).hexdigest() == result.sha256
    assert soundfile.info(result.path).duration == pytest.approx(result.duration_seconds, abs=1e-3)
    assert (result.before_seconds, result.after_seconds, result.seed) == (0.5, 1.5, 3)
    assert result.duration_seconds == pytest.approx(5)
    outcome = await opened.generated(submission.request_id)
    assert outcome.note
    assert outcome.path.read_bytes() == content
    assert soundfile.info(outcome.path).duration == pytest.approx(outcome.duration_seconds, abs=1e-6)
    assert await opened.delivered(submission.request_id) == result


async def test_what_is_reported_of_a_running_request_stays_within_bounds(opened: Opened, song: Path) -> None:
    request_id = (await opened.submit(song)).request_id
    with anyio.fail_after(WAIT_SECONDS):
        while not (seen := await opened.service.status(OPERATOR, request_id)).status.is_final:
            assert seen.error is None
            assert seen.progress is None or 0 <= seen.progress <= 1
            assert seen.queue_position is None or seen.status is Status.IN_QUEUE
            await asyncio.sleep(0.02)
    assert (seen.queue_position, seen.error, seen.status) == (None, None, Status.COMPLETED)


async def test_the_length_is_known_beforehand_where_the_source_is_a_file(opened: Opened, song: Path) -> None:
    submission = await opened.submit(song, extend_before_duration=2)
    assert submission.expected_duration_seconds == 6
    assert opened.store.journal.get(submission.request_id).expected_duration_seconds == 6


async def test_the_length_of_a_link_is_not_looked_at_beforehand(world: World) -> None:
    async def hang(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    world.fetch_link = hang
    async with world.open() as opened:
        submission = await opened.submit("https://nothing.invalid/song.mp3")
        assert submission.expected_duration_seconds is None


def data_uri(content: bytes) -> str:
    return f"data:audio/wav;base64,{base64.b64encode(content).decode()}"


async def test_audio_that_nobody_can_use_is_refused_beforehand(opened: Opened, song: Path) -> None:
    song.write_bytes(b"not audio at all" * 99)
    for audio in (str(song), data_uri(song.read_bytes())):
        with pytest.raises(SourceError):
            await opened.submit(audio)
    assert (await opened.service.list(OPERATOR)).requests == []


async def test_audio_that_came_inside_the_request_is_extended(opened: Opened, song: Path) -> None:
    inline = data_uri(song.read_bytes())
    song.unlink()
    submission = await opened.submit(inline)
    assert submission.expected_duration_seconds == 4
    assert (await opened.generated(submission.request_id)).duration_seconds == pytest.approx(4)


async def test_a_source_that_cannot_be_fetched_fails_its_request_with_the_reason(opened: Opened) -> None:
    with suppress(OutpaintError):  # whoever fetches it while the submission waits says so there and then
        await opened.submit("https://nothing.invalid/song.mp3?token=secret")
    (listed,) = (await opened.service.list(OPERATOR)).requests
    ended = await opened.ended(listed.request_id)
    assert ended.status is Status.FAILED
    assert "nothing.invalid" in (ended.error or "")
    assert "secret" not in (ended.error or "")
    report = await opened.service.result(OPERATOR, listed.request_id)
    assert (report.status, report.path) == (Status.FAILED, None)


async def test_a_source_that_is_gone_by_its_turn_fails_its_request_and_nobody_elses(
    opened: Opened, song: Path
) -> None:
    gone = new_request(
        provider=opened.provider, account=opened.account, source=str(song.with_name("gone.wav"))
    )
    opened.store.journal.add(gone)
    fine = await opened.submit(song)
    ended = await opened.ended(gone.ids[0])
    assert ended.status is Status.FAILED
    assert ended.error
    assert (await opened.ended(fine.request_id)).status is Status.COMPLETED


async def test_the_same_seed_gives_the_same_bytes_and_other_seeds_other_takes(
    opened: Opened, make_song: MakeSong
) -> None:
    source = make_song(seconds=12)
    asked = [
        await opened.submit(source, caller=f"caller {number}", extend_after_duration=4, seed=seed)
        for number, seed in enumerate((5, 5, 6, 7, 8))
    ]
    first, again, *others = [(await opened.generated(each.request_id)).path.read_bytes() for each in asked]
    assert first == again
    # Two seeds may well agree on the best way to go on from so short a song; four do not.
    assert {first} != set(others)


async def test_a_random_seed_is_reported_and_can_be_used_again(opened: Opened, song: Path) -> None:
    drawn = await opened.generated((await opened.submit(song, seed=-1)).request_id)
    assert 0 <= drawn.seed < 2**31
    again = await opened.generated((await opened.submit(song, caller="another", seed=drawn.seed)).request_id)
    assert again.path != drawn.path
    assert again.path.read_bytes() == drawn.path.read_bytes()


async def test_a_total_is_exact_to_the_frame_and_what_the_file_consists_of_is_known(
    opened: Opened, make_song: MakeSong
) -> None:
    source = make_song(seconds=8)
    submission = await opened.submit(source, total_seconds=20.0001, extend_before_duration=3, ending="fade")
    assert submission.expected_duration_seconds == pytest.approx(20)
    outcome = await opened.generated(submission.request_id)
    assert soundfile.info(outcome.path).frames == 320_002
    assert (outcome.before_seconds, outcome.after_seconds) == (3, 9.000125)
    assert outcome.layout is not None
    assert outcome.layout.frames == 320_002
    assert outcome.layout.parts[-1].kind is PartKind.RING_OUT
    assert [(each.start, each.stop, each.at_frame) for each in outcome.preserved] == [(0, 128_000, 48_000)]
    longer, _ = soundfile.read(outcome.path, dtype="int16")
    assert np.array_equal(longer[48_000 : 48_000 + 128_000], soundfile.read(source, dtype="int16")[0])


async def test_a_total_that_leaves_nothing_to_add_is_refused_beforehand(opened: Opened, song: Path) -> None:
    with pytest.raises(InvalidRequest, match="already lasts"):
        await opened.submit(song, total_seconds=3)
    assert (await opened.service.list(OPERATOR)).requests == []


async def test_an_earlier_result_goes_on_from_its_last_full_music_and_not_from_the_fade(
    opened: Opened, make_song: MakeSong
) -> None:
    source = make_song(seconds=16)
    first = await opened.generated(
        (await opened.submit(source, extend_after_duration=12, ending="fade")).request_id
    )
    assert first.layout is not None
    parent = (await opened.service.list(OPERATOR)).requests[0].request_id
    later = await opened.generated((await opened.submit(parent, extend_after_duration=9)).request_id)
    one, two = (soundfile.read(each.path, dtype="int16")[0] for each in (first, later))
    assert len(two) == len(one) + 9 * 16_000
    cut = first.layout.full_to
    assert cut < len(one)
    assert np.array_equal(two[:cut], one[:cut])
    assert later.layout is not None
    assert later.layout.between(0, 16 * 16_000) == (Part(PartKind.SOURCE, 16 * 16_000, 0),)
    assert later.preserved[0].stop == cut


async def test_several_requests_at_once_each_get_their_own_result(opened: Opened, song: Path) -> None:
    asked = [await opened.submit(song, extend_after_duration=after) for after in (1, 1.5, 2)]
    outcomes = await asyncio.gather(*(opened.generated(each.request_id) for each in asked))
    assert [outcome.after_seconds for outcome in outcomes] == [1, 1.5, 2]
    assert len({outcome.path for outcome in outcomes}) == 3


async def test_a_request_is_cancelled_wherever_it_is(opened: Opened, make_song: MakeSong) -> None:
    long = make_song(seconds=30, sample_rate=44_100)
    asked = [
        (
            await opened.submit(long, seed=seed, extend_before_duration=240, extend_after_duration=240)
        ).request_id
        for seed in range(4)
    ]
    await until(
        lambda: opened.store.journal.get(asked[0]).status is Status.IN_PROGRESS or bool(opened.account)
    )
    for request_id in reversed(asked):  # the queued ones first, then those in progress
        assert (await opened.service.cancel(PERSON, request_id)).outcome is CancelOutcome.CANCELLED
        assert (await opened.service.status(OPERATOR, request_id)).status is Status.CANCELLED
        assert (await opened.service.cancel(PERSON, request_id)).outcome is CancelOutcome.NOT_CANCELLABLE
        report = await opened.service.result(OPERATOR, request_id)
        assert (report.status, report.path) == (Status.CANCELLED, None)


async def test_a_finished_request_is_not_cancellable_and_has_its_result_still(
    opened: Opened, song: Path
) -> None:
    request_id = (await opened.submit(song)).request_id
    outcome = await opened.generated(request_id)
    assert (await opened.service.cancel(PERSON, request_id)).outcome is CancelOutcome.NOT_CANCELLABLE
    assert await opened.generated(request_id) == outcome
    assert outcome.path.exists()


@pytest.mark.parametrize("method", ["status", "result", "cancel"])
async def test_an_unknown_request_is_not_found(opened: Opened, method: str) -> None:
    with pytest.raises(RequestNotFound):
        await getattr(opened.service, method)(PERSON, UNKNOWN_ID)


async def test_what_was_delivered_is_not_needed_for_ever(world: World, song: Path) -> None:
    async with world.open() as opened:
        request_id = (await opened.submit(song)).request_id
        result = await opened.delivered(request_id)
        outcome = await opened.generated(request_id)
        for days in (STORED_DAYS - 1, STORED_DAYS + 1):
            world.clock.now += days * 86_400
            for _ in range(2):
                await opened.service.housekeeper.tidy()
                assert outcome.path.exists() is (days < STORED_DAYS)
        assert await opened.delivered(request_id) == result
        assert Path(result.path or "").exists()
        stored = opened.store.journal.get(request_id).outcome
        assert stored == outcome.without_links()


async def test_what_nobody_fetches_is_stored_until_the_day_that_its_status_names(
    world: World, song: Path
) -> None:
    async with world.open() as opened:
        request_ids = [(await opened.submit(song, seed=seed)).request_id for seed in (1, 2, 3)]
        outcomes = [await opened.generated(each) for each in request_ids]
        last_day = datetime.fromtimestamp(world.clock.now, UTC) + timedelta(days=UNFETCHED_DAYS)
        for each in request_ids:
            assert f"{last_day:%Y-%m-%d}" in (await opened.service.status(OPERATOR, each)).message
        world.clock.now += UNFETCHED_DAYS * 86_400 - 1
        await opened.service.housekeeper.tidy()
        assert all(each.path.exists() for each in outcomes)
        await opened.delivered(request_ids[0])
        assert "deleted" not in (await opened.service.status(OPERATOR, request_ids[0])).message
        world.clock.now += 370 * 86_400
    async with world.open() as opened:
        await opened.service.housekeeper.tidy()
        assert not any(each.path.parent.exists() for each in outcomes)
        with pytest.raises(DeliveryFailed, match="no longer stored"):
            await opened.service.result(OPERATOR, request_ids[1])


async def test_a_request_outlives_the_process_that_took_it(world: World, song: Path) -> None:
    # Left in the very moment in which the submission has rung: the queue has to stop all the same.
    with anyio.fail_after(WAIT_SECONDS):
        async with world.open() as first:
            request_id = (await first.submit(song, seed=4)).request_id
        async with world.open() as second:
            assert (await second.generated(request_id)).seed == 4

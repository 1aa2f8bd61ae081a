"""What tests of the hosted provider share: the real provider on the contract fake, at a quick pace."""

# ruff: noqa: ASYNC110 - what others do is looked for

from __future__ import annotations

import asyncio
import dataclasses
import socket
import sqlite3
import time
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import anyio
from tests.dispatching import provider_context
from tests.fakes.runcomfy import TOKEN
from tests.waiting import PATIENCE_SECONDS, Clock
from tests.warm import around, open_pool

from outpaint_mcp.errors import SourceUnreachable
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.jobs.dispatcher import Dispatcher
from outpaint_mcp.jobs.liveness import Presence
from outpaint_mcp.jobs.signal import UpdateSignal
from outpaint_mcp.models import Status, SubmitRequest
from outpaint_mcp.principals import OPERATOR, PERSON, Principal
from outpaint_mcp.providers.base import RemoteTiming
from outpaint_mcp.providers.remote.provider import RemoteProvider
from outpaint_mcp.providers.remote.schedule import PollSchedule
from outpaint_mcp.providers.runcomfy.model import runcomfy_model
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.lifespan import CANCEL_SECONDS, open_service
from outpaint_mcp.service.service import OutpaintService
from outpaint_mcp.sources import DownloadPolicy, fetch
from outpaint_mcp.storage.database import Database
from outpaint_mcp.storage.store import FILE_NAME, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from tests.fakes.runcomfy import FakeRunComfy, Job

    from outpaint_mcp.config import Settings
    from outpaint_mcp.providers.remote.model import ModelClient
    from outpaint_mcp.reports.models import RequestSummary, ResultReport, StatusReport, Submission
    from outpaint_mcp.storage.job_queue import JobQueue
    from outpaint_mcp.storage.journal import Journal
    from outpaint_mcp.storage.ledger import Ledger
    from outpaint_mcp.storage.records import RequestRecord
    from outpaint_mcp.workers.pool import WorkerPool

RESTORED, AS_MADE = ExportOptions(), ExportOptions(restore_source=False)


def nobodys_base() -> str:
    """Return the address of a model API at which nobody listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{reserved.getsockname()[1]}/v1"


async def fetch_nothing(*_: object, **__: object) -> NoReturn:
    """Fetch a link as though it led nowhere."""
    raise SourceUnreachable("HTTP 403")


def quick_schedule() -> PollSchedule:
    """Ask far more often than is polite: nobody is bothered here."""
    return PollSchedule(
        first_seconds=0.05,
        last_seconds=0.2,
        calls_per_second=500,
        submit_seconds=2,
        retry_seconds=0.5,
        unheard_of_seconds=0.5,
    )


def settings_on(fake: FakeRunComfy, settings: Settings, **changes: Any) -> Settings:  # noqa: ANN401 - passed on
    """Return settings under which new requests go to the fake."""
    on_fake = {"provider": "runcomfy", "token": TOKEN, "runcomfy_base": fake.base}
    return dataclasses.replace(settings, **on_fake | changes)


@dataclass(frozen=True, slots=True)
class House:
    """An open service whose new requests go to the fake, and what stands behind it."""

    fake: FakeRunComfy
    settings: Settings
    store: Store
    service: OutpaintService
    timing: RemoteTiming

    async def submit(self, audio: Path | str, *, caller: str = "", **inputs: Any) -> Submission:  # noqa: ANN401 - inputs
        """Ask for one second more after the source, or for what the inputs say."""
        asked = {"tags": "lofi", "extend_after_duration": 1, "seed": 7} | inputs
        principal = Principal(caller) if caller else PERSON
        return await self.service.submit(principal, SubmitRequest.of(audio=str(audio), **asked))

    async def result(self, request_id: str, options: ExportOptions = RESTORED) -> ResultReport:
        """Wait for the end of a request."""
        report = await self.service.result(
            OPERATOR, request_id, wait_seconds=PATIENCE_SECONDS, options=options, details=True
        )
        assert report.status.is_final, report.message
        return report

    async def extend(self, audio: Path | str, **inputs: Any) -> ResultReport:  # noqa: ANN401 - as above
        """Submit and wait for the extended file."""
        report = await self.result((await self.submit(audio, **inputs)).request_id)
        assert report.status is Status.COMPLETED, report.error
        return report

    async def extend_as_made(self, audio: Path | str, **inputs: Any) -> ResultReport:  # noqa: ANN401 - as above
        """Submit and wait for the service's own file."""
        return await self.result((await self.extend(audio, **inputs)).request_id, AS_MADE)

    async def failed(self, audio: Path | str, **inputs: Any) -> str:  # noqa: ANN401 - as above
        """Submit what fails after it was accepted, and return why."""
        report = await self.result((await self.submit(audio, **inputs)).request_id)
        assert report.status is Status.FAILED
        assert report.error
        return report.error

    async def status_once(
        self, request_id: str, is_so: Callable[[StatusReport], bool] = lambda _: True
    ) -> StatusReport:
        """Say where a request is as soon as that is so."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while not is_so(seen := await self.service.status(OPERATOR, request_id)):
                await asyncio.sleep(0.01)
        return seen

    async def listed(self) -> list[RequestSummary]:
        """All requests, newest first."""
        return (await self.service.list(OPERATOR)).requests

    def record(self, request_id: str) -> RequestRecord:
        """What the journal has of a request."""
        return self.store.journal.get(request_id)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What is on the disk."""
        file = f"file:{self.settings.data_dir / FILE_NAME}?mode=ro"
        with closing(sqlite3.connect(file, uri=True)) as connection:
            return connection.execute(query).fetchall()

    def dump(self) -> str:
        """All that is in the database."""
        file = f"file:{self.settings.data_dir / FILE_NAME}?mode=ro"
        with closing(sqlite3.connect(file, uri=True)) as connection:
            return "\n".join(connection.iterdump())

    def jobs(self) -> list[Job]:
        """What the service has accepted, in order."""
        return list(self.fake.jobs.values())

    def be_quick(self) -> None:
        """Have the provider's client give calls up soon, and not pause long between them; before its first call."""
        self.timing.timeout_seconds = 0.5
        self.timing.sleep = _moment

    def give_up_soon(self) -> None:
        """Have the provider's client believe that time flies while it pauses; before its first call."""
        clock = Clock()
        self.timing.sleep, self.timing.clock = clock.sleep, clock


@asynccontextmanager
async def open_house(  # noqa: PLR0913 - what tests turn
    fake: FakeRunComfy,
    settings: Settings,
    *,
    now: Callable[[], float] = time.time,
    runs: bool = True,
    schedule: PollSchedule | None = None,
    accept_seconds: float = PATIENCE_SECONDS,
    cancel_seconds: float = CANCEL_SECONDS,
    fetch_link: Callable[..., Coroutine[object, object, str | None]] = fetch,
    **changes: Any,  # noqa: ANN401 - settings
) -> AsyncIterator[House]:
    """Open everything as the server does, on the fake."""
    settings = settings_on(fake, settings, **changes)
    timing = RemoteTiming(schedule=schedule or quick_schedule())
    surroundings = around(
        now=now, fetch=fetch_link, timing=timing, accept_seconds=accept_seconds, cancel_seconds=cancel_seconds
    )
    async with open_service(settings, runs=runs, vocabulary=TOOLS, surroundings=surroundings) as service:
        store = Store(settings.data_dir, now=now)
        try:
            yield House(fake, settings, store, service, timing)
        finally:
            store.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a house is built around where a test brings parts of its own; None for the usual ones.

    Attributes:
        queue: of jobs.
        client: of the service, which the provider closes.
    """

    journal: Callable[[Database], Journal] | None = None
    queue: Callable[[Database], JobQueue] | None = None
    ledger: Callable[[Database], Ledger] | None = None
    client: ModelClient | None = None
    pool: WorkerPool | None = None


@asynccontextmanager
async def open_house_around(
    parts: Parts,
    fake: FakeRunComfy,
    settings: Settings,
    *,
    accept_seconds: float = PATIENCE_SECONDS,
    **changes: Any,  # noqa: ANN401 - settings
) -> AsyncIterator[House]:
    """Open a house that has nothing but the hosted provider."""
    settings = settings_on(fake, settings, **changes)
    async with AsyncExitStack() as stack:
        store, database = Store(settings.data_dir), Database(settings.data_dir / FILE_NAME)
        stack.callback(store.close)
        stack.callback(database.close)
        if parts.journal is not None:
            store.journal = parts.journal(database)
        if parts.queue is not None:
            store.queue = parts.queue(database)
        if parts.ledger is not None:
            store.ledger = parts.ledger(database)
        presence = Presence(settings.data_dir / "servers")
        stack.callback(presence.close)
        pool = parts.pool or open_pool()
        timing = RemoteTiming(schedule=quick_schedule())
        context = provider_context(store, settings, pool, timing=timing)
        model, client = runcomfy_model(context), parts.client
        if client is not None:
            model = dataclasses.replace(model, open_client=lambda _token: client)
        signal, provider = UpdateSignal(), RemoteProvider(context, model)
        stack.push_async_callback(provider.close)
        providers, folder = {"runcomfy": provider}, settings.data_dir / "jobs"
        dispatcher = Dispatcher(store, presence, signal, providers, folder)
        surroundings = around(accept_seconds=accept_seconds)
        scratch = settings.data_dir / "scratch" / presence.server_id
        service = OutpaintService(
            settings, store, providers, pool, scratch, signal, dispatcher, TOOLS, surroundings
        )
        running = asyncio.create_task(dispatcher.run())
        stack.push_async_callback(asyncio.wait, {running})
        stack.callback(running.cancel)
        stack.push_async_callback(service.close)
        yield House(fake, settings, store, service, context.timing)


class Web:
    """Fetches links as the provider does, some of them from a public internet of the tests' own."""

    def __init__(self, pages: dict[str, bytes]) -> None:
        self._pages = pages

    async def __call__(self, url: str, destination: Path, *, policy: DownloadPolicy | None = None) -> None:
        if url in self._pages:
            await asyncio.to_thread(destination.write_bytes, self._pages[url])
        elif policy is None:
            raise SourceUnreachable("There is no such page.")
        else:
            await fetch(url, destination, policy=policy)


async def _moment(_seconds: float) -> None:
    await asyncio.sleep(0.01)

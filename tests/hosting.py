"""What tests of the hosted provider share: the real provider on the contract fake, at a quick pace."""

# ruff: noqa: ASYNC110 - what others do is looked for

from __future__ import annotations

import asyncio
import dataclasses
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from tests.fakes.runcomfy import TOKEN

from outpaint_mcp.errors import SourceUnreachable
from outpaint_mcp.models import Status, SubmitRequest
from outpaint_mcp.providers.local.provider import open_local_provider
from outpaint_mcp.providers.runcomfy.provider import RunComfyProvider, open_runcomfy_provider
from outpaint_mcp.providers.runcomfy.schedule import PollSchedule
from outpaint_mcp.results import ExportOptions
from outpaint_mcp.service.service import OutpaintService
from outpaint_mcp.sources import DownloadPolicy, fetch
from outpaint_mcp.storage.costs import Ledger
from outpaint_mcp.storage.database import Database
from outpaint_mcp.storage.journal import Journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.fakes.runcomfy import FakeRunComfy, Job

    from outpaint_mcp.config import Settings
    from outpaint_mcp.reports.models import RequestSummary, ResultReport, StatusReport, Submission

RESTORED, AS_MADE = ExportOptions(), ExportOptions(restore_source=False)

PATIENCE_SECONDS = 60.0
"""Nothing here takes so long, however busy the machine."""


def quick_schedule() -> PollSchedule:
    """Ask far more often than is polite: nobody is bothered here."""
    return PollSchedule(
        first_seconds=0.05, last_seconds=0.2, calls_per_second=500, retry_seconds=0.5, unheard_of_seconds=0.5
    )


def settings_on(fake: FakeRunComfy, settings: Settings, **changes: Any) -> Settings:  # noqa: ANN401 - passed on
    """Return settings under which new requests go to the fake."""
    on_fake = {"provider": "runcomfy", "token": TOKEN, "runcomfy_base": fake.base}
    return dataclasses.replace(settings, **on_fake | changes)


@asynccontextmanager
async def open_hosted_on(
    fake: FakeRunComfy,
    database: Database,
    settings: Settings,
    **options: Any,  # noqa: ANN401 - passed on
) -> AsyncIterator[RunComfyProvider]:
    """Open the hosted provider on the fake."""
    options = {"schedule": quick_schedule()} | options
    async with open_runcomfy_provider(
        database, settings_on(fake, settings), Ledger(database), **options
    ) as provider:
        yield provider


@dataclass(frozen=True, slots=True)
class House:
    """An open desk whose new requests go to the fake, and what stands behind it."""

    fake: FakeRunComfy
    settings: Settings
    database: Database
    ledger: Ledger
    hosted: RunComfyProvider
    service: OutpaintService

    async def submit(self, audio: Path | str, *, caller: str = "", **inputs: Any) -> Submission:  # noqa: ANN401 - inputs
        """Ask for one second more after the source, or for what the inputs say."""
        asked = {"tags": "lofi", "extend_after_duration": 1, "seed": 7} | inputs
        return await self.service.submit(SubmitRequest.of(audio=str(audio), **asked), caller=caller)

    async def result(self, request_id: str, options: ExportOptions = RESTORED) -> ResultReport:
        """Wait for the end of a request."""
        report = await self.service.result(request_id, wait_seconds=PATIENCE_SECONDS, options=options)
        assert report.status.is_final, report.message
        return report

    async def extend(self, audio: Path | str, **inputs: Any) -> ResultReport:  # noqa: ANN401 - as above
        """Submit and wait for the longer file."""
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
        """Say where a request stands as soon as that is so."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while not is_so(seen := await self.service.status(request_id)):
                await asyncio.sleep(0.01)
        return seen

    async def listed(self) -> list[RequestSummary]:
        """All requests, newest first."""
        return (await self.service.list()).requests

    def jobs(self) -> list[Job]:
        """What the service has accepted, in order."""
        return list(self.fake.jobs.values())

    def be_quick(self) -> None:
        """Have the provider's client give calls up soon, and not pause long between them."""
        client = self.hosted._means.client()
        client._client.timeout = 0.5
        client._patience = client._patience._replace(sleep=_moment)

    def give_up_soon(self) -> None:
        """Have the provider's client believe that time flies while it pauses."""
        client, clock = self.hosted._means.client(), Clock()

        async def fly(seconds: float) -> None:
            clock.time += seconds

        client._patience = client._patience._replace(sleep=fly, clock=clock)


@asynccontextmanager
async def open_house(
    fake: FakeRunComfy,
    settings: Settings,
    *,
    now: Callable[[], float] = time.time,
    **options: Any,  # noqa: ANN401 - settings, or the provider's
) -> AsyncIterator[House]:
    """Open everything as the server does, on the fake; what is no setting is passed on to the provider."""
    names = {field.name for field in dataclasses.fields(settings)} & set(options)
    settings = settings_on(fake, settings, **{name: options.pop(name) for name in names})
    options = dict[str, Any](schedule=quick_schedule(), submit_seconds=PATIENCE_SECONDS) | options
    async with AsyncExitStack() as stack:
        database = Database(settings.data_dir / "outpaint.sqlite3")
        stack.callback(database.close)
        journal, ledger = Journal(database, now=now), Ledger(database, now=now)
        local = await stack.enter_async_context(open_local_provider(database, settings.data_dir))
        hosted = await stack.enter_async_context(
            open_runcomfy_provider(database, settings, ledger, **options)
        )
        service = OutpaintService(settings, journal, ledger, {each.name: each for each in (local, hosted)})
        await service.tidy()
        yield House(fake, settings, database, ledger, hosted, service)


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


class Clock:
    """A wall clock that is set by hand, in Unix seconds."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that happens elsewhere."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while not is_so():
            await asyncio.sleep(0.01)


async def _moment(_seconds: float) -> None:
    await asyncio.sleep(0.01)

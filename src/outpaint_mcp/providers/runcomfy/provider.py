"""The hosted provider's face: submit, status, result, cancel, for requests that outlive every process."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from outpaint_mcp.config import RUNCOMFY_BASE
from outpaint_mcp.errors import OutpaintError, StorageFailed, Unauthorized
from outpaint_mcp.jobs.liveness import Presence
from outpaint_mcp.models import CancelOutcome, Status, SubmitRequest
from outpaint_mcp.providers.base import ProviderStatus, Receipt
from outpaint_mcp.providers.runcomfy.api.refusals import HOW_TO_LOG_IN
from outpaint_mcp.providers.runcomfy.courier import Courier
from outpaint_mcp.providers.runcomfy.orders import Orders
from outpaint_mcp.providers.runcomfy.prepare import SOURCE_NAME
from outpaint_mcp.providers.runcomfy.prices import PriceCache
from outpaint_mcp.providers.runcomfy.records import CancelWish
from outpaint_mcp.providers.runcomfy.run import RunContext
from outpaint_mcp.providers.runcomfy.schedule import PollSchedule
from outpaint_mcp.providers.runcomfy.transfer import AudioTransfer
from outpaint_mcp.providers.runcomfy.updates import UpdateSignal
from outpaint_mcp.results import Outcome
from outpaint_mcp.sources import DownloadPolicy, InlineAudio, LocalFile, RemoteUrl, Source, fetch
from outpaint_mcp.sources.links import origin_of, parse_link
from outpaint_mcp.storage.database import told
from outpaint_mcp.workers.probing import Prober

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from outpaint_mcp.config import Settings
    from outpaint_mcp.providers.runcomfy.api.client import RunComfyClient
    from outpaint_mcp.storage.costs import Ledger
    from outpaint_mcp.storage.database import Database

# Agents' frameworks give up on a call after five seconds at the earliest.
SUBMIT_SECONDS = 3.5
# Whoever works on it looks up once a second, and then asks the service.
_CANCEL_SECONDS = 3.5

# Another process may be the one that works on it, and rings no bell here.
_GLANCE_SECONDS = 0.25

_RESULT_DOMAINS = ("runcomfy.net", "runcomfy.com")


@asynccontextmanager
async def open_runcomfy_provider(  # noqa: PLR0913 - what it works with, and what tests turn
    database: Database,
    settings: Settings,
    ledger: Ledger,
    *,
    runs: bool = True,
    schedule: PollSchedule | None = None,
    fetch_link: Callable[..., Coroutine[Any, Any, None]] = fetch,
    submit_seconds: float = SUBMIT_SECONDS,
) -> AsyncIterator[RunComfyProvider]:
    """Carry requests out for as long as the block lasts; what is left over goes on with the next server.

    Args:
        database: where the orders are.
        settings: token, places and limits.
        ledger: what may be spent, and is.
        runs: whether requests are carried out here; otherwise they wait for a server.
        schedule: how often the service is asked.
        fetch_link: fetches sources and results.
        submit_seconds: how long a submission waits for the service's answer.

    Raises:
        StorageFailed: the data folder cannot be used.
    """
    folder = settings.data_dir / "hosted"
    with told(settings.data_dir):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    connection, schedule = _Connection(settings), schedule or PollSchedule()
    context = RunContext(
        orders=Orders(database),
        ledger=ledger,
        news=UpdateSignal(),
        client=connection,
        prices=PriceCache(connection, schedule.clock),
        handover=_handover(settings),
        folder=folder,
        schedule=schedule,
        policy=_doors(settings.runcomfy_base),
        fetch=fetch_link,
        workers=asyncio.Semaphore(os.cpu_count() or 1),
        account=account_of(settings),
        most_usd=settings.max_cost_usd,
    )
    if settings.token is None or not runs:
        yield RunComfyProvider(context, submit_seconds=0)
        return
    presence = await asyncio.to_thread(Presence, settings.data_dir / "servers")
    courier = Courier(context, presence)
    running = asyncio.create_task(courier.run())
    try:
        yield RunComfyProvider(context, ring=courier.ring, submit_seconds=submit_seconds)
    finally:
        running.cancel()
        await asyncio.wait({running})
        await connection.close()
        presence.close()


class _Connection:
    """The one client of a process; httpx, which takes a while to load, is there when it is first asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: RunComfyClient | None = None
        self._lock = threading.Lock()

    def __call__(self) -> RunComfyClient:
        """Return the client; the first time in a thread, since it takes a quarter of a second."""
        with self._lock:
            if self._client is None:
                from outpaint_mcp.providers.runcomfy.api.client import RunComfyClient  # noqa: PLC0415 - loads httpx

                self._client = RunComfyClient(self._settings.token, base_url=self._settings.runcomfy_base)
            return self._client

    async def close(self) -> None:
        """Close it if it was opened."""
        if self._client is not None:
            await self._client.aclose()


def _handover(settings: Settings) -> AudioTransfer:
    if settings.upload is None:
        return AudioTransfer(None)
    from outpaint_mcp.providers.runcomfy.bucket import Bucket  # noqa: PLC0415 - only where there is one

    return AudioTransfer(Bucket(settings.upload))


def account_of(settings: Settings) -> str:
    """Return a digest that tells tokens apart and tells nothing of them; empty where there is none."""
    if settings.token is None:
        return ""
    return hashlib.sha256(f"{settings.runcomfy_base} {settings.token}".encode()).hexdigest()[:16]


def _doors(base: str) -> DownloadPolicy:
    """Where results may lie: on the vendor's hosts, and on the one that the operator has named."""
    if base == RUNCOMFY_BASE:
        return DownloadPolicy(_RESULT_DOMAINS)
    link = parse_link(base, DownloadPolicy(trusted=(origin_of(base),)))
    return DownloadPolicy((*_RESULT_DOMAINS, link.host), (link.origin,))


class RunComfyProvider:
    """RunComfy's model, paid for: every request is sent once and followed to its end."""

    name = "runcomfy"
    poll_seconds = 2.0

    def __init__(
        self,
        context: RunContext,
        *,
        ring: Callable[[], None] = lambda: None,
        submit_seconds: float = SUBMIT_SECONDS,
    ) -> None:
        self._means = context
        self._orders = context.orders
        self._ring = ring
        self._submit_seconds = submit_seconds
        self._prober = Prober()

    async def source_seconds(self, source: Source) -> float | None:
        """See `Provider.source_seconds`."""
        return await self._prober.seconds(source)

    async def news(self, request_id: str) -> None:
        """See `Provider.news`; woken where this process works on it, on its next look where another does."""
        await self._means.news.wait(request_id, self.poll_seconds)

    async def submit(self, request_id: str, request: SubmitRequest, source: Source) -> Receipt:
        """See `Provider.submit`; waits a moment for the service's answer.

        Raises:
            Unauthorized: there is no token.
        """
        if not self._means.account:
            raise Unauthorized(HOW_TO_LOG_IN)
        try:
            await asyncio.to_thread(self._add, request_id, request, source)
        except OutpaintError:
            await self.discard(request_id)
            raise
        self._ring()
        try:
            return await self._receipt(request_id)
        except StorageFailed:  # it is taken on all the same
            return Receipt(status=Status.IN_PROGRESS, waits_for="the data folder cannot be read just now")

    async def _receipt(self, request_id: str) -> Receipt:
        """Wait until the service has answered, or for as long as a submission may take."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._submit_seconds
        while (
            not (is_settled := await asyncio.to_thread(self._is_settled, request_id)) and loop.time() < until
        ):
            await self._means.news.wait(request_id, _GLANCE_SECONDS)
        seen = await self.status(request_id)
        return Receipt(
            status=seen.status,
            waits_for="" if is_settled else seen.step,
            failure=await asyncio.to_thread(self._orders.failure, request_id),
        )

    def _add(self, request_id: str, request: SubmitRequest, source: Source) -> None:
        match source:
            case LocalFile(path=path):
                where = str(path)
            case RemoteUrl(url=url):
                where = url
            case InlineAudio(content=content):
                folder = self._means.folder / request_id
                with told(self._means.folder.parent):
                    folder.mkdir(exist_ok=True)
                    (folder / SOURCE_NAME).write_bytes(content)
                where = ""
        # Drawn here, so that it can be told and used again.
        seed = request.seed if request.seed >= 0 else secrets.randbelow(2**31)
        self._orders.add(
            request_id,
            request.model_copy(update={"seed": seed}),
            where,
            account=self._means.account,
            most_usd=self._means.most_usd,
        )

    def _is_settled(self, request_id: str) -> bool:
        """Whether the service has taken it on, or it has ended."""
        steps = self._orders.get(request_id).steps
        under_way = any(step.remote_id is not None for step in steps)
        return under_way or self._orders.status(request_id).status.is_final

    async def status(self, request_id: str) -> ProviderStatus:
        """See `Provider.status`; what was last seen, since the service is asked by one poller alone."""
        return await asyncio.to_thread(self._orders.status, request_id)

    async def give_up(self, request_id: str) -> None:
        """See `Provider.give_up`."""
        await asyncio.to_thread(self._orders.give_up, request_id)

    async def result(self, request_id: str) -> Outcome:
        """See `Provider.result`."""
        return Outcome.of(await asyncio.to_thread(self._orders.outcome, request_id))

    async def cancel(self, request_id: str) -> CancelOutcome:
        """See `Provider.cancel`; what is under way at the service goes on there, what was not sent never is."""
        if not await asyncio.to_thread(self._orders.cancel, request_id):
            return CancelOutcome.NOT_CANCELLABLE
        self._ring()
        loop = asyncio.get_running_loop()
        until = loop.time() + _CANCEL_SECONDS
        while loop.time() < until:
            if (await self.status(request_id)).status.is_final:
                break
            if await asyncio.to_thread(self._orders.cancel_wish, request_id) is CancelWish.REFUSED:
                return CancelOutcome.NOT_CANCELLABLE
            await self._means.news.wait(request_id, _GLANCE_SECONDS)
        # What is not known to be cancelled is not called so: it may still be carried out, and billed.
        is_cancelled = (await self.status(request_id)).status is Status.CANCELLED
        return CancelOutcome.CANCELLED if is_cancelled else CancelOutcome.NOT_CANCELLABLE

    async def kept(self) -> list[str]:
        """See `Provider.kept`."""
        return await asyncio.to_thread(lambda: [path.name for path in self._means.folder.glob("*")])

    async def discard(self, request_id: str) -> None:
        """See `Provider.discard`."""
        await asyncio.to_thread(shutil.rmtree, self._means.folder / request_id, ignore_errors=True)
        await asyncio.to_thread(self._orders.discard, request_id)

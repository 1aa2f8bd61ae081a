"""Putting the service together: store, providers and dispatcher, for as long as somebody works with them."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from outpaint_mcp.disk.folders import existing_folders
from outpaint_mcp.disk.writing import remove
from outpaint_mcp.jobs.dispatcher import Dispatcher
from outpaint_mcp.jobs.liveness import Presence, scratch_of
from outpaint_mcp.jobs.signal import UpdateSignal
from outpaint_mcp.providers.base import ProviderContext, RemoteTiming
from outpaint_mcp.providers.registry import PROVIDERS
from outpaint_mcp.service.service import OutpaintService
from outpaint_mcp.sources import fetch
from outpaint_mcp.storage.failures import storage_errors
from outpaint_mcp.storage.store import Store
from outpaint_mcp.workers.pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from outpaint_mcp.config import Settings
    from outpaint_mcp.providers.base import Provider
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.service.file_links import FileLinks

CANCEL_SECONDS = 3.5
"""Whoever works on a job sees a wish to cancel within a second, and then asks the service that has it."""

# Agents' frameworks give up on a call after five seconds at the earliest; coding four minutes as MP3 takes ten.
_DELIVERY_SECONDS = 3.5
_TIDY_SECONDS = 6 * 3600.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the service takes from the world around it; tests bring their own.

    Attributes:
        now: Unix seconds.
        sleep: pauses, in seconds.
        fetch: fetches a link into a file, as `sources.fetch` does.
        open_pool: opens the pool of workers, given the folders that it may read.
        timing: of calls to remote services.
        accept_seconds: how long a submission waits for a provider's answer; None for what the provider says.
        cancel_seconds: how long a cancellation waits for whoever carries the request out.
        delivery_seconds: how long a call waits for a file to be written, at least.
        tidy_seconds: how often what is not needed any more is deleted.
        links: by which remote callers reach files; None where there are none.
    """

    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    fetch: Callable[..., Coroutine[object, object, str | None]] = fetch
    open_pool: Callable[..., WorkerPool] = WorkerPool
    timing: RemoteTiming = field(default_factory=RemoteTiming)
    accept_seconds: float | None = None
    cancel_seconds: float = CANCEL_SECONDS
    delivery_seconds: float = _DELIVERY_SECONDS
    tidy_seconds: float = _TIDY_SECONDS
    links: FileLinks | None = None


@asynccontextmanager
async def open_service(
    settings: Settings,
    *,
    vocabulary: Vocabulary,
    runs: bool = True,
    surroundings: Surroundings | None = None,
    links: FileLinks | None = None,
) -> AsyncIterator[OutpaintService]:
    """Open the service for as long as the block lasts.

    Every provider is open whichever takes new requests: what the others have begun goes on.

    Args:
        settings: where things are.
        vocabulary: the words of the surface that opens it.
        runs: whether to carry requests out meanwhile, or only to look.
        surroundings: clocks, the network and workers; None for the real ones.
        links: by which remote callers reach files; None where there are none.

    Raises:
        StorageFailed: the data folder cannot be used.
    """
    surroundings = dataclasses.replace(surroundings or Surroundings(), links=links)
    async with AsyncExitStack() as stack:
        store = await asyncio.to_thread(Store, settings.data_dir, now=surroundings.now)
        stack.push_async_callback(asyncio.to_thread, store.close)
        folders = (settings.data_dir, settings.output_dir, *settings.export_dirs, *settings.input_dirs)
        await asyncio.to_thread(
            existing_folders, folders
        )  # where they are is found out now, once and for all
        pool, signal = surroundings.open_pool(folders=folders), UpdateSignal()
        providers = _open_providers(settings, store, pool, surroundings)
        for provider in providers.values():
            stack.push_async_callback(provider.close)
        presence = await asyncio.to_thread(Presence, settings.data_dir / "servers")
        stack.callback(presence.close)
        scratch = await asyncio.to_thread(scratch_of, presence, settings.data_dir / "scratch")
        stack.push_async_callback(asyncio.to_thread, remove, scratch)
        dispatcher = None
        if runs:
            dispatcher = await _start_dispatcher(
                stack, settings, store, presence, providers, signal, surroundings
            )
        service = OutpaintService(
            settings, store, providers, pool, scratch, signal, dispatcher, vocabulary, surroundings
        )
        stack.push_async_callback(service.close)
        if runs:
            tidying = service.housekeeper.keep_tidy(surroundings.sleep, surroundings.tidy_seconds)
            stack.push_async_callback(_end, asyncio.create_task(tidying))
        yield service


def _open_providers(
    settings: Settings, store: Store, pool: WorkerPool, surroundings: Surroundings
) -> dict[str, Provider]:
    context = ProviderContext(
        settings=settings,
        store=store,
        pool=pool,
        fetch=surroundings.fetch,
        now=surroundings.now,
        sleep=surroundings.sleep,
        timing=surroundings.timing,
    )
    return {name: registered.open(context) for name, registered in PROVIDERS.items()}


async def _start_dispatcher(  # noqa: PLR0913 - what it works with
    stack: AsyncExitStack,
    settings: Settings,
    store: Store,
    presence: Presence,
    providers: dict[str, Provider],
    signal: UpdateSignal,
    surroundings: Surroundings,
) -> Dispatcher:
    folder = settings.data_dir / "jobs"
    with storage_errors(settings.data_dir):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    dispatcher = Dispatcher(store, presence, signal, providers, folder, sleep=surroundings.sleep)
    running = asyncio.create_task(dispatcher.run())
    running.add_done_callback(_log_death)
    stack.push_async_callback(_end, running)
    return dispatcher


def _log_death(running: asyncio.Task[None]) -> None:
    """Log it when the dispatcher ends by itself: nothing is carried out here any more."""
    if not running.cancelled() and running.exception() is not None:
        _log.error("The dispatcher has died; restart the server.", exc_info=running.exception())


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})

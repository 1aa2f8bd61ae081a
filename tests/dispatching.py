"""What tests of those who carry jobs out share: a dispatcher at work, and what has become of its jobs."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import asynccontextmanager, closing, contextmanager
from typing import TYPE_CHECKING

from outpaint_mcp.jobs.dispatcher import Dispatcher
from outpaint_mcp.jobs.liveness import Presence
from outpaint_mcp.jobs.signal import UpdateSignal
from outpaint_mcp.providers.base import ProviderContext, RemoteTiming
from outpaint_mcp.sources import fetch
from outpaint_mcp.storage.store import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.jobs.dispatcher import Executor
    from outpaint_mcp.models import Status
    from outpaint_mcp.storage.store import Store
    from outpaint_mcp.workers.pool import WorkerPool


async def moment(_seconds: float) -> None:
    """Pause for a moment, however long it ought to be."""
    await asyncio.sleep(0.01)


def provider_context(  # noqa: PLR0913 - what a provider works with
    store: Store,
    settings: Settings,
    pool: WorkerPool,
    *,
    fetch: Callable[..., Coroutine[object, object, str | None]] = fetch,
    sleep: Callable[[float], Coroutine[object, object, None]] = asyncio.sleep,
    timing: RemoteTiming | None = None,
) -> ProviderContext:
    """Return what a provider works with."""
    return ProviderContext(
        settings=settings,
        store=store,
        pool=pool,
        fetch=fetch,
        now=time.time,
        sleep=sleep,
        timing=timing or RemoteTiming(),
    )


@asynccontextmanager
async def dispatching(
    store: Store,
    data_dir: Path,
    executor: Executor,
    *,
    signal: UpdateSignal | None = None,
    presence: Presence | None = None,
) -> AsyncIterator[Dispatcher]:
    """Have the jobs of the local provider carried out; those that go on are handed back at the end."""
    presence = presence or Presence(data_dir / "servers")
    executors = {"local": executor}
    dispatcher = Dispatcher(
        store, presence, signal or UpdateSignal(), executors, data_dir / "jobs", sleep=moment
    )
    running = asyncio.create_task(dispatcher.run())
    try:
        yield dispatcher
    finally:
        running.cancel()
        await asyncio.wait({running})
        presence.close()
    assert running.cancelled()


def has(store: Store, request_id: str, status: Status) -> Callable[[], bool]:
    """Whether a request has a status."""
    return lambda: store.journal.get(request_id).status is status


def has_ended(store: Store, request_id: str) -> Callable[[], bool]:
    """Whether a request has ended."""
    return lambda: store.journal.get(request_id).status.is_final


def is_free(store: Store) -> Callable[[], bool]:
    """Whether no server has a job."""
    return lambda: not store.queue.servers_at_work()


@contextmanager
def refusing(settings: Settings, change: str, condition: str) -> Iterator[None]:
    """Have the database refuse a change of a job, as a broken disk would."""
    with closing(sqlite3.connect(settings.data_dir / FILE_NAME, isolation_level=None)) as connection:
        connection.execute(
            f"CREATE TRIGGER broken BEFORE UPDATE OF {change} ON jobs WHEN {condition}"
            " BEGIN SELECT RAISE(ABORT, 'the disk is broken'); END"
        )
        yield
        connection.execute("DROP TRIGGER broken")

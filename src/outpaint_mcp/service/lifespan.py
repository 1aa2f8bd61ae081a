"""Putting the house together: journal, providers and desk, for as long as somebody works with them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

from outpaint_mcp.errors import StorageFailed
from outpaint_mcp.providers.local.provider import open_local_provider
from outpaint_mcp.providers.runcomfy.provider import open_runcomfy_provider
from outpaint_mcp.service.service import OutpaintService
from outpaint_mcp.storage.costs import Ledger
from outpaint_mcp.storage.database import Database
from outpaint_mcp.storage.journal import Journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from outpaint_mcp.config import Settings

_TIDY_SECONDS = 6 * 3600.0


@asynccontextmanager
async def open_service(settings: Settings, *, runs: bool = True) -> AsyncIterator[OutpaintService]:
    """Open the journal and the providers for as long as the block lasts.

    Both providers are open whichever takes new requests: what the other one has begun goes on.

    Args:
        settings: where things are.
        runs: whether to carry requests out meanwhile, or only to look.

    Raises:
        StorageFailed: the data folder cannot be used.
    """
    async with AsyncExitStack() as stack:
        database = await asyncio.to_thread(Database, settings.data_dir / "outpaint.sqlite3")
        stack.push_async_callback(asyncio.to_thread, database.close)
        journal, ledger = Journal(database), Ledger(database)
        local = await stack.enter_async_context(open_local_provider(database, settings.data_dir, runs=runs))
        hosted = await stack.enter_async_context(
            open_runcomfy_provider(database, settings, ledger, runs=runs)
        )
        service = OutpaintService(settings, journal, ledger, {each.name: each for each in (local, hosted)})
        if runs:
            await service.tidy()
            stack.push_async_callback(_end, asyncio.create_task(_keep_tidy(service)))
        yield service


async def _keep_tidy(service: OutpaintService) -> None:
    """Throw away what is not needed any more, in a server that runs for weeks."""
    while True:
        await asyncio.sleep(_TIDY_SECONDS)
        with suppress(StorageFailed):  # another time
            await service.tidy()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


class ServiceOnDemand:
    """A desk that is opened when it is first asked for, and tried again where that failed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._desk: OutpaintService | None = None

    async def __call__(self) -> OutpaintService:
        """Return the desk.

        Raises:
            StorageFailed: the data folder cannot be used now.
        """
        async with self._opening:
            if self._desk is None:
                self._desk = await self._stack.enter_async_context(open_service(self._settings))
            return self._desk

    async def close(self) -> None:
        """Close the desk if it was opened."""
        await self._stack.aclose()

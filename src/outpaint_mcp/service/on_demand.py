"""The service, loaded and opened when it is first asked for: a host that only lists the tools need not wait for it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from outpaint_mcp.errors import ServerStopping

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from outpaint_mcp.config import Settings
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.service.file_links import FileLinks
    from outpaint_mcp.service.lifespan import Surroundings
    from outpaint_mcp.service.service import OutpaintService


class ServiceOnDemand:
    """A service that is opened when it is first asked for, and tried again where that failed."""

    def __init__(
        self,
        settings: Settings,
        vocabulary: Vocabulary,
        surroundings: Surroundings | None = None,
        links: FileLinks | None = None,
    ) -> None:
        self._settings = settings
        self._vocabulary = vocabulary
        self._surroundings = surroundings
        self._links = links
        self._stack = AsyncExitStack()
        self._opening: asyncio.Task[OutpaintService] | None = None
        self._service: OutpaintService | None = None
        self._is_closed = False

    async def __call__(self) -> OutpaintService:
        """Return the service.

        Raises:
            StorageFailed: the data folder cannot be used now.
            ServerStopping: it was closed.
        """
        if self._is_closed:
            raise ServerStopping("This server is stopping. Ask again; nothing is lost.")
        if self._service is None:
            # All who ask meanwhile share it, and how it ends: a disk that does not answer is waited for once.
            opening = self._opening = self._opening or asyncio.create_task(self._open())
            await asyncio.wait({opening})
            return opening.result()
        return self._service

    async def _open(self) -> OutpaintService:
        try:
            # In a thread: it loads most of the house, while the host may be asking something.
            open_service = await asyncio.to_thread(_load)
            self._service = await self._stack.enter_async_context(
                open_service(
                    self._settings,
                    vocabulary=self._vocabulary,
                    surroundings=self._surroundings,
                    links=self._links,
                )
            )
            return self._service
        finally:
            self._opening = None

    @property
    def opened(self) -> OutpaintService | None:
        """The service, where it is open by now."""
        return self._service

    @property
    def is_stopping(self) -> bool:
        """Whether nobody gets it any more."""
        return self._is_closed

    def stop_waiting(self) -> None:
        """Give it to nobody any more, and have all who wait answered with where their requests are now."""
        self._is_closed = True
        if self._service is not None:
            self._service.stop_waiting()

    async def close(self, *, outlive: bool = False) -> None:
        """Close the service if it was opened; it is not opened again.

        Args:
            outlive: as `OutpaintService.close` takes it.
        """
        self._is_closed = True
        if self._opening is not None:
            await asyncio.wait({self._opening})
        try:
            if self._service is not None:
                await self._service.close(outlive=outlive)
        finally:
            await self._stack.aclose()


def _load() -> Callable[..., AbstractAsyncContextManager[OutpaintService]]:
    from outpaint_mcp.service import lifespan  # noqa: PLC0415 - loads most of the house

    return lifespan.open_service

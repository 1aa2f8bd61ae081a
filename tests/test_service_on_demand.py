"""A service that is opened when it is first asked for, and closed for good."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from tests.waiting import until

from outpaint_mcp.errors import ServerStopping, StorageFailed
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service import lifespan
from outpaint_mcp.service.on_demand import ServiceOnDemand

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio


async def test_closing_during_an_opening_closes_what_was_opened_and_opens_nothing_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    go_on = asyncio.Event()

    class Service:
        async def close(self, *, outlive: bool = False) -> None:
            seen.append(f"service closed, outlive={outlive}")

    @asynccontextmanager
    async def opened(*_: object, **__: object) -> AsyncIterator[Service]:
        seen.append("opening")
        await go_on.wait()
        yield Service()
        seen.append("closed")

    monkeypatch.setattr(lifespan, "open_service", opened)
    service = ServiceOnDemand(settings, TOOLS)
    opening = asyncio.create_task(service())
    await until(lambda: seen == ["opening"])
    closing = asyncio.create_task(service.close(outlive=True))
    await asyncio.sleep(0)
    late = asyncio.create_task(service())
    await asyncio.sleep(0)
    assert seen == ["opening"]
    go_on.set()
    await asyncio.gather(opening, closing)
    assert seen == ["opening", "service closed, outlive=True", "closed"]
    with pytest.raises(ServerStopping):
        await late
    with pytest.raises(ServerStopping):
        await service()
    assert seen.count("opening") == 1


async def test_all_who_ask_while_it_cannot_be_opened_wait_once_and_later_ones_try_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []
    go_on = asyncio.Event()

    @asynccontextmanager
    async def locked(*_: object, **__: object) -> AsyncIterator[None]:
        tries.append("once")
        await go_on.wait()
        if len(tries) == 1:
            raise StorageFailed("locked")
        yield

    monkeypatch.setattr(lifespan, "open_service", locked)
    service = ServiceOnDemand(settings, TOOLS)
    asking = [asyncio.create_task(service()) for _ in range(30)]
    await until(lambda: bool(tries))
    asking[0].cancel()  # whoever began it and leaves takes nobody else's service away
    go_on.set()
    await asyncio.wait(asking)
    assert tries == ["once"]
    assert all(isinstance(each.exception(), StorageFailed) for each in asking[1:])
    await service()
    assert len(tries) == 2
    await service.close()

"""What tests of the hosted provider share: the real provider on the contract fake, at a quick pace."""

from __future__ import annotations

import dataclasses
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.fakes.runcomfy import TOKEN

from outpaint_mcp.hosted.pace import Pace
from outpaint_mcp.hosted.provider import HostedProvider, open_hosted_provider
from outpaint_mcp.journal import Journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.runcomfy import FakeRunComfy

    from outpaint_mcp.config import Settings
    from outpaint_mcp.database import Database


def quick_pace() -> Pace:
    """Ask far more often than is polite: nobody is bothered here."""
    return Pace(first_seconds=0.05, last_seconds=0.2, calls_per_second=500)


def settings_on(fake: FakeRunComfy, settings: Settings, **changes: Any) -> Settings:  # noqa: ANN401 - passed on
    """Return settings under which new requests go to the fake."""
    return dataclasses.replace(settings, provider="runcomfy", token=TOKEN, runcomfy_base=fake.base, **changes)


@asynccontextmanager
async def open_hosted_on(
    fake: FakeRunComfy,
    database: Database,
    settings: Settings,
    **options: Any,  # noqa: ANN401 - passed on
) -> AsyncIterator[HostedProvider]:
    """Open the hosted provider on the fake."""
    options = {"pace": quick_pace()} | options
    async with open_hosted_provider(
        database, settings_on(fake, settings), Journal(database), **options
    ) as provider:
        yield provider

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.fakes.runcomfy import FakeRunComfy
from tests.hosting import House, open_house
from tests.waiting import Clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from outpaint_mcp.config import Settings


@pytest.fixture
def fake() -> Iterator[FakeRunComfy]:
    """The service; whoever breaks its contract fails."""
    with FakeRunComfy() as running:
        yield running
        running.check()


@pytest.fixture
async def house(fake: FakeRunComfy, settings: Settings) -> AsyncIterator[House]:
    """An open service."""
    async with open_house(fake, settings) as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()

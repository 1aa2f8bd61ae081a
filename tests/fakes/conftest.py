from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from tests.fakes.asking import BEARER, SONG, SONG_URL
from tests.fakes.runcomfy import FakeRunComfy

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def fake() -> Iterator[FakeRunComfy]:
    with FakeRunComfy() as running:
        running.web[SONG_URL] = SONG
        yield running


@pytest.fixture
def bare() -> Iterator[httpx.Client]:
    """Sends nothing that it was not told to send."""
    with httpx.Client(timeout=10, trust_env=False, verify=False) as opened:
        yield opened


@pytest.fixture
def client(fake: FakeRunComfy) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=fake.base, headers=BEARER, timeout=10, trust_env=False, verify=False
    ) as opened:
        yield opened

"""How often who may ask: each caller from a bucket of their own, strangers from one for each address."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.e2e.over_http import INITIALIZE, key_entries
from tests.waiting import Clock

from outpaint_mcp.server.http.api_keys import ApiKeys
from outpaint_mcp.server.http.rates import Rates, address_of
from outpaint_mcp.server.http.settings import HttpSettings

if TYPE_CHECKING:
    import httpx
    from tests.over_http.conftest import Door, Serve

pytestmark = pytest.mark.anyio

SECRETS = {name: name * 20 for name in ("ann", "ben")}
FEW = HttpSettings(keys=ApiKeys(key_entries(**SECRETS)), requests_per_minute=3)


def test_a_minutes_requests_may_come_at_once_and_then_one_after_the_other() -> None:
    clock = Clock()
    rates = Rates(60, clock=clock)
    assert not any(rates.take("ann") for _ in range(60))
    refusal = rates.take("ann")
    assert refusal is not None
    assert refusal.status == 429
    assert "60 requests in a minute" in refusal.message
    assert refusal.headers == ((b"retry-after", b"1"),)
    clock.now += 1
    assert rates.take("ann") is None
    assert rates.take("ann") is not None
    clock.now += 3600
    assert not any(rates.take("ann") for _ in range(60))
    assert rates.take("ann") is not None


def test_one_that_is_refused_counts_for_nothing_and_its_pause_is_long_enough() -> None:
    clock = Clock()
    rates = Rates(6, clock=clock)
    for _ in range(6):
        assert rates.take("ann") is None
    for _ in range(100):
        refusal = rates.take("ann")
        assert refusal is not None
        assert refusal.headers == ((b"retry-after", b"10"),)
    clock.now += 10
    assert rates.take("ann") is None


def test_nobody_takes_anothers_and_the_table_stays_small() -> None:
    clock = Clock()
    rates = Rates(2, most_buckets=50, clock=clock)
    assert [rates.take(who) is None for who in ("ann", "ann", "ann", "ben")] == [True, True, False, True]
    for number in range(500):
        rates.take(f"stranger {number}")
    assert len(rates._full_at) == 50
    clock.now += 120
    rates.take("ann")
    assert [*rates._full_at] == ["ann"]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_an_address_stands_for_all_that_one_customer_has(host: str, address: str) -> None:
    assert address_of({"client": (host, 1234)}) == address
    assert address_of({"client": None}) == ""


async def ask(door: Door, name: str = "", key: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {key or SECRETS[name]}"}
    return await door.http.post("/mcp", json=INITIALIZE, headers=headers)


async def test_one_too_many_is_refused_before_anything_of_it_is_read_and_others_are_served(
    serve: Serve,
) -> None:
    async with serve(http=FEW) as door:
        assert [(await ask(door, "ann")).status_code for _ in range(3)] == [200] * 3
        wire = await door.connect()
        await wire.post(b"", size=1_000_000, key=SECRETS["ann"])
        assert await wire.status() == 429
        refused = await ask(door, "ann")
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 20
        assert refused.json()["jsonrpc"] == "2.0"
        assert "Try again in" in refused.json()["error"]["message"]
        assert (await ask(door, "ben")).status_code == 200


async def test_strangers_are_refused_by_their_address_and_callers_from_there_are_not(serve: Serve) -> None:
    async with serve(http=FEW) as door:
        statuses = [(await ask(door, key=f"wrong {number}")).status_code for number in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        assert (await ask(door, "ann")).status_code == 200


async def test_the_person_at_this_machine_has_no_limit(serve: Serve) -> None:
    async with serve(http=HttpSettings(secret="k" * 43, requests_per_minute=1)) as door:
        assert [(await door.initialize()).status_code for _ in range(5)] == [200] * 5


def test_the_rate_is_that_of_the_environment() -> None:
    assert HttpSettings.from_env({}).requests_per_minute == 120
    assert HttpSettings.from_env({"OUTPAINT_MAX_REQUESTS_PER_MINUTE": "7"}).requests_per_minute == 7

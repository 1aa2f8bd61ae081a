"""Figures for Prometheus: what they are called, what they count, and that no caller has a say in their labels."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from mcp.client import Client
from prometheus_client.parser import text_string_to_metric_families
from tests.over_http.conftest import KEY
from tests.stores import add, claim, end
from tests.waiting import until

from outpaint_mcp.errors import InsufficientBalance, InvalidRequest
from outpaint_mcp.models import Status
from outpaint_mcp.server.calls import Names
from outpaint_mcp.server.http.metrics import Metrics
from outpaint_mcp.server.tools import all_tools
from outpaint_mcp.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from prometheus_client import Metric
    from tests.over_http.conftest import Door, Serve
    from tests.waiting import Clock

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio


class Scrape:
    """What Prometheus reads."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families: dict[str, Metric] = {each.name: each for each in text_string_to_metric_families(text)}

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        """Return the values of a name by those of the labels, in the reverse order of the labels' names."""
        return {
            tuple(value for _, value in sorted(each.labels.items(), reverse=True)): each.value
            for family in self.families.values()
            for each in family.samples
            if each.name == name
        }


@asynccontextmanager
async def measured(serve: Serve) -> AsyncIterator[tuple[Door, httpx.AsyncClient]]:
    async with serve() as door:
        names = Names(each.name for each in all_tools("local"))
        metrics = Metrics(door.service, names)
        door.mcp.middleware.append(metrics.measure)
        transport = httpx.ASGITransport(metrics)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as prometheus:
            yield door, prometheus


async def scrape(prometheus: httpx.AsyncClient) -> Scrape:
    answer = await prometheus.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Scrape(answer.text)


async def test_calls_are_counted_by_method_tool_and_error(serve: Serve, era: str) -> None:
    async with measured(serve) as (door, prometheus):
        async with Client(f"{door.origin}/mcp/{KEY}", mode=era) as client:
            assert not (await client.call_tool("list_outpaints", {})).is_error
            assert (await client.call_tool("get_outpaint_status", {"request_id": "op_none"})).is_error
        counted = (await scrape(prometheus)).samples("mcp_server_operation_duration_seconds_count")
    assert counted["tools/call", "list_outpaints", ""] == 1
    assert counted["tools/call", "get_outpaint_status", "tool_error"] == 1
    assert {method for method, *_ in counted} <= {"initialize", "server/discover", "tools/call", "tools/list"}


async def test_what_callers_make_up_is_in_no_label(serve: Serve) -> None:
    async with measured(serve) as (door, prometheus):
        session = (await door.initialize()).headers["mcp-session-id"]
        for number in range(3):
            tool = {"method": "tools/call", "params": {"name": f"made-up-{number}", "arguments": {}}}
            for asked in (tool, {"method": f"made-up/{number}"}):
                message = {"jsonrpc": "2.0", "id": number, **asked}
                await door.http.post("/mcp", json=message, headers={"Mcp-Session-Id": session})
        scraped = await scrape(prometheus)
    counted = scraped.samples("mcp_server_operation_duration_seconds_count")
    assert sum(value for names, value in counted.items() if names[1] == "_OTHER") == 3
    assert sum(value for names, value in counted.items() if names[0] == "_OTHER") == 3
    assert "made-up" not in scraped.text


async def test_a_session_is_measured_when_it_ends(serve: Serve) -> None:
    async with measured(serve) as (door, prometheus):
        session = (await door.initialize()).headers["mcp-session-id"]
        name = "mcp_server_session_duration_seconds_count"
        assert (await scrape(prometheus)).samples(name) == {(): 0}
        await door.http.delete("/mcp", headers={"Mcp-Session-Id": session})
        await until(lambda: session not in door.manager._server_instances)
        for _ in range(100):
            if (found := (await scrape(prometheus)).samples(name)) == {(): 1}:
                break
            await asyncio.sleep(0.05)
        assert found == {(): 1}


async def test_jobs_spend_and_errors_of_providers_are_those_of_all_servers(
    serve: Serve, settings: Settings
) -> None:
    store = Store(settings.data_dir)
    for status, error in (
        (Status.COMPLETED, None),
        (Status.FAILED, InsufficientBalance("The account is empty.")),
        (Status.FAILED, InsufficientBalance("The account is empty.")),
        (Status.FAILED, InvalidRequest("It is too short.")),
    ):
        add(store, title="secret title", caller="secret-caller")
        job = claim(store, server_id="elsewhere")
        store.queue.end(job.lease, status, error=error)
    store.close()
    async with measured(serve) as (door, prometheus):
        await door.service()
        scraped = await scrape(prometheus)
    jobs = scraped.samples("outpaint_jobs")
    assert jobs["completed",] == 1
    assert jobs["failed",] == 3
    assert {state for (state,) in jobs} == set(Status)
    assert scraped.samples("outpaint_spend_usd_total") == {(): 0}
    assert scraped.samples("outpaint_queue_seconds") == {(): 0}
    assert scraped.samples("outpaint_provider_errors_total") == {("local", "InsufficientBalance"): 2}
    assert "secret" not in scraped.text


def test_the_queue_is_as_old_as_its_first_job(store: Store, clock: Clock) -> None:
    first = add(store)
    clock.now += 30
    add(store)
    assert store.vitals.figures().queue_seconds == 30
    end(store, first)
    assert store.vitals.figures().queue_seconds == 0
    clock.now += 5
    assert store.vitals.figures().queue_seconds == 5


async def test_there_is_one_address_and_one_way_to_ask(serve: Serve) -> None:
    async with measured(serve) as (_door, prometheus):
        assert (await prometheus.get("/")).status_code == 404
        assert (await prometheus.post("/metrics")).status_code == 405
        head = await prometheus.head("/metrics")
        assert (head.status_code, head.content) == (200, b"")


async def test_figures_of_calls_are_shown_though_the_database_cannot_be_read(
    serve: Serve, settings: Settings
) -> None:
    settings.data_dir.parent.mkdir(parents=True, exist_ok=True)
    settings.data_dir.write_text("in the way")
    async with measured(serve) as (_door, prometheus):
        scraped = await scrape(prometheus)
    assert "outpaint_jobs" not in scraped.families
    assert "mcp_server_operation_duration_seconds" in scraped.families

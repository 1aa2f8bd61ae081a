"""What was paid for is waited for: no fault here, no outage, and no surprise ends it, loses it, or pays twice."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import shutil
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from tests.fakes.runcomfy import TOKEN, Flaky
from tests.hosting import PATIENCE_SECONDS, House, open_house

from outpaint_mcp.errors import GenerationFailed, StorageFailed
from outpaint_mcp.jobs.liveness import Presence
from outpaint_mcp.models import CancelOutcome, Status
from outpaint_mcp.providers.runcomfy.api.client import RunComfyClient
from outpaint_mcp.providers.runcomfy.courier import Courier
from outpaint_mcp.providers.runcomfy.orders import Orders
from outpaint_mcp.providers.runcomfy.prices import PriceCache
from outpaint_mcp.providers.runcomfy.provider import RunComfyProvider
from outpaint_mcp.service.service import OutpaintService
from outpaint_mcp.storage.journal import Journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.fakes.runcomfy import FakeRunComfy

    from outpaint_mcp.config import Settings
    from outpaint_mcp.reports.models import StatusReport
    from outpaint_mcp.storage.database import Database

pytestmark = pytest.mark.anyio

LINK = "https://x/?X-Amz-Signature=abc"
HELD_UP = "Held up, and tried again: "


class Faltering(Orders):
    """Some of its methods fail when they are first called."""

    def __init__(self, database: Database, faults: dict[str, Exception]) -> None:
        self.faults = faults
        super().__init__(database)

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401 - whatever it is
        faults: dict[str, Exception] = super().__getattribute__("__dict__")["faults"]
        return partial(fail, faults.pop(name)) if name in faults else super().__getattribute__(name)


def fail(exc: Exception, *_: object, **__: object) -> None:
    raise exc


class LosesAnswers(RunComfyClient):
    """Runs out of memory once the service has answered a submission."""

    async def submit(self, *inputs: Any, **options: Any) -> str:  # noqa: ANN401 - passed on
        await super().submit(*inputs, **options)
        raise MemoryError(LINK)


class DeliveredElsewhere(Orders):
    """Whatever ends is delivered by another server in that very moment."""

    def end(self, request_id: str, *ended: Any, **options: Any) -> None:  # noqa: ANN401 - passed on
        super().end(request_id, *ended, **options)
        shutil.rmtree(self._database._path.parent / "hosted" / request_id)


@asynccontextmanager
async def open_with(
    fake: FakeRunComfy,
    settings: Settings,
    *,
    orders: Callable[[Database], Orders] = Orders,
    client: type[RunComfyClient] = RunComfyClient,
) -> AsyncIterator[House]:
    """Open a house around orders or a client of the test's own."""
    async with open_house(fake, settings, runs=False) as idle, client(TOKEN, base_url=fake.base) as runcomfy:
        prices = PriceCache(lambda: runcomfy, idle.hosted._means.schedule.clock)
        changes: dict[str, Any] = {
            "orders": orders(idle.database),
            "client": lambda: runcomfy,
            "prices": prices,
        }
        context = dataclasses.replace(idle.hosted._means, **changes)
        presence = Presence(settings.data_dir / "servers")
        courier = Courier(context, presence)
        hosted = RunComfyProvider(context, ring=courier.ring, submit_seconds=PATIENCE_SECONDS)
        service = OutpaintService(idle.settings, Journal(idle.database), idle.ledger, {hosted.name: hosted})
        running = asyncio.create_task(courier.run())
        try:
            yield dataclasses.replace(idle, hosted=hosted, service=service)
        finally:
            running.cancel()
            await asyncio.wait({running})
            presence.close()


async def held_up(house: House, request_id: str) -> StatusReport:
    return await house.status_once(request_id, lambda seen: HELD_UP in seen.message)


@pytest.mark.parametrize("before_seconds", [0, 1], ids=["one_step", "two_steps"])
async def test_a_file_that_cannot_be_written_here_is_made_once_it_can_be(
    house: House, song: Path, before_seconds: float
) -> None:
    steps = 2 if before_seconds else 1

    def be_in_the_way(_: str) -> None:
        if house.fake.count("download") == steps:
            [folder] = (house.settings.data_dir / "hosted").iterdir()
            (folder / "output.wav").mkdir()

    house.fake.on("download", be_in_the_way)
    request_id = (await house.submit(song, extend_before_duration=before_seconds)).request_id
    seen = await held_up(house, request_id)
    assert seen.status is Status.IN_PROGRESS
    assert f"RunComfy has carried out {steps} of {steps} steps" in seen.message
    (house.settings.data_dir / "hosted" / request_id / "output.wav").rmdir()
    assert (await house.result(request_id)).status is Status.COMPLETED
    assert (house.fake.count("submit"), house.fake.count("download")) == (steps, steps)


async def test_where_no_process_can_be_started_what_was_paid_waits_until_one_can(
    house: House, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as short_of_processes:
        house.fake.on("download", lambda _: short_of_processes.setattr(sys, "executable", "/nowhere"))
        request_id = (await house.submit(song)).request_id
        seen = await held_up(house, request_id)
        assert "No worker process can be started" in seen.message
    assert (await house.result(request_id)).status is Status.COMPLETED
    assert (house.fake.count("submit"), house.fake.count("download")) == (1, 1)


def switch(house: House, **switches: Any) -> None:  # noqa: ANN401 - any of them
    house.fake.switches = dataclasses.replace(house.fake.switches, **switches)


def connect(house: House, *, base: str = "", token: str = TOKEN) -> None:
    client = house.hosted._means.client()
    client._base, client._token = base or house.fake.base, token


OUTAGES: dict[str, tuple[str, Callable[[House], None], Callable[[House], None]]] = {
    "no_money": ("Top it up", partial(switch, balance_usd=0.0), partial(switch, balance_usd=10.0)),
    "too_often": ("not billed.", partial(switch, flaky=Flaky(too_many=1.0)), partial(switch, flaky=None)),
    "token_expired": ("(HTTP 401", partial(connect, token="expired"), connect),
    "no_network": ("cannot be reached", partial(connect, base="http://127.0.0.1:9/v1"), connect),
}


@pytest.mark.parametrize(
    ("name", "is_cancelled"), [*((name, False) for name in OUTAGES), ("no_money", True), ("no_network", True)]
)
async def test_an_outage_between_two_steps_loses_nothing_that_was_paid(
    house: House, song: Path, name: str, *, is_cancelled: bool
) -> None:
    words, begin, end = OUTAGES[name]
    house.give_up_soon()
    house.fake.on("download", lambda _: begin(house) if len(house.jobs()) == 1 else None)
    request_id = (await house.submit(song, extend_before_duration=1)).request_id
    seen = await held_up(house, request_id)
    [job] = house.jobs()
    paid = f"RunComfy has carried out 1 of 2 steps, which may be billed (its request {job.request_id})."
    assert f"{paid} {HELD_UP}" in seen.message
    assert words in seen.message
    assert (house.settings.data_dir / "hosted" / request_id / "step-1").is_file()
    if is_cancelled:
        cancellation = await house.service.cancel(request_id)
        assert (cancellation.outcome, cancellation.status) == (CancelOutcome.CANCELLED, Status.CANCELLED)
        assert cancellation.message == f"Cancelled. {paid}"
    end(house)
    result = await house.result(request_id)
    made, status = (1, Status.CANCELLED) if is_cancelled else (2, Status.COMPLETED)
    assert result.cost_usd == pytest.approx(sum(job.cost_usd for job in house.jobs()))
    assert (result.status, len(house.jobs()), house.fake.count("download")) == (status, made, made)


async def test_a_disk_that_fails_right_after_the_order_is_on_it_fails_no_submission(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.hold()
    async with open_with(
        fake, settings, orders=partial(Faltering, faults={"get": StorageFailed("full")})
    ) as house:
        submission = await house.submit(song)
        assert "the data folder cannot be read just now" in submission.message
        again = await house.submit(song)
        assert (again.request_id, again.is_repeat) == (submission.request_id, True)
        fake.release()
        assert (await house.result(submission.request_id)).status is Status.COMPLETED
    assert fake.count("submit") == 1


async def test_whatever_breaks_while_it_is_sent_makes_it_unknown_and_it_is_not_sent_again(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_with(fake, settings, client=LosesAnswers) as house:
        submission = await house.submit(song)
        assert submission.status is Status.UNKNOWN
        assert "this server broke meanwhile (MemoryError)" in submission.message
    async with open_house(fake, settings) as house:
        again = await house.submit(song)
        assert (again.request_id, again.status) == (submission.request_id, Status.UNKNOWN)
    assert fake.count("submit") == 1


@pytest.mark.parametrize("method", ["claim", "update_step", "end"])
async def test_a_surprise_stops_neither_the_request_nor_those_that_come_later(
    fake: FakeRunComfy, settings: Settings, song: Path, method: str
) -> None:
    faults: dict[str, Exception] = {method: RuntimeError(LINK)}
    async with open_with(fake, settings, orders=partial(Faltering, faults=faults)) as house:
        for seed in (1, 2):
            await house.extend(song, seed=seed)
    assert not faults
    assert fake.count("submit") == 2


async def test_a_crash_is_logged_without_what_it_quotes(
    fake: FakeRunComfy, settings: Settings, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faults: dict[str, Exception] = dict.fromkeys(("claim", "settle_plan", "end"), RuntimeError(LINK))
    async with open_with(fake, settings, orders=partial(Faltering, faults=faults)) as house:
        with pytest.raises(GenerationFailed, match=r"The hosted provider broke \(RuntimeError\)\.$"):
            await house.submit(song)
    logged = "\n".join(logging.Formatter().format(record) for record in caplog.records)
    assert "in fail\n" in logged  # where it broke
    assert "X-Amz-Signature" not in logged


async def test_what_another_server_delivers_at_once_is_no_crash(
    fake: FakeRunComfy, settings: Settings, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_with(fake, settings, orders=DeliveredElsewhere) as house:
        for seed in (1, 2):
            request_id = (await house.submit(song, seed=seed)).request_id
            await house.status_once(request_id, lambda seen: seen.status is Status.COMPLETED)
    assert "broke" not in caplog.text

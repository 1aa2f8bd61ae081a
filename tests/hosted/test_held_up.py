"""What was paid for is waited for: no fault here, no outage, and no surprise ends it, loses it, or pays twice."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from tests.fakes.runcomfy import TOKEN, Flaky
from tests.hosting import House, Parts, open_house, open_house_around
from tests.waiting import Clock

from outpaint_mcp.errors import InternalError, StorageFailed
from outpaint_mcp.models import CancelOutcome, Status
from outpaint_mcp.principals import PERSON
from outpaint_mcp.providers.runcomfy.api.client import RunComfyClient
from outpaint_mcp.storage.job_queue import JobQueue
from outpaint_mcp.storage.journal import Journal
from outpaint_mcp.storage.ledger import Ledger
from outpaint_mcp.workers.pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.fakes.runcomfy import FakeRunComfy

    from outpaint_mcp.config import Settings
    from outpaint_mcp.models import OutpaintRequest
    from outpaint_mcp.providers.remote.model import InlineFile, Price, RemoteResult, RemoteStatus
    from outpaint_mcp.reports.models import StatusReport
    from outpaint_mcp.storage.database import Database
    from outpaint_mcp.storage.records import RequestRecord

pytestmark = pytest.mark.anyio

LINK = "https://x/?X-Amz-Signature=abc"
HELD_UP = "Held up, and tried again: "


def faltering(kind: type, faults: dict[str, Exception], names: tuple[str, ...]) -> Any:  # noqa: ANN401 - a class
    """Return a class of which some methods fail when they are first called."""

    def method(name: str) -> Callable[..., Any]:
        def fail(self: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - passed on
            if name in faults:
                raise faults.pop(name)
            return getattr(super(made, self), name)(*args, **options)

        return fail

    made = type(f"Faltering{kind.__name__}", (kind,), {name: method(name) for name in names})
    return made


def parts_with(faults: dict[str, Exception]) -> Parts:
    return Parts(
        queue=faltering(JobQueue, faults, ("claim", "update_step", "end")),
        ledger=faltering(Ledger, faults, ("settle_plan",)),
    )


class LosesAnswers(RunComfyClient):
    """Runs out of memory once the service has answered a submission."""

    async def submit(self, *inputs: Any, **options: Any) -> str:  # noqa: ANN401 - passed on
        await super().submit(*inputs, **options)
        raise MemoryError(LINK)


class Line:
    """The one client of a server, whose place and token can change under it; its pauses take no time."""

    def __init__(self, fake: FakeRunComfy) -> None:
        self.fake = fake
        self._clock = Clock()
        self._clients: list[RunComfyClient] = []
        self.connect()

    def connect(self, *, base: str = "", token: str = TOKEN) -> None:
        self._clients.append(
            RunComfyClient(token, base_url=base or self.fake.base, sleep=self._clock.sleep, clock=self._clock)
        )

    async def submit(self, request: OutpaintRequest, *, inline: InlineFile | None = None) -> str:
        return await self._clients[-1].submit(request, inline=inline)

    async def status(self, remote_id: str) -> RemoteStatus:
        return await self._clients[-1].status(remote_id)

    async def result(self, remote_id: str, *, submitted_audio: str = "") -> RemoteResult:
        return await self._clients[-1].result(remote_id, submitted_audio=submitted_audio)

    async def cancel(self, remote_id: str) -> CancelOutcome:
        return await self._clients[-1].cancel(remote_id)

    async def price(self, *, within_seconds: float) -> Price:
        return await self._clients[-1].price(within_seconds=within_seconds)

    async def aclose(self) -> None:
        for client in self._clients:
            await client.aclose()


@asynccontextmanager
async def open_on_a_line(fake: FakeRunComfy, settings: Settings) -> AsyncIterator[tuple[House, Line]]:
    line = Line(fake)
    async with open_house_around(Parts(client=line), fake, settings) as house:
        yield house, line


def delivered_elsewhere(folder: Path) -> Callable[[Database], JobQueue]:
    """Return a queue of which whatever ends is delivered by another server in that very moment."""

    class DeliveredElsewhere(JobQueue):
        def end(self, lease: Any, *ended: Any, **options: Any) -> None:  # noqa: ANN401 - passed on
            super().end(lease, *ended, **options)
            shutil.rmtree(folder / lease.request_id)

    return DeliveredElsewhere


async def held_up(house: House, request_id: str) -> StatusReport:
    return await house.status_once(request_id, lambda seen: HELD_UP in seen.message)


@pytest.mark.parametrize("before_seconds", [0, 1], ids=["one_step", "two_steps"])
async def test_a_file_that_cannot_be_written_here_is_made_once_it_can_be(
    house: House, song: Path, before_seconds: float
) -> None:
    steps = 2 if before_seconds else 1

    def be_in_the_way(_: str) -> None:
        if house.fake.count("download") == steps:
            [folder] = (house.settings.data_dir / "jobs").iterdir()
            (folder / "output.wav").mkdir()

    house.fake.on("download", be_in_the_way)
    request_id = (await house.submit(song, extend_before_duration=before_seconds)).request_id
    seen = await held_up(house, request_id)
    assert seen.status is Status.IN_PROGRESS
    assert f"RunComfy has carried out {steps} of {steps} steps" in seen.message
    (house.settings.data_dir / "jobs" / request_id / "output.wav").rmdir()
    assert (await house.result(request_id)).status is Status.COMPLETED
    assert (house.fake.count("submit"), house.fake.count("download")) == (steps, steps)


async def test_where_no_process_can_be_started_what_was_paid_waits_until_one_can(
    fake: FakeRunComfy, settings: Settings, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house_around(Parts(pool=WorkerPool(start_nursery=None)), fake, settings) as house:
        with monkeypatch.context() as short_of_processes:
            fake.on("download", lambda _: short_of_processes.setattr(sys, "executable", "/nowhere"))
            request_id = (await house.submit(song)).request_id
            seen = await held_up(house, request_id)
            assert "No worker process can be started" in seen.message
        assert (await house.result(request_id)).status is Status.COMPLETED
    assert (fake.count("submit"), fake.count("download")) == (1, 1)


def switch(line: Line, **switches: Any) -> None:  # noqa: ANN401 - any of them
    line.fake.switches = dataclasses.replace(line.fake.switches, **switches)


OUTAGES: dict[str, tuple[str, Callable[[Line], None], Callable[[Line], None]]] = {
    "no_money": ("Top it up", partial(switch, balance_usd=0.0), partial(switch, balance_usd=10.0)),
    "too_often": ("not billed.", partial(switch, flaky=Flaky(too_many=1.0)), partial(switch, flaky=None)),
    "token_expired": ("(HTTP 401", partial(Line.connect, token="expired"), Line.connect),
    "no_network": ("cannot be reached", partial(Line.connect, base="http://127.0.0.1:9/v1"), Line.connect),
}


@pytest.mark.parametrize(
    ("name", "is_cancelled"), [*((name, False) for name in OUTAGES), ("no_money", True), ("no_network", True)]
)
async def test_an_outage_between_two_steps_loses_nothing_that_was_paid(
    fake: FakeRunComfy, settings: Settings, song: Path, name: str, *, is_cancelled: bool
) -> None:
    words, begin, end = OUTAGES[name]
    async with open_on_a_line(fake, settings) as (house, line):
        fake.on("download", lambda _: begin(line) if len(house.jobs()) == 1 else None)
        request_id = (await house.submit(song, extend_before_duration=1)).request_id
        seen = await held_up(house, request_id)
        [job] = house.jobs()
        paid = f"RunComfy has carried out 1 of 2 steps, which may be billed (its request {job.request_id})."
        assert f"{paid} {HELD_UP}" in seen.message
        assert words in seen.message
        assert (settings.data_dir / "jobs" / request_id / "step-1").is_file()
        if is_cancelled:
            cancellation = await house.service.cancel(PERSON, request_id)
            assert (cancellation.outcome, cancellation.status) == (CancelOutcome.CANCELLED, Status.CANCELLED)
            assert cancellation.message == f"Cancelled. {paid}"
        end(line)
        result = await house.result(request_id)
    carried_out, status = (1, Status.CANCELLED) if is_cancelled else (2, Status.COMPLETED)
    assert result.cost_usd == pytest.approx(sum(job.cost_usd for job in house.jobs()))
    assert (result.status, len(house.jobs()), fake.count("download")) == (status, carried_out, carried_out)


async def test_a_disk_that_fails_right_after_the_request_is_on_it_fails_no_submission(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.hold()
    reads: list[str] = []

    class ReadsItOnce(Journal):
        """Reads a request that it has just written, and then not once more."""

        def takes(self, request_id: str) -> list[RequestRecord]:
            reads.append(request_id)
            if len(reads) == 2:
                raise StorageFailed("full")
            return super().takes(request_id)

    parts = Parts(journal=ReadsItOnce)
    async with open_house_around(parts, fake, settings) as house:
        submission = await house.submit(song)
        assert len(reads) > 1
        again = await house.submit(song)
        assert (again.request_id, again.is_repeat) == (submission.request_id, True)
        fake.release()
        assert (await house.result(submission.request_id)).status is Status.COMPLETED
    assert fake.count("submit") == 1


async def test_what_failed_after_it_was_accepted_is_answered_with_its_id_and_not_refused(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    class Glances(Journal):
        """Sees nothing of a request between its beginning and its end."""

        def takes(self, request_id: str) -> list[RequestRecord]:
            return [
                take if take.status.is_final else dataclasses.replace(take, is_accepted=False)
                for take in super().takes(request_id)
            ]

    fake.switches = dataclasses.replace(fake.switches, result_fails="string")
    async with open_house_around(Parts(journal=Glances), fake, settings) as house:
        submission = await house.submit(song)
        assert submission.status is Status.FAILED
        assert submission.request_id == (await house.listed())[0].request_id
        assert "could not carry it out" in submission.message
    assert fake.count("submit") == 1


async def test_whatever_breaks_while_it_is_sent_makes_it_unknown_and_it_is_not_sent_again(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    parts = Parts(client=LosesAnswers(TOKEN, base_url=fake.base))
    async with open_house_around(parts, fake, settings) as house:
        submission = await house.submit(song)
        assert submission.status is Status.UNKNOWN
        assert "this server failed meanwhile (MemoryError)" in submission.message
    async with open_house(fake, settings) as house:
        again = await house.submit(song)
        assert (again.request_id, again.status) == (submission.request_id, Status.UNKNOWN)
    assert fake.count("submit") == 1


@pytest.mark.parametrize("method", ["claim", "update_step", "end"])
async def test_a_surprise_stops_neither_the_request_nor_those_that_come_later(
    fake: FakeRunComfy, settings: Settings, song: Path, method: str
) -> None:
    faults: dict[str, Exception] = {method: RuntimeError(LINK)}
    async with open_house_around(parts_with(faults), fake, settings) as house:
        for seed in (1, 2):
            await house.extend(song, seed=seed)
    assert not faults
    assert fake.count("submit") == 2


async def test_a_crash_is_logged_without_what_it_quotes(
    fake: FakeRunComfy, settings: Settings, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faults: dict[str, Exception] = dict.fromkeys(("claim", "settle_plan", "end"), RuntimeError(LINK))
    async with open_house_around(parts_with(faults), fake, settings) as house:
        with pytest.raises(InternalError, match=r"\(RuntimeError\)") as failure:
            await house.submit(song)
    assert LINK not in str(failure.value)
    logged = "\n".join(logging.Formatter().format(record) for record in caplog.records)
    assert "in fail\n" in logged  # where it broke
    assert "X-Amz-Signature" not in logged


async def test_what_another_server_delivers_at_once_is_no_crash(
    fake: FakeRunComfy, settings: Settings, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = Parts(queue=delivered_elsewhere(settings.data_dir / "jobs"))
    async with open_house_around(parts, fake, settings) as house:
        for seed in (1, 2):
            request_id = (await house.submit(song, seed=seed)).request_id
            await house.status_once(request_id, lambda seen: seen.status is Status.COMPLETED)
    assert "internal error" not in caplog.text

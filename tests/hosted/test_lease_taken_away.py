"""A server that loses a job's lease, at whatever point, stops at once: it writes nothing more and sends nothing."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from tests.fakes.runcomfy import FakeRunComfy, Switches
from tests.hosting import Parts, open_house_around
from tests.waiting import until

from outpaint_mcp.jobs.liveness import Presence
from outpaint_mcp.storage.database import Database
from outpaint_mcp.storage.job_queue import JobQueue
from outpaint_mcp.storage.leased_jobs import LeasedJobs
from outpaint_mcp.storage.ledger import Ledger
from outpaint_mcp.storage.store import FILE_NAME
from outpaint_mcp.workers.pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

_FENCED = tuple(name for name in vars(LeasedJobs) if not name.startswith("_"))
_TABLES = ("requests", "jobs", "steps", "deliveries")

# Whatever a robbed server would still do, it would do within this time: it looks and asks more often.
_WATCH_SECONDS = 0.4


class Thief:
    """Takes the lease away right before a certain write, as a server that believes the owner dead would.

    Attributes:
        writes: the writes so far, by name.
        rows_after: all rows as the thief left them; None while nothing was taken.
        posts_after: how many submissions the service had seen by then.
    """

    def __init__(self, fake: FakeRunComfy, folder: Path, before_write: int) -> None:
        self._fake = fake
        self._presence = Presence(folder / "servers")  # it is alive, so that nobody takes the job back
        self._database = Database(folder / FILE_NAME)
        self._left = before_write
        self.writes: list[str] = []
        self.rows_after: list[Any] | None = None
        self.posts_after = 0

    def comes_before(self, write: str) -> None:
        self.writes.append(write)
        self._left -= 1
        if self._left == 0:
            with self._database.write("queue") as connection:
                connection.execute(
                    "UPDATE jobs SET server_id = ?, attempt = attempt + 1", (self._presence.server_id,)
                )
            self.posts_after = self._fake.count("submit")
            self.rows_after = self.rows()

    def rows(self) -> list[Any]:
        with self._database.read() as connection:
            return [
                [tuple(row) for row in connection.execute(f"SELECT * FROM {table}").fetchall()]
                for table in _TABLES
            ]

    def close(self) -> None:
        self._database.close()
        self._presence.close()


def robbed(kind: type, thief: Thief, names: tuple[str, ...]) -> Any:  # noqa: ANN401 - a class
    """Return a class whose fenced writes the thief gets to see first."""

    def watched(name: str) -> Callable[..., Any]:
        def write(self: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - passed on
            thief.comes_before(name)
            return getattr(super(kind_watched, self), name)(*args, **options)

        return write

    kind_watched = type(f"Robbed{kind.__name__}", (kind,), {name: watched(name) for name in names})
    return kind_watched


class SharedPool(WorkerPool):
    """Outlives the servers that use it: starting one for each is most of what a robbery takes."""

    async def close(self, *, outlive: bool = False) -> None:
        """Leave it to the others."""

    async def end(self) -> None:
        await super().close()


async def carry_out(settings: Settings, song: Path, pool: WorkerPool, *, before_write: int) -> Thief:
    """Have a request of two steps carried out by a server that is robbed before its nth write; 0 for never."""
    folder = settings.data_dir / f"{before_write}"
    settings = dataclasses.replace(settings, data_dir=folder)
    with FakeRunComfy(switches=Switches(queue_polls=1, running_polls=0)) as fake:
        thief = Thief(fake, folder, before_write)
        parts = Parts(
            queue=robbed(JobQueue, thief, _FENCED), ledger=robbed(Ledger, thief, ("settle_plan",)), pool=pool
        )
        async with open_house_around(parts, fake, settings, accept_seconds=0) as house:
            request_id = (await house.submit(song, extend_after_duration=4)).request_id
            await until(lambda: thief.rows_after is not None or house.record(request_id).status.is_final)
            if before_write:
                await asyncio.sleep(_WATCH_SECONDS)
            else:
                assert house.record(request_id).status == "completed"
        if before_write:
            assert thief.rows_after is not None, thief.writes
            assert thief.rows() == thief.rows_after, thief.writes
            assert len(thief.writes) == before_write, thief.writes  # and it does not even try again
            sent = thief.writes[:-1].count("begin_sending")
            assert fake.count("submit") == thief.posts_after == sent, thief.writes
        else:
            assert fake.count("submit") == thief.writes.count("begin_sending") == 2
        fake.check()
        thief.close()
    return thief


async def test_a_robbed_server_writes_and_sends_nothing_more_wherever_it_is_robbed(
    settings: Settings, song: Path
) -> None:
    pool = SharedPool()
    undisturbed = await carry_out(settings, song, pool, before_write=0)
    assert {"settle_plan", "begin_sending", "update_step", "report", "end"} <= set(undisturbed.writes)
    numbers = iter(range(1, len(undisturbed.writes) + 1))

    async def rob_one_after_the_other() -> None:
        for number in numbers:
            await carry_out(settings, song, pool, before_write=number)

    async with asyncio.TaskGroup() as group:  # most of the time is spent waiting for the service
        for _ in range(4):
            group.create_task(rob_one_after_the_other())
    await pool.end()

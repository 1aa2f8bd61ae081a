"""What carrying a request out takes."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from outpaint_mcp.errors import GenerationFailed, ProviderUnavailable, StorageFailed, WorkerDied
from outpaint_mcp.hosted.records import CancelWish, StepState
from outpaint_mcp.workers.process import call_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from outpaint_mcp.hosted.handover import Handover
    from outpaint_mcp.hosted.news import News
    from outpaint_mcp.hosted.orders import Orders
    from outpaint_mcp.hosted.pace import Pace
    from outpaint_mcp.hosted.records import Order, Step
    from outpaint_mcp.ledger import Ledger
    from outpaint_mcp.models import Status
    from outpaint_mcp.runcomfy.client import RunComfyProvider
    from outpaint_mcp.sources import Doors

_Done = TypeVar("_Done")

_DISK_SECONDS = 1.0

# A machine out of memory takes one now and then; what takes every one is the task itself.
_MOST_DEATHS = 4


class CancelledOrder(Exception):
    """The order ends because somebody wanted it cancelled; the text says what that leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """Shared by all requests of a process.

    Attributes:
        client: gives the one client, made at the first need.
        folder: holds a folder for each request.
        doors: where results may be fetched from.
        fetch: fetches a link, as `sources.fetch`; tests bring their own network.
        workers: how many worker processes there may be at a time.
        sending: how many submissions, since each may hold its audio in memory, three times over.
        max_cost_usd: the most that may be spent, as the settings have it.
        now: Unix seconds.
    """

    orders: Orders
    ledger: Ledger
    news: News
    client: Callable[[], RunComfyProvider]
    handover: Handover
    folder: Path
    pace: Pace
    doors: Doors
    fetch: Callable[..., Coroutine[Any, Any, None]]
    workers: asyncio.Semaphore
    sending: asyncio.Semaphore
    max_cost_usd: float | None = None
    now: Callable[[], float] = time.time


class Errand:
    """One request on its way: what every part of the work on it needs to say and to hear."""

    def __init__(self, order: Order, means: Means) -> None:
        self.order = order
        self.means = means
        self.folder = means.folder / order.request_id
        self.unwanted = asyncio.Event()
        self._said: tuple[Any, ...] = ()

    def words(self, step: Step) -> str:
        """Say what a step is, in a few words."""
        count = len(self.order.steps)
        return f"{f'step {step.number} of {count}, ' if count > 1 else ''}{step.seconds:.4g} s {step.side}"

    async def say(self, status: Status, step: str, *, queue_position: int | None = None) -> None:
        """Let those who ask know where it stands."""
        if self._said == (status, step, queue_position):
            return
        self._said = (status, step, queue_position)
        with suppress(StorageFailed):  # no reason to give a paid request up
            await asyncio.to_thread(
                self.means.orders.advance, self.order.request_id, status, step, queue_position=queue_position
            )
        self.means.news.tell(self.order.request_id)

    async def pause(self, seconds: float) -> None:
        """Wait, but not longer than until somebody wants it cancelled."""
        if self.unwanted.is_set():  # refused, or being tried again
            await self.means.pace.sleep(seconds)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.unwanted.wait()

    async def work(self, task: str, **order: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Have a worker process carry out a task, one a core at a time; raises as `call_worker` does, too.

        Once something was sent, one that dies is followed by others, since what was paid for hangs on it.

        Raises:
            CancelledOrder: somebody wants the request cancelled.
        """

        async def call() -> dict[str, Any]:
            async with self.means.workers:
                return await call_worker({"task": task} | order)

        for _ in range(_MOST_DEATHS - 1):
            try:
                return await self.unless_unwanted(call())
            except (WorkerDied, ProviderUnavailable):
                if all(step.sent_at is None for step in self.order.steps):
                    raise
            await self.pause(self.means.pace.first_seconds)
        try:
            return await self.unless_unwanted(call())
        except WorkerDied as exc:
            ids = ", ".join(step.remote_id for step in self.order.steps if step.remote_id)
            raise GenerationFailed(
                f"Worker processes keep dying over what RunComfy made. It is billed, and stays at RunComfy for some"
                f" days, as request {ids}: fetch it there rather than submit again."
            ) from exc

    async def unless_unwanted(self, work: Coroutine[Any, Any, _Done]) -> _Done:
        """Do something that may take a while, for as long as nobody wants the request cancelled.

        Raises:
            CancelledOrder: somebody does.
        """
        working, wish = asyncio.create_task(work), asyncio.create_task(self.unwanted.wait())
        try:
            await asyncio.wait({working, wish}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await self.stop_if_unwanted()
            return await working
        finally:
            wish.cancel()
            working.cancel()
            await asyncio.wait({working})

    async def stop_if_unwanted(self) -> None:
        """Go no further where that is the wish, unless the service has to be told first, by who follows it there.

        Raises:
            CancelledOrder: it is.
        """
        states = [step.state for step in self.order.steps]
        if StepState.SENDING in states or StepState.ACCEPTED in states or not await self.is_unwanted():
            return
        billed = states.count(StepState.FINISHED) + states.count(StepState.MADE)
        of = f"{billed} of {len(states)} steps were carried out before, and are billed."
        raise CancelledOrder(f"Cancelled; {of}" if billed else "")

    async def is_unwanted(self) -> bool:
        """Whether somebody wants it cancelled, and was not told that this is too late."""
        wish = await asyncio.to_thread(self.means.orders.cancel_wish, self.order.request_id)
        return wish is CancelWish.WANTED

    async def record(self, step: Step) -> Step:
        """Have a step on disk before anything else happens, however long the disk takes."""
        await until_on_disk(lambda: self.means.orders.update_step(self.order.request_id, step))
        steps = tuple(step if each.number == step.number else each for each in self.order.steps)
        self.order = dataclasses.replace(self.order, steps=steps)
        return step


async def until_on_disk(write: Callable[[], object]) -> None:
    """Write what must not be forgotten: a full disk is waited for."""
    while True:
        try:
            await asyncio.to_thread(write)
        except StorageFailed:
            await asyncio.sleep(_DISK_SECONDS)
        else:
            return

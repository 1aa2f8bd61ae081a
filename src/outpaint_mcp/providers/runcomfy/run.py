"""What carrying a request out takes."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from outpaint_mcp.errors import StorageFailed, WorkerDied
from outpaint_mcp.providers.runcomfy.records import CancelWish, StepState
from outpaint_mcp.workers.process import call_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from outpaint_mcp.errors import OutpaintError
    from outpaint_mcp.models import Status
    from outpaint_mcp.providers.runcomfy.api.client import RunComfyClient
    from outpaint_mcp.providers.runcomfy.orders import Orders
    from outpaint_mcp.providers.runcomfy.prices import PriceCache
    from outpaint_mcp.providers.runcomfy.records import Order, Step
    from outpaint_mcp.providers.runcomfy.schedule import PollSchedule
    from outpaint_mcp.providers.runcomfy.transfer import AudioTransfer
    from outpaint_mcp.providers.runcomfy.updates import UpdateSignal
    from outpaint_mcp.sources import DownloadPolicy
    from outpaint_mcp.storage.costs import Ledger

_Done = TypeVar("_Done")

_log = logging.getLogger(__name__)

_DISK_SECONDS = 1.0

# Coding four minutes as MP3 takes ten seconds; a worker that needs so much longer hangs.
_WORK_SECONDS = 900.0


class RunCancelled(Exception):
    """The order ends because somebody wanted it cancelled; the text says what that leaves."""


class Verdict(Exception):
    """The order ends for good, by what the service has said or made, whatever was paid for it.

    Attributes:
        error: why.
    """

    def __init__(self, error: OutpaintError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """Shared by all requests of a process.

    Attributes:
        client: gives the one client, made at the first need.
        prices: what the model costs.
        folder: holds a folder for each request.
        policy: where results may be fetched from.
        fetch: fetches a link, as `sources.fetch`; tests bring their own network.
        account: a digest of the token; empty where there is none.
        most_usd: the most that may be spent, for requests that are taken on here.
        workers: how many worker processes there may be at a time.
        now: Unix seconds.
    """

    orders: Orders
    ledger: Ledger
    news: UpdateSignal
    client: Callable[[], RunComfyClient]
    prices: PriceCache
    handover: AudioTransfer
    folder: Path
    schedule: PollSchedule
    policy: DownloadPolicy
    fetch: Callable[..., Coroutine[Any, Any, None]]
    workers: asyncio.Semaphore
    account: str
    most_usd: float | None
    now: Callable[[], float] = time.time


class Run:
    """One request on its way: what every part of the work on it needs to say and to hear."""

    def __init__(self, order: Order, context: RunContext) -> None:
        self.order = order
        self.context = context
        self.folder = context.folder / order.request_id
        self.unwanted = asyncio.Event()
        self.is_held_up = False
        self.finishing_failures = 0
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
        # A full disk, or a lack of threads, is no reason to give a paid request up.
        with suppress(StorageFailed, RuntimeError):
            await asyncio.to_thread(
                self.context.orders.advance,
                self.order.request_id,
                status,
                step,
                queue_position=queue_position,
            )
        self.context.news.tell(self.order.request_id)

    async def pause(self, seconds: float) -> None:
        """Wait, but not longer than until somebody wants it cancelled."""
        if self.unwanted.is_set():  # and could not be so far
            await self.context.schedule.sleep(min(seconds, self.context.schedule.first_seconds))
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.unwanted.wait()

    async def work(self, task: str, **order: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Have a worker process carry out a task, one a core at a time; raises as `call_worker` does, too.

        Raises:
            WorkerDied: it did, or hung.
            RunCancelled: somebody wants the request cancelled.
        """

        async def call() -> dict[str, Any]:
            async with self.context.workers, asyncio.timeout(_WORK_SECONDS):
                return await call_worker({"task": task} | order)

        try:
            return await self.unless_unwanted(call())
        except TimeoutError as exc:
            raise WorkerDied(
                f"Nothing was heard of a worker process within {_WORK_SECONDS:.0f} seconds."
            ) from exc

    async def unless_unwanted(self, work: Coroutine[Any, Any, _Done]) -> _Done:
        """Do something that may take a while, for as long as nobody wants the request cancelled.

        Raises:
            RunCancelled: somebody does.
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
        """Go no further where that is the wish and something is left that was not sent.

        What was sent is cancelled by whoever follows it at the service; what is finished there is a no-op.

        Raises:
            RunCancelled: it is.
        """
        states = {step.state for step in self.order.steps}
        if states & {StepState.SENDING, StepState.ACCEPTED} or not await self.is_unwanted():
            return
        if states and StepState.PLANNED not in states and not self.is_held_up:
            await self.refuse_to_cancel()
            return
        raise RunCancelled(f"Cancelled. {self.bill}" if self.bill else "")

    async def refuse_to_cancel(self) -> None:
        """Let it be known that it is too late."""
        self.unwanted.clear()
        orders, request_id = self.context.orders, self.order.request_id
        await until_on_disk(lambda: orders.cancel(request_id, CancelWish.REFUSED))
        self.context.news.tell(request_id)

    @property
    def bill(self) -> str:
        """What was carried out, in a sentence, if anything was."""
        if not self.order.billed:
            return ""
        ids = ", ".join(step.remote_id or "?" for step in self.order.billed)
        count = f"{len(self.order.billed)} of {len(self.order.steps)} steps"
        return f"RunComfy has carried out {count}, which may be billed (its request {ids})."

    @property
    def is_paid(self) -> bool:
        """Whether money hangs on what becomes of it."""
        taken = {StepState.ACCEPTED, StepState.FINISHED, StepState.MADE}
        return any(step.state in taken for step in self.order.steps)

    async def is_unwanted(self) -> bool:
        """Whether somebody wants it cancelled, and was not told that this is too late."""
        wish = await asyncio.to_thread(self.context.orders.cancel_wish, self.order.request_id)
        return wish is CancelWish.WANTED

    async def record(self, step: Step) -> Step:
        """Have a step on disk before anything else happens, however long the disk takes."""
        await until_on_disk(lambda: self.context.orders.update_step(self.order.request_id, step))
        steps = tuple(step if each.number == step.number else each for each in self.order.steps)
        self.order = dataclasses.replace(self.order, steps=steps)
        return step


async def until_on_disk(write: Callable[[], object]) -> None:
    """Write what must not be forgotten, whatever is in the way of it for now: a full disk, a lack of threads."""
    in_trouble = False
    while True:
        try:
            await asyncio.to_thread(write)
        except Exception as exc:  # noqa: BLE001 - what it was is no matter to what has to be remembered
            if not in_trouble:
                _log.warning("Something cannot be written down until this is mended: %s", type(exc).__name__)
            in_trouble = True
            await asyncio.sleep(_DISK_SECONDS)
        else:
            return

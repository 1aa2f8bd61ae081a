"""The one pool: whatever this process has a worker do, it has done here."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from outpaint_mcp import errors
from outpaint_mcp.workers import cage, outliving, wire
from outpaint_mcp.workers.forking import CAN_FORK, Nursery, NurseryGone, start_nursery
from outpaint_mcp.workers.inputs import OpenedOrder, folder_written, open_order
from outpaint_mcp.workers.looks import Probe, ProbeMany, ReadForm, Survey
from outpaint_mcp.workers.orders import Extend, Finish
from outpaint_mcp.workers.process import PlainProcess, Process, Worker, not_started
from outpaint_mcp.workers.slots import Slots, count_cores, stopping

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path
    from socket import socket

    from outpaint_mcp.workers.forking import NurseryProcess
    from outpaint_mcp.workers.order import Order

_log = logging.getLogger(__name__)

_AnswerT = TypeVar("_AnswerT")

# Workers end within moments of being killed. Whoever closes a server waits for that.
_CLOSE_SECONDS = 1.0
# A client may start a server for each call and hang up before a worker has its job in hand. If that worker ended with
# its server, as would the next one, the job would never begin. Hosts kill two seconds after they hang up.
_START_SECONDS = 1.2
_START_LOOK_SECONDS = 0.05


def _ignore(_share: float, _step: str) -> None:
    pass


class WorkerPool:
    """Runs worker processes: at most one a core, and one process a task.

    One slot is left for looks at a source, since a submission is answered after a look, and must not wait for a job
    that takes minutes. On a machine with one core there are therefore two slots.

    Attributes:
        long_slots: how many tasks that take long run at once.
    """

    def __init__(
        self,
        *,
        slots: int | None = None,
        start_nursery: Callable[[socket], NurseryProcess] | None = start_nursery if CAN_FORK else None,
        start_seconds: float = _START_SECONDS,
        folders: Sequence[Path] = (),
    ) -> None:
        """Start nothing yet.

        Args:
            slots: the most workers at once; None for one a core, and two at least.
            start_nursery: starts the warm process that forks workers; where there is None, each worker gets an
                interpreter of its own.
            start_seconds: how long a server that leaves waits for workers that are being started.
            folders: those in which orders read, which may be links; beneath them, and elsewhere, no link is followed.
        """
        self._folders = folders
        self._has_begun = False
        self._slots = Slots(max(2, count_cores()) if slots is None else slots)
        self.long_slots = self._slots.long
        self._nursery = None if start_nursery is None else Nursery(start_nursery)
        self._workers: dict[Worker, type[Order[Any]]] = {}
        self._job_folders: set[Path] = set()
        self._start_seconds = start_seconds
        self._is_closed = False

    @property
    def busy(self) -> int:
        """How many slots are taken."""
        return self._slots.busy

    async def run(
        self,
        order: Order[_AnswerT],
        *,
        on_progress: Callable[[float, str], None] = _ignore,
        timeout_seconds: float | None = None,
    ) -> _AnswerT:
        """Have a worker carry an order out; cancelling the call kills the worker.

        Args:
            order: what to do.
            on_progress: called with the share done and the step, first when it is this order's turn.
            timeout_seconds: how long the worker may take; waiting for a slot does not count.

        Raises:
            ProviderUnavailable: no worker process can be started.
            WorkerDied: the worker did, and how; WorkerTimedOut if it took too long, WorkerInterrupted if it was ended
                by a signal that was not meant for it.
            ServerStopping: the pool was closed.
            InternalError: a bug of ours; the log has the traceback.
            OutpaintError: what the worker says went wrong.
        """
        has_moments = isinstance(order, Survey) and timeout_seconds is not None
        is_short = has_moments or isinstance(order, Probe | ProbeMany | ReadForm)
        async with self._slots.take(is_short=is_short):
            on_progress(0.0, "starting")
            try:
                return await self._carry_out(order, on_progress, timeout_seconds)
            except errors.WorkerInterrupted:
                if isinstance(order, Extend | Finish):  # repeated by their providers, who know of the job
                    raise
            return await self._carry_out(order, on_progress, timeout_seconds)

    async def close(self, *, outlive: bool = False) -> None:
        """End all workers; nothing runs here any more.

        Args:
            outlive: whether those go on that may outlive their server; those that are being started are waited for.
        """
        self._slots.close()
        try:
            if outlive:
                await self._let_start()
            await self._end_workers(outlive=outlive)
        finally:
            if self._nursery is not None:
                await self._nursery.close()

    async def _end_workers(self, *, outlive: bool) -> None:
        self._is_closed = True
        workers = dict(self._workers)
        for worker, order_type in workers.items():
            if outlive and outliving.may_outlive(order_type):
                worker.release()
            else:
                worker.kill()
        if workers:
            ends = {asyncio.ensure_future(worker.end()) for worker in workers}
            _, late = await asyncio.wait(ends, timeout=_CLOSE_SECONDS)
            for each in late:
                each.cancel()

    async def _let_start(self) -> None:
        """Wait until every worker that may outlive its server can do so."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._start_seconds):
                while not await asyncio.to_thread(_all_at_work, [*self._job_folders]):  # noqa: ASYNC110 - other processes
                    await asyncio.sleep(_START_LOOK_SECONDS)

    async def _carry_out(
        self, order: Order[_AnswerT], on_progress: Callable[[float, str], None], timeout_seconds: float | None
    ) -> _AnswerT:
        limit = asyncio.timeout(timeout_seconds)
        folders = set(filter(None, (outliving.folder_of(order),)))
        self._job_folders |= folders
        try:
            async with limit, self._opened(order) as opened:
                process = await self._start(order, opened.descriptors)
                opened.close()
                return await self._ask(
                    Worker(process, opened.line, folder_written(order)), order, on_progress
                )
        except TimeoutError as exc:
            if not limit.expired():
                raise
            raise errors.WorkerTimedOut(
                f"The worker process did not finish within {timeout_seconds:.0f} seconds, and was stopped."
            ) from exc
        finally:
            self._job_folders -= folders

    @asynccontextmanager
    async def _opened(self, order: Order[Any]) -> AsyncIterator[OpenedOrder]:
        """Open what an order reads, until its worker has it."""
        opening = asyncio.ensure_future(asyncio.to_thread(open_order, order, self._folders))
        try:
            opened = await asyncio.shield(opening)
        except OSError as exc:
            raise not_started(exc) from exc
        except asyncio.CancelledError:
            opening.add_done_callback(_close)
            raise
        try:
            yield opened
        finally:
            opened.close()

    async def _ask(
        self, worker: Worker, order: Order[_AnswerT], on_progress: Callable[[float, str], None]
    ) -> _AnswerT:
        self._workers[worker] = type(order)
        try:
            if self._is_closed:
                worker.kill()
            return await worker.answer(wire.reply_type(type(order)), on_progress)
        except errors.WorkerDied as exc:
            if self._is_closed:
                raise stopping() from exc
            raise _with_advice(exc, order) from exc
        finally:
            await worker.end()
            del self._workers[worker]

    async def _start(self, order: Order[Any], inputs: Sequence[int]) -> Process:
        if not self._has_begun:
            self._has_begun = True
            for each in cage.lacking():
                _log.warning("Workers that open audio are not fully confined: this system lacks %s.", each)
        try:
            if self._nursery is not None and self._nursery.is_usable:
                with suppress(NurseryGone):  # it was killed, or had just decided to end
                    return await self._nursery.fork(type(order).__name__, inputs)
            if self._is_closed:
                raise stopping()
            return PlainProcess(inputs)
        except OSError as exc:
            raise not_started(exc) from exc


def _with_advice(death: errors.WorkerDied, order: Order[Any]) -> errors.WorkerDied:
    """Say what to do about a worker's death, where that depends on what the person asked for."""
    if not isinstance(order, Extend | Finish):
        return death
    return type(death)(
        f"{death} If that happens again, try a shorter source or extension.",
        hint=errors.Hint.SUBMIT_AGAIN if isinstance(order, Extend) else None,
    )


def _close(opening: asyncio.Future[OpenedOrder]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _all_at_work(folders: list[Path]) -> bool:
    return all(outliving.is_at_work(folder) for folder in folders)

"""One job on its way: what whoever carries it out needs to report and to know."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from outpaint_mcp.disk.writing import remove
from outpaint_mcp.errors import OutpaintError, StorageFailed
from outpaint_mcp.jobs.persistence import until_written
from outpaint_mcp.storage.records import CancelWish

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine
    from pathlib import Path

    from outpaint_mcp.jobs.signal import UpdateSignal
    from outpaint_mcp.storage.records import Job, RequestProgress, Step
    from outpaint_mcp.storage.store import Store

_Done = TypeVar("_Done")

SOURCE_NAME = "source"
"""What a source is called in its job's folder, where it does not lie in the person's own."""


def share(file: Path, target: Path) -> bool:
    """Give a file of the data folder another name there; both can be deleted by themselves.

    Returns:
        False where that cannot be: the file is gone by now, say, or its disk has no such names.
    """
    try:
        os.link(file, target)
    except OSError:
        return False
    return True


def clear(folder: Path, needed: Collection[str]) -> None:
    """Delete a job's files but for those needed; what cannot be deleted goes when a server tidies up."""
    if not needed:
        remove(folder)
        return
    with suppress(OSError):  # another server may have delivered it by now, and deleted the folder
        for path in folder.iterdir():
            if path.name not in needed:
                with suppress(OSError):
                    path.unlink()


class RunCancelled(Exception):
    """The job ends because somebody wants it cancelled; the text says what that leaves behind, if anything."""


class PermanentFailure(Exception):
    """The job ends for good, whatever was paid for it.

    Attributes:
        error: why.
        leaves: the names of files in the job's folder that the person may want to have all the same.
    """

    def __init__(self, error: OutpaintError, *, leaves: Collection[str] = ()) -> None:
        super().__init__(str(error))
        self.error = error
        self.leaves = leaves


class Run:
    """One claim of a job by this server; everything it writes is fenced by the job's lease.

    Attributes:
        job: as it is by now.
        folder: the job's own, which may not exist yet.
        cancel_wanted: set when somebody wants the job cancelled.
        leaving: set when the server is about to leave: nothing that costs money is begun any more.
    """

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        job: Job,
        store: Store,
        signal: UpdateSignal,
        folder: Path,
        *,
        leaving: asyncio.Event,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.job = job
        self.folder = folder
        self.cancel_wanted = asyncio.Event()
        self.leaving = leaving
        self._store = store
        self._signal = signal
        self._sleep = sleep
        self._reported: RequestProgress | None = None

    async def report(self, progress: RequestProgress) -> None:
        """Let those who ask know where the job is.

        Raises:
            LeaseLost: it is somebody else's.
        """
        if progress == self._reported:
            return
        # A full disk, or a lack of threads, is no reason to give a job up that may be paid for.
        with suppress(StorageFailed, RuntimeError):
            await asyncio.to_thread(self._store.queue.report, self.job.lease, progress)
            self._reported = progress
        self._signal.notify(self.job.request_id)

    async def rename(self, title: str | None) -> None:
        """Name what is extended after the title that its host gives it, where it gives one.

        Raises:
            LeaseLost: the job is somebody else's.
        """
        if title is not None:
            await self._write(lambda: self._store.queue.rename(self.job.lease, title))

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than until somebody wants the job cancelled."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.cancel_wanted.wait()

    async def is_cancel_wanted(self) -> bool:
        """Whether somebody wants the job cancelled, and was not told that it is too late."""
        wish = await asyncio.to_thread(self._store.queue.cancel_wish, self.job.request_id)
        return wish is CancelWish.WANTED

    async def stop_if_cancelled(self) -> None:
        """Stop where that is wanted.

        Raises:
            RunCancelled: it is.
        """
        if self.cancel_wanted.is_set() and await self.is_cancel_wanted():
            raise RunCancelled

    async def unless_cancelled(
        self, work: Coroutine[object, object, _Done], *, stop: Callable[[], Awaitable[None]] | None = None
    ) -> _Done:
        """Do something that may take a while, for as long as nobody wants the job cancelled.

        Args:
            work: what to do; it is cancelled when the job is.
            stop: raises `RunCancelled` where the wish is granted.

        Raises:
            RunCancelled: the job is cancelled.
        """
        working = asyncio.create_task(work)
        wish = asyncio.create_task(self.cancel_wanted.wait())
        try:
            await asyncio.wait({working, wish}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await (stop or self.stop_if_cancelled)()
            return await working
        finally:
            wish.cancel()
            working.cancel()
            await asyncio.wait({working})

    async def refuse_to_cancel(self) -> None:
        """Let it be known that it is too late to cancel.

        Raises:
            LeaseLost: the job is somebody else's.
        """
        await self._write(lambda: self._store.queue.refuse_to_cancel(self.job.lease))
        self.cancel_wanted.clear()
        self._signal.notify(self.job.request_id)

    async def record_step(self, step: Step) -> Step:
        """Have a paid step on disk before anything else happens.

        Raises:
            LeaseLost: the job is somebody else's.
        """
        self._with_step(step)
        await self._write(lambda: self._store.queue.update_step(self.job.lease, step))
        return step

    async def begin_sending(self, step: Step) -> Step:
        """Have it on disk that a planned step is about to be sent; from then on it is never sent again.

        Raises:
            LeaseLost: the job is somebody else's, or the step is no longer planned.
            NotAgreed, OverBudget: the request costs more than the person knows, or than is allowed.
        """
        await self._write(lambda: self._store.queue.begin_sending(self.job.lease, step))
        self._with_step(step)
        return step

    def _with_step(self, step: Step) -> None:
        steps = tuple(step if each.number == step.number else each for each in self.job.steps)
        self.job = dataclasses.replace(self.job, steps=steps)

    async def _write(self, write: Callable[[], object]) -> None:
        # Where it cannot be written, the log has what the person would look for at the service.
        sent = ", ".join(step.remote_id for step in self.job.steps if step.remote_id)
        name = f"{self.job.request_id} (the service's request {sent})" if sent else self.job.request_id
        await until_written(write, name, sleep=self._sleep)

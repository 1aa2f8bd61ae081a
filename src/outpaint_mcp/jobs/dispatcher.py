"""The dispatcher: every job is carried out by one server at a time, and by the next one when that one dies."""

from __future__ import annotations

import asyncio
import logging
import traceback
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from outpaint_mcp.errors import InternalError, OutpaintError, ServerStopping, StorageFailed, SubmissionUnknown
from outpaint_mcp.jobs.persistence import Trouble, until_written
from outpaint_mcp.jobs.run import SOURCE_NAME, PermanentFailure, Run, RunCancelled, clear
from outpaint_mcp.models import Status
from outpaint_mcp.storage.leased_jobs import LeaseLost
from outpaint_mcp.storage.records import CancelWish
from outpaint_mcp.workers.outliving import ANSWER_NAME

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping
    from pathlib import Path

    from outpaint_mcp.jobs.liveness import Presence
    from outpaint_mcp.jobs.signal import UpdateSignal
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.storage.records import Credentials, Job, Lease
    from outpaint_mcp.storage.store import Store

_log = logging.getLogger(__name__)

# How soon a job that another process added is seen, and, while jobs run here, a wish to cancel one.
_LOOK_SECONDS = 1.0
_BUSY_LOOK_SECONDS = 0.25

# Whoever closes a server waits for it; jobs that could not be handed back are found by the next one all the same.
_LEAVE_SECONDS = 1.0


class Executor(Protocol):
    """Carries out the jobs of one provider.

    Attributes:
        most_running: how many of them may run on this machine at a time; None for any number.
    """

    most_running: int | None

    @property
    def credentials(self) -> Credentials:
        """Whose are known here; may change at any time."""

    async def carry_out(self, run: Run) -> Outcome:
        """Carry a job out from wherever it is.

        Raises:
            RunCancelled: somebody wanted it cancelled.
            PermanentFailure: it failed for good.
            LeaseLost: another server has it.
            SubmissionUnknown: nobody knows what became of it.
            OutpaintError: it failed.
        """


class _End(NamedTuple):
    status: Status
    error: OutpaintError | None = None
    outcome: Outcome | None = None
    leaves: Collection[str] = ()


class _Active(NamedTuple):
    run: Run
    task: asyncio.Task[None]


class Dispatcher:
    """Claims jobs for this server and has each provider's executor carry them out.

    A server that is stopped (SIGSTOP, a suspended terminal) is not dead: it keeps its jobs until it wakes up, unless
    somebody cancels them.
    """

    def __init__(  # noqa: PLR0913 - what it works on
        self,
        store: Store,
        presence: Presence,
        signal: UpdateSignal,
        executors: Mapping[str, Executor],
        folder: Path,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Prepare; `run` does the work.

        Args:
            store: where the jobs are.
            presence: this server's sign of life.
            signal: wakes those who wait for a request.
            executors: by the names of the providers whose jobs are carried out here.
            folder: holds one folder per job.
            sleep: pauses, in seconds.
        """
        self._store = store
        self._presence = presence
        self._signal = signal
        self._executors = executors
        self._folder = folder
        self._sleep = sleep
        # By lease: a job that was lost may be claimed again before its run has ended.
        self._active: dict[Lease, _Active] = {}
        self._leaving = asyncio.Event()
        self._bell = asyncio.Event()

    def ring(self) -> None:
        """Have new jobs and wishes to cancel looked for now."""
        self._bell.set()

    def leave(self) -> None:
        """Begin nothing any more, as the server is about to leave; what goes on may come to an end."""
        self._leaving.set()

    async def run(self) -> None:
        """Run until cancelled; then leave what is open to others."""
        try:
            async with asyncio.TaskGroup() as group:
                try:
                    await self._look_again_and_again(group)
                finally:
                    self.leave()  # before the runs are cancelled
        finally:
            with suppress(OutpaintError, TimeoutError):  # then the next server finds this one dead
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await asyncio.to_thread(self._store.queue.hand_back, self._presence.server_id)

    async def _look_again_and_again(self, group: asyncio.TaskGroup) -> None:
        trouble = Trouble("No job can be started")
        while True:
            self._bell.clear()
            if (failure := await self._look(group)) is None:
                trouble.is_over()
            else:
                trouble.begins(failure)
            with suppress(TimeoutError):
                # Not `wait_for`: Python 3.11's can swallow a cancellation that comes with the bell.
                async with asyncio.timeout(_BUSY_LOOK_SECONDS if self._active else _LOOK_SECONDS):
                    await self._bell.wait()

    async def _look(self, group: asyncio.TaskGroup) -> Exception | None:
        """Look at everything once; what is in the way of one provider's jobs is in no other's.

        Returns:
            The last thing that went wrong; whatever it is, the queue goes on when it is over.
        """
        failure: Exception | None = None
        starts: list[Callable[[], Awaitable[None]]] = []
        try:
            await self._take_back_dead()
        except Exception as exc:  # noqa: BLE001 - nothing begins while nobody can tell who is alive
            failure = exc
        else:
            starts = [partial(self._start_jobs, group, *each) for each in self._executors.items()]
        for look in (*starts, self._stop_unwanted):
            try:
                await look()
            except Exception as exc:  # noqa: BLE001 - see above
                failure = exc
        return failure

    async def _take_back_dead(self) -> None:
        """Leave the jobs of servers that died to whoever claims them next."""

        def take_back() -> None:
            if dead := self._presence.dead_among(self._store.queue.servers_at_work()):
                self._store.queue.take_back(dead)

        if not self._leaving.is_set():
            await asyncio.to_thread(take_back)

    async def _start_jobs(self, group: asyncio.TaskGroup, provider: str, executor: Executor) -> None:
        # One by one: whatever happens to the next claim, this job has begun.
        while not self._leaving.is_set() and (
            job := await asyncio.to_thread(self._claim, provider, executor)
        ):
            if self._leaving.is_set():  # since the claim began
                await self._give_back(job.lease)
            else:
                self._start(group, job, executor)

    def _claim(self, provider: str, executor: Executor) -> Job | None:
        queue, most, credentials = self._store.queue, executor.most_running, executor.credentials
        if not queue.has_claimable(provider, most_running=most, credentials=credentials):
            return None
        return queue.claim(self._presence.server_id, provider, most_running=most, credentials=credentials)

    def _start(self, group: asyncio.TaskGroup, job: Job, executor: Executor) -> None:
        folder = self._folder / job.request_id
        run = Run(job, self._store, self._signal, folder, leaving=self._leaving, sleep=self._sleep)
        task = group.create_task(self._see_through(run, executor))
        self._active[job.lease] = _Active(run, task)

    async def _stop_unwanted(self) -> None:
        """Tell runs that somebody wants them cancelled, and end those that have lost their lease."""
        if not self._active:
            return
        leases = await asyncio.to_thread(self._store.queue.leases, self._presence.server_id)
        for active in [*self._active.values()]:
            wish = leases.get(active.run.job.lease)
            if wish is None:
                active.task.cancel()
            elif wish is CancelWish.WANTED:
                active.run.cancel_wanted.set()
            else:  # it may have been refused while this was looked up
                active.run.cancel_wanted.clear()

    async def _see_through(self, run: Run, executor: Executor) -> None:
        request_id, lease = run.job.request_id, run.job.lease
        try:
            end = await self._carry_out(run, executor)
            await self._write_end(run, end)
        except (LeaseLost, ServerStopping) as exc:
            if isinstance(exc, ServerStopping):
                self.leave()
            await self._give_back(lease)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it must not stop the others
            log_crash(request_id, exc)
            await self._give_back(lease)
        finally:
            del self._active[lease]
            self._signal.notify(request_id)
            self.ring()

    async def _give_back(self, lease: Lease) -> None:
        """Leave a job to others that nobody works on here any more."""
        with suppress(LeaseLost, ServerStopping):
            await until_written(lambda: self._store.queue.release(lease), lease.request_id, sleep=self._sleep)

    async def _carry_out(self, run: Run, executor: Executor) -> _End:
        try:
            return _End(Status.COMPLETED, outcome=await executor.carry_out(run))
        except RunCancelled as exc:
            return _End(Status.CANCELLED, OutpaintError(str(exc)) if str(exc) else None)
        except PermanentFailure as exc:
            return _End(Status.FAILED, exc.error, leaves=exc.leaves)
        except SubmissionUnknown as exc:
            return _End(Status.UNKNOWN, exc)
        except (LeaseLost, ServerStopping):
            raise
        except OutpaintError as exc:
            return _End(Status.FAILED, exc)
        except Exception as exc:  # noqa: BLE001 - a bug must not stop the queue
            return _End(Status.FAILED, log_crash(run.job.request_id, exc))

    async def _write_end(self, run: Run, end: _End) -> None:
        """Write down how a job ended; then delete the files that nobody needs any more."""
        files = end.outcome.file_names if end.outcome else end.leaves

        def write() -> None:
            try:
                self._store.queue.end(run.job.lease, end.status, error=end.error, outcome=end.outcome)
            except StorageFailed:
                if not run.job.steps:  # paid steps are fetched into files that another try needs
                    # A full disk may be what is wrong. What another server would begin with stays.
                    clear(run.folder, {*files, SOURCE_NAME, ANSWER_NAME})
                raise
            # In the same thread: a server that leaves now has deleted them all the same.
            clear(run.folder, files)

        await until_written(write, run.job.request_id, sleep=self._sleep)


def log_crash(request_id: str, exc: Exception) -> InternalError:
    """Log where a bug struck; returns what the person reads about it."""
    # Not its text: that may quote a signed link.
    where = "".join(traceback.format_tb(exc.__traceback__))
    _log.error("Request %s met an internal error: %s\n%s", request_id, type(exc).__name__, where)
    return InternalError(
        f"An internal error stopped this ({type(exc).__name__}); it is not the recording's fault. The log has the"
        " details."
    )

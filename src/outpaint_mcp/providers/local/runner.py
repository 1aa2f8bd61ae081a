"""Runs the queue: one job a core, each in a worker process beside the event loop."""

from __future__ import annotations

import asyncio
import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outpaint_mcp.errors import GenerationFailed, OutpaintError, SourceNotAllowed, StorageFailed
from outpaint_mcp.models import Status
from outpaint_mcp.sources import fetch
from outpaint_mcp.workers.credits import comment
from outpaint_mcp.workers.process import call_worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from outpaint_mcp.jobs.liveness import Presence
    from outpaint_mcp.providers.local.jobs import Job, Jobs

_log = logging.getLogger(__name__)

# How soon a wish to cancel is seen, and how often progress is written down.
_TICK_SECONDS = 0.25
# How soon the queue is looked at again when nobody in this process has rung.
_LOOK_SECONDS = 1.0
# Workers report at least every few seconds, on the slowest disk.
HANG_SECONDS = 120.0
# Who closes a server waits for it; jobs that could not be handed back are found by the next one all the same.
_LEAVE_SECONDS = 1.0

# What a source is called in its job's folder, where it does not lie in the person's own.
SOURCE_NAME = "source"


class _StoppedError(Exception):
    """Somebody asked for the job to be cancelled."""


@dataclass(slots=True)
class _Pulse:
    """The last that was heard of a worker.

    Attributes:
        silent_ticks: looks since then; not seconds, as a server that was asleep has heard nobody meanwhile.
    """

    share: float = 0.0
    step: str = "starting"
    silent_ticks: int = 0
    is_news: bool = True

    def beat(self, share: float, step: str) -> None:
        self.share, self.step, self.silent_ticks, self.is_news = share, step, 0, True


class Runner:
    """Claims jobs for this server and sees each to its end.

    A server that is stopped (SIGSTOP, a suspended terminal) is not dead: it keeps its jobs and their
    cores until it wakes up, unless somebody cancels them.
    """

    def __init__(  # noqa: PLR0913 - what it works on and what tests turn
        self,
        jobs: Jobs,
        presence: Presence,
        folder: Path,
        *,
        most_running: int,
        max_source_seconds: float,
        hang_seconds: float = HANG_SECONDS,
        call: Callable[..., Awaitable[dict[str, Any]]] = call_worker,
    ) -> None:
        self._jobs = jobs
        self._presence = presence
        self._folder = folder
        self._most_running = most_running
        self._max_source_seconds = max_source_seconds
        self._hang_seconds = hang_seconds
        self._call = call
        self._bell = asyncio.Event()

    def ring(self) -> None:
        """Have the queue looked at now."""
        self._bell.set()

    async def run(self) -> None:
        """Run until cancelled; then stop the workers and hand their jobs back."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._start_jobs(group)
        finally:
            with suppress(StorageFailed, TimeoutError):  # then the next server finds this one dead
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await asyncio.to_thread(self._jobs.hand_back, self._presence.server_id)

    async def _start_jobs(self, group: asyncio.TaskGroup) -> None:
        in_trouble = False
        while True:
            self._bell.clear()
            try:
                # One by one: whatever happens to the next claim, this job has begun.
                while job := await asyncio.to_thread(self._claim):
                    group.create_task(self._carry_out(job))
                in_trouble = False
            except Exception as exc:  # noqa: BLE001 - whatever it was, the queue goes on when it is over
                if not in_trouble:
                    _log.warning("No job can be started until this is mended: %s", _reason(exc))
                in_trouble = True
            with suppress(TimeoutError):
                # Not `wait_for`: Python 3.11's can swallow a cancellation that comes with the bell.
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._bell.wait()

    def _claim(self) -> Job | None:
        dead = self._presence.dead_among(self._jobs.servers_at_work())
        if dead:
            self._jobs.take_back(dead)
        if not self._jobs.has_queued():
            return None
        return self._jobs.claim(self._presence.server_id, most_running=self._most_running)

    async def _carry_out(self, job: Job) -> None:
        folder = self._folder / job.request_id
        status, error, outcome = Status.COMPLETED, None, None
        try:
            outcome = await self._work(job, folder)
        except _StoppedError:
            status = Status.CANCELLED
        except OutpaintError as exc:
            status, error = Status.FAILED, str(exc)
        except Exception as exc:  # noqa: BLE001 - whatever it was, it must not stop the queue
            _log.exception("Job %s broke", job.request_id)
            status, error = Status.FAILED, f"The local provider broke ({type(exc).__name__})."
        await self._settle(job, folder, status, error=error, outcome=outcome)
        self.ring()

    async def _work(self, job: Job, folder: Path) -> dict[str, Any]:
        pulse = _Pulse()
        making = asyncio.create_task(self._make(job, folder, pulse))
        try:
            while True:
                done, _ = await asyncio.wait({making}, timeout=_TICK_SECONDS)
                if done:
                    return making.result()
                if await asyncio.to_thread(self._report, job, pulse):
                    raise _StoppedError
                pulse.silent_ticks += 1
                if pulse.silent_ticks * _TICK_SECONDS > self._hang_seconds:
                    raise GenerationFailed(
                        f"Nothing was heard of the worker for {self._hang_seconds:.0f} seconds, so it was"
                        " stopped. Submit the request again, with a shorter source if it hangs again."
                    )
        finally:
            making.cancel()
            await asyncio.wait({making})

    async def _make(self, job: Job, folder: Path, pulse: _Pulse) -> dict[str, Any]:
        source = Path(job.source)
        if job.source.startswith("https:"):
            source = folder / SOURCE_NAME
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
            pulse.beat(0, "fetching")
            await fetch(job.source, source, on_progress=lambda _got, _of: pulse.beat(0, "fetching"))
        elif await asyncio.to_thread(source.resolve) != source:
            raise SourceNotAllowed(
                "The source was moved behind a link after it was submitted; submit it again."
            )
        return await self._call(
            {
                "task": "extend",
                "source": str(source),
                "folder": str(folder),
                "before_seconds": job.before_seconds,
                "after_seconds": job.after_seconds,
                "start_seconds": job.start_seconds,
                "end_seconds": job.end_seconds,
                "seed": job.seed,
                "comment": comment("local", job.before_seconds, job.after_seconds, seed=job.seed),
                "max_seconds": self._max_source_seconds,
            },
            on_progress=pulse.beat,
        )

    def _report(self, job: Job, pulse: _Pulse) -> bool:
        """Write progress down where there is any; returns whether the job is to be stopped."""
        with suppress(StorageFailed):  # no reason to give the job up; its end is written down in any case
            if pulse.is_news:
                pulse.is_news = False
                return self._jobs.advance(job, self._presence.server_id, pulse.share, pulse.step)
            return self._jobs.is_unwanted(job, self._presence.server_id)
        return False

    async def _settle(
        self,
        job: Job,
        folder: Path,
        status: Status,
        *,
        error: str | None = None,
        outcome: dict[str, Any] | None = None,
    ) -> None:
        def settle() -> None:
            # First the files, since a full disk may be what went wrong.
            _clear(folder, Path(outcome["path"]).name if outcome else None)
            self._jobs.end(job, self._presence.server_id, status, error=error, outcome=outcome)

        in_trouble = False
        while True:
            try:
                await asyncio.to_thread(settle)
            except Exception as exc:  # noqa: BLE001 - whatever it was, the job has ended
                if not in_trouble:
                    _log.warning(
                        "Job %s cannot be ended until this is mended: %s", job.request_id, _reason(exc)
                    )
                in_trouble = True
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                return


def _reason(exc: Exception) -> str:
    return str(exc) if isinstance(exc, OutpaintError) else repr(exc)


def _clear(folder: Path, kept: str | None) -> None:
    """Throw a job's files away, but for what is to be delivered; what cannot be goes when its request is discarded."""
    if kept is None:
        shutil.rmtree(folder, ignore_errors=True)
        return
    with suppress(OSError):
        for path in folder.iterdir():
            if path.name != kept:
                path.unlink()

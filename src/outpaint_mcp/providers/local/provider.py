"""The local provider: each job is one order for a worker process."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outpaint_mcp.errors import GenerationFailed, Hint, SourceNotAllowed, WorkerInterrupted
from outpaint_mcp.jobs.run import SOURCE_NAME, RunCancelled
from outpaint_mcp.models import Status
from outpaint_mcp.providers.base import Forecast, Terms
from outpaint_mcp.providers.local import DESCRIPTION
from outpaint_mcp.sources import fetch_patiently, stored_path
from outpaint_mcp.storage.job_queue import FETCHING
from outpaint_mcp.storage.records import Credentials, RequestProgress
from outpaint_mcp.workers import outliving
from outpaint_mcp.workers.orders import Extend
from outpaint_mcp.workers.probing import MAX_SOURCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.surroundings import FullMusic
    from outpaint_mcp.jobs.run import Run
    from outpaint_mcp.models import SubmitRequest
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.providers.base import ProviderContext
    from outpaint_mcp.results import Outcome

# How often progress is written, and what another process left behind is looked at.
_TICK_SECONDS = 0.25
# Workers report at least every few seconds, on the slowest disk.
HANG_SECONDS = 120.0

# MP3s of four to seven minutes on two busy cores; WAV takes half as long.
_START_SECONDS, _SECONDS_PER_SOURCE_SECOND, _SECONDS_PER_ADDED_SECOND = 2.0, 0.015, 0.05


@dataclass(slots=True)
class _Pulse:
    """The last report of a worker.

    Attributes:
        silent_ticks: looks since then; not seconds, as a server that was asleep has listened to nobody meanwhile.
        is_waiting: whether there is no worker yet that could report.
    """

    share: float = 0.0
    step: str = "starting"
    silent_ticks: int = 0
    is_waiting: bool = True

    def beat(self, share: float, step: str) -> None:
        self.share, self.step, self.silent_ticks, self.is_waiting = share, step, 0, False


class LocalProvider:
    """Extends recordings on this machine; tags and lyrics do not steer it."""

    description = DESCRIPTION
    credentials = Credentials()

    def __init__(self, context: ProviderContext, *, hang_seconds: float = HANG_SECONDS) -> None:
        """Prepare to carry jobs out.

        Args:
            context: what it works with.
            hang_seconds: how long a worker may be silent before it is stopped.
        """
        self._context = context
        self._hang_seconds = hang_seconds
        self.most_running: int | None = context.pool.long_slots

    def recognize(self, principal: Principal) -> bool:  # noqa: ARG002 - it needs none
        """See `Provider.recognize`."""
        return False

    def admit(self, principal: Principal, request: SubmitRequest) -> Terms:  # noqa: ARG002 - whatever is asked is free
        """See `Provider.admit`."""
        return Terms()

    async def foresee(
        self,
        principal: Principal,  # noqa: ARG002 - it is the same for all
        request: SubmitRequest,
        source_seconds: float | None,
        music: FullMusic | None,  # noqa: ARG002 - it makes no difference to what it costs
    ) -> Forecast:
        """See `Provider.foresee`."""
        added_seconds = request.extend_before_duration + request.extend_after_duration
        if request.total_seconds:
            added_seconds = request.total_seconds - (source_seconds or 0)
        rounds = math.ceil(request.takes / (self.most_running or request.takes))
        return Forecast(
            wait_seconds=None
            if source_seconds is None
            else rounds
            * (
                _START_SECONDS
                + _SECONDS_PER_SOURCE_SECOND * source_seconds
                + _SECONDS_PER_ADDED_SECOND * added_seconds
            )
        )

    async def carry_out(self, run: Run) -> Outcome:
        """See `Provider.carry_out`; takes up what the worker of an earlier server has finished or still works on."""
        await run.report(_progress(0.0, "starting"))
        await self._wait_for_survivor(run)
        outcome = await asyncio.to_thread(outliving.answer_of, run.folder, Extend)
        if outcome is not None:
            return outcome
        try:
            return await self._extend(run)
        except WorkerInterrupted:  # by a signal that was not meant for it
            return await self._extend(run)

    async def _wait_for_survivor(self, run: Run) -> None:
        """Wait while the worker of a server that has left still works on the job."""
        while await asyncio.to_thread(outliving.is_at_work, run.folder):
            if run.cancel_wanted.is_set():
                await asyncio.to_thread(outliving.ask_to_stop, run.folder)
            elif found := await asyncio.to_thread(outliving.progress_of, run.folder):
                await run.report(_progress(*found))
            await self._context.sleep(_TICK_SECONDS)
        await run.stop_if_cancelled()

    async def _extend(self, run: Run) -> Outcome:
        pulse = _Pulse()
        work = asyncio.create_task(self._make(run, pulse))
        try:
            while True:
                done, _ = await asyncio.wait({work}, timeout=_TICK_SECONDS)
                if done:
                    return work.result()
                if run.cancel_wanted.is_set():
                    raise RunCancelled
                await run.report(_progress(pulse.share, pulse.step))
                pulse.silent_ticks += not pulse.is_waiting
                if pulse.silent_ticks * _TICK_SECONDS > self._hang_seconds:
                    raise GenerationFailed(
                        f"The worker process was silent for {self._hang_seconds:.0f} seconds, so it was stopped. Submit"
                        " the request again, with a shorter source if it hangs again."
                    )
        finally:
            work.cancel()
            await asyncio.wait({work})

    async def _make(self, run: Run, pulse: _Pulse) -> Outcome:
        request = run.job.request
        await asyncio.to_thread(run.folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        order = Extend(
            source=await self._source(run, pulse),
            folder=run.folder,
            wishes=request.wishes,
            layout=await asyncio.to_thread(self._context.store.lineage.layout_of_source, run.job.request_id),
            start_seconds=request.source_start_seconds,
            end_seconds=request.source_end_seconds,
            seed=request.seed,
            provider=DESCRIPTION.name,
            max_seconds=MAX_SOURCE_SECONDS,
        )
        pulse.is_waiting = True  # other work may have all slots for as long as it takes
        return await self._context.pool.run(order, on_progress=pulse.beat)

    async def _source(self, run: Run, pulse: _Pulse) -> Path:
        """Return the recording as a file of this machine."""
        own = run.folder / SOURCE_NAME
        if not run.job.source:
            return await asyncio.to_thread(own.resolve)
        if run.job.source.startswith("https:"):
            pulse.step = FETCHING  # which has its own bounds
            title = await fetch_patiently(self._context.fetch, run.job.source, own, sleep=self._context.sleep)
            pulse.step = "starting"
            await run.rename(title)
            return own
        source = stored_path(run.job.source)
        if await asyncio.to_thread(source.resolve) != source:
            raise SourceNotAllowed(
                "The source was moved behind a link after it was submitted.", hint=Hint.SUBMIT_AGAIN
            )
        return source

    def stop(self, folder: Path) -> None:
        """See `Provider.stop`."""
        if outliving.is_at_work(folder):
            outliving.ask_to_stop(folder)

    async def close(self) -> None:
        """See `Provider.close`; its workers are the pool's."""


def _progress(share: float, step: str) -> RequestProgress:
    return RequestProgress(status=Status.IN_PROGRESS, progress=share, step=step)

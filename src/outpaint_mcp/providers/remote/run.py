"""One job of paid steps on its way: what its phases share, and the words about what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from outpaint_mcp.errors import Unauthorized
from outpaint_mcp.jobs.run import RunCancelled
from outpaint_mcp.models import Status
from outpaint_mcp.storage.records import CALLERS, RequestProgress, StepState

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from outpaint_mcp.errors import OutpaintError
    from outpaint_mcp.jobs.run import Run
    from outpaint_mcp.providers.base import ProviderContext
    from outpaint_mcp.providers.remote.accounts import Accounts
    from outpaint_mcp.providers.remote.model import ModelClient, RemoteModel
    from outpaint_mcp.providers.remote.schedule import PollSchedule
    from outpaint_mcp.providers.remote.transfer import AudioTransfer
    from outpaint_mcp.storage.records import Job, Step
    from outpaint_mcp.workers.order import Order

_Done = TypeVar("_Done")
_Answer = TypeVar("_Answer")

# Coding four minutes as MP3 takes ten seconds; a worker that needs so much longer hangs.
_WORK_SECONDS = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """Shared by all jobs of one model in a process.

    Attributes:
        shared: what every provider works with.
        model: the model, and where it is.
        accounts: with whose credentials it is called.
        transfer: makes files readable for it.
        schedule: how often it is asked.
    """

    shared: ProviderContext
    model: RemoteModel
    accounts: Accounts
    transfer: AudioTransfer
    schedule: PollSchedule


class RemoteRun:
    """A run of steps that are paid for.

    Attributes:
        run: the claim of the job.
        context: what all jobs of the model share.
        is_held_up: whether what money was spent on has failed since it last got further, so that it may be given up.
        is_priced: whether the price of what is left has just been read.
        was_left_unfetched: whether the server that had it before did not get a file that was there.
        finishing_failures: how often the extended file could not be made of what is there.
    """

    def __init__(self, run: Run, context: RunContext) -> None:
        self.run = run
        self.context = context
        self.is_priced = False
        self.was_left_unfetched = any(step.state is StepState.FINISHED for step in run.job.steps)
        self.is_held_up = self.was_left_unfetched
        self.finishing_failures = 0
        self._status = run.job.status

    @property
    def job(self) -> Job:
        """The job as it is by now."""
        return self.run.job

    @property
    def client(self) -> ModelClient:
        """What calls the service for the job."""
        return self.context.accounts.client(self.job.account)

    @property
    def folder(self) -> Path:
        """The job's own folder."""
        return self.run.folder

    def label(self, step: Step) -> str:
        """Name a step in a few words."""
        count = len(self.job.steps)
        return f"{f'step {step.number} of {count}, ' if count > 1 else ''}{step.seconds:.4g} s {step.side}"

    def file_of(self, step: Step) -> Path:
        """Return where a step's file lies until the request is delivered."""
        return self.folder / f"step-{step.number}"

    async def report(
        self,
        step: str,
        status: Status | None = None,
        *,
        queue_position: int | None = None,
        awaits_agreement: bool = False,
    ) -> None:
        """Let those who ask know where the job is.

        A request is in the queue until the service says that the first of its steps is not.

        Args:
            step: what is being done.
            status: of the request; None for what it is by now.
            queue_position: as the service counts.
            awaits_agreement: whether nothing more is sent before the person agrees.

        Raises:
            LeaseLost: the job is somebody else's.
        """
        fetched = sum(each.state is StepState.FETCHED for each in self.job.steps)
        has_begun = any(each.state in {StepState.FINISHED, StepState.FETCHED} for each in self.job.steps)
        if status is not None:
            self._status = status
        elif has_begun:
            self._status = Status.IN_PROGRESS
        await self.run.report(
            RequestProgress(
                status=self._status,
                queue_position=queue_position,
                progress=fetched / len(self.job.steps) if len(self.job.steps) > 1 else None,
                step=step,
                awaits_agreement=awaits_agreement,
            )
        )

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than until somebody wants the job cancelled."""
        if self.run.cancel_wanted.is_set():  # and it could not be so far
            await self.context.schedule.sleep(min(seconds, self.context.schedule.first_seconds))
        else:
            await self.run.pause(seconds)

    async def work(self, order: Order[_Answer]) -> _Answer:
        """Have a worker process carry out an order; raises as `WorkerPool.run` does, too.

        Raises:
            RunCancelled: somebody wants the job cancelled.
        """
        return await self.unless_cancelled(self.context.shared.pool.run(order, timeout_seconds=_WORK_SECONDS))

    async def unless_cancelled(self, work: Coroutine[object, object, _Done]) -> _Done:
        """Do something that may take a while, for as long as nobody wants the job cancelled.

        Raises:
            RunCancelled: somebody does.
        """
        return await self.run.unless_cancelled(work, stop=self.stop_if_cancelled)

    async def stop_if_cancelled(self) -> None:
        """Stop where that is wanted and something is left that was not sent.

        What was sent is cancelled by whoever polls it at the service; what is finished there cannot be.

        Raises:
            RunCancelled: it is.
        """
        states = {step.state for step in self.job.steps}
        if states & {StepState.SENDING, StepState.ACCEPTED} or not await self.run.is_cancel_wanted():
            return
        if states and StepState.PLANNED not in states and not self.is_held_up:
            await self.run.refuse_to_cancel()
            return
        raise RunCancelled(f"Cancelled. {self.bill}" if self.bill else "")

    def in_words_for_its_caller(self, failure: OutpaintError) -> OutpaintError:
        """Return a failure with what to do about it, where the caller's own token was refused."""
        if not (isinstance(failure, Unauthorized) and self.job.account.startswith(CALLERS)):
            return failure
        description = self.context.model.description
        return Unauthorized(
            f"{description.title} does not accept the token that came with this request. Submit it again with another"
            f" one in the header {description.token_header}."
        )

    @property
    def bill(self) -> str:
        """What the service has carried out, in a sentence, if anything."""
        if not self.job.billed:
            return ""
        ids = ", ".join(step.remote_id or "?" for step in self.job.billed)
        count = f"{len(self.job.billed)} of {len(self.job.steps)} steps"
        return f"{self.context.model.title} has carried out {count}, which may be billed (its request {ids})."

    @property
    def fetched_files(self) -> list[str]:
        """The names of what was generated and is here."""
        return [self.file_of(step).name for step in self.job.steps if step.state is StepState.FETCHED]

    @property
    def given_up(self) -> str:
        """What remains of a job that is given up although it was sent, in a sentence."""
        ids = ", ".join(step.remote_id for step in self.job.steps if step.remote_id)
        return f"Given up. What was sent may be carried out and billed ({self.context.model.title}'s request {ids})."

    @property
    def is_paid(self) -> bool:
        """Whether money hangs on what becomes of the job."""
        taken = {StepState.ACCEPTED, StepState.FINISHED, StepState.FETCHED}
        return any(step.state in taken for step in self.job.steps)

    @property
    def is_of_another_account(self) -> bool:
        """Whether the job was taken on with other credentials than those here."""
        return not self.context.accounts.has(self.job.account)

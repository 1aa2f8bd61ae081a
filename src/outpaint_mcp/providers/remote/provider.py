"""A provider that has a remote model carry requests out, step by step: each sent once, and followed to its end."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from outpaint_mcp.audio.sides import Side
from outpaint_mcp.errors import (
    Hint,
    LimitReached,
    NothingNew,
    OutpaintError,
    OverBudget,
    ServerStopping,
    SubmissionUnknown,
    Unauthorized,
)
from outpaint_mcp.jobs.dispatcher import log_crash
from outpaint_mcp.jobs.run import PermanentFailure, RunCancelled
from outpaint_mcp.providers.base import Forecast, Terms
from outpaint_mcp.providers.remote.accounts import Accounts
from outpaint_mcp.providers.remote.agreement import hold_against_own_limits, send_when_agreed
from outpaint_mcp.providers.remote.download import download, is_here
from outpaint_mcp.providers.remote.estimate import estimate, price_words
from outpaint_mcp.providers.remote.finish import finish, part_of
from outpaint_mcp.providers.remote.model import lost_answer
from outpaint_mcp.providers.remote.poll import billed, poll
from outpaint_mcp.providers.remote.prepare import PRICE_SECONDS, prepare_source, settle_plan
from outpaint_mcp.providers.remote.run import RemoteRun, RunContext
from outpaint_mcp.providers.remote.schedule import PollSchedule
from outpaint_mcp.providers.remote.submit import lost
from outpaint_mcp.providers.remote.target import check_request, find_target
from outpaint_mcp.providers.remote.transfer import AudioTransfer
from outpaint_mcp.storage.leased_jobs import LeaseLost
from outpaint_mcp.storage.records import StepState
from outpaint_mcp.storage.spending import is_over

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from outpaint_mcp.audio.surroundings import FullMusic
    from outpaint_mcp.config import Settings
    from outpaint_mcp.jobs.run import Run
    from outpaint_mcp.models import SubmitRequest
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.providers.base import ProviderContext
    from outpaint_mcp.providers.remote.model import Price, RemoteModel
    from outpaint_mcp.providers.remote.prepare import PreparedSource
    from outpaint_mcp.results import Outcome
    from outpaint_mcp.storage.records import Credentials, Step
    from outpaint_mcp.workers.orders import GeneratedPart

# A bucket that is slow is no reason to let the person wait.
_REMOVE_SECONDS = 5.0


class RemoteProvider:
    """Has one remote model carry jobs out."""

    most_running: int | None = None

    def __init__(self, context: ProviderContext, model: RemoteModel) -> None:
        """Prepare; the service is not connected to yet.

        Args:
            context: what every provider works with.
            model: the model, and where it is.
        """
        self.description = model.description
        self._accounts = Accounts(model)
        self._context = RunContext(
            shared=context,
            model=model,
            accounts=self._accounts,
            transfer=_transfer(context.settings, model),
            schedule=context.timing.schedule or PollSchedule(),
        )

    @property
    def credentials(self) -> Credentials:
        """See `Provider`."""
        return self._accounts.credentials

    def recognize(self, principal: Principal) -> bool:
        """See `Provider.recognize`."""
        known = self.credentials
        with suppress(LimitReached):  # whoever submits with it is refused
            self._accounts.admit(principal)
        return self.credentials != known

    def admit(self, principal: Principal, request: SubmitRequest) -> Terms:
        """See `Provider.admit`."""
        model = self._context.model
        account = self._accounts.admit(principal)
        if not account:
            raise self._no_account(principal)
        check_request(model.title, model.limits, request)
        settings = self._context.shared.settings
        return Terms(account=account, limit_usd=settings.max_cost_usd, day_limit_usd=settings.max_day_usd)

    def _no_account(self, principal: Principal) -> Unauthorized:
        model = self._context.model
        price = price_words(dataclasses.replace(model.list_price, origin="the list price"), model.title)
        if not principal.is_remote:
            return Unauthorized(f"{price} {model.how_to_log_in}", hint=Hint.SET_CREDENTIALS)
        return Unauthorized(
            f"{price} {model.title} needs a token, and this server has none. Send one of your own with each request,"
            f" in the header {self.description.token_header}."
        )

    async def foresee(
        self,
        principal: Principal,
        request: SubmitRequest,
        source_seconds: float | None,
        music: FullMusic | None,
    ) -> Forecast:
        """See `Provider.foresee`; the price is asked for, which is free."""
        model = self._context.model
        check_request(model.title, model.limits, request)
        limit_usd = self._context.shared.settings.max_cost_usd
        known_price, obstacle = await self._price(principal, limit_usd)
        price = known_price or model.list_price
        unknown = f"How long it takes is up to {model.title}: minutes, as a rule."
        if source_seconds is None:
            return Forecast(
                basis=price_words(price) if known_price else "",
                warnings=("The steps and the cost are known once the source was fetched.", unknown),
                obstacle=obstacle,
            )
        target = find_target(model.limits, request, source_seconds, music)
        found = estimate(model.limits, price, target)
        cost_usd = request.takes * found.cost_usd
        if obstacle is None and limit_usd is not None and is_over(limit_usd, cost_usd):
            obstacle = OverBudget.beyond(limit_usd, cost_usd, request.takes)
        if known_price is None:
            return Forecast(warnings=(unknown,), obstacle=obstacle)
        return Forecast(
            cost_usd=found.cost_usd,
            steps=len(found.steps),
            basis=found.basis,
            warnings=(unknown,),
            obstacle=obstacle,
        )

    async def _price(
        self, principal: Principal, limit_usd: float | None
    ) -> tuple[Price | None, OutpaintError | None]:
        """Return the price, or the list price where that will do, and why a request would not be taken on."""
        model = self._context.model
        account = self._accounts.admit(principal)
        if not account:
            return model.list_price, self._no_account(principal)
        try:
            client = await asyncio.to_thread(self._accounts.client, account)
            return await client.price(within_seconds=PRICE_SECONDS), None
        except Unauthorized as exc:
            return model.list_price, exc
        except OutpaintError as exc:
            if limit_usd is not None:
                return None, OverBudget.without_price(limit_usd, str(exc))
            return model.list_price, None

    async def carry_out(self, run: Run) -> Outcome:
        """See `Provider.carry_out`.

        Once money is spent, only the service, what it made, or whoever wants it cancelled can end a job: everything
        else is tried again.
        """
        remote = RemoteRun(run, self._context)
        try:
            return await self._until_it_ends(remote)
        except (SubmissionUnknown, ServerStopping):
            raise  # the service may still be reading what was transferred
        except LeaseLost:
            await _remove_transferred(
                remote, of={StepState.PLANNED}
            )  # never sent, and under names of its own
            raise
        except (PermanentFailure, RunCancelled, OutpaintError):
            await _remove_transferred(remote)
            raise

    async def _until_it_ends(self, remote: RemoteRun) -> Outcome:
        for attempt in count():
            try:
                await asyncio.to_thread(self._accounts.client, remote.job.account)
                outcome = await _carry_out(remote)
            except (RunCancelled, LeaseLost, ServerStopping):
                raise
            except PermanentFailure as exc:
                raise PermanentFailure(_with_bill(exc.error, remote), leaves=exc.leaves) from exc
            except (SubmissionUnknown, NothingNew) as exc:
                raise _with_bill(exc, remote) from exc
            except OutpaintError as exc:
                failure = remote.in_words_for_its_caller(exc)
            except Exception as exc:  # noqa: BLE001 - money may hang on it
                failure = log_crash(remote.job.request_id, exc)
            else:
                await _remove_transferred(remote)
                return outcome
            if not remote.is_paid:
                raise failure
            await self._hold_up(remote, failure, attempt)
        raise AssertionError("counting does not end")

    async def _hold_up(self, remote: RemoteRun, failure: OutpaintError, attempt: int) -> None:
        """Wait before the next try, unless the person gives it up.

        Raises:
            RunCancelled: they do.
        """
        remote.is_held_up = True
        with suppress(OutpaintError):
            if await remote.run.is_cancel_wanted():
                raise RunCancelled(f"{remote.given_up} It was held up: {failure}")
        await remote.report(f"{remote.bill or 'Sent.'} Held up, and tried again: {failure}")
        await remote.pause(self._context.schedule.retry_pause_seconds(attempt))

    def stop(self, folder: Path) -> None:
        """See `Provider.stop`; nothing goes on without a server."""

    async def close(self) -> None:
        """See `Provider.close`."""
        await self._accounts.close()


async def _carry_out(remote: RemoteRun) -> Outcome:
    """Carry a job out from wherever it is."""
    for step in remote.job.steps:
        if step.state is StepState.SENDING:
            lost(
                remote, step, lost_answer(remote.context.model.title, "the server stopped before it arrived")
            )
    await hold_against_own_limits(remote)
    await asyncio.to_thread(remote.folder.mkdir, mode=0o700, parents=True, exist_ok=True)
    source = None if remote.job.source_seconds is not None else await _prepare(remote)
    parts: dict[Side, list[GeneratedPart]] = {side: [] for side in Side}
    url = None
    for step in remote.job.steps:
        if step.state is StepState.PLANNED:
            # What was accepted is polled first: whoever wants it cancelled must not wait for the source.
            step, source = await send_when_agreed(remote, step, source, parts[step.side])  # noqa: PLW2901 - as it is by now
        if step.state is not StepState.FETCHED:
            step, url = await _fetch(remote, step)  # noqa: PLW2901 - as above
        parts[step.side].append(part_of(remote, step))
    return await finish(remote, source or await prepare_source(remote), url)


async def _prepare(remote: RemoteRun) -> PreparedSource:
    await remote.report("preparing")
    source = await prepare_source(remote)
    await settle_plan(remote, source)
    return source


async def _fetch(remote: RemoteRun, step: Step) -> tuple[Step, str | None]:
    """Poll a step that was accepted and fetch its file; also returns where the service stores that."""
    url = None
    # What is here already is not asked for again: the service may have forgotten it by now.
    if not (step.state is StepState.FINISHED and await is_here(remote, step)):
        result = await poll(remote, step)
        remote.is_held_up = remote.was_left_unfetched
        step = await remote.run.record_step(
            dataclasses.replace(billed(step, result), state=StepState.FINISHED)
        )
        url = await download(remote, step, result)
        remote.is_held_up = remote.was_left_unfetched = False
    step = await remote.run.record_step(dataclasses.replace(step, state=StepState.FETCHED))
    if step.object_name is not None:
        await remote.context.transfer.remove(step.object_name)
        step = await remote.run.record_step(dataclasses.replace(step, object_name=None))
    return step, url


async def _remove_transferred(remote: RemoteRun, *, of: Collection[StepState] = tuple(StepState)) -> None:
    """Remove what was put into the bucket for steps that are in these states, and that nobody reads any more."""
    with suppress(Exception):  # a bucket's trouble is no reason not to end
        async with asyncio.timeout(_REMOVE_SECONDS):
            for step in remote.job.steps:
                if step.object_name is not None and step.state in of:
                    await remote.context.transfer.remove(step.object_name)


def _transfer(settings: Settings, model: RemoteModel) -> AudioTransfer:
    if settings.upload is None:
        return AudioTransfer(None, model.limits.inline_bytes)
    from outpaint_mcp.providers.remote.bucket import Bucket  # noqa: PLC0415 - only where there is one

    return AudioTransfer(Bucket(settings.upload), model.limits.inline_bytes)


def _with_bill(error: OutpaintError, remote: RemoteRun) -> OutpaintError:
    return type(error)(f"{error} {remote.bill}", hint=error.hint) if remote.bill else error

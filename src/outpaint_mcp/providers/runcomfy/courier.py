"""Sees to it that every request is carried out by one server at a time, and by the next when that one dies."""

from __future__ import annotations

import asyncio
import logging
import shutil
import traceback
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outpaint_mcp.errors import GenerationFailed, NothingNew, OutpaintError, StorageFailed, SubmissionUnknown
from outpaint_mcp.models import Status
from outpaint_mcp.providers.runcomfy.run import Run, RunCancelled, Verdict, until_on_disk
from outpaint_mcp.providers.runcomfy.work import carry_out, take_back

if TYPE_CHECKING:
    from outpaint_mcp.jobs.liveness import Presence
    from outpaint_mcp.providers.runcomfy.records import Order
    from outpaint_mcp.providers.runcomfy.run import RunContext

_log = logging.getLogger(__name__)

# How soon a request that another process took on, or wants cancelled, is seen.
_LOOK_SECONDS = 1.0
_LEAVE_SECONDS = 1.0
# A bucket that is slow is no reason to keep the person waiting.
_TAKE_BACK_SECONDS = 5.0


class Courier:
    """Claims requests for this server; nothing but a timer waits for each."""

    def __init__(self, context: RunContext, presence: Presence) -> None:
        self._means = context
        self._presence = presence
        self._errands: dict[str, Run] = {}
        self._bell = asyncio.Event()

    def ring(self) -> None:
        """Have new requests and wishes to cancel looked for now."""
        self._bell.set()

    async def run(self) -> None:
        """Run until cancelled; then leave what is open to others."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._go_round(group)
        finally:
            with suppress(StorageFailed, TimeoutError):  # then the next server finds this one dead
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await asyncio.to_thread(self._means.orders.hand_back, [self._presence.server_id])

    async def _go_round(self, group: asyncio.TaskGroup) -> None:
        in_trouble = False
        while True:
            self._bell.clear()
            try:
                while order := await asyncio.to_thread(self._claim):
                    self._errands[order.request_id] = run = Run(order, self._means)
                    group.create_task(self._see_through(run))
                for request_id in await asyncio.to_thread(self._unwanted):
                    if request_id in self._errands:
                        self._errands[request_id].unwanted.set()
                in_trouble = False
            except Exception as exc:  # noqa: BLE001 - whatever it was, the round goes on when it is over
                if not in_trouble:
                    _log.warning("Nothing can be sent until this is mended: %s", _reason(exc))
                in_trouble = True
            with suppress(TimeoutError):
                # Not `wait_for`: Python 3.11's can swallow a cancellation that comes with the bell.
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._bell.wait()

    def _claim(self) -> Order | None:
        dead = self._presence.dead_among(self._means.orders.servers_at_work())
        if dead:
            self._means.orders.hand_back(dead)
        return (
            self._means.orders.claim(self._presence.server_id) if self._means.orders.has_unclaimed() else None
        )

    def _unwanted(self) -> list[str]:
        return self._means.orders.unwanted(self._presence.server_id) if self._errands else []

    async def _see_through(self, run: Run) -> None:
        try:
            status, error, outcome = await self._ended(run)
            await self._settle(run, status, error=error, outcome=outcome)
        except Exception as exc:  # noqa: BLE001 - whatever it was, it must not stop the others
            _log_crash(run, exc)

    async def _ended(self, run: Run) -> tuple[Status, OutpaintError | None, dict[str, Any] | None]:
        """Carry a request out, and say how it ended.

        Once money is spent, only the service, what it made, or whoever wants it cancelled can end it: for
        everything else there is another try.
        """
        failure: OutpaintError
        for attempt in count():
            try:
                await asyncio.to_thread(self._means.client)
                return Status.COMPLETED, None, await carry_out(run)
            except RunCancelled as exc:
                return Status.CANCELLED, GenerationFailed(str(exc)) if str(exc) else None, None
            except Verdict as exc:
                return Status.FAILED, _with_bill(exc.error, run), None
            except (SubmissionUnknown, NothingNew) as exc:
                is_lost = isinstance(exc, SubmissionUnknown)
                return Status.UNKNOWN if is_lost else Status.FAILED, _with_bill(exc, run), None
            except OutpaintError as exc:
                failure = exc
            except Exception as exc:  # noqa: BLE001 - as above
                _log_crash(run, exc)
                failure = GenerationFailed(f"The hosted provider broke ({type(exc).__name__}).")
            if not run.is_paid:
                return Status.FAILED, failure, None
            run.is_held_up = True
            with suppress(StorageFailed):
                if await run.is_unwanted():
                    return (
                        Status.CANCELLED,
                        GenerationFailed(f"{_given_up(run)} It was held up: {failure}"),
                        None,
                    )
            await run.say(Status.IN_PROGRESS, f"{run.bill or 'Sent.'} Held up, and tried again: {failure}")
            await run.pause(self._means.schedule.retry_pause_seconds(attempt))
        raise AssertionError("counting does not end")

    async def _settle(
        self,
        run: Run,
        status: Status,
        *,
        error: OutpaintError | None = None,
        outcome: dict[str, Any] | None = None,
    ) -> None:
        """Write down how a request ended; then throw away what is not wanted any more."""
        request_id, orders = run.order.request_id, self._means.orders
        if status is not Status.UNKNOWN:  # that one may still be reading
            with suppress(Exception):  # a bucket's trouble is no reason not to end
                async with asyncio.timeout(_TAKE_BACK_SECONDS):
                    for step in run.order.steps:
                        await take_back(run, step)
        await until_on_disk(lambda: orders.end(request_id, status, error=error, outcome=outcome))
        del self._errands[request_id]
        self._means.news.tell(request_id)
        kept = {Path(each["path"]).name for each in (outcome, (outcome or {}).get("as_made")) if each}
        await asyncio.to_thread(_clear, run.folder, kept)


def _given_up(run: Run) -> str:
    ids = ", ".join(step.remote_id for step in run.order.steps if step.remote_id)
    return f"Given up. What was sent may be carried out and billed (RunComfy's request {ids})."


def _with_bill(error: OutpaintError, run: Run) -> OutpaintError:
    return type(error)(f"{error} {run.bill}") if run.bill else error


def _log_crash(run: Run, exc: Exception) -> None:
    # Not its text: that may quote a signed link.
    where = "".join(traceback.format_tb(exc.__traceback__))
    _log.error("Request %s broke: %s", run.order.request_id, type(exc).__name__)
    _log.debug("It broke at\n%s", where)


def _clear(folder: Path, kept: set[str]) -> None:
    """Throw a request's files away, but for what is to be delivered; what cannot be goes when a server tidies."""
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)
        return
    with suppress(OSError):  # another server may have delivered it by now, and thrown the folder away
        for path in folder.iterdir():
            if path.name not in kept:
                path.unlink()


def _reason(exc: Exception) -> str:
    return str(exc) if isinstance(exc, OutpaintError) else type(exc).__name__

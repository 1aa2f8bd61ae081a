"""Sees to it that every request is carried out by one server at a time, and by the next when that one dies."""

from __future__ import annotations

import asyncio
import logging
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from outpaint_mcp.errors import GenerationFailed, OutpaintError, StorageFailed, SubmissionUnknown
from outpaint_mcp.hosted.means import CancelledOrder, Errand, until_on_disk
from outpaint_mcp.hosted.work import carry_out, take_back
from outpaint_mcp.models import Status

if TYPE_CHECKING:
    from outpaint_mcp.hosted.means import Means
    from outpaint_mcp.hosted.records import Order
    from outpaint_mcp.presence import Presence

_log = logging.getLogger(__name__)

# How soon a request that another process took on, or wants cancelled, is seen.
_LOOK_SECONDS = 1.0
_LEAVE_SECONDS = 1.0


class Courier:
    """Claims requests for this server; nothing but a timer waits for each."""

    def __init__(self, means: Means, presence: Presence) -> None:
        self._means = means
        self._presence = presence
        self._errands: dict[str, Errand] = {}
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
                    self._errands[order.request_id] = errand = Errand(order, self._means)
                    group.create_task(self._see_through(errand))
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

    async def _see_through(self, errand: Errand) -> None:
        request_id = errand.order.request_id
        status, outcome = Status.COMPLETED, None
        error: OutpaintError | None = None
        try:
            await asyncio.to_thread(self._means.client)
            outcome = await carry_out(errand)
        except CancelledOrder as exc:
            status, error = Status.CANCELLED, GenerationFailed(str(exc)) if str(exc) else None
        except SubmissionUnknown as exc:
            status, error = Status.UNKNOWN, exc
        except OutpaintError as exc:
            status, error = Status.FAILED, exc
        except Exception as exc:  # noqa: BLE001 - whatever it was, it must not stop the others
            # Not its text: that may quote a signed link.
            _log.error("Request %s broke: %s", request_id, type(exc).__name__)
            _log.debug("Where it broke", exc_info=exc)
            status, error = (
                Status.FAILED,
                GenerationFailed(f"The hosted provider broke ({type(exc).__name__})."),
            )
        await self._settle(errand, status, error=error, outcome=outcome)

    async def _settle(
        self,
        errand: Errand,
        status: Status,
        *,
        error: OutpaintError | None = None,
        outcome: dict[str, Any] | None = None,
    ) -> None:
        """Write down how a request ended; what is left of it otherwise goes, now or when the next server tidies."""
        request_id, orders = errand.order.request_id, self._means.orders
        if status is not Status.UNKNOWN:  # that one may still be reading
            for step in errand.order.steps:
                await take_back(errand, step)
        await until_on_disk(lambda: orders.end(request_id, status, error=error, outcome=outcome))
        if status is not Status.COMPLETED:
            await asyncio.to_thread(shutil.rmtree, errand.folder, ignore_errors=True)
        del self._errands[request_id]
        self._means.news.tell(request_id)


def _reason(exc: Exception) -> str:
    return str(exc) if isinstance(exc, OutpaintError) else type(exc).__name__

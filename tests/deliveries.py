"""What tests of deliveries share: requests in a journal, generated files, a worker pool that waits for orders."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

from tests.stores import claim

from outpaint_mcp.models import Status, SubmitRequest
from outpaint_mcp.results import Outcome
from outpaint_mcp.storage.ids import new_request_ids
from outpaint_mcp.storage.records import NewRequest
from outpaint_mcp.workers.orders import ConvertedFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from outpaint_mcp.storage.journal import Journal
    from outpaint_mcp.storage.store import Store
    from outpaint_mcp.workers.orders import Convert


def add_request(  # noqa: PLR0913 - as a row begins
    journal: Journal,
    title: str = "song",
    before: float = 10,
    after: float = 20,
    parent: str | None = None,
    takes: int = 1,
    caller: str = "",
    audio: str = "x.wav",
) -> str:
    """Write a request down; returns its id."""
    request = SubmitRequest.of(
        audio="x.wav", tags="", extend_before_duration=before, extend_after_duration=after, takes=takes
    )
    request_id, ids = new_request_ids(takes)
    journal.add(
        NewRequest(
            request=request,
            request_id=request_id,
            ids=ids,
            provider="local",
            audio=audio,
            title=title,
            source="/music/x.wav",
            after_seconds=after,
            parent_request_id=parent,
            caller=caller,
        )
    )
    return request_id


def add_completed(  # noqa: PLR0913 - as a row begins
    store: Store,
    outcome: Outcome,
    *,
    takes: int = 1,
    parent: str | None = None,
    caller: str = "",
    audio: str = "x.wav",
) -> str:
    """Write down a request that every take of has this outcome; returns its id."""
    request_id = add_request(store.journal, takes=takes, parent=parent, caller=caller, audio=audio)
    for _ in range(takes):
        store.queue.end(claim(store).lease, Status.COMPLETED, outcome=outcome)
    return request_id


def outcome_at(path: Path, content: bytes) -> Outcome:
    """Write what a provider is to have generated."""
    path.write_bytes(content)
    return Outcome(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        duration_seconds=40,
        before_seconds=10,
        after_seconds=20,
        seed=7,
        note="Well made.",
    )


class Pool:
    """A worker pool whose workers report and end when the test says so.

    Attributes:
        orders: what it was asked, in order.
        ended: how many of these are over, in whichever way.
    """

    def __init__(self) -> None:
        self.orders: list[Convert] = []
        self.ended = 0
        self._reports: list[Callable[[float, str], None]] = []
        self._may_end: list[asyncio.Future[None]] = []

    async def run(
        self, order: Convert, *, on_progress: Callable[[float, str], None], timeout_seconds: float
    ) -> ConvertedFile:
        """See `WorkerPool.run`; the converted file is the original with the format's name behind it."""
        assert timeout_seconds > 0
        self.orders.append(order)
        self._reports.append(on_progress)
        self._may_end.append(asyncio.get_running_loop().create_future())
        try:
            await self._may_end[-1]
        finally:
            self.ended += 1
        path = order.folder / f"converted.{order.format}"
        outcome = outcome_at(path, order.longer.read_bytes() + order.format.encode())
        return ConvertedFile(
            path=path,
            sha256=outcome.sha256,
            size_bytes=outcome.size_bytes,
            duration_seconds=40,
            before_seconds=order.before_seconds,
            after_seconds=order.after_seconds,
        )

    async def until_asked(self, count: int) -> None:
        """Wait until this many orders have arrived."""
        async with asyncio.timeout(10):
            while len(self.orders) < count:  # noqa: ASYNC110 - what other tasks do is waited for
                await asyncio.sleep(0.001)

    async def until_ended(self, count: int) -> None:
        """Wait until this many workers have ended."""
        async with asyncio.timeout(10):
            while self.ended < count:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.001)

    def report(self, number: int, progress: float) -> None:
        """Have a worker report its progress."""
        self._reports[number](progress, "writing")

    def finish(self, number: int = -1, failure: Exception | None = None) -> None:
        """Have a worker end."""
        if failure is None:
            self._may_end[number].set_result(None)
        else:
            self._may_end[number].set_exception(failure)


def any_type(value: object) -> Any:  # noqa: ANN401 - a stand-in for what has more methods
    """Pass a stand-in where its whole type is asked for."""
    return value

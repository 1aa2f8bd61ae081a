"""The editions of a result: the file as it was made, or a part of it, or in another format."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.database import told
from outpaint_mcp.errors import DeliveryFailed, InvalidRequest, OutpaintError, RequestNotFound, WorkerDied
from outpaint_mcp.models import Status
from outpaint_mcp.provider import ProviderStatus
from outpaint_mcp.workers.process import call_worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.edition import Edition
    from outpaint_mcp.entries import Delivery, Entry
    from outpaint_mcp.provider import Outcome, Provider
    from outpaint_mcp.results import Results
    from outpaint_mcp.watch import OnUpdate

KEPT_DAYS = 7
"""How long other editions can still be made after the last delivery."""

# Coding four minutes as MP3 takes twenty seconds; a worker that needs so much longer hangs.
_MOST_SECONDS = 900.0
_NEWS_SECONDS = 1.0
_OLD_SECONDS = 86_400.0

Delivered = Mapping[str, "Delivery | OutpaintError | None"]
"""By the id of each take: its file, why there is none, or None while it is being written."""


class Editions:
    """Makes an edition of a completed request once, puts it into the output folder, and finds it there ever after."""

    def __init__(self, results: Results, providers: Mapping[str, Provider], folder: Path) -> None:
        """Open it.

        Args:
            results: puts files into their places.
            providers: by name; they keep what they made.
            folder: where editions are written before they are put there.
        """
        self._results = results
        self._providers = providers
        self._folder = folder
        self._making: dict[tuple[str, Edition], asyncio.Task[Delivery]] = {}
        self._shares: dict[str, float] = {}
        self._workers = asyncio.Semaphore(os.cpu_count() or 1)

    async def deliver(
        self,
        takes: Sequence[Entry],
        edition: Edition,
        *,
        target: Path | None = None,
        wait_seconds: float,
        on_update: OnUpdate | None = None,
    ) -> Delivered:
        """Deliver an edition of completed takes.

        It goes on when the wait is over, and is shared by all who ask for it; what went wrong is told once to
        whoever asks next.

        Raises:
            InvalidRequest: nothing was added on that side.
        """
        side = edition.part
        if side != "whole" and not getattr(takes[0], f"extend_{side}_duration"):
            raise InvalidRequest(f"Nothing was added {side} the source; ask for part=whole.")
        tasks = {take.request_id: self._task(take, edition, target) for take in takes}
        until = time.monotonic() + wait_seconds
        while (left := until - time.monotonic()) > 0:
            _, pending = await asyncio.wait(tasks.values(), timeout=min(left, _NEWS_SECONDS))
            if not pending:
                break
            if on_update is not None:
                shares = [self._shares.get(each, 0.0) for each in tasks]
                share = sum(shares) / len(shares)
                await on_update(
                    ProviderStatus(status=Status.COMPLETED, progress=share, step=f"writing {edition}")
                )
        return {request_id: self._read(request_id, edition, task) for request_id, task in tasks.items()}

    def _task(self, entry: Entry, edition: Edition, target: Path | None) -> asyncio.Task[Delivery]:
        key = (entry.request_id, edition)
        if key not in self._making:
            self._making[key] = asyncio.create_task(self._deliver(entry, edition, target))
        return self._making[key]

    def _read(
        self, request_id: str, edition: Edition, task: asyncio.Task[Delivery]
    ) -> Delivery | OutpaintError | None:
        if not task.done():
            return None
        self._making.pop((request_id, edition), None)
        failure = task.exception()
        if failure is not None and not isinstance(failure, OutpaintError):
            raise failure
        return failure or task.result()

    async def _deliver(self, entry: Entry, edition: Edition, target: Path | None) -> Delivery:
        delivery = entry.deliveries.get(str(edition))
        if delivery is None:
            outcome = await self._outcome(entry)
            if not edition.restore_source:
                if outcome.as_made is None:  # there is but one
                    return await self._deliver(
                        entry, dataclasses.replace(edition, restore_source=True), target
                    )
                outcome = outcome.as_made
            delivery = await self._made(entry, edition, outcome, target)
        await asyncio.to_thread(self._results.find, delivery, is_paid=entry.estimated_cost_usd is not None)
        return delivery

    async def _outcome(self, entry: Entry) -> Outcome:
        """What the provider keeps of a request.

        Raises:
            DeliveryFailed: it does not any more.
        """
        try:
            outcome = await self._providers[entry.provider].result(entry.request_id)
        except RequestNotFound as exc:
            raise _gone(entry) from exc
        if not await asyncio.to_thread(outcome.path.is_file):
            raise _gone(entry)
        return outcome

    async def _made(self, entry: Entry, edition: Edition, outcome: Outcome, target: Path | None) -> Delivery:
        """Make an edition, and put it into its place."""
        if (edition.part, edition.format) == ("whole", "source"):
            return await asyncio.to_thread(self._results.deliver, entry.request_id, edition, outcome, target)
        folder = Path(await asyncio.to_thread(self._new_folder))
        try:
            outcome = await self._converted(entry, edition, outcome, folder)
            return await asyncio.to_thread(self._results.deliver, entry.request_id, edition, outcome, target)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            self._shares.pop(entry.request_id, None)

    def _new_folder(self) -> str:
        with told(self._folder.parent):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            return tempfile.mkdtemp(dir=self._folder)

    async def _converted(self, entry: Entry, edition: Edition, outcome: Outcome, folder: Path) -> Outcome:
        """Have a worker write another edition of what was made."""
        order = {
            "task": "convert",
            "made": str(outcome.path),
            "folder": str(folder),
            "part": edition.part,
            "format": edition.format,
            "before_seconds": outcome.before_seconds,
            "after_seconds": outcome.after_seconds,
        }
        try:
            async with self._workers, asyncio.timeout(_MOST_SECONDS):
                made = await call_worker(
                    order, on_progress=lambda share, _: self._shares.update({entry.request_id: share})
                )
        except TimeoutError as exc:
            raise WorkerDied(
                f"The file ({edition}) was not written within {_MOST_SECONDS:.0f} seconds. Try again."
            ) from exc
        return dataclasses.replace(
            outcome, **made | {"path": Path(made["path"]), "url": None, "as_made": None}
        )

    def tidy(self) -> None:
        """Throw away what was being written when a server was killed."""
        for folder in self._folder.glob("*"):
            with suppress(OSError):  # another server may be done with it this moment
                if time.time() - folder.stat().st_mtime > _OLD_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)


def _gone(entry: Entry) -> DeliveryFailed:
    there = next(iter(entry.deliveries.values()), None)
    way_out = f"Convert {there.path} instead." if there else "Submit the request again."
    return DeliveryFailed(
        f"What other editions are made of is kept for {KEPT_DAYS} days after a delivery, and is gone. {way_out}"
    )

"""The editions of a result: the file as it was made, or a part of it, or in another format."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.errors import DeliveryFailed, InvalidRequest
from outpaint_mcp.workers.process import call_worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outpaint_mcp.edition import Edition
    from outpaint_mcp.entries import Delivery, Entry
    from outpaint_mcp.provider import Outcome, Provider
    from outpaint_mcp.results import Results

KEPT_DAYS = 7
"""How long other editions can still be made of what was delivered."""


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

    async def begin(
        self, entry: Entry, edition: Edition, target: Path | None = None
    ) -> asyncio.Task[Delivery]:
        """See to it that an edition is delivered.

        Returns:
            The delivery to wait for. It is shared by all who ask for it: one who leaves must not cancel it.

        Raises:
            InvalidRequest: nothing was added on that side.
        """
        if edition.part != "whole" and not getattr(entry, f"extend_{edition.part}_duration"):
            raise InvalidRequest(f"Nothing was added {edition.part} the source; ask for part=whole.")
        if not edition.restore_source:
            outcome = await self._providers[entry.provider].result(entry.request_id)
            if outcome.as_made is None:  # there is but one
                edition = dataclasses.replace(edition, restore_source=True)
        key = (entry.request_id, edition)
        task = self._making.get(key)
        if task is None:
            task = self._making[key] = asyncio.create_task(self._deliver(entry, edition, target))
            task.add_done_callback(lambda _: self._making.pop(key))
        return task

    async def _deliver(self, entry: Entry, edition: Edition, target: Path | None) -> Delivery:
        delivery = entry.deliveries.get(str(edition))
        if delivery is None:
            outcome = await self._providers[entry.provider].result(entry.request_id)
            if not edition.restore_source and outcome.as_made is not None:
                outcome = outcome.as_made
            if edition.part != "whole" or edition.format != "source":
                outcome = await self._converted(entry, edition, outcome)
            delivery = await asyncio.to_thread(
                self._results.deliver, entry.request_id, edition, outcome, target
            )
            await asyncio.to_thread(shutil.rmtree, self._folder / entry.request_id, ignore_errors=True)
        await asyncio.to_thread(self._results.find, delivery, is_paid=entry.estimated_cost_usd is not None)
        return delivery

    async def _converted(self, entry: Entry, edition: Edition, outcome: Outcome) -> Outcome:
        """Have a worker write another edition of what was made."""
        if not await asyncio.to_thread(outcome.path.is_file):
            raise DeliveryFailed(
                f"What this could be made of was kept for {KEPT_DAYS} days after its first delivery, and is gone."
                f" {_where(entry)}"
            )
        folder = self._folder / entry.request_id
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True, mode=0o700)
        made = await call_worker(
            {
                "task": "convert",
                "made": str(outcome.path),
                "folder": str(folder),
                "part": edition.part,
                "format": edition.format,
                "before_seconds": outcome.before_seconds,
                "after_seconds": outcome.after_seconds,
            }
        )
        return dataclasses.replace(
            outcome, **made | {"path": Path(made["path"]), "url": None, "as_made": None}
        )


def _where(entry: Entry) -> str:
    delivery = entry.delivery
    return f"Convert {delivery.path} instead." if delivery else "Submit the request again."

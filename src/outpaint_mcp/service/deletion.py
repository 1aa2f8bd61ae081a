"""Deleting a request with its files: what is open ends first, what it cost stays in the ledger."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.disk.writing import remove
from outpaint_mcp.errors import Hint, InvalidRequest
from outpaint_mcp.principals import Principal
from outpaint_mcp.service.preview_files import FOLDER, PreviewFiles
from outpaint_mcp.storage.erasure import StillNeeded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.config import Settings
    from outpaint_mcp.service.cancelling import Canceller
    from outpaint_mcp.service.exporter import Exporter
    from outpaint_mcp.service.poller import StatusPoller
    from outpaint_mcp.storage.records import RequestRecord
    from outpaint_mcp.storage.store import Store


class Eraser:
    """Removes what is on disk of requests that have ended; its methods block.

    A remote caller's delivered files are ours to remove; the person's are theirs, wherever they lie.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        """Take where files and requests are."""
        self._settings = settings
        self._store = store

    def erase(self, takes: Sequence[RequestRecord]) -> None:
        """Delete a request: files first, so that whoever is interrupted can begin again.

        Args:
            takes: all of them.

        Raises:
            StillNeeded: it is open, or another one works with its result.
            StorageFailed: the data folder cannot be written to.
        """
        family, owner = takes[0].family, takes[0].caller
        self._store.erasure.check(family)
        if owner:
            self._remove_delivered(takes)
            self._remove_upload(takes[0])
        previews = PreviewFiles(self._settings.data_dir / FOLDER)
        for take in takes:
            remove(self._settings.data_dir / "jobs" / take.request_id)
            previews.forget(take.request_id)
        self._store.erasure.erase(family)

    def _remove_delivered(self, takes: Sequence[RequestRecord]) -> None:
        folder = self._settings.output_dir_of(takes[0].caller)
        for take in takes:
            places = [*(each.path for each in take.deliveries.values()), *take.planned_paths.values()]
            for place in map(Path, places):
                if place.parent == folder:
                    with suppress(FileNotFoundError):
                        place.unlink()

    def _remove_upload(self, take: RequestRecord) -> None:
        """Remove what was sent for this request alone."""
        if self._store.erasure.is_used_elsewhere(take.family, take.caller, take.audio):
            return
        folder = self._settings.reach_of(Principal(known_as=take.caller)).upload_dir
        if Path(take.audio).name == take.audio and not take.audio.startswith("."):
            with suppress(OSError):  # a link, or audio that came with the request: there is no such file
                (folder / take.audio).unlink()


class Deleter:
    """Deletes requests for those whose they are."""

    def __init__(
        self, poller: StatusPoller, canceller: Canceller, exporter: Exporter, eraser: Eraser
    ) -> None:
        self._poller = poller
        self._canceller = canceller
        self._exporter = exporter
        self._eraser = eraser

    async def delete(self, principal: Principal, request_id: str) -> str:
        """End a request and delete it with its takes and files; returns what was done, in a sentence.

        Raises:
            RequestNotFound: they have no such request.
            InvalidRequest: it is one of several takes, or cannot be deleted yet.
        """
        takes = await self._poller.takes(principal, request_id)
        if takes[0].family != request_id:
            raise InvalidRequest(
                f"{request_id} is one of {takes[0].takes} takes. Delete {takes[0].family}, the request as a whole."
            )
        await self._canceller.cancel(takes)
        await self._exporter.forget([take.request_id for take in takes])
        takes = await self._poller.takes(principal, request_id)
        try:
            await asyncio.to_thread(self._eraser.erase, takes)
        except StillNeeded as exc:
            raise _still_needed(takes, exc.request_id) from exc
        if principal.is_remote:
            return f"Request {request_id} was deleted with its files."
        return f"Request {request_id} was deleted. The files in your own folders were left alone."


def _still_needed(takes: Sequence[RequestRecord], request_id: str) -> InvalidRequest:
    is_itself = request_id in {take.request_id for take in takes}
    why = (
        "a step of it is still being carried out, and may be billed, and cannot be stopped. Delete it when it has ended"
        if is_itself
        else f"request {request_id} is working with its result. Wait until that has ended, or cancel it"
    )
    return InvalidRequest(
        f"Request {takes[0].family} was not deleted: {why}.", hint=Hint.CHECK_STATUS, request_id=request_id
    )

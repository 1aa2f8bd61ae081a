"""Delivering results: wait for the request, have its files written, and report what they are."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.errors import DeliveryFailed, InvalidRequest, OutpaintError
from outpaint_mcp.models import Status
from outpaint_mcp.reports import requests as reports
from outpaint_mcp.reports.forms import in_words
from outpaint_mcp.service.destinations import WAV_FORMATS, check_container, fit_format
from outpaint_mcp.service.exporter import BeingWritten
from outpaint_mcp.service.invitations import without_folder
from outpaint_mcp.service.result_links import place_named
from outpaint_mcp.service.takes import as_one
from outpaint_mcp.storage.records import Delivery

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outpaint_mcp.export_options import ExportOptions
    from outpaint_mcp.reports.models import ResultReport
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.service.exporter import Delivered, Exporter
    from outpaint_mcp.service.poller import OnUpdate, StatusPoller
    from outpaint_mcp.service.result_links import ResultLinks
    from outpaint_mcp.service.rooms import Room
    from outpaint_mcp.storage.lineage import Lineage
    from outpaint_mcp.storage.records import RequestRecord
    from outpaint_mcp.workers.forms import FormReader


class ResultDesk:
    """Hands results out."""

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        poller: StatusPoller,
        exporter: Exporter,
        forms: FormReader,
        lineage: Lineage,
        vocabulary: Vocabulary,
        links: ResultLinks,
        *,
        delivery_seconds: float,
    ) -> None:
        """Prepare to hand results out.

        Args:
            poller: follows requests.
            exporter: writes files.
            forms: reads in which form they were written.
            lineage: where files come from.
            vocabulary: the words of the surface that asks.
            links: takes the place of paths, for remote callers.
            delivery_seconds: how long a call waits for a file to be written, at least.
        """
        self._poller = poller
        self._exporter = exporter
        self._forms = forms
        self._lineage = lineage
        self._vocabulary = vocabulary
        self._links = links
        self._delivery_seconds = delivery_seconds

    async def result(  # noqa: PLR0913 - see `OutpaintService.result`
        self,
        room: Room,
        request_id: str,
        *,
        wait_seconds: float,
        options: ExportOptions,
        on_update: OnUpdate | None,
        save_as: str,
        target: Path | None,
        details: bool,
    ) -> ResultReport:
        """See `OutpaintService.result`; `room` is of whoever asks."""
        until = time.monotonic() + max(wait_seconds, self._delivery_seconds)
        if save_as:  # before any waiting: a place that cannot be used is known by now
            if room.principal.is_remote:
                target = place_named(save_as, room.reach.output_dir)
            else:
                target = await asyncio.to_thread(room.destinations.target_of, save_as)
        if target is not None and not await asyncio.to_thread(target.is_dir):
            options = fit_format(target.name, options)
        takes = await self._poller.follow(room.principal, request_id, wait_seconds, on_update)
        completed = [take for take in takes if take.status is Status.COMPLETED]
        if not completed:
            return reports.not_delivered(as_one(takes), self._vocabulary)
        if target is not None:
            options = await self._fitted(target, options, takes, completed)
        # What a remote caller names is a download: here, the file has its own name.
        place = None if room.principal.is_remote else target
        delivered = await self._deliver(completed, options, place, until, on_update)
        if room.principal.is_remote:
            delivered = {each: _without_folder(found, room) for each, found in delivered.items()}
        report, ready = await self._report(takes, delivered, options, details=details)
        if not ready:
            return report
        return self._links.linked(report, room.principal, ready, options, target.name if target else "")

    async def _fitted(
        self,
        target: Path,
        options: ExportOptions,
        takes: Sequence[RequestRecord],
        completed: Sequence[RequestRecord],
    ) -> ExportOptions:
        """Hold a place that was asked for against what is to be put there.

        Raises:
            InvalidRequest: it is one file's, and there are several; or the file is no AIFF or CAF, as its name says.
        """
        if await asyncio.to_thread(target.is_dir):
            return options
        if len(completed) > 1:
            ids = "; ".join(
                f"take {number} ({take.request_id})"
                for number, take in enumerate(takes, 1)
                if take.status is Status.COMPLETED
            )
            raise InvalidRequest(
                f"{target.name} is one file's name; name a folder for several takes, or ask for one of them by its id:"
                f" {ids}."
            )
        outcome = completed[0].outcome
        if options.format != "source" or outcome is None:
            return options
        stored = outcome.path if options.restore_source else (outcome.as_made or outcome).path
        check_container(target.name, stored.suffix)
        if target.suffix.lower() == ".wav" and stored.suffix != ".wav":
            form = await self._forms.form_of(stored)
            shallow, deep, deeper = (dataclasses.replace(options, format=each) for each in WAV_FORMATS)
            if form is None:  # no longer stored
                return shallow if str(shallow) in completed[0].deliveries else deep
            return {"PCM_S8": shallow, "PCM_16": shallow, "PCM_24": deep}.get(form.subtype, deeper)
        return options

    async def _deliver(
        self,
        completed: list[RequestRecord],
        options: ExportOptions,
        target: Path | None,
        until: float,
        on_update: OnUpdate | None,
    ) -> Delivered:
        async def deliver(some: list[RequestRecord]) -> Delivered:
            left = max(0.0, until - time.monotonic())
            return await self._exporter.deliver(
                some, options, target=target, wait_seconds=left, on_update=on_update
            )

        delivered = await deliver(completed)
        if len(completed) > 1 and all(isinstance(each, DeliveryFailed) for each in delivered.values()):
            # All were thrown away: what is asked for all the same is written again.
            for take in completed:
                delivered |= await deliver([take])
        return delivered

    async def _report(
        self, takes: Sequence[RequestRecord], delivered: Delivered, options: ExportOptions, *, details: bool
    ) -> tuple[ResultReport, Mapping[str, Delivery]]:
        """Return the report, and the files that it is about, by the id of each take."""
        whole = as_one(takes)
        open_ones = [each for each in delivered.values() if isinstance(each, BeingWritten)]
        if open_ones:
            written = len(delivered) - len(open_ones) + sum(each.progress for each in open_ones)
            return reports.being_written(whole, self._vocabulary, options, written / len(delivered)), {}
        ready = {each: found for each, found in delivered.items() if isinstance(found, Delivery)}
        missing = {each: why for each, why in delivered.items() if isinstance(why, OutpaintError)}
        if not ready:
            raise next(iter(missing.values()))
        report = reports.delivered(whole, self._vocabulary, takes, ready, missing, options, details=details)
        form = await self._forms.form_of(Path(report.path)) if report.path else None
        twin = await asyncio.to_thread(self._lineage.twin_of, takes[0]) if len(takes) == 1 else None
        same = (
            f"The same, value by value, as {twin}: what differs between the two has no effect."
            if twin
            else ""
        )
        message = " ".join(filter(None, (report.message, same)))
        return report.model_copy(update={"written": form and in_words(form), "message": message}), ready


def _without_folder(
    found: Delivery | OutpaintError | BeingWritten, room: Room
) -> Delivery | OutpaintError | BeingWritten:
    return without_folder(found, room.reach.output_dir) if isinstance(found, OutpaintError) else found

"""What an `audio` argument refers to: a file, a link, the audio itself, or the extended file of an earlier request."""

from __future__ import annotations

import asyncio
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from outpaint_mcp import sources
from outpaint_mcp.errors import Hint, InvalidRequest, OutpaintError
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.models import Status
from outpaint_mcp.reports.analysis import seams_seconds
from outpaint_mcp.reports.takes import best_first
from outpaint_mcp.service.takes import as_one
from outpaint_mcp.sources import LocalFile
from outpaint_mcp.storage.ids import is_request_id
from outpaint_mcp.storage.records import Delivery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.service.exporter import Exporter
    from outpaint_mcp.service.poller import StatusPoller
    from outpaint_mcp.sources import Source
    from outpaint_mcp.storage.records import RequestRecord

_WHOLE = ExportOptions()


class ResolvedSource(NamedTuple):
    """What an `audio` argument refers to.

    Attributes:
        shown: the argument as it may be shown, once redacted.
        parent: the earlier request whose extended file it is.
    """

    source: Source
    shown: str
    parent: RequestRecord | None


class AnalyzedSource(NamedTuple):
    """What is to be analyzed, its title, and where its seams are."""

    source: Source
    title: str
    seams_seconds: tuple[float, ...]


class ReferenceResolver:
    """Finds what is meant, in the allowed folders and among earlier requests."""

    def __init__(self, input_dirs: Sequence[Path], poller: StatusPoller, exporter: Exporter) -> None:
        self._input_dirs = input_dirs
        self._poller = poller
        self._exporter = exporter

    async def resolve(self, audio: str) -> ResolvedSource:
        """Find what an `audio` argument refers to.

        Raises:
            InvalidRequest: an earlier request has no result.
            SourceError: it cannot be read.
        """
        audio = audio.strip()
        parent = None
        folders = self._input_dirs
        if is_request_id(audio):
            parent, delivery = await self._earlier(audio)
            audio = delivery.path
            folders = (Path(audio).parent,)  # ours to read, wherever it was put at the time
        source = await asyncio.to_thread(sources.resolve_source, audio, input_dirs=folders)
        return ResolvedSource(source, audio, parent)

    async def _earlier(self, request_id: str) -> tuple[RequestRecord, Delivery]:
        """Find an earlier request whose extended file is the new source, delivering it if need be.

        Of several takes it is the best.
        """
        completed = {
            take.request_id: take for take in _completed(await self._poller.takes(request_id), request_id)
        }
        delivered = await self._exporter.deliver([*completed.values()], _WHOLE, wait_seconds=inf)
        ready = {each: found for each, found in delivered.items() if isinstance(found, Delivery)}
        if not ready:
            raise next(each for each in delivered.values() if isinstance(each, OutpaintError))
        best = best_first([*ready.values()])[0]
        parent = next(completed[each] for each, found in ready.items() if found is best)
        await self._exporter.check_content(parent.request_id, best)
        return parent, best

    async def resolve_for_analysis(self, audio: str) -> AnalyzedSource:
        """Find what is to be analyzed; nothing is delivered for that.

        Raises:
            InvalidRequest: an earlier request has no result.
            SourceError: it cannot be read.
        """
        audio = audio.strip()
        if not is_request_id(audio):
            resolved = await self.resolve(audio)
            return AnalyzedSource(resolved.source, sources.title_of(resolved.shown), ())
        completed = _completed(await self._poller.takes(audio), audio)
        wholes = filter(None, (take.deliveries.get(str(_WHOLE)) for take in completed))
        for delivery in best_first([*wholes]):
            if await self._exporter.is_unchanged(delivery):
                return AnalyzedSource(
                    LocalFile(Path(delivery.path)), completed[0].title, seams_seconds(delivery)
                )
        outcome = await self._exporter.stored(completed[0])
        return AnalyzedSource(LocalFile(outcome.path), completed[0].title, seams_seconds(outcome))


def _completed(takes: Sequence[RequestRecord], request_id: str) -> Sequence[RequestRecord]:
    """Return the takes of a request that are completed.

    Raises:
        InvalidRequest: there is none, or not yet.
    """
    whole = as_one(takes)
    if whole.status is not Status.COMPLETED:
        raise InvalidRequest(
            f"Request {request_id} is {whole.status}, so it has no result to work with."
            f" {'Choose another source.' if whole.status.is_final else 'Wait until it is completed.'}",
            hint=None if whole.status.is_final else Hint.GET_RESULT,
            request_id=request_id,
        )
    return [take for take in takes if take.status is Status.COMPLETED]

"""What an `audio` argument names: a file, a link, the audio itself, or the longer file of an earlier request."""

from __future__ import annotations

import asyncio
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from outpaint_mcp import sources
from outpaint_mcp.errors import InvalidRequest, OutpaintError
from outpaint_mcp.models import Status
from outpaint_mcp.reports import analysis as analyses
from outpaint_mcp.reports import takes as comparison
from outpaint_mcp.results import ExportOptions
from outpaint_mcp.service.takes import as_one
from outpaint_mcp.sources import LocalFile
from outpaint_mcp.storage.journal import is_request_id
from outpaint_mcp.storage.records import Delivery, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outpaint_mcp.providers.base import Provider
    from outpaint_mcp.service.exporter import Exporter
    from outpaint_mcp.service.poller import StatusPoller
    from outpaint_mcp.sources import Source

_WHOLE = ExportOptions()


class ResolvedSource(NamedTuple):
    """What an `audio` argument names.

    Attributes:
        shown: the argument as it may be told, once redacted.
        parent: the earlier request whose longer file it is.
        delivery: that file.
    """

    source: Source
    shown: str
    parent: RequestRecord | None
    delivery: Delivery | None


class ReferenceResolver:
    """Finds what is named, in the allowed folders and among earlier requests."""

    def __init__(
        self,
        input_dirs: Sequence[Path],
        watch: StatusPoller,
        exporter: Exporter,
        providers: Mapping[str, Provider],
    ) -> None:
        self._input_dirs = input_dirs
        self._watch = watch
        self._editions = exporter
        self._providers = providers

    async def named(self, audio: str) -> ResolvedSource:
        """Find what an `audio` argument names."""
        audio = audio.strip()
        parent = delivery = None
        folders = self._input_dirs
        if is_request_id(audio):
            parent, delivery = await self._earlier(audio)
            audio = delivery.path
            folders = (Path(audio).parent,)  # ours to read, wherever it was put at the time
        source = await asyncio.to_thread(sources.resolve_source, audio, input_dirs=folders)
        return ResolvedSource(source, audio, parent, delivery)

    async def _earlier(self, request_id: str) -> tuple[RequestRecord, Delivery]:
        """Find an earlier request whose longer file is the new source, delivering it if need be.

        Of several takes it is the best.
        """
        made = {
            take.request_id: take for take in _made(await self._watch.look_at_all(request_id), request_id)
        }
        delivered = await self._editions.deliver([*made.values()], _WHOLE, wait_seconds=inf)
        ready = {each: take for each, take in delivered.items() if isinstance(take, Delivery)}
        if not ready:
            raise next(each for each in delivered.values() if isinstance(each, OutpaintError))
        best = comparison.best_first([*ready.values()])[0]
        return next(made[each] for each, take in ready.items() if take == best), best

    async def heard(self, audio: str) -> tuple[Source, str, tuple[float, ...]]:
        """Find what is to be listened to, its title and its seams; of a result nothing is delivered for that."""
        audio = audio.strip()
        if not is_request_id(audio):
            named = await self.named(audio)
            return named.source, sources.title_of(named.shown), ()
        made = _made(await self._watch.look_at_all(audio), audio)
        wholes = filter(None, (take.deliveries.get(str(_WHOLE)) for take in made))
        delivered = [each for each in wholes if await asyncio.to_thread(Path(each.path).is_file)]
        best = comparison.best_first(delivered)[0] if delivered else None
        result = best or await self._providers[made[0].provider].result(made[0].request_id)
        return LocalFile(Path(result.path)), made[0].title, analyses.seams_seconds(result)


def _made(takes: Sequence[RequestRecord], request_id: str) -> Sequence[RequestRecord]:
    """Return the takes of a request that are completed.

    Raises:
        InvalidRequest: there is none, or not yet.
    """
    whole = as_one(takes)
    if whole.status is not Status.COMPLETED:
        raise InvalidRequest(
            f"Request {request_id} is {whole.status}, so it has no result to work with."
            f" {'Give another source.' if whole.status.is_final else 'Wait until it is completed.'}"
        )
    return [take for take in takes if take.status is Status.COMPLETED]

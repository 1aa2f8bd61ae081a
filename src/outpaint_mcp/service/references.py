"""What an `audio` argument refers to: a file, a link, the audio itself, or the extended file of an earlier request."""

from __future__ import annotations

import asyncio
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from outpaint_mcp import sources
from outpaint_mcp.disk.folders import existing_folders
from outpaint_mcp.errors import Hint, InvalidRequest, OutpaintError
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.models import Status
from outpaint_mcp.reports.takes import best_first
from outpaint_mcp.service.file_copy import has_content
from outpaint_mcp.service.invitations import NOT_HERE, Invitations, without_folder
from outpaint_mcp.service.origins import NO_RESULT, Origin, origin_of
from outpaint_mcp.service.takes import as_one
from outpaint_mcp.sources import LocalFile
from outpaint_mcp.sources.path_errors import SeveralFiles
from outpaint_mcp.storage.ids import is_request_id
from outpaint_mcp.storage.records import Delivery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outpaint_mcp.config import Reach
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.service.exporter import Exporter
    from outpaint_mcp.service.file_links import FileLinks
    from outpaint_mcp.service.poller import StatusPoller
    from outpaint_mcp.sources import Source
    from outpaint_mcp.storage.records import RequestRecord
    from outpaint_mcp.storage.store import Store

_WHOLE = ExportOptions()


class ResolvedSource(NamedTuple):
    """What an `audio` argument refers to.

    Attributes:
        shown: the argument as it may be shown, once redacted.
        parent: the take of an earlier request whose extended file it is.
        taken: the name of the file that was taken for a name that is no path; empty where that was not needed.
        note: which of several takes that is, in a sentence; empty where there was nothing to choose.
    """

    source: Source
    shown: str
    parent: RequestRecord | None
    taken: str = ""
    note: str = ""


class AnalyzedSource(NamedTuple):
    """What is to be analyzed.

    Attributes:
        picture_title: what a picture of it calls it.
        origin: what is known of it; None where its content tells.
    """

    source: Source
    title: str
    picture_title: str
    origin: Origin | None


class ReferenceResolver:
    """Finds what a caller means, in the folders that are open to them and among their earlier requests."""

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        principal: Principal,
        reach: Reach,
        store: Store,
        poller: StatusPoller,
        exporter: Exporter,
        links: FileLinks | None,
    ) -> None:
        self._principal = principal
        self._reach = reach
        self._store = store
        self._poller = poller
        self._exporter = exporter
        is_asked = links is not None and principal.is_remote
        self._invitations = Invitations(principal, reach, links) if is_asked and links else None

    async def resolve(self, audio: str) -> ResolvedSource:
        """Find what an `audio` argument refers to.

        Raises:
            InvalidRequest: an earlier request has no result.
            SourceError: it cannot be read.
        """
        audio = audio.strip()
        parent, note = None, ""
        folders = self._reach.input_dirs
        if is_request_id(audio):
            parent, delivery, note = await self._earlier_of_theirs(audio)
            audio = delivery.path
            folders = (Path(audio).parent,)  # ours to read, wherever it was put at the time
        source = await asyncio.to_thread(self._find, audio, folders)
        if isinstance(source, LocalFile) and parent is None:
            parent = await asyncio.to_thread(self._result_at, source.path)
        if isinstance(source, LocalFile) and not source.is_exact:
            shown = self._shown(source, sources.stored_text(source.path))
            return ResolvedSource(source, shown, parent, taken=sources.legible(source.path.name))
        return ResolvedSource(source, self._shown(source, audio), parent, note=note)

    def _find(self, audio: str, folders: Sequence[Path]) -> Source:
        try:
            return sources.resolve_source(audio, input_dirs=folders, own=self._reach.output_dir)
        except NOT_HERE as exc:
            if self._invitations is None:
                raise
            return self._invitations.sent_as(audio, exc)

    def _shown(self, source: Source, audio: str) -> str:
        """Return what stands for a source in the journal; of what a remote caller has sent, its name alone."""
        if not isinstance(source, LocalFile) or not self._principal.is_remote:
            return audio
        is_sent = source.path.parent in existing_folders([self._reach.upload_dir])
        return source.path.name if is_sent else sources.stored_text(source.path)

    async def files_meant(self, audio: str) -> tuple[str, ...]:
        """Return the names of the files that a name fits, where there are several."""
        if is_request_id(audio.strip()):
            return ()
        try:
            await asyncio.to_thread(
                sources.resolve_source, audio, input_dirs=self._reach.input_dirs, own=self._reach.output_dir
            )
        except SeveralFiles as exc:
            return exc.names
        except OutpaintError:  # whoever uses it says so
            pass
        return ()

    def _result_at(self, path: Path) -> RequestRecord | None:
        """Find the take whose extended file lies at a place, whatever it is called there: it is known what it is."""
        try:
            size_bytes = path.stat().st_size
        except OSError:  # whoever opens it says so
            return None
        for sha256 in self._store.lineage.digests_of_results(self._principal, size_bytes):
            if has_content(path, size_bytes=size_bytes, sha256=sha256):
                return self._store.lineage.result_with(self._principal, sha256)
        return None

    async def _earlier_of_theirs(self, request_id: str) -> tuple[RequestRecord, Delivery, str]:
        try:
            return await self._earlier(request_id)
        except OutpaintError as exc:
            if self._principal.is_remote:
                without_folder(exc, self._reach.output_dir)
            raise

    async def _earlier(self, request_id: str) -> tuple[RequestRecord, Delivery, str]:
        """Find an earlier request whose extended file is the new source, delivering it if need be.

        Of several takes it is the best; also returns a sentence that says so.
        """
        takes = await self._poller.takes(self._principal, request_id)
        completed = {take.request_id: take for take in _completed(takes, request_id)}
        delivered = await self._exporter.deliver([*completed.values()], _WHOLE, wait_seconds=inf)
        ready = {each: found for each, found in delivered.items() if isinstance(found, Delivery)}
        if not ready:
            raise next(each for each in delivered.values() if isinstance(each, OutpaintError))
        best = best_first([*ready.values()])[0]
        parent = next(completed[each] for each, found in ready.items() if found is best)
        await self._exporter.check_content(parent.request_id, best)
        if len(takes) < parent.takes:
            family = await asyncio.to_thread(self._store.journal.takes, parent.family)
            own = [take.request_id for take in family].index(parent.request_id) + 1
            return parent, best, f"Extends take {own} of {parent.takes}."
        if len(takes) == 1:
            return parent, best, ""
        number = [take.request_id for take in takes].index(parent.request_id) + 1
        rank = f"the best of {len(ready)}" if len(ready) > 1 else "the only one there is"
        return parent, best, f"Extends take {number} ({parent.request_id}), {rank}."

    async def resolve_for_analysis(self, audio: str) -> AnalyzedSource:
        """Find what is to be analyzed; nothing is delivered for that.

        Raises:
            InvalidRequest: an earlier request has no result.
            SourceError: it cannot be read.
        """
        audio = audio.strip()
        if not is_request_id(audio):
            resolved = await self.resolve(audio)
            title = sources.title_of(resolved.shown)
            name = (
                sources.legible(resolved.source.path.name)
                if isinstance(resolved.source, LocalFile)
                else title
            )
            return AnalyzedSource(resolved.source, title, name, None)
        completed = _completed(await self._poller.takes(self._principal, audio), audio)
        wholes = {take.request_id: take.deliveries.get(str(_WHOLE)) for take in completed}
        for delivery in best_first([*filter(None, wholes.values())]):
            if await self._exporter.is_unchanged(delivery):
                take = next(each for each in completed if wholes[each.request_id] is delivery)
                return await self._result(take, Path(delivery.path))
        outcome = await self._exporter.stored(completed[0])
        return await self._result(completed[0], outcome.path)

    async def _result(self, take: RequestRecord, path: Path) -> AnalyzedSource:
        origin = await asyncio.to_thread(origin_of, self._store.journal, take)
        return AnalyzedSource(LocalFile(path), take.title, path.name, origin)

    async def origin_of_file(self, sha256: str) -> Origin:
        """Find out what is known of a file that may be a result of ours."""

        def find() -> Origin:
            record = self._store.lineage.result_with(self._principal, sha256)
            return NO_RESULT if record is None else origin_of(self._store.journal, record)

        return await asyncio.to_thread(find)


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

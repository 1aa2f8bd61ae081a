"""Taking requests on: what the source is, whether an identical request is there, and who carries it out."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from outpaint_mcp import sources
from outpaint_mcp.disk.writing import remove
from outpaint_mcp.errors import InvalidRequest, OutpaintError, error_of_kind
from outpaint_mcp.jobs.run import SOURCE_NAME, share
from outpaint_mcp.models import Status
from outpaint_mcp.reports import submissions as reports
from outpaint_mcp.service.planning import find_music, length_note, plan_words
from outpaint_mcp.service.takes import as_one
from outpaint_mcp.sources import InlineAudio, LocalFile, RemoteUrl
from outpaint_mcp.storage.failures import storage_errors
from outpaint_mcp.storage.ids import new_request_ids
from outpaint_mcp.storage.records import NewRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from outpaint_mcp.jobs.signal import UpdateSignal
    from outpaint_mcp.models import SubmitRequest
    from outpaint_mcp.providers.base import Provider
    from outpaint_mcp.reports.models import Submission
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.service.references import ResolvedSource
    from outpaint_mcp.service.rooms import Room
    from outpaint_mcp.sources import Source
    from outpaint_mcp.storage.journal import Journal
    from outpaint_mcp.storage.records import RequestRecord

# Another process may be the one that works on it, and wakes nobody here.
_GLANCE_SECONDS = 0.25


class Submitter:
    """Writes requests with their jobs, and waits a moment for their provider's answer."""

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        journal: Journal,
        signal: UpdateSignal,
        providers: Mapping[str, Provider],
        folder: Path,
        vocabulary: Vocabulary,
        *,
        provider: str,
        ring: Callable[[], None] | None,
        accept_seconds: float | None = None,
    ) -> None:
        """Prepare to take requests on.

        Args:
            journal: where they are written.
            signal: says when something happens to one.
            providers: by name.
            folder: holds one folder per job.
            vocabulary: the words of the surface that submits.
            provider: who carries new requests out where they name nobody.
            ring: tells the dispatcher of new jobs; None where no job is carried out in this process.
            accept_seconds: how long to wait for a provider's answer; None for what the provider says.
        """
        self._journal = journal
        self._signal = signal
        self._providers = providers
        self._default = provider
        self._folder = folder
        self._vocabulary = vocabulary
        self._ring = ring
        self._accept_seconds = accept_seconds

    def provider(self, name: str) -> Provider:
        """Return the provider of a name; of none, the one that is configured.

        Raises:
            InvalidRequest: there is no such provider.
        """
        if (name or self._default) not in self._providers:
            raise InvalidRequest(f"Use one of {', '.join(self._providers)}.", field="provider")
        return self._providers[name or self._default]

    async def submit(
        self, room: Room, request: SubmitRequest, resolved: ResolvedSource, *, provider: str = ""
    ) -> Submission:
        """Take a request on: look at its source, write it, have its job begun.

        An identical request by the same caller within ten minutes is the earlier one.

        Args:
            room: of whoever asks.
            request: what is asked.
            resolved: its source.
            provider: who is to carry it out; empty for the one that is configured.

        Raises:
            OutpaintError: nothing was started, and nothing is paid.
        """
        chosen = self.provider(provider)
        new = await self._new_request(room, request, resolved, chosen)
        about = await length_note(room.prober, request, resolved)  # not later: from here on there is no error
        takes, is_new = await asyncio.to_thread(self._add, new, request, resolved.source)
        if not is_new:
            age_seconds = self._journal.age_seconds(takes[0])
            return reports.submitted_before(as_one(takes), self._vocabulary, age_seconds)
        if self._ring is not None:
            self._ring()
        music, takes = await asyncio.gather(
            find_music(room.prober, request, resolved), self._answered(takes, chosen)
        )
        is_generative = chosen.description.is_generative
        plan = plan_words(music, self._vocabulary, request, is_generative=is_generative)
        return self._receipt(takes, chosen, " ".join(filter(None, (about, resolved.note, plan))))

    async def _new_request(
        self, room: Room, request: SubmitRequest, resolved: ResolvedSource, provider: Provider
    ) -> NewRequest:
        source, parent = resolved.source, resolved.parent
        terms = provider.admit(room.principal, request)
        probed = await room.prober.look(source)
        source_seconds = None if probed is None else probed.seconds
        length = None if source_seconds is None else request.expected_seconds(source_seconds)
        name = provider.description.name
        # Drawn here, so that it can be reported and used again.
        seed = request.seed if request.seed >= 0 else secrets.randbelow(2**31)
        request_id, ids = new_request_ids(request.takes)
        return NewRequest(
            request=request.model_copy(update={"seed": seed}),
            request_id=request_id,
            ids=ids,
            provider=name,
            audio=sources.redact(resolved.shown),
            title=parent.title if parent else sources.title_of(resolved.shown),
            source=_place_of(source),
            after_seconds=request.expected_after_seconds(source_seconds),
            parent_request_id=parent.request_id if parent else None,
            expected_duration_seconds=length,
            caller=room.principal.owner,
            account=terms.account,
            limit_usd=terms.limit_usd,
            day_limit_usd=terms.day_limit_usd,
            allowance=room.allowance,
        )

    def _add(
        self, new: NewRequest, request: SubmitRequest, source: Source
    ) -> tuple[list[RequestRecord], bool]:
        """Write a request, and before it the audio that came with it: there is no job without its source."""
        key = _dedup_key(request, source, new.provider, new.caller, parent_id=new.parent_request_id)
        new = dataclasses.replace(new, dedup_key=key)
        folders = [self._folder / each for each in new.ids] if isinstance(source, InlineAudio) else []
        is_new = False
        try:
            if isinstance(source, InlineAudio):
                with storage_errors(self._folder.parent):
                    for folder in folders:
                        folder.mkdir(parents=True, mode=0o700)
                        if not share(folders[0] / SOURCE_NAME, folder / SOURCE_NAME):  # the first one's own
                            (folder / SOURCE_NAME).write_bytes(source.content)
            takes, is_new = self._journal.add(new)
        finally:
            if not is_new:
                for folder in folders:
                    remove(folder)
        return takes, is_new

    async def _answered(self, takes: list[RequestRecord], provider: Provider) -> list[RequestRecord]:
        """Wait until the provider has answered for every take, or for as long as a submission may take."""
        seconds = provider.description.accepts_within_seconds
        waits = seconds > 0 and self._ring is not None
        loop = asyncio.get_running_loop()
        until = loop.time() + (seconds if self._accept_seconds is None else self._accept_seconds)
        pending = _pending(takes)
        while waits and pending and loop.time() < until:
            await self._signal.wait(pending[0].request_id, _GLANCE_SECONDS)
            with suppress(OutpaintError, RuntimeError):  # it is taken on all the same
                takes = await asyncio.to_thread(self._journal.takes, takes[0].family)
            pending = _pending(takes)
        return takes

    def _receipt(self, takes: list[RequestRecord], provider: Provider, plan: str) -> Submission:
        failed = [_failure(take) for take in takes if take.status is Status.FAILED]
        if len(failed) == len(takes) and not any(take.is_accepted for take in takes):
            raise failed[0]
        pending, waits_for = _pending(takes), ""
        if provider.description.accepts_within_seconds and pending and pending[0].live:
            waits_for = pending[0].live.step or "waiting to be sent"
        return reports.submitted(
            as_one(takes), self._vocabulary, takes, plan=plan, waits_for=waits_for, refused=failed
        )


def _pending(takes: list[RequestRecord]) -> list[RequestRecord]:
    """Return the takes for which the provider has not answered yet."""
    return [take for take in takes if not (take.is_accepted or take.status.is_final)]


def _failure(take: RequestRecord) -> OutpaintError:
    return error_of_kind(take.error_kind, take.error or "", hint=take.error_hint, field=take.error_field)


def _place_of(source: Source) -> str:
    """Return where the job finds its source; empty for its own folder."""
    match source:
        case LocalFile(path=path):
            return sources.stored_text(path)
        case RemoteUrl(url=url):
            return url
        case InlineAudio():
            return ""


def _dedup_key(
    request: SubmitRequest, source: Source, provider: str, caller: str, *, parent_id: str | None = None
) -> str:
    """Return a digest that is equal for identical requests on the same audio, and reveals nothing of them."""
    content: object = None
    match source:
        case LocalFile(path=path):
            with suppress(OSError):  # taken away this moment: whoever opens it next says so
                seen = path.stat()
                # An earlier result that was taken away is delivered again, which is the same file at another time.
                content = (parent_id or (str(path), seen.st_mtime_ns), seen.st_size)
        case RemoteUrl(url=url):
            content = url
        case InlineAudio(content=data):
            content = hashlib.sha256(data).hexdigest()
    asked = request.model_dump_json(exclude={"audio"})
    return hashlib.sha256(repr((provider, caller, content, asked)).encode()).hexdigest()[:32]

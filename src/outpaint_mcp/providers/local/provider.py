"""The local provider's face: submit, status, result, cancel."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from outpaint_mcp.errors import OutpaintError
from outpaint_mcp.jobs.liveness import Presence
from outpaint_mcp.models import CancelOutcome, Status, SubmitRequest
from outpaint_mcp.providers.base import ProviderStatus, Receipt
from outpaint_mcp.providers.local.jobs import Job, Jobs
from outpaint_mcp.providers.local.runner import SOURCE_NAME, Runner
from outpaint_mcp.results import Outcome
from outpaint_mcp.sources import InlineAudio, LocalFile, RemoteUrl, Source
from outpaint_mcp.storage.database import told
from outpaint_mcp.workers.probing import MAX_SOURCE_SECONDS, PROBE_SECONDS, Prober

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from outpaint_mcp.storage.database import Database

# A running job is told to stop within a tick, and then only has to be killed.
_CANCEL_LOOKS = 20


@asynccontextmanager
async def open_local_provider(
    database: Database, data_dir: Path, *, runs: bool = True
) -> AsyncIterator[LocalProvider]:
    """Run the queue for as long as the block lasts; jobs left over go on with the next server.

    Args:
        database: where the jobs are.
        data_dir: its folder.
        runs: whether jobs are started here; otherwise they wait for a server.

    Raises:
        StorageFailed: the data folder cannot be used.
    """
    jobs, folder = Jobs(database), data_dir / "jobs"
    with told(data_dir):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not runs:
        yield LocalProvider(jobs, folder)
        return
    presence = await asyncio.to_thread(Presence, data_dir / "servers")
    runner = Runner(
        jobs, presence, folder, most_running=os.cpu_count() or 1, max_source_seconds=MAX_SOURCE_SECONDS
    )
    running = asyncio.create_task(runner.run())
    try:
        yield LocalProvider(jobs, folder, ring=runner.ring)
    finally:
        running.cancel()
        await asyncio.wait({running})
        presence.close()


class LocalProvider:
    """Carries the track's own material on; tags and lyrics do not steer it."""

    name = "local"
    poll_seconds = 0.25

    def __init__(
        self,
        jobs: Jobs,
        folder: Path,
        *,
        ring: Callable[[], None] = lambda: None,
        probe_seconds: float = PROBE_SECONDS,
    ) -> None:
        self._jobs = jobs
        self._folder = folder
        self._ring = ring
        self._prober = Prober(max_source_seconds=MAX_SOURCE_SECONDS, timeout_seconds=probe_seconds)

    async def source_seconds(self, source: Source) -> float | None:
        """See `Provider.source_seconds`."""
        return await self._prober.seconds(source)

    async def news(self, request_id: str) -> None:  # noqa: ARG002 - another server may work on it: looked for
        """See `Provider.news`."""
        await asyncio.sleep(self.poll_seconds)

    async def submit(self, request_id: str, request: SubmitRequest, source: Source) -> Receipt:
        """See `Provider.submit`."""
        try:
            await asyncio.to_thread(self._submit, request_id, request, source)
        except OutpaintError:
            await self.discard(request_id)
            raise
        self._ring()
        return Receipt(status=Status.IN_QUEUE)

    def _submit(self, request_id: str, request: SubmitRequest, source: Source) -> None:
        match source:
            case LocalFile(path=path):
                where = str(path)
            case RemoteUrl(url=url):
                where = url
            case InlineAudio(content=content):
                folder = self._folder / request_id
                with told(self._folder.parent):
                    folder.mkdir(exist_ok=True)
                    (folder / SOURCE_NAME).write_bytes(content)
                    where = str((folder / SOURCE_NAME).resolve())
        self._jobs.add(
            Job(
                request_id=request_id,
                source=where,
                before_seconds=request.extend_before_duration,
                after_seconds=request.extend_after_duration,
                seed=request.seed if request.seed >= 0 else secrets.randbelow(2**31),
                start_seconds=request.source_start_seconds,
                end_seconds=request.source_end_seconds,
            )
        )

    async def status(self, request_id: str) -> ProviderStatus:
        """See `Provider.status`."""
        return await asyncio.to_thread(self._jobs.status, request_id)

    async def give_up(self, request_id: str) -> None:
        """See `Provider.give_up`."""
        await asyncio.to_thread(self._jobs.give_up, request_id)

    async def result(self, request_id: str) -> Outcome:
        """See `Provider.result`."""
        return Outcome.of(await asyncio.to_thread(self._jobs.outcome, request_id))

    async def cancel(self, request_id: str) -> CancelOutcome:
        """See `Provider.cancel`; returns when a running job has stopped."""
        if await asyncio.to_thread(self._jobs.cancel, request_id) is CancelOutcome.NOT_CANCELLABLE:
            return CancelOutcome.NOT_CANCELLABLE
        for _ in range(_CANCEL_LOOKS):
            if (await self.status(request_id)).status.is_final:
                break
            await asyncio.sleep(self.poll_seconds / 2)
        else:
            await asyncio.to_thread(self._jobs.cancel_without_its_server, request_id)
        if (await self.status(request_id)).status is not Status.CANCELLED:
            return CancelOutcome.NOT_CANCELLABLE  # it was quicker
        await self.discard(request_id)
        return CancelOutcome.CANCELLED

    async def kept(self) -> list[str]:
        """See `Provider.kept`."""
        return await asyncio.to_thread(lambda: [path.name for path in self._folder.glob("*")])

    async def discard(self, request_id: str) -> None:
        """See `Provider.discard`."""
        await asyncio.to_thread(shutil.rmtree, self._folder / request_id, ignore_errors=True)

"""The local provider's face: submit, status, result, cancel."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from outpaint_mcp.local.jobs import Job, Jobs
from outpaint_mcp.local.presence import Presence
from outpaint_mcp.local.process import call_worker
from outpaint_mcp.local.runner import SOURCE_NAME, Runner
from outpaint_mcp.models import CancelOutcome, OutpaintRequest, Status
from outpaint_mcp.provider import Outcome, ProviderStatus
from outpaint_mcp.sources import InlineAudio, LocalFile, RemoteUrl, Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from outpaint_mcp.database import Database

# The hosted model takes 60 minutes; here a chain of extensions may grow past that.
MAX_SOURCE_SECONDS = 2 * 3600.0

# A running job is told to stop within a tick, and then only has to be killed.
_CANCEL_LOOKS = 20


@asynccontextmanager
async def open_local_provider(database: Database, data_dir: Path) -> AsyncIterator[LocalProvider]:
    """Run the queue for as long as the block lasts; jobs left over go on with the next server."""
    jobs = Jobs(database)
    presence = Presence(data_dir / "servers")
    folder = data_dir / "jobs"
    runner = Runner(
        jobs, presence, folder, most_running=os.cpu_count() or 1, max_source_seconds=MAX_SOURCE_SECONDS
    )
    running = asyncio.create_task(runner.run())
    try:
        yield LocalProvider(jobs, runner, folder)
    finally:
        running.cancel()
        await asyncio.wait({running})
        presence.close()


async def _probed(path: Path) -> float:
    found = await call_worker({"task": "probe", "path": str(path), "max_seconds": MAX_SOURCE_SECONDS})
    return float(found["seconds"])


class LocalProvider:
    """Carries the track's own material on; tags and lyrics do not steer it."""

    name = "local"
    poll_seconds = 0.25

    def __init__(self, jobs: Jobs, runner: Runner, folder: Path) -> None:
        self._jobs = jobs
        self._runner = runner
        self._folder = folder

    async def source_seconds(self, source: Source) -> float | None:
        """See `Provider.source_seconds`; a file is opened by a worker, so that it cannot harm the server."""
        match source:
            case LocalFile(path=path):
                return await _probed(path)
            case InlineAudio(content=content):
                with TemporaryDirectory() as folder:
                    path = Path(folder, SOURCE_NAME)
                    await asyncio.to_thread(path.write_bytes, content)
                    return await _probed(path)
            case RemoteUrl():
                return None

    async def submit(self, request_id: str, request: OutpaintRequest, source: Source) -> None:
        """See `Provider.submit`."""
        await asyncio.to_thread(self._submit, request_id, request, source)
        self._runner.ring()

    def _submit(self, request_id: str, request: OutpaintRequest, source: Source) -> None:
        match source:
            case LocalFile(path=path):
                where = str(path)
            case RemoteUrl(url=url):
                where = url
            case InlineAudio(content=content):
                folder = self._folder / request_id
                folder.mkdir(parents=True, exist_ok=True)
                (folder / SOURCE_NAME).write_bytes(content)
                where = str((folder / SOURCE_NAME).resolve())
        self._jobs.add(
            Job(
                request_id=request_id,
                source=where,
                before_seconds=request.extend_before_duration,
                after_seconds=request.extend_after_duration,
                seed=request.seed if request.seed >= 0 else secrets.randbelow(2**31),
            )
        )

    async def status(self, request_id: str) -> ProviderStatus:
        """See `Provider.status`."""
        return await asyncio.to_thread(self._jobs.status, request_id)

    async def result(self, request_id: str) -> Outcome:
        """See `Provider.result`."""
        outcome = await asyncio.to_thread(self._jobs.outcome, request_id)
        return Outcome(**outcome | {"path": Path(outcome["path"])})

    async def cancel(self, request_id: str) -> CancelOutcome:
        """See `Provider.cancel`; returns when a running job has stopped."""
        outcome = await asyncio.to_thread(self._jobs.cancel, request_id)
        for _ in range(_CANCEL_LOOKS):
            status = (await self.status(request_id)).status
            if status.is_final:
                break
            await asyncio.sleep(self.poll_seconds / 2)
        else:
            return outcome
        if status is Status.CANCELLED:
            await self.discard(request_id)
            return outcome
        return CancelOutcome.NOT_CANCELLABLE

    async def kept(self) -> list[str]:
        """See `Provider.kept`."""
        return await asyncio.to_thread(lambda: [path.name for path in self._folder.glob("*")])

    async def discard(self, request_id: str) -> None:
        """See `Provider.discard`."""
        await asyncio.to_thread(shutil.rmtree, self._folder / request_id, ignore_errors=True)

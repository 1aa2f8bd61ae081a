"""Looking at a source before anything is done with it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from outpaint_mcp.errors import SourceError
from outpaint_mcp.sources import InlineAudio, LocalFile, RemoteUrl, Source
from outpaint_mcp.workers.process import call_worker

# The hosted model takes 60 minutes; a chain of extensions may grow past that.
MAX_SOURCE_SECONDS = 2 * 3600.0

# Looking at a source reads its head, and at worst the whole of an MP3, once.
PROBE_SECONDS = 20.0


class Prober:
    """Opens sources in worker processes, one a core, so that they cannot harm the server."""

    def __init__(
        self, *, max_source_seconds: float = MAX_SOURCE_SECONDS, timeout_seconds: float = PROBE_SECONDS
    ) -> None:
        self._max_source_seconds = max_source_seconds
        self._timeout_seconds = timeout_seconds
        self._probing = asyncio.Semaphore(os.cpu_count() or 1)

    async def seconds(self, source: Source) -> float | None:
        """Return a source's length; None where it would have to be fetched first.

        Raises:
            SourceError: it cannot be used by anyone.
        """
        match source:
            case LocalFile(path=path):
                return await self.probed(path)
            case InlineAudio(content=content):
                with TemporaryDirectory() as folder:
                    path = Path(folder, "source")
                    await asyncio.to_thread(path.write_bytes, content)
                    return await self.probed(path)
            case RemoteUrl():
                return None

    async def probed(self, path: Path) -> float:
        """Return the length of a file in seconds; raises as `seconds` does."""
        order = {"task": "probe", "path": str(path), "max_seconds": self._max_source_seconds}
        async with self._probing:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    found = await call_worker(order)
            except TimeoutError as exc:
                raise SourceError(
                    f"The source could not be looked at within {self._timeout_seconds:.0f} seconds. Try again,"
                    " or copy it to a disk of this machine."
                ) from exc
        return float(found["seconds"])

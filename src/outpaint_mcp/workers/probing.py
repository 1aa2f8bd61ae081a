"""Looking at a source before anything is done with it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from outpaint_mcp.errors import SourceError, WorkerTimedOut
from outpaint_mcp.sources import InlineAudio, LocalFile, RemoteUrl, Source
from outpaint_mcp.workers.orders import Probe

if TYPE_CHECKING:
    from outpaint_mcp.workers.pool import WorkerPool

# The hosted model takes 60 minutes; a chain of extensions may grow past that.
MAX_SOURCE_SECONDS = 2 * 3600.0

# Looking at a source reads its head, and at worst the whole of an MP3, once.
PROBE_SECONDS = 20.0

_MOST_LOOKS = 256

_Identity = tuple[str, int, int, int, int] | tuple[str]


class Prober:
    """Reads the headers of sources in worker processes, so that they cannot harm the server.

    Args:
        pool: runs the workers.
        max_source_seconds: the longest source to accept.
        timeout_seconds: how long one look may take.
    """

    def __init__(
        self,
        pool: WorkerPool,
        *,
        max_source_seconds: float = MAX_SOURCE_SECONDS,
        timeout_seconds: float = PROBE_SECONDS,
    ) -> None:
        self._pool = pool
        self._max_source_seconds = max_source_seconds
        self._timeout_seconds = timeout_seconds
        self._looks: dict[_Identity, asyncio.Task[float]] = {}

    async def source_seconds(self, source: Source) -> float | None:
        """Return a source's length; None where it would have to be fetched first.

        Raises:
            SourceError: it cannot be used by anyone.
        """
        match source:
            case LocalFile(path=path):
                return await self.file_seconds(path)
            case InlineAudio(content=content):
                with TemporaryDirectory() as folder:
                    path = Path(folder, "source")
                    await asyncio.to_thread(path.write_bytes, content)
                    return await self.file_seconds(path)
            case RemoteUrl():
                return None

    async def file_seconds(self, path: Path) -> float:
        """Return the length of a file in seconds; raises as `source_seconds` does.

        A file that has not changed is not looked at again, and several who ask at once share one look.
        """
        identity = await asyncio.to_thread(_identity, path)
        look = self._looks.get(identity)
        if look is None:
            look = self._looks[identity] = asyncio.create_task(self._look(path))
            look.add_done_callback(lambda done: self._forget(identity, done))
        return await asyncio.shield(look)

    def _forget(self, identity: _Identity, look: asyncio.Task[float]) -> None:
        """Forget a look that failed, and the oldest finished ones where there are many."""
        if (look.cancelled() or look.exception() is not None) and self._looks.get(identity) is look:
            del self._looks[identity]
        surplus = max(0, len(self._looks) - _MOST_LOOKS)
        for oldest in [each for each, known in self._looks.items() if known.done()][:surplus]:
            del self._looks[oldest]

    async def _look(self, path: Path) -> float:
        try:
            probed = await self._pool.run(
                Probe(path=path, max_seconds=self._max_source_seconds), timeout_seconds=self._timeout_seconds
            )
        except WorkerTimedOut as exc:
            raise SourceError(
                f"The source could not be looked at within {self._timeout_seconds:.0f} seconds. Try again,"
                " or copy it to a disk of this machine."
            ) from exc
        return probed.seconds


def _identity(path: Path) -> _Identity:
    """Return what changes when a file does."""
    try:
        seen = path.stat()
    except OSError:  # whoever opens it says so
        return (str(path),)
    return (str(path), seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns)

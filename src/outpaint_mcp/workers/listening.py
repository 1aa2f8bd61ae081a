"""Having a source analyzed."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from outpaint_mcp.errors import SourceError, StorageFailed, WorkerTimedOut
from outpaint_mcp.sources import InlineAudio, LocalFile, RemoteUrl, Source
from outpaint_mcp.workers.orders import Analyze
from outpaint_mcp.workers.probing import MAX_SOURCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from outpaint_mcp.audio.hearing.records import Analysis
    from outpaint_mcp.workers.pool import WorkerPool

# An hour takes a tenth of this.
_TIMEOUT_SECONDS = 180.0


class SourceAnalyzer:
    """Analyzes sources in worker processes.

    Args:
        pool: runs the workers.
        fetch: fetches a link into a file, as `sources.fetch` does.
        timeout_seconds: how long fetching may take, and then the analysis; waiting for a slot does not count.
    """

    def __init__(
        self,
        pool: WorkerPool,
        fetch: Callable[..., Coroutine[object, object, None]],
        *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._pool = pool
        self._fetch = fetch
        self._timeout_seconds = timeout_seconds

    async def analyze(
        self,
        source: Source,
        *,
        picture: bool,
        seams_seconds: Sequence[float],
        on_progress: Callable[[float, str], None],
    ) -> tuple[Analysis, bytes | None]:
        """Analyze a source, and draw it where that is wanted.

        Args:
            source: a link is fetched first.
            picture: whether to draw it.
            seams_seconds: places to mark in the picture.
            on_progress: called with the share done and the step.

        Returns:
            The analysis, and the picture as PNG.

        Raises:
            SourceError: the source cannot be fetched or decoded, or takes too long.
            StorageFailed: there is no room for temporary files.
            OutpaintError: as `WorkerPool.run` raises it.
        """
        try:
            async with self._local_path(source, on_progress) as path:
                with TemporaryDirectory() as folder:
                    drawing = Path(folder, "picture.png") if picture else None
                    order = Analyze(
                        path=path,
                        max_seconds=MAX_SOURCE_SECONDS,
                        picture=drawing,
                        seams_seconds=tuple(seams_seconds),
                    )
                    analysis = await self._pool.run(
                        order, on_progress=on_progress, timeout_seconds=self._timeout_seconds
                    )
                    return analysis, None if drawing is None else await asyncio.to_thread(drawing.read_bytes)
        except (TimeoutError, WorkerTimedOut) as exc:
            raise SourceError(
                f"The source could not be analyzed within {self._timeout_seconds:.0f} seconds. Copy it to a disk of"
                " this machine, or give a shorter one."
            ) from exc
        except OSError as exc:
            raise StorageFailed(
                f"Nothing can be written to the folder for temporary files: {exc.strerror or exc}. Make room, then try"
                " again."
            ) from exc

    @asynccontextmanager
    async def _local_path(
        self, source: Source, on_progress: Callable[[float, str], None]
    ) -> AsyncIterator[Path]:
        """Give a source a path, for as long as the block lasts."""
        if isinstance(source, LocalFile):
            yield source.path
            return
        with TemporaryDirectory() as folder:
            path = Path(folder, "source")
            match source:
                case InlineAudio(content=content):
                    await asyncio.to_thread(path.write_bytes, content)
                case RemoteUrl(url=url):
                    on_progress(0.0, "fetching")
                    async with asyncio.timeout(self._timeout_seconds):
                        await self._fetch(url, path)
            yield path

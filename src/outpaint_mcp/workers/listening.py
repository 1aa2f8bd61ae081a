"""Having a source listened to."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from outpaint_mcp.errors import SourceError, StorageFailed
from outpaint_mcp.sources import InlineAudio, LocalFile, RemoteUrl, Source, fetch
from outpaint_mcp.workers.probing import MAX_SOURCE_SECONDS
from outpaint_mcp.workers.process import call_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

# An hour takes a tenth of this.
_MOST_SECONDS = 180.0


class Listener:
    """Listens in worker processes, one a core."""

    def __init__(self) -> None:
        self._listening = asyncio.Semaphore(os.cpu_count() or 1)

    async def hear(
        self,
        source: Source,
        *,
        picture: bool,
        seams_seconds: Sequence[float],
        on_progress: Callable[[float, str], None],
    ) -> tuple[dict[str, Any], bytes | None]:
        """Listen to a source, and draw it where that is wanted.

        Args:
            source: a link is fetched first.
            picture: whether to draw it.
            seams_seconds: places to mark in the picture.
            on_progress: told the share done and the step.

        Returns:
            What was heard, as `audio.hear.Heard` tells it, and the picture as PNG.

        Raises:
            SourceError: it cannot be had or decoded, or takes too long.
            WorkerDied: the worker did.
            StorageFailed: there is no room for temporary files.
        """
        try:
            async with self._listening, asyncio.timeout(_MOST_SECONDS), _here(source, on_progress) as path:
                with TemporaryDirectory() as folder:
                    drawn = Path(folder, "picture.png")
                    heard = await call_worker(
                        {
                            "task": "hear",
                            "path": str(path),
                            "max_seconds": MAX_SOURCE_SECONDS,
                            "picture": str(drawn) if picture else None,
                            "seams_seconds": list(seams_seconds),
                        },
                        on_progress=on_progress,
                    )
                    return heard, await asyncio.to_thread(drawn.read_bytes) if picture else None
        except TimeoutError as exc:
            raise SourceError(
                f"The source could not be listened to within {_MOST_SECONDS:.0f} seconds. Copy it to a disk of this"
                " machine, or give a shorter one."
            ) from exc
        except OSError as exc:
            raise StorageFailed(
                f"Nothing can be written to the folder for temporary files: {exc.strerror or exc}. Make room, then try"
                " again."
            ) from exc


@asynccontextmanager
async def _here(source: Source, on_progress: Callable[[float, str], None]) -> AsyncIterator[Path]:
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
                await fetch(url, path)
        yield path

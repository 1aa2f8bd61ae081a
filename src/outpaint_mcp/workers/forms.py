"""Seeing in which form a file was written."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from outpaint_mcp.errors import OutpaintError, ServerStopping
from outpaint_mcp.workers.looks import ReadForm

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.workers.looks import WrittenForm
    from outpaint_mcp.workers.pool import WorkerPool

# An hour of MP3 is gone through in a second.
_TIMEOUT_SECONDS = 10.0
_MOST_KNOWN = 256


class FormReader:
    """Reads the forms of files in worker processes, and remembers them.

    Args:
        pool: runs the workers.
    """

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._known: OrderedDict[tuple[Path, int, int], WrittenForm] = OrderedDict()

    async def form_of(self, path: Path) -> WrittenForm | None:
        """Return the form of a file; None where it cannot be read for now.

        Raises:
            ServerStopping: the pool is closed.
        """
        try:
            seen = await asyncio.to_thread(path.stat)
            key = (path, seen.st_size, seen.st_mtime_ns)
            if key not in self._known:
                found = await self._pool.run(ReadForm(path=path), timeout_seconds=_TIMEOUT_SECONDS)
                self._known[key] = found
                if len(self._known) > _MOST_KNOWN:
                    self._known.popitem(last=False)
            return self._known[key]
        except ServerStopping:
            raise
        except (OSError, OutpaintError):
            return None

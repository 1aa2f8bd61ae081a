"""The file that has a source's content; what is no file yet is copied for a while."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from outpaint_mcp.sources import InlineAudio, LocalFile, RemoteUrl, Source, fetch_patiently
from outpaint_mcp.workers.outliving import OUTLIVE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

FRESH_SECONDS = 600.0
"""How long a fetched link is taken for what is still there."""
_STORED_SECONDS = FRESH_SECONDS + OUTLIVE_SECONDS


class SourceCopies:
    """Gives every source a path.

    Args:
        fetch: fetches a link into a file, as `sources.fetch` does.
        folder: holds the copies.
    """

    def __init__(self, fetch: Callable[..., Coroutine[object, object, str | None]], folder: Path) -> None:
        self._fetch = fetch
        self._folder = folder

    async def locate(self, source: Source) -> Path:
        """Return a file with the source's content.

        Raises:
            SourceError: the source cannot be fetched.
            OSError: there is no room for a copy.
        """
        match source:
            case LocalFile(path=path):
                return path
            case InlineAudio(content=content):
                return await asyncio.to_thread(self._copy, content)
            case RemoteUrl(url=url):
                return await self._fetched(url)

    def _copy(self, content: bytes) -> Path:
        self._tidy()
        path = self._folder / hashlib.sha256(content).hexdigest()
        part = self._part(path)
        part.write_bytes(content)
        part.replace(path)
        return path

    async def _fetched(self, url: str) -> Path:
        path = self._folder / hashlib.sha256(url.encode()).hexdigest()
        await asyncio.to_thread(self._tidy)
        if await asyncio.to_thread(_age_seconds, path) < FRESH_SECONDS:
            return path
        part = self._part(path)
        try:
            await fetch_patiently(self._fetch, url, part)
            await asyncio.to_thread(part.replace, path)
        finally:
            part.unlink(missing_ok=True)
        return path

    def _part(self, path: Path) -> Path:
        return path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")

    def _tidy(self) -> None:
        """Delete the copies that nothing works with any more; a server may run for weeks."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in self._folder.glob("*"):
            if _age_seconds(path) > _STORED_SECONDS:
                with suppress(OSError):
                    path.unlink()


def _age_seconds(path: Path) -> float:
    """Return how long ago a file was written; infinite where there is none."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")

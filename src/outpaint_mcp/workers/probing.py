"""Looking at a source before anything is done with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from outpaint_mcp.errors import OutpaintError, ServerStopping, SourceError, WorkerTimedOut
from outpaint_mcp.sources import InlineAudio, LocalFile, RemoteUrl, Source
from outpaint_mcp.workers.looks import Probe, ProbeMany, Survey

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from outpaint_mcp.audio.layout import Layout
    from outpaint_mcp.audio.surroundings import FullMusic
    from outpaint_mcp.models import SubmitRequest
    from outpaint_mcp.workers.looks import Probed
    from outpaint_mcp.workers.pool import WorkerPool
    from outpaint_mcp.workers.source_copies import SourceCopies

# The hosted model takes 60 minutes; a chain of extensions may grow past that.
MAX_SOURCE_SECONDS = 2 * 3600.0

# Looking at a source reads its head, and at worst the whole of an MP3, once.
PROBE_SECONDS = 20.0

_MOST_LOOKS = 256

# Longer recordings are extended all the same, without saying beforehand where the music goes on.
_SURVEY_SECONDS = 3.0

# Reading a header takes some milliseconds; one that takes seconds is in the way of few others.
_FILES_PER_ORDER = 24
_MOST_LENGTHS = 5_000

_Seen = TypeVar("_Seen")
_Identity = tuple[object, ...]


class Prober:
    """Reads the headers of sources in worker processes, so that they cannot harm the server.

    Args:
        pool: runs the workers.
        copies: holds what is no file yet.
        max_source_seconds: the longest source to accept.
        timeout_seconds: how long one look may take.
    """

    def __init__(
        self,
        pool: WorkerPool,
        copies: SourceCopies,
        *,
        max_source_seconds: float = MAX_SOURCE_SECONDS,
        timeout_seconds: float = PROBE_SECONDS,
    ) -> None:
        self._pool = pool
        self._copies = copies
        self._max_source_seconds = max_source_seconds
        self._timeout_seconds = timeout_seconds
        self._looks: dict[_Identity, asyncio.Task[Any]] = {}
        self._lengths: dict[_Identity, float | None] = {}

    async def look(self, source: Source) -> Probed | None:
        """Return what a source's header says; None where it would have to be fetched first.

        Raises:
            SourceError: it cannot be used by anyone.
        """
        match source:
            case LocalFile(path=path):
                return await self.look_at_file(path)
            case InlineAudio():
                return await self.look_at_file(await self._copies.locate(source))
            case RemoteUrl():
                return None

    async def full_music(
        self, source: Source, request: SubmitRequest, layout: Layout | None
    ) -> FullMusic | None:
        """Return where the full music of what is extended begins and ends; None where that takes too long to find out.

        Raises:
            SourceError: it cannot be used by anyone.
        """
        if not isinstance(source, LocalFile):
            return None
        survey = Survey(
            path=source.path,
            start_seconds=request.source_start_seconds,
            end_seconds=request.source_end_seconds,
            layout=layout,
        )
        identity = (*await asyncio.to_thread(_identity, source.path), survey)
        try:  # however long it takes until a worker is free
            async with asyncio.timeout(_SURVEY_SECONDS):
                return await self._once(identity, lambda: self._survey(survey))
        except (TimeoutError, WorkerTimedOut):
            return None

    async def _survey(self, survey: Survey) -> FullMusic:
        return await self._pool.run(survey, timeout_seconds=PROBE_SECONDS)

    async def look_at_file(self, path: Path) -> Probed:
        """Return what a file's header says; raises as `look` does.

        A file that has not changed is not looked at again, and several who ask at once share one look.
        """
        return await self._once(await asyncio.to_thread(_identity, path), lambda: self._look_anew(path))

    async def _once(self, identity: _Identity, look: Callable[[], Coroutine[object, object, _Seen]]) -> _Seen:
        """Look at something, unless that was done or is being done."""
        task = self._looks.get(identity)
        if task is None:
            task = self._looks[identity] = asyncio.create_task(look())
            task.add_done_callback(lambda done: self._forget(identity, done))
        seen: _Seen = await asyncio.shield(task)
        return seen

    async def lengths_seconds(self, paths: Sequence[Path], *, within_seconds: float) -> dict[Path, float]:
        """Return the lengths of files as far as they can be had in time, and read; for lists, which do without.

        A file that has not changed is not looked at again.
        """
        identities = await asyncio.to_thread(lambda: {path: _identity(path) for path in paths})
        unknown = [path for path, identity in identities.items() if identity not in self._lengths]
        loop = asyncio.get_running_loop()
        until = loop.time() + within_seconds
        for first in range(0, len(unknown), _FILES_PER_ORDER):
            some = tuple(unknown[first : first + _FILES_PER_ORDER])
            left = until - loop.time()
            if left <= 0:
                break
            for path, seconds in (await self._look_at_many(some, left)).items():
                self._lengths[identities[path]] = seconds
        found = {path: self._lengths.get(identity) for path, identity in identities.items()}
        for oldest in [*self._lengths][: max(0, len(self._lengths) - _MOST_LENGTHS)]:
            del self._lengths[oldest]
        return {path: seconds for path, seconds in found.items() if seconds is not None}

    async def _look_at_many(self, paths: tuple[Path, ...], seconds: float) -> dict[Path, float | None]:
        """Look at files for as long as there is time; what keeps a worker for longer, or kills it, is left out."""
        try:
            async with asyncio.timeout(seconds):  # a slot may be long in coming, too
                lengths = await self._pool.run(ProbeMany(paths=paths, within_seconds=seconds / 2))
        except ServerStopping:
            raise
        except (TimeoutError, OutpaintError):
            return {}
        return dict(zip(paths, lengths.seconds, strict=False))

    def _forget(self, identity: _Identity, look: asyncio.Task[Any]) -> None:
        """Forget a look that failed, and the oldest finished ones where there are many."""
        if (look.cancelled() or look.exception() is not None) and self._looks.get(identity) is look:
            del self._looks[identity]
        surplus = max(0, len(self._looks) - _MOST_LOOKS)
        for oldest in [each for each, known in self._looks.items() if known.done()][:surplus]:
            del self._looks[oldest]

    async def _look_anew(self, path: Path) -> Probed:
        try:
            return await self._pool.run(
                Probe(path=path, max_seconds=self._max_source_seconds), timeout_seconds=self._timeout_seconds
            )
        except WorkerTimedOut as exc:
            raise SourceError(
                f"The source could not be looked at within {self._timeout_seconds:.0f} seconds. Try again,"
                " or copy it to a disk of this machine."
            ) from exc


def _identity(path: Path) -> _Identity:
    """Return what changes when a file does."""
    try:
        seen = path.stat()
    except OSError:  # whoever opens it says so
        return (str(path),)
    return (str(path), seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns)

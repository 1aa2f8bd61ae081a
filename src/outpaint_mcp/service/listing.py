"""What can be extended: the audio files in the allowed folders, and earlier results."""

from __future__ import annotations

import asyncio
import functools
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from outpaint_mcp.disk.folders import existing_folders
from outpaint_mcp.errors import InvalidRequest, SourceNotAllowed, SourceUnreachable
from outpaint_mcp.models import Status
from outpaint_mcp.reports.models import AudioEntry, AudioList
from outpaint_mcp.sources.names import quoted
from outpaint_mcp.sources.nearby import files_near, fit_of, folded, is_below, reference_to, shortest
from outpaint_mcp.sources.paths import find_folder
from outpaint_mcp.sources.scanning import AudioFile, scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from outpaint_mcp.config import Reach
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.storage.journal import Journal
    from outpaint_mcp.workers.probing import Prober

MOST_LISTED = 1_000

# Hosts cut calls after five seconds at the earliest; what is not measured by then is measured when asked again.
_MEASURING_SECONDS = 3.0

_MOST_REQUESTS = 500
"""Of the newest ones, whose files are known as results."""


class _Result(NamedTuple):
    """The extended file of a request, as it was delivered."""

    request_id: str
    size_bytes: int
    duration_seconds: float


class _Found(NamedTuple):
    """What was looked at, what of it is to be listed, and in which order."""

    listed: list[AudioFile]
    results: dict[Path, _Result]
    roots: list[Path]
    message: str


class AudioLister:
    """Lists files by name, length and date; looks at no more than it takes.

    Args:
        principal: whose results they are.
        reach: the folders that are open to them.
        journal: knows which files are results.
        prober: measures lengths.
    """

    def __init__(self, principal: Principal, reach: Reach, journal: Journal, prober: Prober) -> None:
        self._principal = principal
        self._reach = reach
        self._journal = journal
        self._prober = prober

    async def list(self, *, folder: str = "", query: str = "", limit: int = 20) -> AudioList:
        """Return the newest files, or those that a query fits best.

        Args:
            folder: an allowed folder or one inside it, by path or name; empty for all.
            query: a name, a part of one, or words of it.
            limit: how many to return.

        Raises:
            InvalidRequest: `limit` is below 1 or beyond all measure.
            SourceError: there is no such folder, or it may not be read.
        """
        if not 1 <= limit <= MOST_LISTED:
            raise InvalidRequest(f"It is {limit}; use 1 to {MOST_LISTED}.", field="limit")
        found = await asyncio.to_thread(self._find, folder.strip(), query.strip(), limit)
        results = {
            file.path: result
            for file in found.listed
            if (result := found.results.get(file.path)) and result.size_bytes == file.size_bytes
        }  # one that was changed is a file like any other
        lengths = {path: result.duration_seconds for path, result in results.items()}
        unknown = [file.path for file in found.listed if file.path not in lengths]
        lengths |= await self._prober.lengths_seconds(unknown, within_seconds=_MEASURING_SECONDS)
        return AudioList(
            files=[
                _entry(file, found.roots, results.get(file.path), lengths.get(file.path))
                for file in found.listed
            ],
            message=found.message,
        )

    def _find(self, folder: str, query: str, limit: int) -> _Found:
        """Find what is to be listed; may block."""
        roots = existing_folders(self._reach.input_dirs)
        places = [self._folder(folder)] if folder else roots
        files, is_complete = scan(places)
        results = self._results()
        scanned = {file.path for file in files}
        for path in results.keys() - scanned:
            file = _file_at(path, places if folder else None)
            is_ours = file is not None and file.size_bytes == results[path].size_bytes
            if file and (
                is_ours or any(is_below(path, root) for root in roots)
            ):  # what lies outside is not read
                files.append(file)
        own = next(iter(existing_folders([self._reach.output_dir])), None)
        files.sort(key=lambda file: file.modified_at, reverse=True)
        fitting, order = files, "newest first"
        if query:
            fitting, order = _fitting(query, files, roots, own), "best match first"
            if not fitting:
                near = files_near(query, files, own)
                by_path = {file.path: file for file in files}
                fitting, order = [by_path[path] for path in near], "none fits; the nearest names"
        listed = fitting[:limit]
        message = (
            f"{len(listed)} of {len(fitting)} files, {order}." if fitting else "There are no such files.",
            "" if is_complete else "There is more in these folders than was looked at: name a subfolder.",
        )
        return _Found(listed, results, roots, " ".join(filter(None, message)))

    def _folder(self, folder: str) -> Path:
        try:
            return find_folder(folder, self._reach.input_dirs)
        except (SourceNotAllowed, SourceUnreachable) as exc:
            if not self._principal.is_remote:
                raise
            # Where folders are on this machine is nothing to them.
            raise SourceUnreachable(
                f"{quoted(folder)} is no folder of yours on this server. Name none, and all of your files are listed."
            ) from exc

    def _results(self) -> dict[Path, _Result]:
        """Return the delivered files, wherever they were put; of each request the whole, in any form."""
        families = self._journal.newest(self._principal, limit=_MOST_REQUESTS, status=Status.COMPLETED)
        real = functools.cache(
            os.path.realpath
        )  # of few folders: a look at each takes its time on a network drive
        return {
            Path(real(Path(delivery.path).parent), Path(delivery.path).name): _Result(
                take.request_id, delivery.size_bytes, delivery.duration_seconds
            )
            for takes in families
            for take in takes
            for options, delivery in take.deliveries.items()
            if options.startswith("whole")
        }


def _file_at(path: Path, places: Sequence[Path] | None) -> AudioFile | None:
    """Look at a result that lies elsewhere; None where it is gone, or in none of the places that are listed."""
    if places is not None and not any(is_below(path, place) for place in places):
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return AudioFile(path, status.st_size, status.st_mtime)


def _fitting(
    query: str, files: Iterable[AudioFile], roots: Sequence[Path], own: Path | None
) -> list[AudioFile]:
    """Return the files that a query fits, the best first; of equals the person's before our own."""
    ranked = []
    words = folded(query).split()
    for file in files:
        fit = fit_of(query, file.path)
        where = folded(shortest(file.path, roots)) if fit is None else ""
        if fit is not None or all(word in where for word in words):
            ranked.append((3 if fit is None else fit, is_below(file.path, own), file))
    return [file for *_, file in sorted(ranked, key=lambda each: each[:2])]  # stable: the newest stay ahead


def _entry(
    file: AudioFile, roots: Sequence[Path], result: _Result | None, seconds: float | None
) -> AudioEntry:
    return AudioEntry(
        name=result.request_id
        if result and not any(is_below(file.path, root) for root in roots)
        else reference_to(file.path, roots),
        request_id=None if result is None else result.request_id,
        duration_seconds=None if seconds is None else round(seconds, 2),
        modified_at=datetime.fromtimestamp(file.modified_at, UTC).isoformat(timespec="seconds"),
    )

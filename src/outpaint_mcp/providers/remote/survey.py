"""Where the full music of a source is, found once for each job."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from outpaint_mcp.audio.surroundings import FullMusic
from outpaint_mcp.workers.looks import Survey

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.audio.layout import Layout
    from outpaint_mcp.providers.remote.run import RemoteRun


async def find_music(remote: RemoteRun, source: Path, layout: Layout | None) -> FullMusic | None:
    """Find where the full music of what is extended begins and ends; None where new music goes outside of everything.

    The answer is written down: another version may find another place, and what was paid for goes on from this one.

    Args:
        remote: the job.
        source: the recording, before anything is cut out of it.
        layout: what that consists of, if it is an earlier result.
    """
    request, path = remote.job.request, remote.folder / "full-music.json"
    if request.placement != "natural":
        return None
    found = await asyncio.to_thread(_read, path)
    if found is None:
        await remote.report("listening to the source")
        order = Survey(
            path=source,
            start_seconds=request.source_start_seconds,
            end_seconds=request.source_end_seconds,
            layout=layout,
        )
        found = await remote.work(order)
        part = path.with_name(f"{path.name}.{remote.job.lease.attempt}.part")
        await asyncio.to_thread(_write, found, part, path)
    return found


def _read(path: Path) -> FullMusic | None:
    try:
        return FullMusic(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):  # not there, or half of it after a power cut
        return None


def _write(music: FullMusic, part: Path, path: Path) -> None:
    part.write_text(json.dumps(asdict(music)))
    part.replace(path)

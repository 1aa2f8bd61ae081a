"""Orders to workers, as tests give them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from outpaint_mcp.disk.opening import open_regular
from outpaint_mcp.sources import fetch
from outpaint_mcp.wishes import Wishes
from outpaint_mcp.workers.looks import Measure, Probe
from outpaint_mcp.workers.orders import Extend
from outpaint_mcp.workers.source_copies import SourceCopies

NO_COPIES = SourceCopies(fetch, Path(os.devnull))
"""For tests whose sources are files."""

if TYPE_CHECKING:
    from collections.abc import Sequence


def pipes_as_well(path: Path, folders: Sequence[Path]) -> int:
    """Open a file as a server does, and a named pipe, too, without being its reader."""
    if path.is_fifo() and hasattr(os, "O_PATH"):
        return os.open(path, os.O_PATH)
    return open_regular(path, folders)


def probe(path: Path) -> Probe:
    """Order a file's header to be read."""
    return Probe(path=path, max_seconds=60)


def measure(path: Path) -> Measure:
    """Order a file to be decoded to its end."""
    return Measure(path=path, max_seconds=60)


def extend(song: Path, folder: Path, *, before_seconds: float = 0, after_seconds: float = 1) -> Extend:
    """Order a recording to be extended."""
    return Extend(
        source=song,
        folder=folder,
        wishes=Wishes(before_seconds=before_seconds, after_seconds=after_seconds),
        layout=None,
        start_seconds=0,
        end_seconds=0,
        seed=1,
        provider="local",
        max_seconds=3600,
    )

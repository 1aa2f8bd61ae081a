"""Orders to workers, as tests give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outpaint_mcp.workers.orders import Extend, Measure, Probe

if TYPE_CHECKING:
    from pathlib import Path


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
        before_seconds=before_seconds,
        after_seconds=after_seconds,
        start_seconds=0,
        end_seconds=0,
        seed=1,
        provider="local",
        max_seconds=3600,
    )

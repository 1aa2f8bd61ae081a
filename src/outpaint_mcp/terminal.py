"""What a person at a terminal sees while waiting."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from outpaint_mcp.reports import in_words

if TYPE_CHECKING:
    from outpaint_mcp.provider import ProviderStatus


class Bar:
    """A progress line on the terminal."""

    _WIDTH = 30

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._since = time.monotonic()

    async def show(self, seen: ProviderStatus) -> None:
        """Draw the line anew."""
        if self._shown:
            done = round((seen.progress or 0.0) * self._WIDTH)
            bar = "#" * done + "." * (self._WIDTH - done)
            line = f"[{bar}] {time.monotonic() - self._since:3.0f} s  {in_words(seen)}"
            print(f"\r{line:<79.79}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Wipe the line away."""
        if self._shown:
            print("\r" + " " * 79, end="\r", file=sys.stderr, flush=True)

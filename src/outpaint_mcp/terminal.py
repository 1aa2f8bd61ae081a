"""Waiting at a terminal: what a person sees meanwhile, and what Ctrl-C means."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from outpaint_mcp.desk import Desk
from outpaint_mcp.opening import open_desk
from outpaint_mcp.reports import in_words
from outpaint_mcp.wording import for_a_person

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.answers import ResultReport
    from outpaint_mcp.config import Settings
    from outpaint_mcp.edition import Edition
    from outpaint_mcp.provider import ProviderStatus


Begin = Callable[[Desk], Awaitable[tuple[str, bool]]]
"""Returns a request's id, and whether it was begun just now."""


async def wait(settings: Settings, begin: Begin, edition: Edition, target: Path | None) -> ResultReport:
    """Wait for a request and have it delivered; raises as the desk does.

    Args:
        settings: where things are.
        begin: makes or names the request.
        edition: in which form the longer file is wanted.
        target: where to put the longer file; None for the output folder.
    """
    async with open_desk(settings) as desk:
        beginning = asyncio.ensure_future(begin(desk))
        bar = Bar(shown=sys.stderr.isatty())
        try:
            request_id, _ = await asyncio.shield(beginning)
            return await desk.result(
                request_id, wait_seconds=float("inf"), edition=edition, on_update=bar.show, target=target
            )
        except asyncio.CancelledError:
            bar.close()
            await asyncio.wait({beginning})  # seconds at most; what it began must not be left without a word
            if beginning.exception() is None:
                await _leave(desk, *beginning.result())
            raise
        finally:
            bar.close()


async def _leave(desk: Desk, request_id: str, is_ours: bool) -> None:  # noqa: FBT001 - as `Begin` returns them
    """Cancel what was begun here: whoever began the work at a terminal means the work by Ctrl-C, not the wait."""
    if is_ours:
        cancellation = await desk.cancel(request_id)
        print(for_a_person(cancellation.message), file=sys.stderr)
    print(f"This is request {request_id}.", file=sys.stderr)


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

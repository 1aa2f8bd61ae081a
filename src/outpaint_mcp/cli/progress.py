"""Waiting at a terminal: what a person sees meanwhile, and what Ctrl-C does."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from outpaint_mcp.cli.wording import TERMINAL
from outpaint_mcp.principals import OPERATOR
from outpaint_mcp.reports.progress import in_words
from outpaint_mcp.service.lifespan import open_service
from outpaint_mcp.service.service import OutpaintService

if TYPE_CHECKING:
    from pathlib import Path

    from outpaint_mcp.config import Settings
    from outpaint_mcp.export_options import ExportOptions
    from outpaint_mcp.reports.models import ResultReport
    from outpaint_mcp.storage.records import RequestProgress


Begin = Callable[[OutpaintService], Awaitable[tuple[str, bool]]]
"""Returns a request's id, and whether it was started just now."""


async def wait(settings: Settings, begin: Begin, options: ExportOptions, target: Path | None) -> ResultReport:
    """Wait for a request and have it delivered; raises as the service does.

    Args:
        settings: where things are.
        begin: submits or names the request.
        options: the form of the extended file.
        target: where to put the extended file; None for the output folder.
    """
    async with open_service(settings, vocabulary=TERMINAL) as service:
        beginning = asyncio.ensure_future(begin(service))
        bar = Bar(shown=sys.stderr.isatty())
        try:
            request_id, _ = await asyncio.shield(beginning)
            return await service.result(
                OPERATOR,
                request_id,
                wait_seconds=float("inf"),
                options=options,
                on_update=bar.show,
                target=target,
            )
        except asyncio.CancelledError:
            bar.close()
            await asyncio.wait({beginning})  # seconds at most; what it started must not go on unseen
            if beginning.exception() is None:
                await _leave(service, *beginning.result())
            raise
        finally:
            bar.close()


async def _leave(service: OutpaintService, request_id: str, is_ours: bool) -> None:  # noqa: FBT001 - as `Begin` returns them
    """Cancel what was started here: at a terminal, Ctrl-C is for the work, not just for the wait."""
    if is_ours:
        cancellation = await service.cancel(OPERATOR, request_id)
        print(cancellation.message, file=sys.stderr)
    print(f"This is request {request_id}.", file=sys.stderr)


class Bar:
    """A progress line on the terminal."""

    _WIDTH = 30

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._since = time.monotonic()

    async def show(self, seen: RequestProgress) -> None:
        """Redraw the line."""
        if self._shown:
            done = round((seen.progress or 0.0) * self._WIDTH)
            bar = "#" * done + "." * (self._WIDTH - done)
            line = f"[{bar}] {time.monotonic() - self._since:3.0f} s  {in_words(seen)}"
            print(f"\r{line:<79.79}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Erase the line."""
        if self._shown:
            print("\r" + " " * 79, end="\r", file=sys.stderr, flush=True)

"""Going on where something fails for a while: a full disk, a busy database, a lack of threads."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from outpaint_mcp.errors import OutpaintError, OverBudget, ServerStopping
from outpaint_mcp.storage.leased_jobs import LeaseLost
from outpaint_mcp.storage.spending import NotAgreed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


class Trouble:
    """Logs a warning when something begins to fail, and stays silent until it has worked again."""

    def __init__(self, what: str) -> None:
        """Watch something.

        Args:
            what: what cannot be done while it fails, as the beginning of a sentence.
        """
        self._what = what
        self._is_known = False

    def begins(self, exc: Exception) -> None:
        """Take note of a failure."""
        if not self._is_known:
            # Not the text of an unforeseen error: that may quote a signed link.
            reason = str(exc) if isinstance(exc, OutpaintError) else type(exc).__name__
            _log.warning("%s until this is fixed: %s", self._what, reason)
        self._is_known = True

    def is_over(self) -> None:
        """Take note of a success."""
        self._is_known = False


async def until_written(
    write: Callable[[], object], request_id: str, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Write what must not be forgotten, however long the disk takes.

    Args:
        write: writes it.
        request_id: of the request that it is about, and what else it can be found by.
        sleep: pauses, in seconds.

    Raises:
        LeaseLost: it is not ours to write any more.
        NotAgreed, OverBudget: it is about money that may not be spent.
        ServerStopping: the database is closed.
    """
    trouble = Trouble(f"The state of request {request_id} cannot be written")
    while True:
        try:
            return await asyncio.to_thread(_call, write)
        except (LeaseLost, NotAgreed, OverBudget, ServerStopping):
            raise
        except Exception as exc:  # noqa: BLE001 - whatever it is, it does not matter to what has to be remembered
            trouble.begins(exc)
            await sleep(_RETRY_SECONDS)


def _call(write: Callable[[], object]) -> None:
    write()

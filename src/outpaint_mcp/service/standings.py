"""Where requests stand, in a sentence and a few figures, for those who ask again and again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from outpaint_mcp.reports.progress import in_words
from outpaint_mcp.reports.requests import error_words
from outpaint_mcp.service.takes import as_one

if TYPE_CHECKING:
    from collections.abc import Callable

    from outpaint_mcp.models import Status
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.service.poller import StatusPoller


class Standing(NamedTuple):
    """Where a request stands, all its takes together; times in Unix seconds.

    Attributes:
        words: what is being done, or why there is nothing to be had.
        updated_at: when it ended; now, for one that goes on.
        awaits_agreement: whether it waits for the person to agree to its cost.
    """

    request_id: str
    status: Status
    words: str
    created_at: float
    updated_at: float
    awaits_agreement: bool


class Standings:
    """Looks requests up.

    Args:
        poller: reads their records.
        vocabulary: the words of the surface that asks.
        enter: has go on what waits for the credentials that a caller brings along.
    """

    def __init__(
        self, poller: StatusPoller, vocabulary: Vocabulary, enter: Callable[[Principal], object]
    ) -> None:
        self._poller = poller
        self._vocabulary = vocabulary
        self._enter = enter

    async def of(self, principal: Principal, request_id: str) -> Standing:
        """Return where a request is.

        Raises:
            RequestNotFound: whoever asks has no such request.
        """
        self._enter(principal)
        takes = await self._poller.takes(principal, request_id)
        record, now = as_one(takes), time.time()
        return Standing(
            record.request_id,
            record.status,
            f"{in_words(record.live)}." if record.live else error_words(record, self._vocabulary) or "",
            record.created_at,
            max(now if take.ended_at is None else take.ended_at for take in takes),
            record.awaits_agreement,
        )

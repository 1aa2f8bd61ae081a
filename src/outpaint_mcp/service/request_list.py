"""Listing requests: those of whoever asks, and what they cost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from outpaint_mcp.errors import InvalidRequest
from outpaint_mcp.reports import listing
from outpaint_mcp.reports.models import RequestList
from outpaint_mcp.service.takes import as_one

if TYPE_CHECKING:
    from outpaint_mcp.models import Status
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.reports.wording import Vocabulary
    from outpaint_mcp.storage.store import Store

_MOST_LISTED = 1_000_000


class RequestLister:
    """Lists requests of every server and every day."""

    def __init__(self, store: Store, vocabulary: Vocabulary) -> None:
        self._store = store
        self._vocabulary = vocabulary

    async def list(self, principal: Principal, *, limit: int, status: Status | None) -> RequestList:
        """See `OutpaintService.list`."""
        if not 1 <= limit <= _MOST_LISTED:
            raise InvalidRequest(f"It is {limit}; use 1 to {_MOST_LISTED}.", field="limit")
        journal, ledger = self._store.journal, self._store.ledger
        families = await asyncio.to_thread(journal.newest, principal, limit=limit, status=status)
        spent, open_estimate = await asyncio.to_thread(ledger.spent_usd, principal)
        return RequestList(
            requests=[
                listing.summary(as_one(takes), self._vocabulary, takes, shows_paths=not principal.is_remote)
                for takes in families
            ],
            spent_usd=round(spent, 6),
            open_estimate_usd=round(open_estimate, 6),
        )

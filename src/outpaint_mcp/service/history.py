"""Looking back: a caller's requests of every server and every day, and what they have cost."""

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


async def newest_requests(
    store: Store, vocabulary: Vocabulary, principal: Principal, *, limit: int, status: Status | None
) -> RequestList:
    """Return a caller's requests, newest first.

    Args:
        store: every request there ever was.
        vocabulary: the words of the surface that asks.
        principal: whose.
        limit: how many.
        status: of the request or one of its takes; None for any.

    Raises:
        InvalidRequest: `limit` is below 1 or beyond all measure.
    """
    if not 1 <= limit <= _MOST_LISTED:
        raise InvalidRequest(f"It is {limit}; use 1 to {_MOST_LISTED}.", field="limit")
    families = await asyncio.to_thread(store.journal.newest, principal, limit=limit, status=status)
    spent, open_estimate = await asyncio.to_thread(store.ledger.spent_usd, principal)
    return RequestList(
        requests=[
            listing.summary(as_one(takes), vocabulary, takes, shows_paths=not principal.is_remote)
            for takes in families
        ],
        spent_usd=round(spent, 6),
        open_estimate_usd=round(open_estimate, 6),
    )

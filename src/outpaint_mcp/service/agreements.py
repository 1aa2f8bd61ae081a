"""What a request costs beyond what was expected, as a question to the person: only they can agree to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from outpaint_mcp.principals import Principal
    from outpaint_mcp.storage.spending import Costs
    from outpaint_mcp.storage.store import Store


class Question(NamedTuple):
    """What a request asks the person.

    Attributes:
        costs: the figures.
        text: the figures, and what becomes of the request either way.
    """

    costs: Costs
    text: str


class Agreements:
    """Asks about requests that wait for the person's agreement, and writes it down."""

    def __init__(self, store: Store) -> None:
        """Prepare; `store` is where the costs are."""
        self._ledger = store.ledger
        self._declined: set[str] = set()

    async def question(self, principal: Principal, request_id: str, *, again: bool = True) -> Question | None:
        """Return what a request asks the person; None where it asks nothing.

        Args:
            principal: who asks.
            request_id: of the request, or of one of its takes; it is asked about as a whole.
            again: whether to ask, too, what was declined in this process.
        """
        costs = await asyncio.to_thread(self._ledger.to_agree, principal, request_id)
        if costs is None:
            return None
        takes = f" ({costs.takes} takes)" if costs.takes > 1 else ""
        text = (
            f"Request {costs.request_id}{takes} costs more than was expected: {costs.in_words}. It goes on only if you"
            " agree to that; nothing more is sent until then."
        )
        return None if text in self._declined and not again else Question(costs, text)

    async def agree(self, question: Question) -> bool:
        """Write down that the person agrees; returns whether the figures are still those that they were shown.

        Raises:
            OverBudget: it is more than is allowed, whoever agrees.
        """
        return await asyncio.to_thread(self._ledger.agree, question.costs)

    def decline(self, question: Question) -> None:
        """Remember that the person does not agree, so that they are not asked the same again."""
        self._declined.add(question.text)

"""What requests may cost, and have cost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from outpaint_mcp.errors import OverBudget

if TYPE_CHECKING:
    from collections.abc import Callable

    from outpaint_mcp.storage.database import Database

_DAY_SECONDS = 86_400.0


class Ledger:
    """Money in the journal's rows; every method may be called from any thread and any process."""

    def __init__(self, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    def reserve(
        self, request_id: str, estimated_cost_usd: float, *, basis: str, most_usd: float | None
    ) -> None:
        """Write down what a take costs at most, before anything of it is sent.

        Args:
            request_id: of the take; the limit is held against all takes of its request.
            estimated_cost_usd: in US dollars.
            basis: how that was computed, and how the request is carried out, in sentences.
            most_usd: what one request may cost and, where several people share a server, what all
                requests of one caller within 24 hours may; None for no limit.

        Raises:
            OverBudget: it is more than that.
        """
        with self._database.write() as connection:
            family, takes, spent = connection.execute(
                "SELECT coalesce(own.take_of, own.request_id), own.takes,"
                " (SELECT coalesce(sum(coalesce(cost_usd, estimated_cost_usd)), 0) FROM requests"
                " WHERE caller = own.caller AND caller != '' AND created_at > ?"
                " AND coalesce(take_of, request_id) != coalesce(own.take_of, own.request_id))"
                " FROM requests AS own WHERE request_id = ?",
                (self._now() - _DAY_SECONDS, request_id),
            ).fetchone() or (request_id, 1, 0.0)
            whole = takes * estimated_cost_usd  # the takes differ in nothing but their seeds
            if most_usd is not None and spent + whole > most_usd:
                each = f" ({takes} takes)" if takes > 1 else ""
                before = f", after ${spent:.4f} in the last 24 hours," if spent else ""
                fewer = "fewer takes or " if takes > 1 else ""
                raise OverBudget(
                    f"This request would cost up to ${whole:.4f}{each}, which{before} is over the limit of"
                    f" ${most_usd:g} that the operator has set (OUTPAINT_MAX_COST_USD). Nothing was sent. Ask for"
                    f" {fewer}a shorter extension, or have the limit raised."
                )
            connection.execute(
                "UPDATE requests SET estimated_cost_usd = ?, note = ? WHERE coalesce(take_of, request_id) = ?",
                (estimated_cost_usd, basis, family),
            )

    def spent_usd(self) -> tuple[float, float]:
        """Return the sum of all known costs, and of the estimates where the cost is not known, in US dollars."""
        with self._database.read() as connection:
            spent, estimated = connection.execute(
                "SELECT coalesce(sum(cost_usd), 0),"
                " coalesce(sum(estimated_cost_usd) FILTER (WHERE cost_usd IS NULL), 0) FROM requests"
            ).fetchone()
        return spent, estimated

"""What requests may cost, and have cost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from outpaint_mcp.errors import OverBudget
from outpaint_mcp.storage.leased_jobs import IS_OPEN, update_mine

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from outpaint_mcp.storage.database import Database
    from outpaint_mcp.storage.records import Lease, Step

_DAY_SECONDS = 86_400.0

# While steps are left, what was billed by now is not what it costs.
_COST = "CASE WHEN jobs.status NOT IN ('in_queue', 'in_progress') THEN jobs.cost_usd END"


class Ledger:
    """Money in the jobs' rows; every method may be called from any thread and any process."""

    def __init__(self, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    def settle_plan(  # noqa: PLR0913 - the plan, and what it costs
        self,
        lease: Lease,
        steps: Sequence[Step],
        *,
        source_seconds: float,
        estimated_cost_usd: float,
        basis: str,
        limit_usd: float | None,
    ) -> None:
        """Write down the steps of a take and the most that they cost, before anything of it is sent.

        Args:
            lease: of the take's job; the limit is held against all takes of its request.
            steps: all planned.
            source_seconds: the length of what is extended.
            estimated_cost_usd: in US dollars.
            basis: how that was computed and how the request is carried out, in sentences.
            limit_usd: what one request may cost and, where several people share a server, what all requests of one
                caller within 24 hours may; None for no limit.

        Raises:
            OverBudget: it is more than that.
            LeaseLost: the job is somebody else's.
        """
        with self._database.write("ledger") as connection:
            changes = "estimated_cost_usd = ?, basis = ?, source_seconds = ?"
            update_mine(connection, lease, changes, estimated_cost_usd, basis, source_seconds)
            takes, spent = self._spent_by_others(connection, lease.request_id)
            whole = takes * estimated_cost_usd  # the takes differ in nothing but their seeds
            if limit_usd is not None and spent + whole > limit_usd:
                raise _over_budget(whole, takes, spent, limit_usd)
            # The other takes cost the same, and are shown with it from now on.
            connection.execute(
                "UPDATE jobs SET estimated_cost_usd = ?, basis = ? WHERE estimated_cost_usd IS NULL"
                f" AND {IS_OPEN} AND request_id IN (SELECT request_id FROM requests"
                " WHERE take_of = (SELECT coalesce(take_of, request_id) FROM requests WHERE request_id = ?)"
                " OR request_id = (SELECT coalesce(take_of, request_id) FROM requests WHERE request_id = ?))",
                (estimated_cost_usd, basis, lease.request_id, lease.request_id),
            )
            connection.executemany(
                "INSERT INTO steps (request_id, number, side, seconds, context_seconds, state)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (lease.request_id, step.number, step.side, step.seconds, step.context_seconds, step.state)
                    for step in steps
                ],
            )

    def _spent_by_others(self, connection: sqlite3.Connection, request_id: str) -> tuple[int, float]:
        """Return how many takes a request has, and what its caller's other requests cost within a day."""
        takes, spent = connection.execute(
            f"SELECT own.takes, (SELECT coalesce(sum(coalesce({_COST}, jobs.estimated_cost_usd)), 0)"
            " FROM requests AS others JOIN jobs ON jobs.request_id = others.request_id"
            " WHERE others.caller = own.caller AND others.caller <> '' AND others.created_at > ?"
            " AND coalesce(others.take_of, others.request_id) <> coalesce(own.take_of, own.request_id))"
            " FROM requests AS own WHERE own.request_id = ?",
            (self._now() - _DAY_SECONDS, request_id),
        ).fetchone()
        return takes, spent

    def spent_usd(self) -> tuple[float, float]:
        """Return the sum of all known costs, and of the estimates where the cost is not known, in US dollars."""
        with self._database.read() as connection:
            spent, estimated = connection.execute(
                f"SELECT coalesce(sum({_COST}), 0),"
                f" coalesce(sum(CASE WHEN {_COST} IS NULL THEN estimated_cost_usd END), 0) FROM jobs"
                " WHERE estimated_cost_usd IS NOT NULL"
            ).fetchone()
        return spent, estimated


def _over_budget(cost_usd: float, takes: int, spent_usd: float, limit_usd: float) -> OverBudget:
    each = f" ({takes} takes)" if takes > 1 else ""
    before = f", after ${spent_usd:.4f} in the last 24 hours," if spent_usd else ""
    fewer = "fewer takes or " if takes > 1 else ""
    return OverBudget(
        f"This request would cost up to ${cost_usd:.4f}{each}, which{before} is over the limit of ${limit_usd:g} that"
        f" the operator has set (OUTPAINT_MAX_COST_USD). Nothing was sent. Ask for {fewer}a shorter extension, or"
        " have the limit raised."
    )

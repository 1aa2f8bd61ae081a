"""What requests may cost, and have cost."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from outpaint_mcp.storage.leased_jobs import IS_MINE, IS_OPEN, update_mine
from outpaint_mcp.storage.rows import IS_THEIRS, theirs
from outpaint_mcp.storage.spending import (
    AWAITS_AGREEMENT,
    COST,
    ESTIMATE,
    agree,
    check_limit,
    check_sending,
    costs_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from outpaint_mcp.principals import Principal
    from outpaint_mcp.storage.database import Database
    from outpaint_mcp.storage.records import Lease, Step
    from outpaint_mcp.storage.spending import Costs


class Ledger:
    """Money in the jobs' rows; every method may be called from any thread and any process."""

    def __init__(self, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    def lower_limits(self, lease: Lease, limit_usd: float | None, day_limit_usd: float | None) -> None:
        """Hold a job against lower limits than those under which it was submitted: those of the server that sends it.

        Args:
            lease: of the job.
            limit_usd: the most that the request may cost; None for no limit.
            day_limit_usd: the most that its caller's requests within 24 hours may cost; likewise.

        Raises:
            LeaseLost: the job is somebody else's.
        """
        with self._database.write(f"job {lease.request_id}") as connection:
            update_mine(connection, lease, "limit_usd = ?, day_limit_usd = ?", limit_usd, day_limit_usd)

    def settle_plan(self, lease: Lease, steps: Sequence[Step], *, source_seconds: float, basis: str) -> None:
        """Write down the steps of a take with the most that each costs, before anything of it is sent.

        The limit of the request is held against all of its takes, that of the day against all requests of its caller
        within 24 hours.

        Args:
            lease: of the take's job.
            steps: all planned.
            source_seconds: the length of what is extended.
            basis: how their cost was computed and how the request is carried out, in sentences.

        Raises:
            OverBudget: it would cost more than is allowed.
            LeaseLost: the job is somebody else's.
        """
        estimated = sum(step.estimated_cost_usd for step in steps)
        with self._database.write("ledger") as connection:
            changes = "estimated_cost_usd = ?, basis = ?, source_seconds = ?"
            update_mine(connection, lease, changes, estimated, basis, source_seconds)
            # The other takes differ in nothing but their seeds: they cost the same, and are shown with it from now on.
            connection.execute(
                "UPDATE jobs SET estimated_cost_usd = ?, basis = ? WHERE estimated_cost_usd IS NULL"
                f" AND {IS_OPEN} AND request_id IN (SELECT request_id FROM requests"
                " WHERE take_of = (SELECT coalesce(take_of, request_id) FROM requests WHERE request_id = ?))",
                (estimated, basis, lease.request_id),
            )
            connection.executemany(
                "INSERT INTO steps (request_id, number, side, seconds, context_seconds, state, estimated_cost_usd,"
                " agreed_cost_usd) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        lease.request_id,
                        step.number,
                        step.side,
                        step.seconds,
                        step.context_seconds,
                        step.state,
                        step.estimated_cost_usd,
                        step.estimated_cost_usd,
                    )
                    for step in steps
                ],
            )
            costs = costs_of(connection, lease.request_id, self._now())
            # A take that was refused makes no room for the others: the request is refused as a whole.
            whole_usd = max(costs.whole_usd, costs.takes * estimated)
            check_limit(dataclasses.replace(costs, whole_usd=whole_usd))

    def estimate_anew(self, lease: Lease, steps: Sequence[Step]) -> None:
        """Write down what those steps cost now that were not sent yet; the person has agreed to the earlier estimates.

        Raises:
            LeaseLost: the job is somebody else's.
        """
        with self._database.write("ledger") as connection:
            connection.executemany(
                "UPDATE steps SET estimated_cost_usd = ? WHERE request_id = ? AND number = ? AND state = 'planned'"
                f" AND EXISTS (SELECT 1 FROM jobs WHERE jobs.{IS_MINE})",
                [
                    (
                        step.estimated_cost_usd,
                        lease.request_id,
                        step.number,
                        lease.request_id,
                        lease.server_id,
                        lease.attempt,
                    )
                    for step in steps
                ],
            )
            update_mine(connection, lease, f"estimated_cost_usd = {ESTIMATE}")

    def check_sending(self, request_id: str) -> None:
        """See that what is left of a request may be sent; raises as `spending.check_sending` does."""
        with self._database.read() as connection:
            check_sending(connection, request_id, self._now())

    def to_agree(self, principal: Principal, request_id: str) -> Costs | None:
        """Return what a request costs that waits for the person's agreement; None for one that does not.

        Args:
            principal: who asks.
            request_id: of the request, or of one of its takes; the request is asked about as a whole.
        """
        with self._database.read() as connection:
            (waits,) = connection.execute(
                f"SELECT coalesce(max({AWAITS_AGREEMENT}), 0) FROM requests"
                " JOIN jobs ON jobs.request_id = requests.request_id"
                f" WHERE (requests.request_id = ? OR requests.take_of = ?) AND {IS_THEIRS}",
                (request_id, request_id, *theirs(principal)),
            ).fetchone()
            return costs_of(connection, request_id, self._now()) if waits else None

    def agree(self, shown: Costs) -> bool:
        """Write down that the person agrees to what a request costs, billed so far and estimated.

        Args:
            shown: the figures that they agreed to.

        Returns:
            Whether these are still the figures; else nothing is written.

        Raises:
            OverBudget: it is more than is allowed, whoever agrees.
        """
        with self._database.write("ledger") as connection:
            costs = costs_of(connection, shown.request_id, self._now())
            if costs.in_words != shown.in_words:
                return False
            check_limit(costs)
            agree(connection, costs.request_id)
            return True

    def spent_usd(self, principal: Principal) -> tuple[float, float]:
        """Return what the requests of whoever asks cost, and the estimates where that is not known, in US dollars."""
        with self._database.read() as connection:
            spent, estimated = connection.execute(
                f"SELECT coalesce(sum({COST}), 0),"
                f" coalesce(sum(CASE WHEN {COST} IS NULL THEN estimated_cost_usd END), 0) FROM jobs"
                " JOIN requests ON requests.request_id = jobs.request_id"
                f" WHERE estimated_cost_usd IS NOT NULL AND {IS_THEIRS}",
                theirs(principal),
            ).fetchone()
        return spent, estimated

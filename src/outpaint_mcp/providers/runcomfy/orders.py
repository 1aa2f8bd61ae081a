"""Requests that a hosted service carries out, step by step; all SQL about them, shared by every server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from outpaint_mcp import errors
from outpaint_mcp.errors import OutpaintError, ProviderUnavailable, RequestNotFound
from outpaint_mcp.models import OutpaintRequest, Status, SubmitRequest
from outpaint_mcp.providers.base import ProviderStatus
from outpaint_mcp.providers.runcomfy.records import CancelWish, Order, Step, StepState, read_order, read_steps

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from outpaint_mcp.providers.runcomfy.plan import PlannedStep
    from outpaint_mcp.storage.database import Database

_NEVER_TAKEN_ON = "The server stopped before this was started. Nothing was sent; submit it again."


class Orders:
    """Every method may be called from any thread and any process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, request_id: str, request: SubmitRequest, source: str, *, account: str, most_usd: float | None
    ) -> None:
        """Take a request on.

        Raises:
            ProviderUnavailable: it has been given up meanwhile.
        """
        inputs = request.model_dump_json(include=OutpaintRequest.model_fields.keys() - {"audio"})
        with self._database.write() as connection:
            added = connection.execute(
                "INSERT INTO orders (request_id, status, source, inputs, account, most_usd, start_seconds,"
                " end_seconds, step) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'preparing') ON CONFLICT (request_id) DO NOTHING",
                (
                    request_id,
                    Status.IN_PROGRESS,
                    source,
                    inputs,
                    account,
                    most_usd,
                    request.source_start_seconds,
                    request.source_end_seconds,
                ),
            )
            if not added.rowcount:
                raise ProviderUnavailable(
                    "The server was held up for so long that this was given up. Nothing was sent; submit it again."
                )

    def give_up(self, request_id: str) -> None:
        """See to it that a request that never got here fails, and is refused if it still comes."""
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO orders (request_id, status, source, inputs, error, kind) VALUES (?, ?, '', '', ?, ?)"
                " ON CONFLICT (request_id) DO NOTHING",
                (request_id, Status.FAILED, _NEVER_TAKEN_ON, ProviderUnavailable.__name__),
            )

    def claim(self, server_id: str) -> Order | None:
        """Take the oldest request that no server carries out."""
        with self._database.write() as connection:
            row = connection.execute(
                "UPDATE orders SET server_id = ? WHERE request_id = (SELECT request_id FROM orders"
                " WHERE server_id IS NULL AND status IN ('in_queue', 'in_progress') ORDER BY rowid LIMIT 1)"
                " RETURNING *",
                (server_id,),
            ).fetchone()
            return None if row is None else read_order(connection, row)

    def has_unclaimed(self) -> bool:
        """Whether a request waits for a server; cheaper than a claim in vain."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT 1 FROM orders WHERE server_id IS NULL AND status IN ('in_queue', 'in_progress') LIMIT 1"
            ).fetchone()
        return row is not None

    def servers_at_work(self) -> set[str]:
        """Return the ids of the servers that carry a request out."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT DISTINCT server_id FROM orders"
                " WHERE server_id IS NOT NULL AND status IN ('in_queue', 'in_progress')"
            )
            return {row["server_id"] for row in rows}

    def hand_back(self, server_ids: Iterable[str]) -> None:
        """Leave the requests of servers that are gone to others, as far as they are."""
        with self._database.write() as connection:
            for server_id in server_ids:
                connection.execute("UPDATE orders SET server_id = NULL WHERE server_id = ?", (server_id,))

    def unwanted(self, server_id: str) -> list[str]:
        """Return the requests of a server that somebody wants cancelled."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT request_id FROM orders WHERE server_id = ? AND cancel_requested = ?",
                (server_id, CancelWish.WANTED),
            )
            return [row["request_id"] for row in rows]

    def get(self, request_id: str) -> Order:
        """Return a request as far as it is.

        Raises:
            RequestNotFound: there is no such request.
        """
        with self._database.read() as connection:
            return read_order(connection, _row(connection, request_id))

    def settle_plan(self, request_id: str, steps: Sequence[PlannedStep], *, source_seconds: float) -> Order:
        """Write down how a request is going to be carried out; once."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE orders SET source_seconds = ? WHERE request_id = ?", (source_seconds, request_id)
            )
            connection.executemany(
                "INSERT INTO steps (request_id, number, side, seconds, context_seconds, state)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (request_id, number, step.side, step.seconds, step.context_seconds, StepState.PLANNED)
                    for number, step in enumerate(steps, 1)
                ],
            )
            return read_order(connection, _row(connection, request_id))

    def update_step(self, request_id: str, step: Step) -> None:
        """Write down how far a step is; on disk when this returns."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE steps SET state = ?, seconds = ?, context_seconds = ?, sent_at = ?, remote_id = ?,"
                " object_name = ?, cost_usd = ? WHERE request_id = ? AND number = ?",
                (
                    step.state,
                    step.seconds,
                    step.context_seconds,
                    step.sent_at,
                    step.remote_id,
                    step.object_name,
                    step.cost_usd,
                    request_id,
                    step.number,
                ),
            )

    def advance(
        self, request_id: str, status: Status, step: str, *, queue_position: int | None = None
    ) -> None:
        """Note where a request stands that has not ended."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE orders SET status = ?, step = ?, queue_position = ? WHERE request_id = ?"
                " AND status IN ('in_queue', 'in_progress')",
                (status, step, queue_position, request_id),
            )

    def end(
        self,
        request_id: str,
        status: Status,
        *,
        error: OutpaintError | None = None,
        outcome: dict[str, Any] | None = None,
    ) -> None:
        """Write down how a request ended; forgets where the source came from and what was to be sung."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE orders SET status = ?, error = ?, kind = ?, outcome = ?, server_id = NULL, source = '',"
                " inputs = '', queue_position = NULL, step = '' WHERE request_id = ?"
                " AND status IN ('in_queue', 'in_progress')",
                (
                    status,
                    None if error is None else str(error),
                    None if error is None else type(error).__name__,
                    None if outcome is None else json.dumps(outcome),
                    request_id,
                ),
            )

    def cancel(self, request_id: str, wish: CancelWish = CancelWish.WANTED) -> bool:
        """Write down the wish to cancel, or that it was refused; returns whether it has not ended already.

        Raises:
            RequestNotFound: there is no such request.
        """
        with self._database.write() as connection:
            row = _row(connection, request_id)
            if Status(row["status"]).is_final:
                return False
            connection.execute(
                "UPDATE orders SET cancel_requested = ? WHERE request_id = ?", (wish, request_id)
            )
        return True

    def cancel_wish(self, request_id: str) -> CancelWish:
        """Return what became of the wish to cancel.

        Raises:
            RequestNotFound: there is no such request.
        """
        with self._database.read() as connection:
            return CancelWish(_row(connection, request_id)["cancel_requested"])

    def status(self, request_id: str) -> ProviderStatus:
        """Say where a request stands.

        Raises:
            RequestNotFound: there is no such request.
        """
        with self._database.read() as connection:
            row = _row(connection, request_id)
            steps = read_steps(connection, request_id)
        status = Status(row["status"])
        made = sum(step.state is StepState.MADE for step in steps)
        return ProviderStatus(
            status=status,
            queue_position=row["queue_position"],
            progress=made / len(steps) if len(steps) > 1 and not status.is_final else None,
            step=row["step"],
            error=row["error"],
            cost_usd=_cost(steps, is_final=status.is_final),
        )

    def failure(self, request_id: str) -> OutpaintError | None:
        """Return the error that a request has failed with, if it has."""
        with self._database.read() as connection:
            row = _row(connection, request_id)
        if row["status"] != Status.FAILED:
            return None
        error: OutpaintError = getattr(errors, row["kind"])(row["error"])
        return error

    def outcome(self, request_id: str) -> dict[str, Any]:
        """Return what was made of a completed request.

        Raises:
            RequestNotFound: there is no such request, or it did not complete, or was delivered.
        """
        with self._database.read() as connection:
            text = _row(connection, request_id)["outcome"]
        if text is None:
            raise RequestNotFound(f"Request {request_id} has no result.")
        outcome: dict[str, Any] = json.loads(text)
        return outcome

    def discard(self, request_id: str) -> None:
        """Forget what was made of a request, its signed link above all."""
        with self._database.write() as connection:
            connection.execute("UPDATE orders SET outcome = NULL WHERE request_id = ?", (request_id,))


def _cost(steps: Sequence[Step], *, is_final: bool) -> float | None:
    """What was paid so far; None where that is not known of each step that was sent."""
    sent = [step for step in steps if step.sent_at is not None]
    if not sent:
        return 0.0 if is_final else None
    costs = [step.cost_usd for step in sent if step.cost_usd is not None]
    return sum(costs) if len(costs) == len(sent) else None


def _row(connection: sqlite3.Connection, request_id: str) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM orders WHERE request_id = ?", (request_id,)
    ).fetchone()
    if row is None:
        raise RequestNotFound(f"The hosted provider has no request {request_id}.")
    return row

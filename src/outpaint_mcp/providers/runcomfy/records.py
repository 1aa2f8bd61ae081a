"""What is kept of a request that a hosted service carries out, and of each of its steps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any

from outpaint_mcp.models import OutpaintRequest

if TYPE_CHECKING:
    import sqlite3

    from outpaint_mcp.providers.runcomfy.plan import Side


class StepState(StrEnum):
    """How far a step is."""

    PLANNED = "planned"
    """Not sent; may be."""
    SENDING = "sending"
    """About to be sent or on its way: from here on it is never sent again."""
    ACCEPTED = "accepted"
    """The service has taken it on."""
    FINISHED = "finished"
    """The service has carried it out, and bills it; what it made is not here yet."""
    MADE = "made"
    """What it made is here."""


class CancelWish(IntEnum):
    """What became of the wish to cancel."""

    NONE = 0
    WANTED = 1
    REFUSED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One request to the service.

    Attributes:
        seconds: how much music it adds.
        context_seconds: how much of the music so far it is given; as planned until it is sent, exact then.
        sent_at: when it was sent, Unix seconds.
        remote_id: the service's own id of it.
        object_name: under which its context lies in the bucket, while it does.
    """

    number: int
    side: Side
    seconds: float
    context_seconds: float
    state: StepState
    sent_at: float | None = None
    remote_id: str | None = None
    object_name: str | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The record that carries a request out.

    Attributes:
        source: a path, or an https URL that has not been fetched yet; empty where it came with the request.
        start_seconds: where in it the part begins that is extended.
        end_seconds: where that ends; 0 for the source's own end.
        inputs: the model's, without the audio.
        source_seconds: the length of what is extended, once it was looked at.
        account: a digest of the token that it is sent with.
        most_usd: the limit that whoever took it on has; None for none.
    """

    request_id: str
    source: str
    start_seconds: float
    end_seconds: float
    inputs: dict[str, Any]
    source_seconds: float | None
    account: str
    most_usd: float | None
    steps: tuple[Step, ...]

    @property
    def is_cut(self) -> bool:
        """Whether only a part of the source is extended."""
        return self.start_seconds > 0 or self.end_seconds > 0

    @property
    def billed(self) -> list[Step]:
        """The steps that the service has carried out."""
        return [step for step in self.steps if step.state in {StepState.FINISHED, StepState.MADE}]

    def request(self, audio: str, step: Step) -> OutpaintRequest:
        """Return what is sent for a step."""
        return OutpaintRequest(
            audio=audio,
            **self.inputs
            | {
                "extend_before_duration": step.seconds if step.side == "before" else 0,
                "extend_after_duration": step.seconds if step.side == "after" else 0,
            },
        )


def read_order(connection: sqlite3.Connection, row: sqlite3.Row) -> Order:
    """Read a row of the table of orders, and its steps."""
    return Order(
        request_id=row["request_id"],
        source=row["source"],
        start_seconds=row["start_seconds"],
        end_seconds=row["end_seconds"],
        inputs=json.loads(row["inputs"] or "{}"),
        source_seconds=row["source_seconds"],
        account=row["account"],
        most_usd=row["most_usd"],
        steps=read_steps(connection, row["request_id"]),
    )


def read_steps(connection: sqlite3.Connection, request_id: str) -> tuple[Step, ...]:
    """Read the steps of an order, in order."""
    rows = connection.execute("SELECT * FROM steps WHERE request_id = ? ORDER BY number", (request_id,))
    return tuple(
        Step(
            number=row["number"],
            side=row["side"],
            seconds=row["seconds"],
            context_seconds=row["context_seconds"],
            state=StepState(row["state"]),
            sent_at=row["sent_at"],
            remote_id=row["remote_id"],
            object_name=row["object_name"],
            cost_usd=row["cost_usd"],
        )
        for row in rows
    )

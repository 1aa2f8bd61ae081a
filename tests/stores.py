"""Every kind of store, for the suites that hold each to the same promises, and what they are filled with."""

from __future__ import annotations

import dataclasses
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from outpaint_mcp.audio.sides import Side
from outpaint_mcp.models import Status, SubmitRequest
from outpaint_mcp.results import Outcome
from outpaint_mcp.storage.ids import new_request_ids
from outpaint_mcp.storage.records import Delivery, NewRequest, RequestProgress, Step
from outpaint_mcp.storage.store import FILE_NAME, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from outpaint_mcp.config import Allowance
    from outpaint_mcp.storage.records import Job, Lease

LYRICS = "words that nobody else may read"
SIGNED_LINK = "https://files.example/song.mp3?X-Amz-Signature=5ec2e7"
DELIVERY = Delivery(
    path="/music/song, extended 30s after.wav",
    sha256="ab" * 32,
    size_bytes=123,
    duration_seconds=33.0,
    before_seconds=0.0,
    after_seconds=30.0,
)
"""A file in the output folder."""


class Stores(Protocol):
    """One kind of store: what it takes to open one in several places, and to look behind it."""

    def open(self) -> Store:
        """Open the one store, as each server does."""

    def rows(self) -> Any:  # noqa: ANN401 - compared, and searched as text
        """Return all that is stored, in a form that can be compared."""

    def is_on_disk(self, text: str) -> bool:
        """Whether a text is anywhere in what the store has written, or has deleted."""

    def close(self) -> None:
        """Close all that were opened."""


class SqliteStores:
    """The store in a file of the data folder."""

    def __init__(self, folder: Path, now: Callable[[], float]) -> None:
        self._folder = folder
        self._now = now
        self._opened: list[Store] = []

    def open(self) -> Store:
        store = Store(self._folder, now=self._now)
        self._opened.append(store)
        return store

    def rows(self) -> dict[str, list[tuple[object, ...]]]:
        with closing(sqlite3.connect(self._folder / FILE_NAME)) as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            return {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for (name,) in names}

    def is_on_disk(self, text: str) -> bool:
        files = [*self._folder.glob(f"{FILE_NAME}*")]
        assert files
        return any(text.encode() in path.read_bytes() for path in files)

    def close(self) -> None:
        for store in self._opened:
            store.close()


STORES: dict[str, Callable[[Path, Callable[[], float]], Stores]] = {"sqlite": SqliteStores}


def new_request(  # noqa: PLR0913 - what a request has
    *,
    title: str = "song",
    takes: int = 1,
    seed: int = 7,
    provider: str = "local",
    source: str = "/music/song.wav",
    dedup_key: str | None = None,
    parent_request_id: str | None = None,
    caller: str = "",
    account: str = "",
    limit_usd: float | None = None,
    allowance: Allowance | None = None,
) -> NewRequest:
    """Return a request for one second before and two after."""
    request = SubmitRequest.of(
        audio=source or "data:",
        tags="lofi",
        lyrics=LYRICS,
        seed=seed,
        takes=takes,
        extend_before_duration=1,
        extend_after_duration=2,
    )
    request_id, ids = new_request_ids(takes)
    return NewRequest(
        request=request,
        request_id=request_id,
        ids=ids,
        provider=provider,
        audio=f"/music/{title}.wav",
        title=title,
        source=source,
        after_seconds=request.extend_after_duration,
        parent_request_id=parent_request_id,
        expected_duration_seconds=34.5,
        dedup_key=dedup_key,
        caller=caller,
        account=account,
        limit_usd=limit_usd,
        allowance=allowance,
    )


def add(store: Store, **values: Any) -> str:  # noqa: ANN401 - see `new_request`
    """Write a request; returns its id."""
    takes, is_new = store.journal.add(new_request(**values))
    assert is_new
    return takes[0].family


def claim(
    store: Store, server_id: str = "here", *, provider: str = "local", most_running: int | None = None
) -> Job:
    """Claim the next job, which there has to be."""
    job = store.queue.claim(server_id, provider, most_running=most_running)
    assert job is not None
    return job


def end(store: Store, request_id: str, status: Status = Status.COMPLETED) -> None:
    """Have a job that nobody else has claimed, and that is the next one, end."""
    job = claim(store)
    assert job.request_id == request_id
    store.queue.end(job.lease, status, outcome=outcome() if status is Status.COMPLETED else None)


def outcome(path: str = "/data/longer.wav", *, url: str | None = None) -> Outcome:
    """Return what a provider generated."""
    return Outcome(
        path=Path(path),
        sha256="ab" * 32,
        size_bytes=123,
        duration_seconds=6.0,
        before_seconds=1.0,
        after_seconds=2.0,
        seed=7,
        note="How.",
        url=url,
    )


def two_steps() -> list[Step]:
    """Return the plan of a paid job."""
    return [
        Step(number=1, side=Side.BEFORE, seconds=1, context_seconds=3, estimated_cost_usd=0.25),
        Step(number=2, side=Side.AFTER, seconds=2, context_seconds=3, estimated_cost_usd=0.25),
    ]


def settle_plan(
    store: Store, lease: Lease, steps: Sequence[Step] | None = None, *, cost_usd: float = 0.5
) -> None:
    """Write down what a job's steps are, and that they cost half a dollar together."""
    steps = two_steps() if steps is None else steps
    priced = [dataclasses.replace(step, estimated_cost_usd=cost_usd / len(steps)) for step in steps]
    store.ledger.settle_plan(lease, priced, source_seconds=3, basis="Why.")


def at_work(progress: float = 0.5, step: str = "rendering") -> RequestProgress:
    """Return where a job is that is being carried out."""
    return RequestProgress(status=Status.IN_PROGRESS, progress=progress, step=step)

"""A job that cannot be read, of another version or damaged, ends by itself and holds up no other."""

from __future__ import annotations

import dataclasses
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tests.dispatching import refusing
from tests.stores import add, claim, settle_plan

from outpaint_mcp.errors import StorageFailed
from outpaint_mcp.models import Status
from outpaint_mcp.storage.records import StepState
from outpaint_mcp.storage.store import FILE_NAME

if TYPE_CHECKING:
    from outpaint_mcp.config import Settings
    from outpaint_mcp.storage.store import Store


def execute(settings: Settings, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(settings.data_dir / FILE_NAME)) as connection, connection:
        return connection.execute(statement).fetchall()


@pytest.mark.parametrize("inputs", ["{", "[]", '{"takes": "many"}'])
def test_one_that_cannot_be_read_fails_and_the_next_is_claimed(
    store: Store, settings: Settings, inputs: str
) -> None:
    damaged, sound = add(store), add(store)
    execute(settings, f"UPDATE jobs SET inputs = '{inputs}' WHERE request_id = '{damaged}'")
    assert claim(store).request_id == sound
    record = store.journal.get(damaged)
    assert (record.status, record.error) == (Status.FAILED, "A stored request cannot be read.")
    query = f"SELECT source, inputs FROM jobs WHERE request_id = '{damaged}'"
    assert inputs not in str(execute(settings, query))


def test_one_whose_end_cannot_be_written_is_nobodys_until_it_can(store: Store, settings: Settings) -> None:
    damaged, sound = add(store), add(store)
    execute(settings, f"UPDATE jobs SET inputs = '[' WHERE request_id = '{damaged}'")
    with refusing(settings, "ended_at", f"old.request_id = '{damaged}'"), pytest.raises(StorageFailed):
        claim(store)
    query = f"SELECT server_id, attempt, status FROM jobs WHERE request_id = '{damaged}'"
    assert execute(settings, query) == [(None, 0, "in_queue")]
    assert claim(store).request_id == sound


@pytest.mark.parametrize(
    ("state", "remote_id", "status"),
    [(StepState.ACCEPTED, "theirs", Status.FAILED), (StepState.SENDING, None, Status.UNKNOWN)],
)
def test_one_that_was_sent_says_what_may_be_billed(
    store: Store, settings: Settings, state: StepState, remote_id: str | None, status: Status
) -> None:
    damaged = add(store, account="an account")
    settle_plan(store, claim(store, "gone").lease)
    store.queue.hand_back("gone")
    job = claim(store, "gone")
    step = dataclasses.replace(job.steps[0], state=StepState.SENDING, sent_at=1.0)
    store.queue.begin_sending(job.lease, step)
    store.queue.update_step(job.lease, dataclasses.replace(step, state=state, remote_id=remote_id))
    store.queue.take_back({"gone"})
    execute(settings, "UPDATE steps SET side = 'middle' WHERE number = 2")
    add(store)
    assert claim(store).request_id != damaged
    record = store.journal.get(damaged)
    assert record.status is status
    assert "may be carried out and billed" in (record.error or "")
    assert (remote_id or "") in (record.error or "")

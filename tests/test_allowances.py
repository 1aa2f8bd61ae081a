"""What one caller may have: counted in the transaction that writes a request, whoever else writes at the same time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from tests.stores import add, claim, end, new_request

from outpaint_mcp.config import Allowance, Settings
from outpaint_mcp.errors import ConfigError, LimitReached
from outpaint_mcp.models import Status

if TYPE_CHECKING:
    from tests.stores import Stores
    from tests.waiting import Clock

    from outpaint_mcp.storage.store import Store

FEW = Allowance(open_jobs=3, submissions_per_hour=100)
SELDOM = Allowance(open_jobs=100, submissions_per_hour=3)


def test_a_caller_has_so_many_open_jobs_and_the_next_one_is_refused_with_what_to_do(
    store: Store, stores: Stores
) -> None:
    for _ in range(3):
        add(store, caller="ann", allowance=FEW)
    before = stores.rows()
    with pytest.raises(
        LimitReached, match=r"3 takes that have not ended.* may have 3 .*cancel one"
    ) as refused:
        add(store, caller="ann", allowance=FEW)
    assert "Nothing was started" in str(refused.value)
    assert stores.rows() == before


@pytest.mark.parametrize("how", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_one_that_has_ended_makes_room(store: Store, how: Status) -> None:
    first = add(store, caller="ann", allowance=FEW)
    for _ in range(2):
        add(store, caller="ann", allowance=FEW)
    end(store, first, how)
    add(store, caller="ann", allowance=FEW)
    with pytest.raises(LimitReached):
        add(store, caller="ann", allowance=FEW)


def test_one_that_is_carried_out_counts(store: Store) -> None:
    for _ in range(3):
        add(store, caller="ann", allowance=FEW)
        claim(store)
    with pytest.raises(LimitReached):
        add(store, caller="ann", allowance=FEW)


def test_each_take_counts(store: Store) -> None:
    add(store, caller="ann", allowance=FEW, takes=2)
    with pytest.raises(LimitReached, match="2 takes that have not ended, and this would be 2 more"):
        add(store, caller="ann", allowance=FEW, takes=2)
    add(store, caller="ann", allowance=FEW)


def test_callers_take_no_room_from_one_another_and_the_person_has_no_limit(store: Store) -> None:
    for caller in ("ann", "ben"):
        for _ in range(3):
            add(store, caller=caller, allowance=FEW)
    for _ in range(30):
        add(store)


def test_the_same_request_again_is_no_new_one(store: Store) -> None:
    for number in range(3):
        add(store, caller="ann", allowance=FEW, dedup_key=f"{number}")
    takes, is_new = store.journal.add(new_request(caller="ann", allowance=FEW, dedup_key="1"))
    assert (takes[0].caller, is_new) == ("ann", False)


def test_a_caller_submits_so_many_requests_in_an_hour_and_is_told_when_the_next_one_is_taken(
    store: Store, clock: Clock
) -> None:
    for takes in (1, 2, 1):
        add(store, caller="ann", allowance=SELDOM, takes=takes)
        clock.now += 600
    with pytest.raises(LimitReached, match=r"submitted 3 requests within an hour.* again in 30 min"):
        add(store, caller="ann", allowance=SELDOM)
    add(store, caller="ben", allowance=SELDOM)
    clock.now += 30 * 60
    add(store, caller="ann", allowance=SELDOM)
    with pytest.raises(LimitReached, match="again in 10 min"):
        add(store, caller="ann", allowance=SELDOM)


def test_of_many_who_ask_at_once_in_two_processes_so_many_get_in_as_may(
    store: Store, elsewhere: Store
) -> None:
    begin = threading.Barrier(8)
    taken: list[str] = []
    refused: list[LimitReached] = []

    def submit(of: Store) -> None:
        begin.wait()
        for _ in range(3):
            try:
                taken.append(add(of, caller="ann", allowance=FEW))
            except LimitReached as exc:
                refused.append(exc)

    threads = [threading.Thread(target=submit, args=(of,)) for of in (store, elsewhere) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(taken), len(refused)) == (3, 21)


def test_the_limits_are_those_of_the_environment() -> None:
    usual = Settings.from_env({}).allowance
    assert (usual.open_jobs, usual.submissions_per_hour) == (20, 60)
    env = {"OUTPAINT_MAX_OPEN_JOBS": "2", "OUTPAINT_MAX_SUBMISSIONS_PER_HOUR": " 5 "}
    assert Settings.from_env(env).allowance == Allowance(open_jobs=2, submissions_per_hour=5)


@pytest.mark.parametrize("variable", ["OUTPAINT_MAX_OPEN_JOBS", "OUTPAINT_MAX_SUBMISSIONS_PER_HOUR"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", "1e9", "9" * 30, "\u0663"])
def test_a_limit_that_is_no_number_is_named(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=variable):
        Settings.from_env({variable: value})

"""The queue of jobs: first come first served, over all servers, each job by one at a time; whatever stores it."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING

import pytest
from tests.stores import (
    LYRICS,
    SIGNED_LINK,
    add,
    at_work,
    claim,
    new_request,
    outcome,
    settle_plan,
    two_steps,
)

from outpaint_mcp.errors import GenerationFailed, Hint, OverBudget, RequestNotFound
from outpaint_mcp.models import Status
from outpaint_mcp.principals import PERSON
from outpaint_mcp.storage.job_queue import FETCHING, MAX_CRASHES, MOST_FETCHING
from outpaint_mcp.storage.leased_jobs import LeaseLost
from outpaint_mcp.storage.records import CancelWish, Lease, RequestProgress, StepState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.stores import Stores

    from outpaint_mcp.storage.records import Job, RequestRecord, Step
    from outpaint_mcp.storage.store import Store

UNKNOWN_ID = "op_00000000000000000000"


def record(store: Store, request_id: str) -> RequestRecord:
    return store.journal.get(request_id)


def positions(store: Store, request_ids: Sequence[str]) -> list[int | None]:
    """Where requests are in our own queue."""
    live = [record(store, request_id).live for request_id in request_ids]
    return [None if each is None else each.queue_position for each in live]


def claim_paid(store: Store, server_id: str = "here") -> Job:
    """Have a job with two paid steps that are planned."""
    add(store, account="an account")
    settle_plan(store, claim(store, server_id).lease)
    store.queue.hand_back(server_id)
    return claim(store, server_id)


def send(store: Store, job: Job, state: StepState = StepState.SENDING) -> Step:
    """Have the first step of a job sent."""
    step = dataclasses.replace(job.steps[0], state=StepState.SENDING, sent_at=1.0)
    store.queue.begin_sending(job.lease, step)
    step = dataclasses.replace(step, state=state, remote_id=None if state is StepState.SENDING else "theirs")
    store.queue.update_step(job.lease, step)
    return step


def in_threads(works: Sequence[Callable[[], None]]) -> None:
    begin = threading.Barrier(len(works))

    def run(work: Callable[[], None]) -> None:
        begin.wait()
        work()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_claimed_job_is_what_was_added(store: Store) -> None:
    new = new_request(account="an account", limit_usd=2.5)
    store.journal.add(new)
    job = claim(store)
    assert (job.request_id, job.lease) == (new.ids[0], Lease(new.ids[0], "here", 1))
    assert (job.provider, job.source, job.account, job.limit_usd) == (
        "local",
        "/music/song.wav",
        "an account",
        2.5,
    )
    assert (job.source_seconds, job.steps) == (None, ())
    assert job.request == new.request.model_copy(update={"audio": job.request.audio})
    assert job.request.audio != new.request.audio  # it may be a secret, and is nobody's business here


def test_each_take_is_a_job_with_its_own_seed(store: Store) -> None:
    new = new_request(takes=3, seed=2**31 - 2)
    store.journal.add(new)
    jobs = [claim(store) for _ in range(3)]
    assert [job.request_id for job in jobs] == list(new.ids)
    assert [job.request.seed for job in jobs] == [2**31 - 2, 2**31 - 1, 0]
    assert {job.request.takes for job in jobs} == {1}


def test_jobs_are_taken_in_the_order_in_which_they_came_whoever_takes_them(
    store: Store, elsewhere: Store
) -> None:
    a, b, c = add(store), add(store), add(elsewhere)
    assert [claim(elsewhere).request_id, claim(store).request_id, claim(store).request_id] == [a, b, c]
    assert store.queue.claim("here", "local") is None
    assert not store.queue.has_claimable("local")


def test_a_server_takes_only_the_jobs_of_the_providers_that_it_has(store: Store) -> None:
    add(store, provider="other")
    mine = add(store)
    assert claim(store).request_id == mine
    assert store.queue.claim("here", "local") is None
    assert not store.queue.has_claimable("local")
    assert store.queue.has_claimable("other")


def test_no_more_jobs_run_at_once_than_allowed_over_all_servers(store: Store, elsewhere: Store) -> None:
    _, _, third = add(store), add(store), add(store)
    first = claim(store, "here", most_running=2)
    claim(elsewhere, "there", most_running=2)
    assert not store.queue.has_claimable("local", most_running=2)
    assert store.queue.claim("here", "local", most_running=2) is None
    store.queue.end(first.lease, Status.COMPLETED, outcome=outcome())
    assert store.queue.has_claimable("local", most_running=2)
    assert claim(elsewhere, "there", most_running=2).request_id == third


LINK = "https://files.example/song.wav"


def test_a_job_that_fetches_its_source_takes_no_place_of_one_that_works(store: Store) -> None:
    fetching = []
    for _ in range(MOST_FETCHING):
        add(store, source=LINK)
        fetching.append(fetch(store, claim(store, most_running=1)))
    one_more, mine = add(store, source=LINK), add(store)
    assert claim(store, most_running=1).request_id == mine, "no more links are fetched at a time"
    assert not store.queue.has_claimable("local", most_running=1)
    assert not store.queue.has_claimable("local", most_running=2)
    for job in fetching[:1]:
        store.queue.end(job.lease, Status.COMPLETED, outcome=outcome())
    assert claim(store, most_running=2).request_id == one_more


def test_a_job_whose_source_has_been_fetched_takes_a_place(store: Store) -> None:
    add(store, source=LINK)
    job = claim(store, most_running=1)
    fetch(store, job)
    add(store)
    store.queue.report(job.lease, RequestProgress(status=Status.IN_PROGRESS, step="starting"))
    assert not store.queue.has_claimable("local", most_running=1)


def fetch(store: Store, job: Job) -> Job:
    store.queue.report(job.lease, RequestProgress(status=Status.IN_PROGRESS, step=FETCHING))
    return job


def test_the_jobs_of_another_provider_do_not_count_towards_a_limit(store: Store) -> None:
    add(store, provider="other")
    mine = add(store)
    claim(store, provider="other")
    assert claim(store, most_running=1).request_id == mine


def test_the_queue_position_is_true_over_all_servers(store: Store, elsewhere: Store) -> None:
    ids = [add(store) for _ in range(4)]
    add(store, provider="other")
    claim(elsewhere)
    elsewhere.queue.cancel(ids[2])
    assert positions(store, ids) == [None, 1, None, 2]


def test_two_servers_never_claim_the_same_job(store: Store, elsewhere: Store) -> None:
    ids = [add(store) for _ in range(30)]
    claimed: list[str] = []

    def take_all(of: Store, server_id: str) -> Callable[[], None]:
        def take() -> None:
            while job := of.queue.claim(server_id, "local"):
                claimed.append(job.request_id)

        return take

    in_threads(
        [take_all(store, "a"), take_all(store, "b"), take_all(elsewhere, "c"), take_all(elsewhere, "d")]
    )
    assert sorted(claimed) == sorted(ids)


def test_progress_is_reported_while_a_job_runs_and_only_then(store: Store) -> None:
    request_id = add(store)
    waiting = record(store, request_id)
    assert waiting.live is not None
    assert (waiting.status, waiting.live.progress) == (Status.IN_QUEUE, None)
    job = claim(store)
    store.queue.report(job.lease, at_work(0.5, "rendering"))
    running = record(store, request_id)
    assert (running.status, running.live) == (Status.IN_PROGRESS, at_work(0.5, "rendering"))
    store.queue.end(job.lease, Status.FAILED)
    assert record(store, request_id).live is None


def test_why_a_job_failed_is_there_with_what_to_do_next(store: Store) -> None:
    request_id = add(store)
    error = GenerationFailed("Why.", hint=Hint.SUBMIT_AGAIN, field="audio")
    store.queue.end(claim(store).lease, Status.FAILED, error=error)
    ended = record(store, request_id)
    assert (ended.error, ended.error_kind) == ("Why.", "GenerationFailed")
    assert (ended.error_hint, ended.error_field) == (Hint.SUBMIT_AGAIN, "audio")


def test_progress_begins_again_with_the_next_server(store: Store) -> None:
    request_id = add(store)
    store.queue.report(claim(store).lease, at_work(0.9))
    store.queue.hand_back("here")
    claim(store, "next")
    live = record(store, request_id).live
    assert live is not None
    assert live.progress is None


def test_an_outcome_is_there_once_a_job_is_completed(store: Store) -> None:
    request_id = add(store)
    assert record(store, request_id).outcome is None
    store.queue.end(claim(store).lease, Status.COMPLETED, outcome=outcome())
    ended = record(store, request_id)
    assert (ended.status, ended.outcome) == (Status.COMPLETED, outcome())


def test_links_are_forgotten_and_nothing_else_of_an_outcome(store: Store, stores: Stores) -> None:
    request_id = add(store)
    as_made = outcome("/data/as made.mp3", url=SIGNED_LINK)
    of_both = dataclasses.replace(outcome(url=SIGNED_LINK), as_made=as_made)
    store.queue.end(claim(store).lease, Status.COMPLETED, outcome=of_both)
    assert record(store, request_id).outcome == of_both
    for _ in range(2):
        store.queue.forget_links(request_id)
        assert record(store, request_id).outcome == of_both.without_links()
    assert "Signature" not in repr(stores.rows())


def test_there_are_no_links_to_forget_where_nothing_was_generated(store: Store) -> None:
    request_id = add(store)
    store.queue.cancel(request_id)
    store.queue.forget_links(request_id)
    assert record(store, request_id).outcome is None


def test_a_queued_job_is_cancelled_at_once_and_never_claimed(store: Store) -> None:
    request_id = add(store)
    assert store.queue.cancel(request_id)
    assert record(store, request_id).status is Status.CANCELLED
    assert store.queue.claim("here", "local") is None
    assert not store.queue.cancel(request_id)


def test_a_running_job_learns_that_somebody_wants_it_cancelled(store: Store, elsewhere: Store) -> None:
    request_id = add(store)
    job = claim(store)
    assert store.queue.leases("here") == {job.lease: CancelWish.NONE}
    assert elsewhere.queue.cancel(request_id)
    assert not record(store, request_id).status.is_final
    assert store.queue.leases("here") == {job.lease: CancelWish.WANTED}
    assert store.queue.cancel_wish(request_id) is CancelWish.WANTED


def test_a_wish_that_comes_too_late_is_refused_for_all_to_see(store: Store, elsewhere: Store) -> None:
    request_id = add(store)
    job = claim(store)
    elsewhere.queue.cancel(request_id)
    store.queue.refuse_to_cancel(job.lease)
    assert elsewhere.queue.cancel_wish(request_id) is CancelWish.REFUSED
    assert store.queue.leases("here") == {job.lease: CancelWish.REFUSED}
    elsewhere.queue.cancel_without_its_server(request_id)
    store.queue.hand_back("here")
    assert claim(store).request_id == request_id
    assert elsewhere.queue.cancel(request_id)  # somebody may wish for it once more
    assert store.queue.cancel_wish(request_id) is CancelWish.WANTED


def test_a_job_that_ended_before_its_cancellation_was_seen_keeps_its_result(store: Store) -> None:
    request_id = add(store)
    job = claim(store)
    store.queue.cancel(request_id)
    store.queue.end(job.lease, Status.COMPLETED, outcome=outcome())
    assert record(store, request_id).status is Status.COMPLETED


@pytest.mark.parametrize("verb", ["cancel", "cancel_wish", "forget_links"])
def test_an_unknown_job_is_not_found(store: Store, verb: str) -> None:
    with pytest.raises(RequestNotFound, match=UNKNOWN_ID):
        getattr(store.queue, verb)(UNKNOWN_ID)


def test_a_job_of_which_something_was_sent_is_not_cancelled_behind_its_back(store: Store) -> None:
    job = claim_paid(store)
    send(store, job, StepState.ACCEPTED)
    store.queue.hand_back("here")
    assert store.queue.cancel(job.request_id)
    store.queue.cancel_without_its_server(job.request_id)
    store.queue.take_back(["here"])
    assert not record(store, job.request_id).status.is_final
    again = claim(store, "next")
    assert again.steps[0].remote_id == "theirs"
    assert store.queue.leases("next") == {again.lease: CancelWish.WANTED}


def test_the_jobs_of_a_dead_server_go_back_to_where_they_were(store: Store) -> None:
    ids = [add(store) for _ in range(3)]
    claim(store, "dead")
    other = claim(store, "alive")
    store.queue.take_back(["dead"])
    assert store.queue.servers_at_work() == {"alive"}
    assert positions(store, ids) == [1, None, 2]
    again = claim(store, "alive")
    assert again.lease == Lease(ids[0], "alive", 2)
    assert set(store.queue.leases("alive")) == {other.lease, again.lease}


def test_a_job_that_takes_its_server_down_every_time_fails_with_the_reason(store: Store) -> None:
    request_id = add(store)
    for attempt in range(1, MAX_CRASHES + 1):
        assert claim(store, f"server {attempt}").lease.attempt == attempt
        store.queue.take_back([f"server {attempt}"])
    ended = record(store, request_id)
    assert (ended.status, ended.error_kind, ended.error_hint) == (
        Status.FAILED,
        "GenerationFailed",
        Hint.SUBMIT_AGAIN,
    )
    assert "shorter source" in (ended.error or "")


def test_a_job_handed_back_in_good_order_has_not_crashed(store: Store) -> None:
    request_id = add(store)
    for _ in range(2 * MAX_CRASHES):
        claim(store)
        store.queue.hand_back("here")
    assert positions(store, [request_id]) == [1]


def test_a_paid_job_goes_on_however_often_its_servers_crash(store: Store) -> None:
    job = claim_paid(store)
    send(store, job, StepState.ACCEPTED)
    for _ in range(2 * MAX_CRASHES):
        store.queue.take_back(["here"])
        assert claim(store).request_id == job.request_id


def test_a_job_that_another_server_follows_at_the_service_stays_in_progress(store: Store) -> None:
    job = claim_paid(store)
    send(store, job, StepState.ACCEPTED)
    store.queue.report(job.lease, at_work())
    store.queue.hand_back("here")
    assert record(store, job.request_id).status is Status.IN_PROGRESS
    assert positions(store, [job.request_id]) == [None]


def test_a_server_that_leaves_hands_back_all_it_has_and_nothing_else(store: Store) -> None:
    ids = [add(store) for _ in range(4)]
    store.queue.end(claim(store).lease, Status.COMPLETED, outcome=outcome())
    claim(store)
    claim(store, "there")
    store.queue.report(claim(store).lease, at_work())
    store.queue.hand_back("here")
    assert positions(store, ids) == [None, 1, None, 2]
    assert store.queue.servers_at_work() == {"there"}


def test_one_job_can_be_left_to_others(store: Store) -> None:
    add(store)
    add(store)
    first, second = claim(store), claim(store)
    store.queue.release(first.lease)
    assert set(store.queue.leases("here")) == {second.lease}
    assert claim(store, "there").lease == Lease(first.request_id, "there", 2)


@pytest.mark.parametrize("leaving", ["killed", "killed for the last time", "in good order", "releasing it"])
def test_a_job_that_somebody_wants_cancelled_is_when_its_server_leaves(store: Store, leaving: str) -> None:
    request_id = add(store)
    if leaving == "killed for the last time":
        for _ in range(MAX_CRASHES - 1):
            claim(store)
            store.queue.take_back(["here"])
    job = claim(store)
    store.queue.cancel(request_id)
    if leaving == "in good order":
        store.queue.hand_back("here")
    elif leaving == "releasing it":
        store.queue.release(job.lease)
    else:
        store.queue.take_back(["here"])
    ended = record(store, request_id)
    assert (ended.status, ended.error) == (Status.CANCELLED, None)


def test_a_running_job_is_ended_without_its_server_only_if_somebody_asked_for_it(store: Store) -> None:
    request_id = add(store)
    job = claim(store)
    store.queue.cancel_without_its_server(request_id)
    assert not record(store, request_id).status.is_final
    store.queue.cancel(request_id)
    store.queue.cancel_without_its_server(request_id)
    with pytest.raises(LeaseLost):  # its server wakes up
        store.queue.end(job.lease, Status.COMPLETED, outcome=outcome())
    assert record(store, request_id).status is Status.CANCELLED
    assert store.queue.leases("here") == {}


def test_a_job_that_waits_for_another_start_still_knows_what_is_asked(store: Store) -> None:
    add(store)
    first = claim(store)
    store.queue.take_back(["here"])
    claim(store)
    store.queue.hand_back("here")
    again = claim(store)
    assert (again.source, again.request) == ("/music/song.wav", first.request)


def _cancel_queued(store: Store) -> None:
    store.queue.cancel(only(store))


def _complete(store: Store) -> None:
    store.queue.end(claim(store).lease, Status.COMPLETED, outcome=outcome())


def _fail(store: Store) -> None:
    store.queue.end(claim(store).lease, Status.FAILED, error=GenerationFailed("Why."))


def _lose_the_answer(store: Store) -> None:
    settle_plan(store, claim(store).lease)
    store.queue.hand_back("here")
    job = claim(store)
    send(store, job)
    store.queue.end(job.lease, Status.UNKNOWN, error=GenerationFailed("Why."))


def _cancel_and_be_killed(store: Store) -> None:
    claim(store)
    store.queue.cancel(only(store))
    store.queue.take_back(["here"])


def _cancel_and_leave(store: Store) -> None:
    claim(store)
    store.queue.cancel(only(store))
    store.queue.hand_back("here")


def _cancel_while_its_server_sleeps(store: Store) -> None:
    claim(store)
    store.queue.cancel(only(store))
    store.queue.cancel_without_its_server(only(store))


def _be_killed_every_time(store: Store) -> None:
    for _ in range(MAX_CRASHES):
        claim(store)
        store.queue.take_back(["here"])


def only(store: Store) -> str:
    ((request,),) = store.journal.newest(PERSON, limit=9)
    return request.request_id


@pytest.mark.parametrize(
    "come_to_an_end",
    [
        _cancel_queued,
        _complete,
        _fail,
        _lose_the_answer,
        _cancel_and_be_killed,
        _cancel_and_leave,
        _cancel_while_its_server_sleeps,
        _be_killed_every_time,
    ],
)
def test_every_way_to_an_end_deletes_the_lyrics_and_where_the_source_came_from(
    store: Store, stores: Stores, come_to_an_end: Callable[[Store], None]
) -> None:
    request_id = add(store, source=SIGNED_LINK)
    assert LYRICS in repr(stores.rows())
    come_to_an_end(store)
    assert record(store, request_id).status.is_final
    assert store.queue.servers_at_work() == set()
    left = repr(stores.rows())
    assert LYRICS not in left
    assert SIGNED_LINK not in left
    assert not stores.is_on_disk(LYRICS)
    assert not stores.is_on_disk(SIGNED_LINK)


def _report(store: Store, job: Job) -> None:
    store.queue.report(job.lease, at_work(0.9, "late"))


def _update_step(store: Store, job: Job) -> None:
    store.queue.update_step(
        job.lease, dataclasses.replace(job.steps[0], state=StepState.FINISHED, cost_usd=9)
    )


def _begin_sending(store: Store, job: Job) -> None:
    store.queue.begin_sending(
        job.lease, dataclasses.replace(job.steps[0], state=StepState.SENDING, sent_at=9)
    )


def _end(store: Store, job: Job) -> None:
    store.queue.end(job.lease, Status.COMPLETED, outcome=outcome("/late.wav"))


def _refuse_to_cancel(store: Store, job: Job) -> None:
    store.queue.refuse_to_cancel(job.lease)


def _settle_plan(store: Store, job: Job) -> None:
    settle_plan(store, job.lease, two_steps()[:1], cost_usd=99)


FENCED = [_report, _update_step, _begin_sending, _end, _refuse_to_cancel, _settle_plan]


def _lose_to_nobody_yet(store: Store, job: Job) -> None:
    store.queue.take_back([job.lease.server_id])


def _lose_to_another(store: Store, job: Job) -> None:
    store.queue.take_back([job.lease.server_id])
    claim(store, "thief")


def _lose_to_oneself(store: Store, job: Job) -> None:
    store.queue.hand_back(job.lease.server_id)
    claim(store, job.lease.server_id)


def _lose_by_releasing_it(store: Store, job: Job) -> None:
    store.queue.release(job.lease)


def _lose_as_it_ended(store: Store, job: Job) -> None:
    store.queue.end(job.lease, Status.FAILED, error=GenerationFailed("Why."))


def _lose_as_it_was_cancelled(store: Store, job: Job) -> None:
    store.queue.cancel(job.request_id)
    store.queue.cancel_without_its_server(job.request_id)


LOSING = [
    _lose_to_nobody_yet,
    _lose_to_another,
    _lose_to_oneself,
    _lose_by_releasing_it,
    _lose_as_it_ended,
    _lose_as_it_was_cancelled,
]


@pytest.mark.parametrize("lose", LOSING)
@pytest.mark.parametrize("write", FENCED)
def test_who_has_lost_a_lease_writes_nothing_more(
    store: Store,
    elsewhere: Store,
    stores: Stores,
    write: Callable[[Store, Job], None],
    lose: Callable[[Store, Job], None],
) -> None:
    job = claim_paid(store)
    lose(elsewhere, job)
    before = stores.rows()
    with pytest.raises(LeaseLost):
        write(store, job)
    assert stores.rows() == before


@pytest.mark.parametrize("write", FENCED)
def test_who_still_has_a_lease_writes_what_it_protects(
    store: Store, stores: Stores, write: Callable[[Store, Job], None]
) -> None:
    job = claim_paid(store)
    if write is _settle_plan:
        add(store)
        job = claim(store)
    before = stores.rows()
    write(store, job)
    assert stores.rows() != before


@pytest.mark.parametrize("lose", LOSING)
def test_a_lease_that_was_lost_cannot_be_released(
    store: Store, elsewhere: Store, stores: Stores, lose: Callable[[Store, Job], None]
) -> None:
    job = claim_paid(store)
    lose(elsewhere, job)
    before = stores.rows()
    store.queue.release(job.lease)
    assert stores.rows() == before


@pytest.mark.parametrize(
    "changed", [{"server_id": "there"}, {"attempt": 0}, {"attempt": 9}, {"request_id": UNKNOWN_ID}]
)
@pytest.mark.parametrize("write", FENCED)
def test_every_part_of_a_lease_counts(
    store: Store, stores: Stores, write: Callable[[Store, Job], None], changed: dict[str, str | int]
) -> None:
    job = claim_paid(store)
    forged = dataclasses.replace(job, lease=dataclasses.replace(job.lease, **changed))  # type: ignore[arg-type]
    before = stores.rows()
    with pytest.raises(LeaseLost):
        write(store, forged)
    assert stores.rows() == before


def test_a_step_is_begun_to_be_sent_once_however_many_try(store: Store, elsewhere: Store) -> None:
    job = claim_paid(store)
    sent: list[int] = []
    lost: list[int] = []

    def begin(of: Store, number: int) -> Callable[[], None]:
        def try_it() -> None:
            step = dataclasses.replace(job.steps[0], state=StepState.SENDING, sent_at=float(number))
            try:
                of.queue.begin_sending(job.lease, step)
            except LeaseLost:
                lost.append(number)
            else:
                sent.append(number)

        return try_it

    in_threads([begin(store if number % 2 else elsewhere, number) for number in range(8)])
    assert (len(sent), len(lost)) == (1, 7)
    store.queue.hand_back("here")
    step = claim(store).steps[0]
    assert (step.state, step.sent_at) == (StepState.SENDING, sent[0])


@pytest.mark.parametrize(
    "state", [StepState.SENDING, StepState.ACCEPTED, StepState.FINISHED, StepState.FETCHED]
)
def test_a_step_that_is_past_being_planned_is_not_begun_again(
    store: Store, stores: Stores, state: StepState
) -> None:
    job = claim_paid(store)
    send(store, job, state)
    before = stores.rows()
    with pytest.raises(LeaseLost):
        _begin_sending(store, job)
    assert stores.rows() == before


def test_a_refused_step_is_planned_again_and_may_be_sent_once_more(store: Store) -> None:
    job = claim_paid(store)
    step = send(store, job)
    planned = dataclasses.replace(step, state=StepState.PLANNED, sent_at=None)
    store.queue.update_step(job.lease, planned)
    store.queue.cancel(job.request_id)
    store.queue.cancel_without_its_server(job.request_id)  # nothing of it was sent
    ended = record(store, job.request_id)
    assert (ended.status, ended.cost_usd) == (Status.CANCELLED, 0)


def test_the_next_server_finds_every_step_as_it_was_left(store: Store, elsewhere: Store) -> None:
    job = claim_paid(store)
    first, second = job.steps
    assert [first, second] == two_steps()
    first = dataclasses.replace(
        first,
        state=StepState.FETCHED,
        seconds=0.75,
        context_seconds=2.5,
        sent_at=17.0,
        remote_id="theirs",
        object_name="context.mp3",
        cost_usd=0.25,
    )
    store.queue.update_step(job.lease, first)
    store.queue.take_back(["here"])
    again = claim(elsewhere, "next")
    assert again.steps == (first, second)
    assert (again.billed, again.source_seconds) == ((first,), 3)


def test_what_has_been_billed_is_known_as_long_as_the_service_says_it_of_every_step(store: Store) -> None:
    job = claim_paid(store)

    def cost_so_far(number: int, cost_usd: float | None) -> float | None:
        sent = dataclasses.replace(
            job.steps[number], state=StepState.FINISHED, sent_at=1.0, remote_id="theirs", cost_usd=cost_usd
        )
        store.queue.update_step(job.lease, sent)
        live = record(store, job.request_id).live
        assert live is not None
        return live.cost_usd

    assert cost_so_far(0, 0.25) == 0.25
    assert cost_so_far(1, None) is None
    assert cost_so_far(1, 0.5) == 0.75
    store.queue.end(job.lease, Status.COMPLETED, outcome=outcome())
    assert record(store, job.request_id).cost_usd == 0.75


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_a_paid_request_of_which_nothing_was_sent_has_cost_nothing(store: Store, status: Status) -> None:
    job = claim_paid(store)
    store.queue.end(job.lease, status)
    assert record(store, job.request_id).cost_usd == 0


def test_a_request_whose_answer_was_lost_has_cost_nobody_knows_what(store: Store) -> None:
    job = claim_paid(store)
    send(store, job)
    store.queue.end(job.lease, Status.UNKNOWN, error=GenerationFailed("Why."))
    assert record(store, job.request_id).cost_usd is None


def test_a_free_request_has_no_cost(store: Store) -> None:
    request_id = add(store)
    store.queue.cancel(request_id)
    assert record(store, request_id).cost_usd is None


def test_a_request_is_accepted_once_the_service_has_an_id_for_a_step(store: Store) -> None:
    job = claim_paid(store)
    send(store, job)
    assert not record(store, job.request_id).is_accepted
    store.queue.update_step(
        job.lease, dataclasses.replace(job.steps[0], state=StepState.ACCEPTED, sent_at=1, remote_id="theirs")
    )
    assert record(store, job.request_id).is_accepted


def test_a_request_gets_the_title_of_what_was_fetched_from_who_carries_it_out_alone(store: Store) -> None:
    first, second = add(store, title="uc"), add(store, title="uc")
    old = claim(store)
    store.queue.hand_back("here")
    new = claim(store, "elsewhere")
    store.queue.rename(new.lease, "Übung #3")
    with pytest.raises(LeaseLost):
        store.queue.rename(old.lease, "something else")
    assert (record(store, first).title, record(store, second).title) == ("Übung #3", "uc")
    store.queue.end(new.lease, Status.COMPLETED, outcome=outcome())
    with pytest.raises(LeaseLost):
        store.queue.rename(new.lease, "too late")


@pytest.mark.parametrize("lowered", [0, 1])
def test_a_limit_that_one_take_was_given_holds_for_the_request(store: Store, lowered: int) -> None:
    add(store, provider="runcomfy", account="an account", takes=2)
    takes = [claim(store, provider="runcomfy") for _ in range(2)]
    store.ledger.lower_limits(takes[lowered].lease, 0.9, None)
    with pytest.raises(OverBudget, match=r"limit of \$0\.9"):
        settle_plan(store, takes[1 - lowered].lease)  # half a dollar each

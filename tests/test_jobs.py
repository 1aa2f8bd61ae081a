"""The queue of local jobs: first come first served, over all servers, each job by one at a time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from outpaint_mcp.errors import ProviderUnavailable, RequestNotFound, StorageFailed
from outpaint_mcp.jobs.liveness import Presence
from outpaint_mcp.models import CancelOutcome, Status
from outpaint_mcp.providers.local.jobs import MAX_ATTEMPTS, Job, Jobs
from outpaint_mcp.storage.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from outpaint_mcp.config import Settings


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database)


@pytest.fixture
def elsewhere(settings: Settings) -> Iterator[Jobs]:
    """The same queue as another server process sees it."""
    database = Database(settings.data_dir / "outpaint.sqlite3")
    yield Jobs(database)
    database.close()


def add(jobs: Jobs, *names: str) -> None:
    for name in names:
        jobs.add(Job(request_id=name, source="/song.wav", before_seconds=1, after_seconds=2, seed=3))


def claim(jobs: Jobs, server_id: str = "here", *, most_running: int = 9) -> Job:
    job = jobs.claim(server_id, most_running=most_running)
    assert job is not None
    return job


def test_a_claimed_job_is_what_was_added(jobs: Jobs) -> None:
    add(jobs, "a")
    assert claim(jobs) == Job(
        request_id="a", source="/song.wav", before_seconds=1, after_seconds=2, seed=3, attempts=1
    )


def test_jobs_are_taken_in_the_order_in_which_they_came_whoever_takes_them(
    jobs: Jobs, elsewhere: Jobs
) -> None:
    add(jobs, "a", "b")
    add(elsewhere, "c")
    assert [claim(elsewhere).request_id, claim(jobs).request_id, claim(jobs).request_id] == ["a", "b", "c"]
    assert jobs.claim("here", most_running=9) is None
    assert not jobs.has_queued()


def test_no_more_jobs_run_at_once_than_allowed_over_all_servers(jobs: Jobs, elsewhere: Jobs) -> None:
    add(jobs, "a", "b", "c")
    first = claim(jobs, "here", most_running=2)
    claim(elsewhere, "there", most_running=2)
    assert jobs.claim("here", most_running=2) is None
    jobs.end(first, "here", Status.COMPLETED, outcome={})
    assert claim(elsewhere, "there", most_running=2).request_id == "c"


def test_the_queue_position_is_true_over_all_servers(jobs: Jobs, elsewhere: Jobs) -> None:
    add(jobs, "a", "b", "c", "d")
    claim(elsewhere)
    elsewhere.cancel("c")
    assert [jobs.status(name).queue_position for name in "abcd"] == [None, 1, None, 2]


def test_two_servers_never_claim_the_same_job(jobs: Jobs, elsewhere: Jobs) -> None:
    names = [f"job {number}" for number in range(30)]
    add(jobs, *names)
    claimed: list[str] = []

    def take_all(queue: Jobs, server_id: str) -> None:
        while job := queue.claim(server_id, most_running=99):
            claimed.append(job.request_id)

    threads = [
        threading.Thread(target=take_all, args=(queue, server_id))
        for queue, server_id in ((jobs, "a"), (jobs, "b"), (elsewhere, "c"), (elsewhere, "d"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(names)


def test_progress_is_told_while_a_job_runs_and_only_then(jobs: Jobs) -> None:
    add(jobs, "a")
    assert (jobs.status("a").progress, jobs.status("a").status) == (None, Status.IN_QUEUE)
    job = claim(jobs)
    assert jobs.status("a").progress == 0
    assert jobs.advance(job, "here", 0.5, "rendering") is False
    assert (jobs.status("a").progress, jobs.status("a").step) == (0.5, "rendering")
    jobs.end(job, "here", Status.FAILED, error="why")
    assert (jobs.status("a").progress, jobs.status("a").error) == (None, "why")


def test_an_outcome_is_there_once_a_job_is_completed(jobs: Jobs) -> None:
    add(jobs, "a")
    with pytest.raises(RequestNotFound):
        jobs.outcome("a")
    jobs.end(claim(jobs), "here", Status.COMPLETED, outcome={"path": "/made.wav"})
    assert jobs.outcome("a") == {"path": "/made.wav"}
    assert jobs.status("a").status is Status.COMPLETED


def test_a_queued_job_is_cancelled_at_once_and_never_claimed(jobs: Jobs) -> None:
    add(jobs, "a")
    assert jobs.cancel("a") is CancelOutcome.CANCELLED
    assert jobs.status("a").status is Status.CANCELLED
    assert jobs.claim("here", most_running=9) is None
    assert jobs.cancel("a") is CancelOutcome.NOT_CANCELLABLE


def test_a_running_job_learns_that_it_is_unwanted(jobs: Jobs, elsewhere: Jobs) -> None:
    add(jobs, "a")
    job = claim(jobs)
    assert not jobs.is_unwanted(job, "here")
    assert elsewhere.cancel("a") is CancelOutcome.CANCELLED
    assert jobs.status("a").status is Status.IN_PROGRESS
    assert jobs.is_unwanted(job, "here")
    assert jobs.advance(job, "here", 0.5, "rendering") is True


def test_a_job_that_ended_before_its_cancellation_was_seen_keeps_its_result(jobs: Jobs) -> None:
    add(jobs, "a")
    job = claim(jobs)
    jobs.cancel("a")
    jobs.end(job, "here", Status.COMPLETED, outcome={"path": "/made.wav"})
    assert jobs.status("a").status is Status.COMPLETED


@pytest.mark.parametrize("method", ["status", "outcome", "cancel"])
def test_an_unknown_job_is_not_found(jobs: Jobs, method: str) -> None:
    with pytest.raises(RequestNotFound, match="local provider has no request"):
        getattr(jobs, method)("never added")


def test_the_jobs_of_a_dead_server_go_back_to_where_they_were(jobs: Jobs) -> None:
    add(jobs, "a", "b", "c")
    claim(jobs, "dead")
    kept = claim(jobs, "alive")
    jobs.take_back(["dead"])
    assert jobs.servers_at_work() == {"alive"}
    assert [jobs.status(name).queue_position for name in "abc"] == [1, None, 2]
    again = claim(jobs, "alive")
    assert (again.request_id, again.attempts) == ("a", 2)
    assert not jobs.is_unwanted(kept, "alive")


def test_a_server_that_was_given_up_cannot_change_what_another_has_taken_over(jobs: Jobs) -> None:
    add(jobs, "a")
    lost = claim(jobs, "slow")
    jobs.take_back(["slow"])
    claim(jobs, "next")
    assert jobs.is_unwanted(lost, "slow")
    assert jobs.advance(lost, "slow", 0.9, "late") is True
    jobs.end(lost, "slow", Status.FAILED, error="late")
    jobs.hand_back("slow")
    seen = jobs.status("a")
    assert (seen.status, seen.step, seen.error) == (Status.IN_PROGRESS, "", None)


def test_a_job_that_takes_its_server_down_every_time_is_given_up_with_the_reason(jobs: Jobs) -> None:
    add(jobs, "a")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert claim(jobs, f"server {attempt}").attempts == attempt
        jobs.take_back([f"server {attempt}"])
    seen = jobs.status("a")
    assert seen.status is Status.FAILED
    assert "shorter source" in (seen.error or "")


def test_a_job_handed_back_in_good_order_has_not_used_an_attempt(jobs: Jobs) -> None:
    add(jobs, "a")
    for _ in range(2 * MAX_ATTEMPTS):
        claim(jobs)
        jobs.hand_back("here")
    assert claim(jobs).attempts == 1


def test_a_server_that_leaves_hands_back_all_it_has_and_nothing_else(jobs: Jobs) -> None:
    add(jobs, "a", "b", "c", "d")
    jobs.end(claim(jobs), "here", Status.COMPLETED, outcome={})
    claim(jobs)
    claim(jobs, "there")
    claim(jobs)
    jobs.hand_back("here")
    assert [jobs.status(name).queue_position for name in "abcd"] == [None, 1, None, 2]
    assert jobs.servers_at_work() == {"there"}


@pytest.mark.parametrize("leaving", ["killed", "killed for the last time", "in good order"])
def test_an_unwanted_job_whose_server_leaves_is_cancelled(jobs: Jobs, leaving: str) -> None:
    add(jobs, "a")
    if leaving == "killed for the last time":
        for _ in range(MAX_ATTEMPTS - 1):
            claim(jobs)
            jobs.take_back(["here"])
    claim(jobs)
    jobs.cancel("a")
    if leaving == "in good order":
        jobs.hand_back("here")
    else:
        jobs.take_back(["here"])
    assert (jobs.status("a").status, jobs.status("a").error) == (Status.CANCELLED, None)


def _cancel_queued(jobs: Jobs) -> None:
    jobs.cancel("a")


def _complete(jobs: Jobs) -> None:
    jobs.end(claim(jobs), "here", Status.COMPLETED, outcome={})


def _cancel_and_be_killed(jobs: Jobs) -> None:
    claim(jobs)
    jobs.cancel("a")
    jobs.take_back(["here"])


def _cancel_and_leave(jobs: Jobs) -> None:
    claim(jobs)
    jobs.cancel("a")
    jobs.hand_back("here")


def _cancel_while_its_server_sleeps(jobs: Jobs) -> None:
    claim(jobs)
    jobs.cancel("a")
    jobs.cancel_without_its_server("a")


def _be_killed_every_time(jobs: Jobs) -> None:
    for _ in range(MAX_ATTEMPTS):
        claim(jobs)
        jobs.take_back(["here"])


@pytest.mark.parametrize(
    "come_to_an_end",
    [
        _cancel_queued,
        _complete,
        _cancel_and_be_killed,
        _cancel_and_leave,
        _cancel_while_its_server_sleeps,
        _be_killed_every_time,
    ],
)
def test_every_way_to_an_end_forgets_where_the_source_came_from(
    jobs: Jobs, database: Database, come_to_an_end: Callable[[Jobs], None]
) -> None:
    add(jobs, "a")
    come_to_an_end(jobs)
    assert jobs.status("a").status.is_final
    with database.read() as connection:
        row = connection.execute("SELECT source, server_id FROM jobs").fetchone()
    assert tuple(row) == ("", None)


def test_a_job_that_waits_for_another_start_still_knows_its_source(jobs: Jobs) -> None:
    add(jobs, "a")
    claim(jobs)
    jobs.take_back(["here"])
    claim(jobs)
    jobs.hand_back("here")
    assert claim(jobs).source == "/song.wav"


def test_a_running_job_is_ended_without_its_server_only_if_somebody_asked_for_it(jobs: Jobs) -> None:
    add(jobs, "a")
    job = claim(jobs)
    jobs.cancel_without_its_server("a")
    assert jobs.status("a").status is Status.IN_PROGRESS
    jobs.cancel("a")
    jobs.cancel_without_its_server("a")
    jobs.end(job, "here", Status.COMPLETED, outcome={})  # its server wakes up
    assert jobs.status("a").status is Status.CANCELLED
    assert jobs.is_unwanted(job, "here")


def test_a_request_that_was_given_up_has_failed_and_is_refused_if_it_still_comes(
    jobs: Jobs, elsewhere: Jobs
) -> None:
    elsewhere.give_up("late")
    with pytest.raises(ProviderUnavailable, match="submit it again"):
        add(jobs, "late")
    assert jobs.status("late").status is Status.FAILED
    assert "Nothing was made" in (jobs.status("late").error or "")
    assert jobs.claim("here", most_running=9) is None


def test_a_request_that_came_in_time_cannot_be_given_up(jobs: Jobs, elsewhere: Jobs) -> None:
    add(jobs, "in time")
    elsewhere.give_up("in time")
    jobs.end(claim(jobs), "here", Status.COMPLETED, outcome={})
    elsewhere.give_up("in time")
    assert jobs.status("in time").status is Status.COMPLETED


def test_a_server_is_alive_until_it_closes(tmp_path: Path) -> None:
    one, other = Presence(tmp_path / "servers"), Presence(tmp_path / "servers")
    everyone = [one.server_id, other.server_id, "4711-gone"]
    assert one.dead_among(everyone) == {"4711-gone"}
    other.close()
    assert one.dead_among(everyone) == {"4711-gone", other.server_id}
    assert one.dead_among([]) == set()
    one.close()
    assert list((tmp_path / "servers").glob("*.lock")) == []


def test_a_sign_of_life_may_be_given_in_one_thread_and_ended_in_another(tmp_path: Path) -> None:
    begun: list[Presence] = []
    thread = threading.Thread(target=lambda: begun.append(Presence(tmp_path / "servers")))
    thread.start()
    thread.join()
    (one,), other = begun, Presence(tmp_path / "servers")
    assert other.dead_among([one.server_id]) == set()
    one.close()
    assert other.dead_among([one.server_id]) == {one.server_id}
    other.close()


def test_a_folder_that_cannot_hold_signs_of_life_is_told(tmp_path: Path) -> None:
    (tmp_path / "servers").write_text("in the way")
    with pytest.raises(StorageFailed, match="OUTPAINT_DATA_DIR"):
        Presence(tmp_path / "servers")

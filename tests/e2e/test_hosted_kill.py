"""Servers killed at every step of a paid request: nothing is lost, nothing is sent twice, nobody is told wrong."""

from __future__ import annotations

import re
import signal
from datetime import UTC, datetime
from functools import partial
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Protocol

import pytest
from tests.e2e import paying
from tests.e2e.paying import ONE_STEP, SEED, TAGS, TWO_STEPS
from tests.e2e.processes import HAS_PROC, kill_all, until, watching, workers_of
from tests.e2e.rpc import PATIENCE_SECONDS, structure_of
from tests.fakes.runcomfy import Fault

from outpaint_mcp.providers.remote.schedule import FIRST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.paying import House
    from tests.e2e.rpc import Json, Server
    from tests.fakes.switches import Event as Happening

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="looks for processes in /proc")

_DOOMED = """
import os, signal
from outpaint_mcp.cli.main import main
from outpaint_mcp.storage import job_queue, journal, new_requests

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

update_step = job_queue.JobQueue.update_step
def die_of_what_was_fetched(self, lease, step):
    return die() if step.state == "fetched" else update_step(self, lease, step)

add = journal.Journal.add
def die_of_the_request(self, new):
    add(self, new)
    die()

deliver = journal.Journal.deliver
def die_of_the_delivery(self, *what):
    deliver(self, *what)
    die()

{what}
main([])
"""
# The row of the request is written, that of its job is not, and the transaction is open.
_DIES_BEFORE_THE_JOB = _DOOMED.format(what="new_requests.write_inputs = die")
_DIES_ONCE_IT_IS_WRITTEN = _DOOMED.format(what="journal.Journal.add = die_of_the_request")
_DIES_BEFORE_NOTING_WHAT_WAS_FETCHED = _DOOMED.format(
    what="job_queue.JobQueue.update_step = die_of_what_was_fetched"
)
_DIES_ONCE_IT_IS_DELIVERED = _DOOMED.format(what="journal.Journal.deliver = die_of_the_delivery")

# Workers take a moment to start, so that they can be killed before they are done.
_STARTS_SLOW_WORKERS = """
from functools import partial
from outpaint_mcp.cli.main import main
from outpaint_mcp.service import lifespan
from outpaint_mcp.workers.pool import WorkerPool

lifespan.Surroundings = partial(lifespan.Surroundings, open_pool=partial(WorkerPool, start_nursery=None))
main([])
"""

# Longer than a living server takes to see that another has gone.
_LOOK_SECONDS = 1.5


class Play(Protocol):
    """Plays scenes at once, each in a house of its own; raises what went wrong in any of them."""

    def __call__(self, *scenes: Callable[[House], None]) -> None: ...


@pytest.fixture
def play(tmp_path: Path, song: Path) -> Play:
    return lambda *scenes: paying.play(tmp_path, song, list(scenes))


def _check_unknown(
    house: House, heir: Server, *, began: datetime, words: str, asked: Json = ONE_STEP
) -> None:
    """Check that the one request is unknown, in words with all that a person needs, and stays so."""
    result = house.finished(heir)
    assert result["status"] == "unknown", result
    error = result["error"]
    assert "It may have been carried out and billed, or not." in error
    assert "It is never resubmitted automatically." in error
    assert f'{words}, tags "{TAGS}", seed {SEED}.' in error
    sent = re.search(r"Sent at (\S+): ", error)
    assert sent is not None, error
    assert began.replace(microsecond=0) <= datetime.fromisoformat(sent[1]) <= datetime.now(UTC)
    submitted = house.fake.count("submit")
    again = structure_of(house.submit(heir, asked).wait())
    assert (again["request_id"], again["status"]) == (result["request_id"], "unknown")
    assert error in again["message"]
    listed = house.only_request(heir)
    assert (listed["status"], listed["error"]) == ("unknown", error)
    house.check_asked(submit=submitted)


# --- before anything is sent


def _killed_while_the_price_is_asked(house: House) -> None:
    house.kill_at("model")
    house.check_asked(submit=0)
    heir = house.start()
    known = house.only_request(heir)
    assert known["status"] in {"in_queue", "in_progress"}
    again = structure_of(house.submit(heir).wait())
    assert again["request_id"] == known["request_id"]
    result = heir.finished(known["request_id"])
    house.check_one_step(result)
    house.check_asked(submit=1, download=1)
    house.check_left(heir, path=result["path"])


def _terminated_while_the_price_is_asked(house: House) -> None:
    first = house.start()
    house.once("model", first.process.terminate)
    house.submit(first)
    assert first.process.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
    house.check_asked(submit=0)
    house.check_inherited(submit=1)


def _frozen_while_the_price_is_asked(house: House) -> None:
    """One that sleeps is not dead: nobody may send in its place, or both will."""
    frozen, other = house.start(), house.start()
    house.once("model", lambda: house.owner(frozen, other).process.send_signal(signal.SIGSTOP))
    house.submit(frozen)
    until(lambda: house.fake.count("model"))
    awake = other if house.owner(frozen, other) is frozen else frozen
    request_id = house.only_request(awake)["request_id"]
    waited = awake.tool("get_outpaint_status", request_id=request_id, wait_seconds=_LOOK_SECONDS)
    assert waited["status"] in {"in_queue", "in_progress"}
    house.check_asked(submit=0)
    house.owner(frozen, other).process.send_signal(signal.SIGCONT)
    result = awake.finished(request_id)
    house.check_one_step(result)
    house.check_asked(submit=1)
    house.check_left(frozen, other, path=result["path"])


def _killed_while_it_is_written(house: House) -> None:
    """A request without a job, which nobody would carry out, is none."""
    house.submit_to_doomed(_DIES_BEFORE_THE_JOB)
    heir = house.start()
    assert heir.tool("list_outpaints")["requests"] == []
    request_id = structure_of(house.submit(heir).wait())["request_id"]
    result = heir.finished(request_id)
    house.check_one_step(result)
    house.check_asked(submit=1)
    house.check_left(heir, path=result["path"])


def _killed_once_it_is_written(house: House) -> None:
    house.submit_to_doomed(_DIES_ONCE_IT_IS_WRITTEN)
    house.check_inherited(submit=1)


def test_before_it_is_sent_a_request_is_the_next_servers_to_send_once(play: Play) -> None:
    play(
        _killed_while_the_price_is_asked,
        _terminated_while_the_price_is_asked,
        _frozen_while_the_price_is_asked,
        _killed_while_it_is_written,
        _killed_once_it_is_written,
    )


# --- between the sending and the answer


def _killed_unanswered(house: House, event: Happening, *, jobs: int, asked: Json = ONE_STEP) -> None:
    """Kill it in the last of its steps."""
    began = datetime.now(UTC)
    steps = 2 if asked is TWO_STEPS else 1
    house.kill_at(event, asked, nth=steps)
    heir = house.start()
    words = "2.25 s after" if steps == 1 else "step 2 of 2, 2.25 s after"
    _check_unknown(house, heir, began=began, words=words, asked=asked)
    assert len(house.fake.jobs) == jobs
    house.check_asked(submit=steps, download=steps - 1)
    house.check_left(heir)


def test_killed_before_the_answer_is_there_a_submission_is_unknown_and_never_sent_again(play: Play) -> None:
    play(
        partial(_killed_unanswered, event="submit_read", jobs=0),
        partial(_killed_unanswered, event="submit_accepted", jobs=1),
        partial(_killed_unanswered, event="submit_read", jobs=1, asked=TWO_STEPS),
        partial(_killed_unanswered, event="submit_accepted", jobs=2, asked=TWO_STEPS),
    )


def _terminated_but_the_answer_comes(house: House) -> None:
    first = house.start()

    def terminate() -> None:
        first.process.terminate()
        Event().wait(0.3)  # the signal is there before the answer

    house.once("submit_accepted", terminate)
    house.submit(first)
    assert first.process.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
    house.check_inherited(submit=1)


def _left_and_no_answer_comes(
    house: House, leave: Callable[[Server], int], *, code: int, accepts: bool
) -> None:
    began = datetime.now(UTC)
    house.fake.fail("submit", Fault(kind="hang", accepts=accepts))
    first = house.start()
    house.submit(first)
    until(lambda: house.fake.jobs if accepts else house.fake.count("submit"))
    assert leave(first) == code
    heir = house.start()
    _check_unknown(house, heir, began=began, words="2.25 s after")
    assert len(house.fake.jobs) == accepts
    house.check_asked(submit=1)
    house.check_left(heir)


def _terminate(server: Server) -> int:
    server.process.terminate()
    return server.process.wait(PATIENCE_SECONDS)


def test_a_server_that_leaves_in_good_order_waits_a_moment_for_the_answer(play: Play) -> None:
    play(
        _terminated_but_the_answer_comes,
        partial(_left_and_no_answer_comes, leave=_terminate, code=128 + signal.SIGTERM, accepts=True),
        partial(_left_and_no_answer_comes, leave=lambda server: server.end(), code=0, accepts=False),
    )


# --- once it is accepted


def _killed_after_it_was_accepted(house: House, event: Happening, *, downloads: int, times: int = 1) -> None:
    for turn in range(times):
        house.kill_at(event, None if turn else ONE_STEP)
    house.check_inherited(submit=1, download=downloads)


def test_killed_once_it_was_accepted_a_request_is_completed_by_the_next_server(play: Play) -> None:
    play(
        partial(_killed_after_it_was_accepted, event="status", downloads=1),
        partial(_killed_after_it_was_accepted, event="result", downloads=1),
        partial(_killed_after_it_was_accepted, event="download", downloads=2),
        partial(_killed_after_it_was_accepted, event="download_half", downloads=3, times=2),
    )


def _killed_before_the_file_is_looked_at(house: House) -> None:
    doomed = house.start()
    house.submit(doomed)
    until(lambda: house.files("step-1.arrived"))
    doomed.kill()
    house.check_inherited(submit=1)


def _killed_before_it_is_noted_that_the_file_is_here(house: House) -> None:
    house.submit_to_doomed(_DIES_BEFORE_NOTING_WHAT_WAS_FETCHED)
    assert house.files("step-1")
    house.check_inherited(submit=1, download=1)


def _killed_before_the_delivery(house: House) -> None:
    doomed = house.start()
    request_id = structure_of(house.submit(doomed).wait())["request_id"]
    done = doomed.tool("get_outpaint_status", request_id=request_id, wait_seconds=45)
    assert done["status"] == "completed"
    assert not house.output_dir.exists()
    until(lambda: not any(house.files(each) for each in ("source", "step-1", "full-music.json")))
    doomed.kill()
    calls = len(house.fake.calls)
    heir = house.start()
    result = house.finished(heir)
    house.check_one_step(result)
    house.check_left(heir, path=result["path"])
    assert len(house.fake.calls) == calls


def _killed_once_it_was_delivered(house: House) -> None:
    doomed = house.start(code=_DIES_ONCE_IT_IS_DELIVERED)
    request_id = structure_of(house.submit(doomed).wait())["request_id"]
    doomed.start_tool("get_outpaint_result", {"request_id": request_id, "wait_seconds": 45, "details": True})
    assert doomed.process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    (path,) = house.output_dir.iterdir()
    house.rows("UPDATE requests SET created_at = created_at - 8 * 86400")
    house.rows("UPDATE deliveries SET delivered_at = delivered_at - 8 * 86400")
    house.is_old = True
    calls = len(house.fake.calls)
    days_later = house.start()
    result = days_later.tool("get_outpaint_result", request_id=request_id, details=True)
    assert result["path"] == house.only_request(days_later)["path"] == str(path)
    house.check_one_step(result)
    house.check_left(days_later, path=str(path))
    assert len(house.fake.calls) == calls


def test_what_was_fetched_is_not_fetched_again_and_what_was_delivered_stays_where_it_is(play: Play) -> None:
    play(
        _killed_before_the_file_is_looked_at,
        _killed_before_it_is_noted_that_the_file_is_here,
        _killed_before_the_delivery,
        _killed_once_it_was_delivered,
    )


def _killed_in_one_of_two_steps(house: House, event: Happening, nth: int, *, downloads: int) -> None:
    house.kill_at(event, TWO_STEPS, nth=nth)
    heir = house.start()
    result = house.finished(heir)
    house.check_put_together(result)
    house.check_asked(submit=2, result=downloads, download=downloads)
    assert len(house.fake.jobs) == 2
    house.check_left(heir, path=result["path"])


def test_killed_in_either_of_two_steps_a_request_pays_for_each_once(play: Play) -> None:
    play(
        partial(_killed_in_one_of_two_steps, event="download_half", nth=1, downloads=3),
        partial(_killed_in_one_of_two_steps, event="status", nth=2, downloads=2),
        partial(_killed_in_one_of_two_steps, event="download_half", nth=2, downloads=3),
    )


# --- several servers


def _one_polls_and_the_other_carries_on(house: House) -> None:
    looks: list[float] = []
    house.fake.on("status", lambda _: looks.append(monotonic()))
    house.fake.hold()
    one, two = house.start(), house.start()
    request_id = structure_of(house.submit(one).wait())["request_id"]
    waiting = {"request_id": request_id, "wait_seconds": 45, "details": True}
    calls = {server: server.start_tool("get_outpaint_result", waiting) for server in (one, two)}
    until(lambda: len(looks) >= 3)
    taker = house.owner(one, two)
    assert min(looks[1] - looks[0], looks[2] - looks[1]) > FIRST_SECONDS * 0.95
    taker.kill()
    living = two if taker is one else one
    house.fake.release()
    result = structure_of(calls[living].wait())
    house.check_one_step(result)
    house.check_asked(submit=1, download=1)
    house.check_left(living, path=result["path"])


def _left_while_polling(house: House) -> None:
    house.fake.hold()
    first = house.start()
    house.submit(first)
    until(lambda: house.fake.count("status"))
    assert first.end() == 0
    looked = house.fake.count("status")
    house.fake.release()
    house.check_inherited(submit=1, status=looked + 1, download=1)


def _cancelled_from_another_server(house: House) -> None:
    house.fake.hold()
    here, there = house.start(), house.start()
    request_id = structure_of(house.submit(here).wait())["request_id"]
    answer = there.tool("cancel_outpaint", request_id=request_id)
    assert (answer["outcome"], answer["status"]) == ("cancelled", "cancelled")
    (job,) = house.fake.jobs.values()
    assert job.status == "cancelled"
    assert here.tool("get_outpaint_status", request_id=request_id)["status"] == "cancelled"
    house.check_asked(submit=1, cancel=1, result=0, download=0)
    house.check_left(here, there)


def test_servers_share_a_request_as_if_they_were_one(play: Play) -> None:
    play(_one_polls_and_the_other_carries_on, _left_while_polling, _cancelled_from_another_server)


def _cancelled_as_its_server_is_killed(house: House, event: Happening) -> str:
    """Have it cancelled by a server that has not taken it up yet, and return what becomes of it."""
    house.fake.hold()
    doomed, heir = house.start(), house.start()
    house.once(event, lambda: house.owner(doomed, heir).kill())
    house.submit(doomed)
    until(lambda: doomed.process.poll() or heir.process.poll())
    living = heir if doomed.process.poll() else doomed
    request_id = house.only_request(living)["request_id"]
    living.tool("cancel_outpaint", request_id=request_id)
    return str(living.tool("get_outpaint_status", request_id=request_id, wait_seconds=45)["status"])


def _cancelled_as_its_server_is_killed_polling(house: House) -> None:
    assert _cancelled_as_its_server_is_killed(house, "status") == "cancelled"
    (job,) = house.fake.jobs.values()
    assert job.status == "cancelled"
    house.check_asked(submit=1, cancel=1)


def _cancelled_as_its_server_is_killed_sending(house: House) -> None:
    assert _cancelled_as_its_server_is_killed(house, "submit_accepted") == "unknown"


@pytest.mark.parametrize(
    "scene", [_cancelled_as_its_server_is_killed_polling, _cancelled_as_its_server_is_killed_sending]
)
def test_a_paid_request_is_not_called_cancelled_because_its_server_was_killed(
    play: Play, scene: Callable[[House], None]
) -> None:
    play(scene)


# --- worker processes


def _kill_the_worker(house: House) -> None:
    kill_all(until(lambda: workers_of(house.data_dir)))


def _worker_killed_before_it_is_sent(house: House) -> None:
    server = house.start(code=_STARTS_SLOW_WORKERS)
    house.submit(server)
    until(lambda: house.files("source"))
    with watching(
        lambda: kill_all(workers_of(house.data_dir))
    ):  # the one that is seen first may have answered already
        result = house.finished(server)
    assert (result["status"], result["cost_usd"]) == ("failed", 0)
    assert "The worker process was killed" in result["error"]
    house.check_asked(submit=0)
    again = structure_of(house.submit(server).wait())["request_id"]
    delivered = server.finished(again)
    house.check_one_step(delivered)
    house.check_asked(submit=1)
    house.check_left(server, path=delivered["path"])


def test_a_worker_killed_before_it_is_sent_costs_nothing(play: Play) -> None:
    play(_worker_killed_before_it_is_sent)


def _worker_killed_with_the_file_here(house: House) -> None:
    server = house.start()
    house.submit(server)
    until(lambda: house.files("step-1"))
    _kill_the_worker(house)
    result = house.finished(server)
    house.check_one_step(result)
    house.check_asked(submit=1)


def test_a_worker_killed_after_it_was_sent_takes_nothing_away_that_is_paid(play: Play) -> None:
    play(_worker_killed_with_the_file_here)


def _lost_with_its_source_gone(house: House) -> None:
    began = datetime.now(UTC)
    house.kill_at("submit_accepted")
    for kept in house.files("source"):
        kept.unlink()  # what nobody knows of is told first: nothing about the source changes it
    _check_unknown(house, house.start(), began=began, words="2.25 s after")


def test_an_answer_that_was_lost_is_told_whatever_else_is_wrong(play: Play) -> None:
    play(_lost_with_its_source_gone)

"""Two servers that both believe a request theirs, since a lock was lost: it is sent once, and the loser just leaves."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.e2e import paying
from tests.e2e.processes import HAS_PROC, kill, until
from tests.e2e.rpc import structure_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.paying import House
    from tests.e2e.rpc import Server

resource = pytest.importorskip("resource")

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="looks for processes in /proc")

# Stops itself before it notes that it is about to send, and leaves what became of that.
_STOPS = """
import os, pathlib, signal, time
from outpaint_mcp.cli.main import main
from outpaint_mcp.storage.leased_jobs import LeasedJobs

begin_sending = LeasedJobs.begin_sending

def stop_first(*args, **options):
    os.kill(os.getpid(), signal.SIGSTOP)
    while not pathlib.Path({go!r}).exists():  # another thread may be the one that was stopped at once
        time.sleep(0.01)
    end = "begun"
    try:
        return begin_sending(*args, **options)
    except Exception as exc:
        end = type(exc).__name__
        raise
    finally:
        pathlib.Path({end!r}).write_text(end)

LeasedJobs.begin_sending = stop_first
main([])
"""


@pytest.fixture
def play(tmp_path: Path, song: Path) -> Callable[..., None]:
    return lambda *scenes: paying.play(tmp_path, song, list(scenes))


def _state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _remove(lock: Path) -> None:
    lock.unlink()


def _replace_by_a_copy(lock: Path) -> None:
    copy = lock.with_suffix(".copy")
    shutil.copyfile(lock, copy)
    copy.replace(lock)


def _take_away(house: House, server: Server, how: Callable[[Path], None]) -> None:
    (lock,) = (house.data_dir / "servers").glob(f"{server.process.pid}-*.lock")
    how(lock)


def _all_there_is(house: House) -> object:
    """Return all rows, and all files of jobs and results."""
    tables = ("requests", "jobs", "steps", "deliveries")
    folders = (house.data_dir / "jobs", house.output_dir)
    return (
        [house.rows(f"SELECT * FROM {table}") for table in tables],
        {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()},
    )


def _stopped_before_it_is_sent(how: Callable[[Path], None]) -> Callable[[House], None]:
    def scene(house: House) -> None:
        go, end = house.data_dir.parent / "go", house.data_dir.parent / "end"
        loser = house.start(code=_STOPS.format(go=str(go), end=str(end)))
        call = house.submit(loser)
        until(lambda: _state_of(loser.process.pid) == "T")
        house.check_asked(submit=0)
        _take_away(house, loser, how)
        winner = house.start()
        result = house.finished(winner)
        house.check_one_step(result)
        house.check_asked(submit=1)
        left = _all_there_is(house)
        go.touch()
        kill(loser.process.pid, signal.SIGCONT)
        until(lambda: end.exists() and end.read_text())
        assert end.read_text() == "LeaseLost"
        assert structure_of(call.wait())["request_id"] == result["request_id"]
        assert loser.finished(result["request_id"]) == result
        assert loser.end() == 0
        assert _all_there_is(house) == left
        house.check_asked(submit=1, download=1)
        house.check_left(winner, path=result["path"])

    return scene


def _stopped_while_it_is_sent(how: Callable[[Path], None]) -> Callable[[House], None]:
    """The heir cannot know that it was accepted, and does not send it; the loser can, and says so in its log."""

    def scene(house: House) -> None:
        loser = house.start()
        house.once("submit_accepted", lambda: kill(loser.process.pid, signal.SIGSTOP))
        call = house.submit(loser)
        until(lambda: _state_of(loser.process.pid) == "T")
        _take_away(house, loser, how)
        winner = house.start()
        result = house.finished(winner)
        assert result["status"] == "unknown"
        left = _all_there_is(house)
        kill(loser.process.pid, signal.SIGCONT)
        assert structure_of(call.wait())["status"] == "unknown"
        assert loser.end() == 0
        assert _all_there_is(house) == left
        house.check_asked(submit=1)
        (job,) = house.fake.jobs
        assert f"has accepted request {result['request_id']} as {job}" in loser.said
        assert house.finished(winner) == result

    return scene


@pytest.mark.parametrize("how", [_remove, _replace_by_a_copy])
@pytest.mark.parametrize("scene", [_stopped_before_it_is_sent, _stopped_while_it_is_sent])
def test_a_server_whose_lock_is_lost_while_it_is_stopped_sends_nothing_twice_and_changes_nothing(
    play: Callable[..., None],
    scene: Callable[[Callable[[Path], None]], Callable[[House], None]],
    how: Callable[[Path], None],
) -> None:
    play(scene(how))


def _full_when_it_is_accepted(house: House) -> None:
    server = house.start()

    def allow(most_bytes: int) -> None:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))

    house.once("submit_accepted", lambda: allow(1))
    answer = structure_of(house.submit(server).wait())
    house.check_asked(submit=1)
    assert answer["request_id"].startswith("op_")
    assert answer["status"] == "in_queue"
    assert "has not accepted it yet" in answer["message"]
    assert "being sent" in answer["message"]
    again = structure_of(house.submit(server).wait())  # can be looked up, though nothing can be written
    assert again["request_id"] == answer["request_id"]
    allow(resource.RLIM_INFINITY)
    result = house.finished(server)
    house.check_one_step(result)
    house.check_asked(submit=1)
    house.check_left(server, path=result["path"])


@pytest.mark.skipif(sys.platform != "linux", reason="there, no limit can be set for another process")
def test_a_disk_that_is_full_when_the_answer_comes_makes_no_error_of_what_is_paid(
    play: Callable[..., None],
) -> None:
    play(_full_when_it_is_accepted)

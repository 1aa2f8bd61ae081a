"""Several servers on one data folder at once, as when each host on a desktop starts its own."""

from __future__ import annotations

import itertools
import os
import signal
from typing import TYPE_CHECKING

import pytest
from tests.e2e.audit import Audit
from tests.e2e.processes import HAS_PROC, kill, until, workers_of, workers_on
from tests.e2e.rpc import PATIENCE_SECONDS
from tests.e2e.sound import check_longer_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import MakeSong
    from tests.e2e.rpc import Server

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="looks for processes in /proc")

_IN_A_GROUP_OF_ITS_OWN = [
    "-c",
    "import os; os.setpgid(0, 0); from outpaint_mcp.cli.main import main; main([])",
]


@pytest.fixture
def audit(settings: Settings) -> Audit:
    return Audit(settings.data_dir)


_NUMBERS = itertools.count()


def _submit(server: Server, song: Path, *, seconds: float = 1) -> str:
    """Submit a request that is like none before it."""
    tags = f"number {next(_NUMBERS)}"
    return str(
        server.tool("submit_outpaint", audio=str(song), tags=tags, extend_after_duration=seconds)[
            "request_id"
        ]
    )


def _hold(server: Server, long_song: Path, settings: Settings) -> tuple[str, int]:
    """Occupy the only core with a job whose worker is stopped, and return its request and its worker."""
    request_id = _submit(server, long_song, seconds=20)
    (worker,) = until(lambda: workers_of(settings.data_dir))
    kill(worker, signal.SIGSTOP)
    return request_id, worker


def test_three_servers_share_one_queue_first_come_first_served(
    start_server: Callable[..., Server], make_song: MakeSong, settings: Settings, audit: Audit
) -> None:
    song, long_song = make_song(), make_song("long.wav", seconds=20)
    servers = [start_server(one_core=True) for _ in range(3)]
    first, worker = _hold(servers[0], long_song, settings)
    queued = [_submit(servers[turn % 3], song) for turn in range(1, 5)]
    for server in servers:
        seen = [server.tool("get_outpaint_status", request_id=each) for each in queued]
        assert [each["queue_position"] for each in seen] == [1, 2, 3, 4]
        assert server.tool("get_outpaint_status", request_id=first)["status"] == "in_progress"
    kill(worker, signal.SIGCONT)
    for turn, request_id in enumerate(queued):
        check_longer_file(servers[turn % 3].finished(request_id), song)
    assert servers[0].finished(first)["status"] == "completed"
    assert audit.starts() == [first, *queued]
    audit.check()


def test_a_killed_servers_job_is_taken_up_by_the_one_that_lives(
    start_server: Callable[..., Server], make_song: MakeSong, settings: Settings, audit: Audit
) -> None:
    long_song = make_song("long.wav", seconds=20)
    doomed, living = start_server(one_core=True), start_server(one_core=True)
    request_id = _submit(doomed, long_song, seconds=60)
    until(lambda: workers_of(settings.data_dir))
    doomed.kill()
    check_longer_file(living.finished(request_id), long_song)
    assert audit.starts() == [request_id] * 2
    audit.check()


@pytest.mark.smoke
def test_a_result_asked_of_two_servers_at_once_is_one_file(
    start_server: Callable[..., Server], song: Path, settings: Settings
) -> None:
    servers = [start_server(), start_server()]
    request_id = _submit(servers[0], song)
    asked = {"request_id": request_id, "wait_seconds": 45}
    calls = [server.start_tool("get_outpaint_result", asked) for server in servers for _ in range(3)]
    paths = {call.wait()["result"]["structuredContent"]["path"] for call in calls}
    assert {str(path) for path in settings.output_dir.iterdir()} == paths
    assert len(paths) == 1


def test_an_earlier_result_is_extended_further_by_another_server(
    start_server: Callable[..., Server], song: Path
) -> None:
    servers = [start_server(), start_server()]
    parent = _submit(servers[0], song, seconds=2)
    servers[0].tool("get_outpaint_status", request_id=parent, wait_seconds=45)
    child = servers[1].tool(
        "submit_outpaint", audio=parent, tags="", extend_before_duration=1, extend_after_duration=1
    )
    assert child["expected_duration_seconds"] == 7
    result = servers[0].finished(child["request_id"])
    check_longer_file(result, song_of_parent := _path_of(servers[1], parent), until_seconds=3)
    assert song_of_parent.stem == "song, extended 2s after"
    assert "1s before and 3s after" in result["path"]
    listed = servers[1].tool("list_outpaints")["requests"]
    assert [each.get("parent_request_id") for each in listed] == [parent, None]


def _path_of(server: Server, request_id: str) -> Path:
    from pathlib import Path  # noqa: PLC0415

    return Path(server.finished(request_id)["path"])


def test_cancelling_from_another_server_stops_the_worker_and_nothing_else(
    start_server: Callable[..., Server], make_song: MakeSong, settings: Settings, audit: Audit
) -> None:
    song, long_song = make_song(), make_song("long.wav", seconds=20)
    here, there = start_server(one_core=True), start_server(one_core=True)
    running, worker = _hold(here, long_song, settings)
    doomed, waiting = _submit(here, song), _submit(there, song)
    queued = there.tool("cancel_outpaint", request_id=doomed)
    assert (queued["outcome"], queued["status"]) == ("cancelled", "cancelled")
    assert there.tool("get_outpaint_status", request_id=waiting)["queue_position"] == 1
    stopped = there.tool("cancel_outpaint", request_id=running)
    assert (stopped["outcome"], stopped["status"]) == ("cancelled", "cancelled")
    until(lambda: worker not in workers_of(settings.data_dir))
    check_longer_file(here.finished(waiting), song)
    assert here.tool("cancel_outpaint", request_id=waiting)["outcome"] == "not_cancellable"
    assert [path.name for path in settings.output_dir.iterdir()] == ["song, extended 1s after.wav"]
    assert [path.name for path in (settings.data_dir / "jobs").iterdir()] == [waiting]  # for other formats
    audit.check()


def test_a_job_whose_server_is_stopped_is_cancelled_by_another_and_gives_its_core_free(
    start_server: Callable[..., Server], make_song: MakeSong, settings: Settings, audit: Audit
) -> None:
    song, long_song = make_song(), make_song("long.wav", seconds=20)
    stopped, awake = start_server(one_core=True), start_server(one_core=True)
    running, worker = _hold(stopped, long_song, settings)
    kill(stopped.process.pid, signal.SIGSTOP)
    waiting = _submit(awake, song)
    assert awake.tool("get_outpaint_status", request_id=waiting)["status"] == "in_queue"
    cancelled = awake.tool("cancel_outpaint", request_id=running)
    assert (cancelled["outcome"], cancelled["status"]) == ("cancelled", "cancelled")
    check_longer_file(awake.finished(waiting), song)
    kill(stopped.process.pid, signal.SIGCONT)
    until(lambda: worker not in workers_of(settings.data_dir))
    assert stopped.tool("get_outpaint_status", request_id=running)["status"] == "cancelled"
    until(lambda: [path.name for path in (settings.data_dir / "jobs").iterdir()] == [waiting])
    audit.check()


def test_a_job_outlives_a_signal_to_everything_its_host_has_started(
    start_server: Callable[..., Server], make_song: MakeSong, settings: Settings, audit: Audit
) -> None:
    long_song = make_song("long.wav", seconds=20)
    doomed = start_server(one_core=True, arguments=_IN_A_GROUP_OF_ITS_OWN)
    request_id = _submit(doomed, long_song, seconds=40)
    until(lambda: workers_on(settings.data_dir, request_id))
    os.killpg(doomed.process.pid, signal.SIGTERM)
    doomed.process.wait(PATIENCE_SECONDS)
    until(lambda: workers_of(settings.data_dir) == [])
    check_longer_file(start_server().finished(request_id), long_song)
    audit.check()

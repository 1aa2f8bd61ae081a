"""A client that starts a new server for every call, and gives each little time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.e2e.processes import HAS_PROC, recording_workers, workers_of
from tests.e2e.rpc import Server
from tests.e2e.sound import check_longer_file

if TYPE_CHECKING:
    from tests.conftest import MakeSong
    from tests.e2e.rpc import Json

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="looks for processes in /proc")

_POLLS = 12


def _call(environment: dict[str, str], tool: str, **arguments: object) -> Json:
    """Call a tool of a new server, and hang up."""
    with Server(environment) as server:
        answer = server.tool(tool, **arguments)
        assert server.end() == 0
    return answer


def test_a_job_that_takes_longer_than_any_call_is_done_once_though_each_call_has_a_server_of_its_own(
    environment: dict[str, str], make_song: MakeSong, settings: Settings
) -> None:
    song = make_song("long.wav", seconds=20)
    answers: list[Json] = []
    with recording_workers(settings.data_dir) as workers:
        request_id = _call(environment, "submit_outpaint", audio=str(song), tags="", total_seconds=2400)[
            "request_id"
        ]
        while len(answers) < _POLLS and (not answers or answers[-1]["status"] != "completed"):
            wait_seconds = min(
                len(answers), 1
            )  # the first call must find it under way, however fast the machine
            answers.append(
                _call(environment, "get_outpaint_result", request_id=request_id, wait_seconds=wait_seconds)
            )
    seen = [(answer["status"], answer.get("progress"), answer.get("step")) for answer in answers]
    statuses = [answer["status"] for answer in answers]
    assert statuses[-1] == "completed", (seen, workers)
    assert "in_progress" in statuses, "it was done too soon to show anything"
    assert len(workers) == 1, (workers, seen)
    check_longer_file(answers[-1], song)
    assert workers_of(settings.data_dir) == []


def test_an_analysis_that_takes_longer_than_any_call_is_done_once_though_each_call_has_a_server_of_its_own(
    environment: dict[str, str], make_song: MakeSong, settings: Settings
) -> None:
    song = make_song("long.wav", seconds=900)
    answers: list[Json] = []
    with recording_workers(settings.data_dir) as workers:
        while len(answers) < _POLLS and (not answers or answers[-1]["status"] != "completed"):
            wait_seconds = min(len(answers), 1)
            answers.append(_call(environment, "analyze_audio", audio=str(song), wait_seconds=wait_seconds))
    statuses = [answer["status"] for answer in answers]
    assert statuses[-1] == "completed", answers
    assert "in_progress" in statuses, "it was done too soon to show anything"
    assert answers[-1]["duration_seconds"] == 900.0
    assert len(workers) <= 2, workers  # one to read the file, one to analyze it
    assert workers_of(settings.data_dir) == []

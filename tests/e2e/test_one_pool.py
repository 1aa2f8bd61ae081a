"""Whatever one server is asked at the same time, it has one worker a core, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.e2e.processes import HAS_PROC, watching, workers_of
from tests.e2e.rpc import structure_of

from outpaint_mcp.workers.slots import count_cores

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import MakeSong
    from tests.e2e.rpc import Json, Server

    from outpaint_mcp.config import Settings

_MOST = max(2, count_cores())


@pytest.mark.skipif(not HAS_PROC, reason="looks for processes in /proc")
def test_analyses_conversions_local_jobs_and_looks_at_once_have_one_worker_a_core(
    start_server: Callable[..., Server], make_song: MakeSong, settings: Settings
) -> None:
    server = start_server()
    song, long_song = make_song(), make_song("long.wav", seconds=30)
    finished = server.tool("submit_outpaint", audio=str(song), tags="", extend_after_duration=30)
    assert server.finished(finished["request_id"])["status"] == "completed"

    def submission(number: int) -> tuple[str, Json]:
        return "submit_outpaint", {
            "audio": str(long_song),
            "tags": f"number {number}",
            "extend_after_duration": 20,
        }

    def conversion(audio_format: str) -> tuple[str, Json]:
        asked = {"request_id": finished["request_id"], "format": audio_format, "wait_seconds": 45}
        return "get_outpaint_result", asked

    asked: list[tuple[str, Json]] = [
        *(submission(number) for number in range(3)),
        *(conversion(audio_format) for audio_format in ("mp3", "flac")),
        *[("analyze_audio", {"audio": str(long_song)})] * 3,
        *(submission(number) for number in range(3, 5)),
    ]
    with watching(lambda: len(workers_of(settings.data_dir))) as counts:
        answers = [call.wait() for call in [server.start_tool(*each) for each in asked]]
        submitted = [
            structure_of(answer)["request_id"]
            for (tool, _), answer in zip(asked, answers, strict=True)
            if tool == "submit_outpaint"
        ]
        assert len(set(submitted)) == 5
        assert all(server.finished(each)["status"] == "completed" for each in submitted)
    assert not [answer for answer in answers if answer["result"].get("isError")]
    assert 1 <= max(counts) <= _MOST  # looks are short: whether one is seen beside a long task is chance

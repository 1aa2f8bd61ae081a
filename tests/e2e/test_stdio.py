"""The server as hosts run it: a process, its stdin, its stdout."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from tests.e2e.processes import HAS_PROC, until, workers_of
from tests.e2e.rpc import HANDSHAKES, NEWEST, Server, ServerGoneError, structure_of
from tests.e2e.sound import check_longer_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import MakeSong

    from outpaint_mcp.config import Settings

TOOLS = {
    "submit_outpaint",
    "get_outpaint_status",
    "get_outpaint_result",
    "cancel_outpaint",
    "list_outpaints",
    "analyze_audio",
    "list_audio",
}


@pytest.mark.smoke
@pytest.mark.parametrize("protocol", [*HANDSHAKES, NEWEST])
def test_a_recording_is_extended_in_every_era_with_nothing_but_protocol_on_stdout(
    start_server: Callable[..., Server], song: Path, protocol: str
) -> None:
    server = start_server(protocol=protocol)
    assert server.greeting.get("protocolVersion", NEWEST) == protocol
    assert {tool["name"] for tool in server.ask("tools/list")["tools"]} == TOOLS
    submission = server.tool(
        "submit_outpaint", audio=str(song), tags="", extend_before_duration=2, extend_after_duration=1.5
    )
    result = server.finished(submission["request_id"])
    check_longer_file(result, song)
    assert (result["before_seconds"], result["after_seconds"]) == (2, 1.5)
    assert server.end() == 0
    assert server.noise == []


def test_an_mp3_whose_decoder_complains_does_not_disturb_the_protocol(
    server: Server, make_song: MakeSong
) -> None:
    song = make_song("song.mp3", seconds=6, sample_rate=32_000)
    damaged = bytearray(song.read_bytes())
    damaged[len(damaged) // 3 : len(damaged) // 3 + 600] = b"\x00\xffjunk" * 100
    song.write_bytes(damaged)
    submission = server.tool("submit_outpaint", audio=str(song), tags="", extend_after_duration=2)
    assert server.finished(submission["request_id"])["status"] == "completed"
    assert server.noise == []


@pytest.mark.smoke
def test_refusals_say_what_to_do_and_the_server_goes_on(server: Server, song: Path) -> None:
    assert "folder" in server.refusal("submit_outpaint", audio="/etc/passwd", tags="")
    assert "extend_before" in server.refusal("submit_outpaint", audio=str(song), tags="", extend_before=3)
    assert "list_outpaints" in server.refusal("get_outpaint_status", request_id="op_unknown")
    assert "wait_seconds" in server.refusal("get_outpaint_result", request_id="x", wait_seconds=-1)
    junk = song.with_name("junk.wav")
    junk.write_bytes(b"not audio at all" * 100)
    assert "audio" in server.refusal("submit_outpaint", audio=str(junk), tags="")
    assert server.ask("ping") == {}


def test_cancelling_a_wait_ends_the_wait_and_never_the_job(server: Server, make_song: MakeSong) -> None:
    song = make_song(seconds=20)
    request_id = server.tool(
        "submit_outpaint", audio=str(song), tags="", extend_before_duration=40, extend_after_duration=40
    )["request_id"]
    wait = server.start_tool(
        "get_outpaint_result", {"request_id": request_id, "wait_seconds": 45}, progress_token="wait"
    )
    until(lambda: any(each["method"] == "notifications/progress" for each in server.notifications))
    server.notify("notifications/cancelled", {"requestId": wait.call_id})
    told = len(server.notifications)
    result = server.finished(request_id)
    check_longer_file(result, song)
    assert result["duration_seconds"] == 100
    assert len(server.notifications) <= told + 1, "the wait was told of progress after it was cancelled"
    assert wait.is_open, "a call that was cancelled is not answered"


def test_progress_only_grows_while_a_call_waits(server: Server, song: Path) -> None:
    request_id = server.tool("submit_outpaint", audio=str(song), tags="", extend_after_duration=20)[
        "request_id"
    ]
    server.start_tool(
        "get_outpaint_result", {"request_id": request_id, "wait_seconds": 45}, progress_token="growing"
    ).wait()
    told = [
        each["params"]["progress"]
        for each in server.notifications
        if each["params"].get("progressToken") == "growing"
    ]
    assert told == sorted(set(told))
    assert told[-1] <= 1


def test_pings_are_answered_while_a_job_runs(server: Server, make_song: MakeSong) -> None:
    song = make_song(seconds=20)
    request_id = server.tool("submit_outpaint", audio=str(song), tags="", extend_after_duration=60)[
        "request_id"
    ]
    wait = server.start_tool("get_outpaint_result", {"request_id": request_id, "wait_seconds": 45})
    pings = 0
    while wait.is_open:
        server.ask("ping")
        pings += 1
    assert pings > 1
    assert structure_of(wait.wait())["status"] == "completed"


def test_a_call_that_waits_does_not_keep_the_server_from_leaving(
    start_server: Callable[..., Server], make_song: MakeSong
) -> None:
    server, song = start_server(), make_song(seconds=20)
    request_id = server.tool("submit_outpaint", audio=str(song), tags="", extend_after_duration=240)[
        "request_id"
    ]
    wait = server.start_tool(
        "get_outpaint_result", {"request_id": request_id, "wait_seconds": 45}, progress_token="w"
    )
    until(lambda: server.notifications)
    assert server.end() == 0
    with suppress(ServerGoneError):  # nothing is owed to a host that has closed its end
        assert wait.wait()["error"]["message"] == "Connection closed"


@pytest.mark.skipif(not HAS_PROC, reason="looks for processes in /proc")
def test_a_running_job_goes_on_at_the_next_start(
    start_server: Callable[..., Server], make_song: MakeSong, settings: Settings
) -> None:
    song = make_song(seconds=20)
    first = start_server()
    request_id = first.tool(
        "submit_outpaint", audio=str(song), tags="", extend_before_duration=40, extend_after_duration=40
    )["request_id"]
    until(lambda: workers_of(settings.data_dir))
    assert first.end() == 0
    assert len(workers_of(settings.data_dir)) <= 1  # the job's own may finish it
    second = start_server()
    check_longer_file(second.finished(request_id), song)
    until(lambda: not workers_of(settings.data_dir))


@pytest.mark.parametrize("where", ["root", "sealed"])
def test_it_runs_from_a_folder_in_which_nothing_can_be_put(
    start_server: Callable[..., Server], song: Path, tmp_path: Path, where: str
) -> None:
    folder = tmp_path / "sealed"
    folder.mkdir()
    folder.chmod(0o500)
    server = start_server(cwd=folder if where == "sealed" else Path(song.root))
    submission = server.tool("submit_outpaint", audio=str(song), tags="", extend_after_duration=1)
    check_longer_file(server.finished(submission["request_id"]), song)
    assert list(folder.iterdir()) == []


def test_a_setting_that_the_host_left_unsubstituted_is_unset(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    home = {"HOME": str(tmp_path), "XDG_MUSIC_DIR": "", "XDG_CONFIG_HOME": "", "XDG_DATA_HOME": ""}
    unset = dict.fromkeys(
        ("OUTPAINT_OUTPUT_DIR", "OUTPAINT_INPUT_DIRS", "OUTPAINT_DATA_DIR"), "${user_config.output_dir}"
    )
    server = start_server(env=home | unset)
    assert "${" not in server.greeting["instructions"]
    assert server.tool("list_outpaints") == {"requests": [], "spent_usd": 0, "open_estimate_usd": 0}
    assert list(tmp_path.rglob("outpaint.sqlite3")), "the data folder is the default one, in the home folder"
    assert not [each for each in tmp_path.rglob("*") if "$" in each.name]


def test_a_data_folder_that_cannot_be_used_still_lists_the_tools_and_says_what_to_mend(
    start_server: Callable[..., Server], song: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    server = start_server(env={"OUTPAINT_DATA_DIR": str(tmp_path / "file")})
    assert {tool["name"] for tool in server.ask("tools/list")["tools"]} == TOOLS
    assert "OUTPAINT_DATA_DIR" in server.refusal("submit_outpaint", audio=str(song), tags="")
    assert server.end() == 0


@pytest.mark.parametrize(
    "setting", [{"OUTPAINT_DATA_DIR": "relative/folder"}, {"OUTPAINT_PROVIDER": "nobody"}], ids=str
)
def test_a_setting_that_cannot_be_used_is_named_and_ends_the_start(
    environment: dict[str, str], setting: dict[str, str]
) -> None:
    with pytest.raises(ServerGoneError):
        Server(environment | setting)


@pytest.mark.anyio
async def test_the_sdks_own_client_gets_the_file_and_a_link_to_it(
    environment: dict[str, str], song: Path, era: str
) -> None:
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "outpaint_mcp"], env=dict(os.environ) | environment
    )
    async with Client(parameters, mode=era) as client:
        submission = await client.call_tool(
            "submit_outpaint", {"audio": str(song), "tags": "", "extend_after_duration": 1}
        )
        assert submission.structured_content is not None
        answer = await client.call_tool(
            "get_outpaint_result",
            {"request_id": submission.structured_content["request_id"], "wait_seconds": 45},
        )
    assert answer.structured_content is not None
    check_longer_file(answer.structured_content, song)
    assert [block.type for block in answer.content] == ["text"]


@pytest.mark.parametrize("level", ["INFO", "WARNING"])
def test_no_query_and_no_words_of_the_person_are_logged(
    start_server: Callable[..., Server], song: Path, level: str
) -> None:
    server = start_server(env={"OUTPAINT_LOG_LEVEL": level})
    words = {"tags": "hunter2 tags", "lyrics": "hunter2 lyrics", "extend_after_duration": 1}
    for audio in (
        str(song),
        "https://nothing.invalid/a.mp3?sig=hunter2",
        "data:audio/wav;base64,hunter2hunter2",
    ):
        answer = server.start_tool("submit_outpaint", {"audio": audio} | words).wait()["result"]
        if not answer["isError"]:
            server.finished(answer["structuredContent"]["request_id"])
    server.refusal("submit_outpaint", audio="cdn.example/a.wav?sig=hunter2", **words)
    server.refusal("submit_outpaint", audio=str(song), unknown="hunter2", **words)
    assert server.end() == 0
    assert "hunter2" not in server.said

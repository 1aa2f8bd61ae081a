"""Two callers: for every tool, what is another's is exactly what does not exist, in words and in what is looked up."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests.over_http.callers import both
from tests.test_tools import extend, refusal

from outpaint_mcp.server.tools import all_tools
from outpaint_mcp.storage.database import Database

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from mcp.client import Client
    from tests.over_http.conftest import Serve

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

UNKNOWN = "op_00000000000000000000"
ABOUT_A_REQUEST: dict[str, dict[str, Any]] = {
    "get_outpaint_status": {"request_id": "{id}", "wait_seconds": 1},
    "get_outpaint_result": {"request_id": "{id}", "wait_seconds": 1},
    "cancel_outpaint": {"request_id": "{id}"},
    "analyze_audio": {"audio": "{id}"},
    "submit_outpaint": {"audio": "{id}", "tags": "lofi", "extend_after_duration": 1},
}


class Looks:
    """What is asked of the database, without the values."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def note(self, statement: str) -> None:
        """Write a statement down."""
        self.statements.append(re.sub(r"'[^']*'|\b\d+\b", "?", statement))


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    seen, read = Looks(), Database.read

    @contextmanager
    def noted(self: Database) -> Iterator[sqlite3.Connection]:
        with read(self) as connection:
            connection.set_trace_callback(seen.note)
            yield connection
            connection.set_trace_callback(None)

    monkeypatch.setattr(Database, "read", noted)
    return seen


async def refused(client: Client, tool: str, request_id: str) -> str:
    """Return what a tool says about a request that is not there, without its id."""
    arguments = {
        name: value.format(id=request_id) if isinstance(value, str) else value
        for name, value in ABOUT_A_REQUEST[tool].items()
    }
    return (await refusal(client, tool, **arguments)).replace(request_id, "ID")


def test_every_tool_is_tried() -> None:
    assert {*ABOUT_A_REQUEST, "list_outpaints", "list_audio"} == {each.name for each in all_tools("local")}


@pytest.mark.parametrize("tool", ABOUT_A_REQUEST)
async def test_anothers_request_is_exactly_one_that_does_not_exist(
    serve: Serve, song: Path, era: str, tool: str, looks: Looks
) -> None:
    async with both(serve, era) as (alice, bob):
        hers = (await extend(alice, str(song), extend_after_duration=1))["request_id"]
        said, looked = [], []
        for request_id in (UNKNOWN, hers):
            looks.statements.clear()
            said.append(await refused(bob, tool, request_id))
            # The dispatcher looks for jobs at the same time.
            looked.append([each for each in looks.statements if "requests.request_id = ?" in each])
        assert said[0] == said[1]
        assert "No request has the id 'ID'" in said[0]
        assert looked[0] == looked[1]
        assert looked[0], "it was looked for"


async def test_lists_and_sums_are_each_callers_own(serve: Serve, song: Path) -> None:
    async with both(serve) as (alice, bob):
        result = await extend(alice, str(song), extend_after_duration=1)
        requests = (await bob.call_tool("list_outpaints", {})).structured_content or {}
        assert (requests["requests"], requests["spent_usd"]) == ([], 0)
        files = (await bob.call_tool("list_audio", {})).structured_content or {}
        assert [each["name"] for each in files["files"]] == [song.name]
        hers = (await alice.call_tool("list_audio", {})).structured_content or {}
        assert result["request_id"] in {each.get("request_id") for each in hers["files"]}


async def test_neither_path_nor_name_leads_to_anothers_file(
    serve: Serve, song: Path, settings: Settings
) -> None:
    async with both(serve) as (alice, bob):
        await extend(alice, str(song), extend_after_duration=1)
        [file] = settings.data_dir.glob("callers/*/results/*")
        nothing = file.with_name("x" * len(file.stem) + file.suffix)  # long ones are shortened
        for given in (
            str(file),
            file.as_uri(),
            file.name,
            f"../{file.parent.parent.name}/results/{file.name}",
            f"results/../../{file.parent.parent.name}/results/{file.name}",
        ):
            for tool in ("analyze_audio", "submit_outpaint"):
                more = {"tags": "lofi"} if tool == "submit_outpaint" else {}
                said = await refusal(bob, tool, audio=given, **more)
                same = await refusal(bob, tool, audio=given.replace(file.name, nothing.name), **more)
                assert comparable(said, file, nothing) == comparable(same, file, nothing)


async def test_what_another_has_had_measured_is_measured_anew(
    serve: Serve, song: Path, settings: Settings
) -> None:
    async with both(serve) as (alice, bob):
        for number, client in enumerate((alice, bob), 1):
            answer = await client.call_tool("analyze_audio", {"audio": song.name})
            assert (answer.structured_content or {})["status"] == "completed"
            homes = {each.parents[2] for each in settings.data_dir.glob("callers/*/analyses/*/answer.json")}
            assert len(homes) == number


async def test_the_same_wish_of_two_callers_is_two_requests(serve: Serve, song: Path) -> None:
    async with both(serve) as (alice, bob):
        first, second = [
            await client.call_tool("submit_outpaint", {"audio": song.name, "tags": "lofi", "seed": 1})
            for client in (alice, bob)
        ]
        ids = {(each.structured_content or {})["request_id"] for each in (first, second)}
        assert len(ids) == 2
        for client in (alice, bob):
            listed = (await client.call_tool("list_outpaints", {})).structured_content or {}
            assert len(listed["requests"]) == 1


async def test_the_log_names_nobody(serve: Serve, song: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with both(serve) as (alice, bob):
        await extend(alice, str(song), extend_after_duration=1)
        await refused(bob, "get_outpaint_result", UNKNOWN)
    lines = [f"{record.name} {record.getMessage()}" for record in caplog.records]
    assert not [line for line in lines if re.search(r"\b(alice|bob)\b", line)]


def comparable(said: str, file: Path, nothing: Path) -> str:
    """Return an error up to what was given, and after it; without the link that it offers, another one each time."""
    shown = re.sub(r'^"[^"]*"', "GIVEN", said.replace(file.name, nothing.name))
    return re.sub(r"https?://\S+", "LINK", shown)

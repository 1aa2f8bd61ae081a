"""The suite itself; it is run by `python -m tests.interop`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.interop.clients import CLIENTS, FOLDER
from tests.interop.track import Record, Shown, check_offer, converse


def test_every_driver_is_a_client_s_and_every_version_is_exact() -> None:
    assert sorted(
        path.name for path in FOLDER.iterdir() if path.is_dir() and path.name != "__pycache__"
    ) == sorted(client.folder for client in CLIENTS)
    pins = {version for client in CLIENTS for version in client.pins.values()}
    assert [version for version in pins if not re.fullmatch(r"\d+(\.\d+)+", version)] == []


def test_the_table_has_a_row_for_every_client_in_every_mode() -> None:
    table = Path(__file__).with_name("README.md").read_text("utf-8")
    titles = [
        f"{client.title}, {mode}" if mode else client.title for client in CLIENTS for mode in client.modes
    ]
    assert re.findall(r"^\| ([^|`]+) \| `", table, re.MULTILINE) == titles


@pytest.mark.parametrize("text", ["", "Internal error", '"nowhere.wav" failed', "ask the user"])
def test_a_client_that_keeps_an_error_to_itself_is_found_out(tmp_path: Path, text: str) -> None:
    record = Record()
    conversation = converse(record, tmp_path / "song.wav", tmp_path)
    assert next(conversation).arguments["audio"] == "nowhere.wav"
    with pytest.raises(AssertionError):
        conversation.send(Shown(text, 0, 0.0))
    assert record.step == "error"


def test_a_client_that_loses_the_path_of_the_result_is_found_out(tmp_path: Path) -> None:
    record = Record()
    conversation = converse(record, tmp_path / "song.wav", tmp_path)
    next(conversation)
    for text in ('"nowhere.wav" is not there: ask the user', "{'request_id': 'op_1', 'status': 'in_queue'}"):
        conversation.send(Shown(text, 0, 0.0))
    with pytest.raises(AssertionError):
        conversation.send(Shown('{"request_id": "op_1", "status": "completed", "verdict": "Good."}', 0, 0.0))
    assert record.step == "result"


def test_a_client_that_offers_too_little_is_found_out() -> None:
    with pytest.raises(AssertionError):
        check_offer([{"name": "submit_outpaint", "description": "Make it longer.", "parameters": {}}])


@pytest.mark.parametrize(
    "text",
    [
        '{"status": "completed", "path": "/a/song, longer.wav"}',
        '[{"type": "text", "text": "{\\"status\\":\\"completed\\",\\"path\\":\\"/a/song, longer.wav\\"}"}]',
        "{'status': 'completed', 'path': '/a/song, longer.wav'}",
    ],
)
def test_a_field_is_read_however_a_client_writes_it_down(text: str) -> None:
    shown = Shown(text, 0, 0.0)
    assert (shown.field("status"), shown.field("path"), shown.field("url")) == (
        "completed",
        "/a/song, longer.wav",
        "",
    )

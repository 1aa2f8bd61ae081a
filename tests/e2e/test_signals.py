"""Hosts end servers with signals: whatever is in progress goes on with the next one, and is not held against it."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tests.e2e.processes import until, workers_of
from tests.e2e.sound import check_longer_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import MakeSong
    from tests.e2e.rpc import Server

    from outpaint_mcp.config import Settings


def crashes(data_dir: Path, request_id: str) -> int:
    with closing(sqlite3.connect(data_dir / "outpaint.sqlite3")) as connection:
        query = "SELECT crashes FROM jobs WHERE request_id = ?"
        (count,) = connection.execute(query, (request_id,)).fetchone()
    return int(count)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name
)
def test_a_signal_ends_the_server_in_good_order(
    start_server: Callable[..., Server], make_song: MakeSong, settings: Settings, number: signal.Signals
) -> None:
    song = make_song(seconds=20)
    first = start_server()
    request_id = first.tool(
        "submit_outpaint", audio=str(song), tags="", extend_before_duration=20, extend_after_duration=20
    )["request_id"]
    until(lambda: workers_of(settings.data_dir))
    first.process.send_signal(number)
    assert first.process.wait(timeout=30) == 128 + number
    assert until(lambda: not workers_of(settings.data_dir))
    assert crashes(settings.data_dir, request_id) == 0
    check_longer_file(start_server().finished(request_id), song)

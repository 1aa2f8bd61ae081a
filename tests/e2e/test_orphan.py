"""A client that is killed takes its server along, even while another process holds the server's stdin open."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.e2e.processes import HAS_PROC, kill, until, workers_of
from tests.e2e.sound import check_longer_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import MakeSong
    from tests.e2e.rpc import Server

    from outpaint_mcp.config import Settings

# A client that starts a server, lets a sibling inherit the server's stdin, submits a request, and is killed.
_CLIENT = """
import json, subprocess, sys
server = subprocess.Popen(
    [sys.executable, "-m", "outpaint_mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
)
sibling = subprocess.Popen(
    ["sleep", "600"], pass_fds=[server.stdin.fileno()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
)
def send(**message):
    print(json.dumps({"jsonrpc": "2.0"} | message), file=server.stdin, flush=True)
def receive(number):
    while (message := json.loads(server.stdout.readline())).get("id") != number:
        pass
    return message["result"]
client = {"name": "client", "version": "1"}
send(id=1, method="initialize", params={"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client})
receive(1)
send(method="notifications/initialized")
arguments = {"audio": sys.argv[1], "tags": "", "extend_before_duration": 60, "extend_after_duration": 60}
send(id=2, method="tools/call", params={"name": "submit_outpaint", "arguments": arguments})
submission = receive(2)["structuredContent"]
print(json.dumps([server.pid, sibling.pid, submission["request_id"]]), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not HAS_PROC, reason="looks for processes in /proc")
def test_a_server_whose_client_was_killed_leaves_although_its_stdin_is_held_open(
    environment: dict[str, str],
    make_song: MakeSong,
    settings: Settings,
    start_server: Callable[..., Server],
    tmp_path: Path,
) -> None:
    song = make_song(seconds=20)
    with (tmp_path / "stderr").open("wb") as stderr:
        client = subprocess.Popen(
            [sys.executable, "-c", _CLIENT, song],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    assert client.stdout is not None
    assert client.stdin is not None
    server_id, sibling_id, request_id = json.loads(client.stdout.readline())
    try:
        until(lambda: workers_of(settings.data_dir))
        client.kill()
        client.wait()
        until(lambda: not _runs(server_id))
        assert _runs(sibling_id)
    finally:
        client.stdin.close()
        client.stdout.close()
        kill(server_id, signal.SIGKILL)
        kill(sibling_id, signal.SIGKILL)
    assert (tmp_path / "stderr").read_text() == ""
    check_longer_file(start_server().finished(request_id), song)


def test_a_server_whose_log_nobody_reads_any_more_leaves_although_its_stdin_is_open(
    environment: dict[str, str],
) -> None:
    reader, writer = os.pipe()
    server = subprocess.Popen(
        [sys.executable, "-m", "outpaint_mcp"],
        env=os.environ | environment | {"OUTPAINT_LOG_LEVEL": "DEBUG"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=writer,
    )
    os.close(writer)
    assert server.stdin is not None
    assert server.stdout is not None
    with server:
        try:
            client = {"name": "client", "version": "1"}
            params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
            message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
            server.stdin.write(json.dumps(message).encode() + b"\n")
            server.stdin.flush()
            server.stdout.readline()
            os.close(reader)
            server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=20) == 128 + signal.SIGTERM
        finally:
            server.kill()


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    status = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return bool(status.strip()) and not status.startswith("Z")

"""What an operator sees of a real server over HTTP: its log, its figures, its spans."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import httpx
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from tests.e2e.over_http import START, http_server, key_entries
from tests.e2e.processes import until
from tests.e2e.rpc import PATIENCE_SECONDS

from outpaint_mcp.principals import Principal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

SECRET = "s" * 43
KEYS = key_entries(ann=SECRET)


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """An OpenTelemetry collector on loopback: its address, and what it was sent."""
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.path.encode() + self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_values: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", received
        finally:
            server.shutdown()
            thread.join()


async def test_its_log_its_figures_and_its_spans_tell_of_a_call_and_not_who_called(
    environment: dict[str, str], song: Path
) -> None:
    with collector() as (endpoint, spans):
        environment |= {
            "OUTPAINT_API_KEYS": KEYS,
            "OUTPAINT_LOG_FORMAT": "json",
            "OUTPAINT_LOG_LEVEL": "INFO",
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        }
        with http_server(environment, "--metrics-port", "0") as server:
            (figures,) = re.findall(r"Prometheus metrics at (http://\S+)", server.words)
            async with create_mcp_http_client(headers={"Authorization": f"Bearer {SECRET}"}) as http:
                transport = streamable_http_client(server.url, http_client=http)
                async with Client(transport) as client:
                    answer = await client.call_tool(
                        "submit_outpaint", {"audio": str(song), "tags": "", "lyrics": "words of the song"}
                    )
                    assert not answer.is_error
            async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as http:
                shown = (await http.get(figures)).text
                elsewhere = await http.get(figures, headers={"Host": "evil.example"})
        until(lambda: spans)
    assert elsewhere.status_code == 421
    lines = [json.loads(line) for line in server.words_at_the_end.splitlines() if line.startswith("{")]
    (line,) = (each for each in lines if each["message"].startswith("tools/call submit_outpaint took"))
    assert line["caller"] == Principal(client="ann").digest
    assert line["level"] == "INFO"
    assert line["jsonrpc_id"]
    assert 'outpaint_jobs{state="' in shown
    assert 'gen_ai_tool_name="submit_outpaint"' in shown
    assert b"/v1/traces" in spans[0]
    assert b"tools/call submit_outpaint" in b"".join(spans)
    for shown_to_operators in (server.words_at_the_end, shown, b"".join(spans).decode("latin-1")):
        assert SECRET not in shown_to_operators
        assert "words of the song" not in shown_to_operators
    assert "ann" not in re.findall(r'"([^"]*)"', shown)


def test_figures_without_their_package_are_refused_with_what_to_install(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['prometheus_client'] = None\n")
    done = subprocess.run(
        [*START, "--port", "0", "--metrics-port", "0"],
        env={**os.environ, **environment, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 8, done.stderr
    assert "outpaint-mcp[metrics]" in done.stderr

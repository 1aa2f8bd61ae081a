"""What the status of a request under way costs over a bare ping of the same transport, and over the service's own API.

`python -m bench.overhead` from the project's root. Server processes with the hosted provider, over stdio and over
Streamable HTTP, beside a kept-alive httpx client that asks the same fake about the same request; they take turns.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
from tests.e2e.over_http import http_server
from tests.e2e.rpc import HANDSHAKES, Server, structure_of
from tests.fakes.runcomfy import TOKEN, FakeRunComfy, Switches

from outpaint_mcp.cli.demo_music import compose_piece

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    Json = dict[str, Any]

_WARM_UP = 50
_TARGET_SECONDS = 0.001
_TOOL = "get_outpaint_status"


@dataclass(frozen=True, slots=True)
class _Way:
    """One way of asking: `ask` returns the status, empty for a ping, and how many seconds it took."""

    what: str
    ask: Callable[[], tuple[str, float]]
    is_tool_call: bool = False


def main() -> int:
    """Measure, print a table, and exit with 1 where the target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=600, help="how many (%(default)s)")
    rounds = parser.parse_args().rounds
    with TemporaryDirectory() as here, _service() as (base, remote_id_of):
        environment = _environment(Path(here), base)
        with Server(environment) as server, http_server(environment) as http, httpx.Client() as client:
            submission = server.tool(
                "submit_outpaint", audio=str(Path(here) / "piece.wav"), tags="", extend_after_duration=5
            )
            asked = {"request_id": submission["request_id"]}
            ways = (
                _bare(client, base, remote_id_of()),
                *_over_stdio(server, asked),
                *_over_http(client, http.url, asked),
            )
            taken = _take_turns(ways, rounds)
            if server.noise:
                raise AssertionError(server.noise)
    print(f"{rounds} rounds in turn, after {_WARM_UP} to warm up")
    table, is_met = _judged(ways, taken)
    print(table)
    return 0 if is_met else 1


def _take_turns(ways: tuple[_Way, ...], rounds: int) -> np.typing.NDArray[np.float64]:
    """Return seconds, `[rounds, ways]`."""
    taken = np.zeros((_WARM_UP + rounds, len(ways)))
    for turn in taken:
        for number, way in enumerate(ways):
            status, turn[number] = way.ask()
            if status not in {"", "in_queue", "in_progress"}:
                raise AssertionError(f"{way.what}: {status}")
    return taken[_WARM_UP:]


def _judged(ways: tuple[_Way, ...], taken: np.typing.NDArray[np.float64]) -> tuple[str, bool]:
    """Return the table, and whether every tool call is as close to the ping before it as it has to be."""
    lines = [
        "| | median | 95th percentile | over the bare call | over the ping | target | met |",
        "|---|---|---|---|---|---|---|",
    ]
    is_met, medians = True, np.median(taken, axis=0)
    for number, way in enumerate(ways):
        median, late = medians[number], np.percentile(taken[:, number], 95)
        more = f"{1000 * (median - medians[0]):+.2f} ms" if number else ""
        target = " | | "
        if way.is_tool_call:
            over_ping = median - medians[number - 1]
            is_met &= bool(over_ping < _TARGET_SECONDS)
            met = "yes" if over_ping < _TARGET_SECONDS else "**no**"
            target = f"{1000 * over_ping:+.2f} ms | < {1000 * _TARGET_SECONDS:g} ms | {met}"
        lines.append(f"| {way.what} | {1000 * median:.2f} ms | {1000 * late:.2f} ms | {more} | {target} |")
    return "\n".join(lines), is_met


def _environment(here: Path, base: str) -> dict[str, str]:
    compose_piece(here / "piece.wav")
    return {
        "OUTPAINT_INPUT_DIRS": str(here),
        "OUTPAINT_OUTPUT_DIR": str(here / "Longer"),
        "OUTPAINT_DATA_DIR": str(here / "data"),
        "OUTPAINT_PROVIDER": "runcomfy",
        "RUNCOMFY_API_TOKEN": TOKEN,
        "RUNCOMFY_MODEL_API_BASE": base,
        "OUTPAINT_MAX_COST_USD": "100",  # HTTP with a token needs a limit
    }


@contextmanager
def _service() -> Iterator[tuple[str, Callable[[], str]]]:
    """Run the fake in a process of its own, so that whoever measures does not also answer.

    Yields:
        Its address, and what returns the id of its one job.
    """
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs,))
    process.start()
    theirs.close()

    def remote_id() -> str:
        ours.send("which?")
        return str(ours.recv())

    try:
        yield str(ours.recv()), remote_id
    finally:
        ours.close()
        process.join()


def _serve(wire: Connection) -> None:
    """Keep every job in progress until nobody is there any more."""
    with FakeRunComfy(switches=Switches(queue_polls=0)) as fake:
        fake.hold()
        wire.send(fake.base)
        while True:
            try:
                wire.recv()
            except EOFError:
                return
            (job,) = fake.jobs
            wire.send(job)


def _bare(client: httpx.Client, base: str, remote_id: str) -> _Way:
    url, headers = f"{base}/requests/{remote_id}/status", {"Authorization": f"Bearer {TOKEN}"}

    def ask() -> tuple[str, float]:
        since = time.perf_counter()
        answer = client.get(url, headers=headers)
        seconds = time.perf_counter() - since
        return str(answer.json()["status"]), seconds

    return _Way("a bare GET of the status", ask)


def _over_stdio(server: Server, asked: Json) -> tuple[_Way, ...]:
    def ping() -> tuple[str, float]:
        return "", server.send("ping").timed()[0]

    def ask() -> tuple[str, float]:
        seconds, answer = server.start_tool(_TOOL, asked).timed()
        return str(structure_of(answer)["status"]), seconds

    return _Way("a ping over stdio", ping), _Way(f"{_TOOL} over stdio", ask, is_tool_call=True)


def _over_http(client: httpx.Client, url: str, asked: Json) -> tuple[_Way, ...]:
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": HANDSHAKES[-1]}
    hello = {
        "protocolVersion": HANDSHAKES[-1],
        "capabilities": {},
        "clientInfo": {"name": "bare", "version": "1"},
    }

    def post(method: str, params: Json, **more: Any) -> httpx.Response:  # noqa: ANN401 - JSON
        message = {"jsonrpc": "2.0", "method": method, "params": params} | more
        return client.post(url, json=message, headers=headers).raise_for_status()

    headers |= {"Mcp-Session-Id": post("initialize", hello, id=0).headers["mcp-session-id"]}
    post("notifications/initialized", {})

    def ping() -> tuple[str, float]:
        since = time.perf_counter()
        post("ping", {}, id=1)
        return "", time.perf_counter() - since

    def ask() -> tuple[str, float]:
        since = time.perf_counter()
        answer = post("tools/call", {"name": _TOOL, "arguments": asked}, id=1)
        seconds = time.perf_counter() - since
        return str(structure_of(_message(answer))["status"]), seconds

    return (
        _Way("a ping over Streamable HTTP", ping),
        _Way(f"{_TOOL} over Streamable HTTP", ask, is_tool_call=True),
    )


def _message(answer: httpx.Response) -> Json:
    """The JSON of an answer, which may come as an event."""
    events = (line.removeprefix("data:") for line in answer.text.splitlines() if line.startswith("data:"))
    message: Json = json.loads(next(filter(str.strip, events), answer.text))
    return message


if __name__ == "__main__":
    sys.exit(main())

"""Two hundred callers who wait for their jobs, a status call beside them, and a thousand sessions that are left open.

`python -m bench.http_load` from the project's root; Linux. A server process of the usual kind works on two long local
jobs meanwhile, and every waiting call waits for a job of its own behind them; half of the calls are of each protocol
era. Memory is the server's own (VmRSS), without its workers'.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import os
import re
import statistics
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import httpx
from mcp.types import CLIENT_CAPABILITIES_META_KEY, PROTOCOL_VERSION_META_KEY
from tests.e2e.over_http import INITIALIZE, http_server

from outpaint_mcp.cli.demo_music import compose_piece

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

_MODERN = "2026-07-28"
_LEGACY = "2025-11-25"
_WAIT_SECONDS = 45
_SETTLE_SECONDS = 3.0
_BETWEEN_CALLS_SECONDS = 0.05
_AT_A_TIME = 16
_PATIENCE_SECONDS = 90.0

_MOST_STATUS_SECONDS = 0.05
_MOST_CALL_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class _Figure:
    """One line of the table; `most` is what it may be, in its own unit."""

    what: str
    value: float
    unit: str
    most: float | None = None

    @property
    def is_met(self) -> bool:
        return self.most is None or self.value < self.most

    def __str__(self) -> str:
        target = "" if self.most is None else f"< {self.most:g} {self.unit}"
        met = "" if self.most is None else "yes" if self.is_met else "**no**"
        return f"| {self.what} | {self.value:.3g} {self.unit} | {target} | {met} |"


class _Caller:
    """One who calls, in the manner of one era."""

    def __init__(self, http: httpx.AsyncClient, number: int, *, modern: bool) -> None:
        self._http = http
        self._is_modern = modern
        self._ids = itertools.count(2)
        self._headers = {
            "Authorization": f"Bearer {_secret(number)}",
            "Mcp-Protocol-Version": _MODERN if modern else _LEGACY,
        }

    async def open(self) -> str:
        """Open a session, where the era has them; returns its id."""
        if self._is_modern:
            return ""
        answer = await self._http.post("", json=INITIALIZE, headers=self._headers)
        answer.raise_for_status()
        self._headers["Mcp-Session-Id"] = answer.headers["mcp-session-id"]
        return self._headers["Mcp-Session-Id"]

    async def close(self, session: str) -> None:
        """End a session."""
        await self._http.delete("", headers=self._headers | {"Mcp-Session-Id": session})

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Call a tool; returns its structured answer."""
        params: dict[str, Any] = {"name": tool, "arguments": arguments}
        headers = self._headers
        if self._is_modern:
            params["_meta"] = {PROTOCOL_VERSION_META_KEY: _MODERN, CLIENT_CAPABILITIES_META_KEY: {}}
            headers = headers | {"Mcp-Method": "tools/call", "Mcp-Name": tool}
        message = {"jsonrpc": "2.0", "id": next(self._ids), "method": "tools/call", "params": params}
        answer = await self._http.post("", json=message, headers=headers)
        answer.raise_for_status()
        text = answer.text
        if answer.headers["content-type"].startswith("text/event-stream"):
            text = next(line[6:] for line in reversed(text.splitlines()) if line.startswith("data: {"))
        result = httpx.Response(200, text=text).json()["result"]
        if result.get("isError"):
            raise RuntimeError(result["content"][0]["text"])
        found: dict[str, Any] = result["structuredContent"]
        return found


def _secret(number: int) -> str:
    return f"{number:043d}"


def _keys(count: int) -> str:
    return "".join(
        f"caller-{number}={hashlib.sha256(_secret(number).encode()).hexdigest()}\n" for number in range(count)
    )


def _memory(pid: int) -> int:
    """Return what a process has in memory, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    (kibibytes,) = re.findall(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(kibibytes) * 1024


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _some_at_a_time(count: int, work: Any) -> list[Any]:  # noqa: ANN401 - a coroutine function
    places = asyncio.Semaphore(_AT_A_TIME)

    async def one(number: int) -> Any:  # noqa: ANN401 - what it returns
        async with places:
            return await work(number)

    return await asyncio.gather(*map(one, range(count)))


async def _status_seconds(caller: _Caller, request_id: str, seconds: float) -> list[float]:
    """Ask for a status again and again; returns how long each answer took."""
    taken = []
    end = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        await caller.call("get_outpaint_status", request_id=request_id)
        taken.append(time.perf_counter() - begun)
        await asyncio.sleep(_BETWEEN_CALLS_SECONDS)
    return taken


def _p95(seconds: Sequence[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1]


async def _waits(http: httpx.AsyncClient, pid: int, song: Path, waiting: int) -> list[_Figure]:
    """Measure status calls beside many that wait."""
    asking = _Caller(http, waiting, modern=True)
    for seed in range(2):  # what all others wait behind, and one of which is asked about
        found = await asking.call("submit_outpaint", audio=str(song), tags="", total_seconds=7200, seed=seed)
    own = found["request_id"]

    async def prepare(number: int) -> tuple[_Caller, str]:
        caller = _Caller(http, number, modern=number % 2 == 0)
        await caller.open()
        found = await caller.call(
            "submit_outpaint", audio=str(song), tags="", extend_after_duration=5, seed=100 + number
        )
        return caller, found["request_id"]

    prepared = await _some_at_a_time(waiting, prepare)

    async def wait(caller: _Caller, request_id: str, seconds: float) -> str:
        answer = await caller.call("get_outpaint_result", request_id=request_id, wait_seconds=seconds)
        return str(answer["status"])

    await asyncio.gather(
        *(wait(caller, request_id, 1) for caller, request_id in prepared[:20])
    )  # whatever is loaded at first
    alone = await _status_seconds(asking, own, 5)
    before = _memory(pid)
    waits = [asyncio.create_task(wait(caller, request_id, _WAIT_SECONDS)) for caller, request_id in prepared]
    await asyncio.sleep(_SETTLE_SECONDS)
    cpu, since = _cpu_seconds(pid), time.perf_counter()
    beside = await _status_seconds(asking, own, 30)
    cpu_share = (_cpu_seconds(pid) - cpu) / (time.perf_counter() - since)
    during = _memory(pid)
    answers = await asyncio.gather(*waits)
    if set(answers) != {"in_queue"}:
        raise RuntimeError(f"those who waited got {set(answers)}")
    return [
        _Figure("a status call with nobody waiting, p95", 1000 * _p95(alone), "ms"),
        _Figure(f"a status call beside {waiting} that wait, median", 1000 * statistics.median(beside), "ms"),
        _Figure(
            f"a status call beside {waiting} that wait, p95",
            1000 * _p95(beside),
            "ms",
            1000 * _MOST_STATUS_SECONDS,
        ),
        _Figure("slowest of them", 1000 * max(beside), "ms"),
        _Figure("processor time of the server meanwhile", 100 * cpu_share, "% of a core"),
        _Figure(
            "memory of a call that waits", (during - before) / waiting / 1000, "kB", _MOST_CALL_BYTES / 1000
        ),
    ]


async def _sessions(http: httpx.AsyncClient, pid: int, count: int) -> list[_Figure]:
    """Measure sessions that are opened and left, then more of them, then ended ones."""

    async def open_one(_number: int) -> str:
        return await _Caller(http, 0, modern=False).open()

    ending = _Caller(http, 0, modern=False)
    for each in await _some_at_a_time(50, open_one):
        await ending.close(each)
    before = _memory(pid)
    opened = await _some_at_a_time(count, open_one)
    full = _memory(pid)
    more = await _some_at_a_time(count, open_one)
    beyond = _memory(pid)
    await _some_at_a_time(count, lambda number: ending.close(more[number]))
    await _some_at_a_time(count, lambda number: ending.close(opened[number]))
    await asyncio.sleep(_SETTLE_SECONDS)
    after = _memory(pid)
    again = await _some_at_a_time(count, open_one)
    once_more = _memory(pid)
    await _some_at_a_time(count, lambda number: ending.close(again[number]))
    return [
        _Figure(f"{count} sessions that are open", (full - before) / 1e6, "MB", 100),
        _Figure(f"{count} more, for which the first ones end", (beyond - before) / 1e6, "MB", 110),
        _Figure("all ended: what is left of it", (after - before) / 1e6, "MB"),
        _Figure(f"{count} opened anew", (once_more - before) / 1e6, "MB", 110),
    ]


async def _measure(url: str, work: Callable[[httpx.AsyncClient], Awaitable[list[_Figure]]]) -> list[_Figure]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    headers = {"Accept": "application/json, text/event-stream"}
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=_PATIENCE_SECONDS, limits=limits
    ) as http:
        return await work(http)


def main() -> int:
    """Measure, print the table, and return whether all targets are met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--waiting", type=int, default=200, help="callers that wait (%(default)s)")
    parser.add_argument("--sessions", type=int, default=1000, help="sessions that are opened (%(default)s)")
    parsed = parser.parse_args()
    with TemporaryDirectory() as folder:
        song = Path(folder, "music", "song.wav")
        song.parent.mkdir()
        compose_piece(song)
        keys = Path(folder, "keys")
        keys.write_text(_keys(parsed.waiting + 1), "ascii")
        keys.chmod(0o600)
        figures: list[_Figure] = []
        print("| what | measured | target | met |\n|---|---|---|---|", flush=True)
        parts = {
            "waits": lambda http, pid: _waits(http, pid, song, parsed.waiting),
            "sessions": lambda http, pid: _sessions(http, pid, parsed.sessions),
        }
        for name, part in parts.items():  # each with a server of its own
            environment = {
                "OUTPAINT_DATA_DIR": str(Path(folder, name, "data")),
                "OUTPAINT_OUTPUT_DIR": str(Path(folder, name, "out")),
                "OUTPAINT_INPUT_DIRS": str(song.parent),
                "OUTPAINT_PROVIDER": "local",
                "OUTPAINT_API_KEYS": f"@{keys}",
                "OUTPAINT_MAX_REQUESTS_PER_MINUTE": "100000",
            }
            with http_server(environment) as server:
                work = partial(part, pid=server.process.pid)
                figures += (measured := asyncio.run(_measure(server.url, work)))
            print(*measured, sep="\n", flush=True)
    return not all(each.is_met for each in figures)


if __name__ == "__main__":
    sys.exit(main())

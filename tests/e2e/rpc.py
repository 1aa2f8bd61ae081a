"""A bare MCP client: newline-delimited JSON-RPC over the pipes of a real server process.

No client library, so that what is tested is the server and not that, and every line that the server writes is
seen as it was written.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Self

from tests.fakes.runcomfy import TOKEN
from tests.leaks import check_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Json = dict[str, Any]

HANDSHAKES = ("2025-06-18", "2025-11-25")
"""Protocol versions that begin with `initialize`."""
NEWEST = "2026-07-28"
"""The protocol version in which every request says for itself who asks."""

# Far longer than anything takes here: a machine at work must not fail a test.
PATIENCE_SECONDS = 60.0

_START = ("-m", "outpaint_mcp")
_START_ON_ONE_CORE = (
    "-c",
    "import os; os.sched_getaffinity = lambda _: {0}; from outpaint_mcp.cli.main import main; main([])",
)


class ServerGoneError(Exception):
    """The server ended before it answered."""


class Call:
    """A request on its way."""

    def __init__(self, call_id: int) -> None:
        self.call_id = call_id
        self.sent_at = time.perf_counter()
        self._answers: queue.Queue[tuple[float, Json | None]] = queue.Queue()

    @property
    def is_open(self) -> bool:
        """Whether the answer is still to come."""
        return self._answers.empty()

    def settle(self, answer: Json | None) -> None:
        """Take the answer in; None where there will be none."""
        self._answers.put((time.perf_counter(), answer))

    def wait(self, timeout_seconds: float = PATIENCE_SECONDS) -> Json:
        """Return the whole answer, `result` or `error` within.

        Raises:
            TimeoutError: there was none in time.
            ServerGoneError: there will be none.
        """
        return self.timed(timeout_seconds)[1]

    def timed(self, timeout_seconds: float = PATIENCE_SECONDS) -> tuple[float, Json]:
        """Return how many seconds the answer took, and the answer; raises as `wait` does."""
        try:
            at, answer = self._answers.get(timeout=timeout_seconds)
        except queue.Empty:
            raise TimeoutError(f"no answer to request {self.call_id}") from None
        if answer is None:
            raise ServerGoneError(f"no answer to request {self.call_id}: the server has ended")
        return at - self.sent_at, answer


class Server:
    """A server process and the client's end of its pipes.

    Attributes:
        noise: lines on stdout that are not JSON-RPC.
        notifications: what the server sent without being asked.
        strays: answers to no call that was made with `send`.
        said: what it wrote to stderr, once it has ended.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        protocol: str = HANDSHAKES[-1],
        cwd: Path | None = None,
        one_core: bool = False,
        arguments: Sequence[str] | None = None,
    ) -> None:
        """Start a server; shakes hands where the protocol does.

        Args:
            environment: `OUTPAINT_*` and `RUNCOMFY_*` variables; those of this process are not passed on.
            protocol: one of `HANDSHAKES`, or `NEWEST`.
            cwd: folder to start in.
            one_core: whether the server is to believe that the machine has a single core.
            arguments: for the interpreter, instead of those that start this server.
        """
        self.noise: list[str] = []
        self.notifications: list[Json] = []
        self.strays: queue.Queue[Json] = queue.Queue()
        self.said = ""
        self._protocol = protocol
        self._calls: dict[int, Call] = {}
        self._leaks: list[str] = []
        self._last_id = 0
        self._is_gone = False
        self._lock = threading.Lock()
        ours = ("OUTPAINT_", "RUNCOMFY_")
        own = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        own["RUNCOMFY_CONFIG_DIR"] = os.devnull  # whoever runs this may have a token
        self._stderr = TemporaryFile()  # noqa: SIM115 - closed with the pipes
        self.process = subprocess.Popen(
            [sys.executable, *(arguments or (_START_ON_ONE_CORE if one_core else _START))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=own | dict(environment),
            cwd=cwd,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.greeting = self._greet()
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _greet(self) -> Json:
        if self._protocol == NEWEST:
            return self.ask("server/discover")
        greeting = self.ask(
            "initialize",
            {
                "protocolVersion": self._protocol,
                "capabilities": {},
                "clientInfo": {"name": "bare", "version": "1"},
            },
        )
        self.notify("notifications/initialized")
        return greeting

    def send(self, method: str, params: Json | None = None) -> Call:
        """Send a request; its answer is awaited with the call that is returned."""
        with self._lock:
            self._last_id += 1
            call = Call(self._last_id)
            if self._is_gone:
                call.settle(None)
            else:
                self._calls[call.call_id] = call
        self._write({"jsonrpc": "2.0", "id": call.call_id, "method": method, "params": self._dressed(params)})
        return call

    def ask(self, method: str, params: Json | None = None) -> Json:
        """Send a request and return its result.

        Raises:
            AssertionError: the answer was a protocol error.
        """
        answer = self.send(method, params).wait()
        assert "error" not in answer, answer
        result: Json = answer["result"]
        return result

    def notify(self, method: str, params: Json | None = None) -> None:
        """Send a notification."""
        self._write({"jsonrpc": "2.0", "method": method, "params": self._dressed(params)})

    def start_tool(self, tool: str, arguments: Json, *, progress_token: str | None = None) -> Call:
        """Call a tool without waiting for its answer."""
        meta = {"_meta": {"progressToken": progress_token}} if progress_token else {}
        return self.send("tools/call", {"name": tool, "arguments": arguments} | meta)

    def tool(self, tool: str, **arguments: Any) -> Json:  # noqa: ANN401 - JSON
        """Call a tool and return its structured answer.

        Raises:
            AssertionError: the tool answered with an error.
        """
        return structure_of(self.start_tool(tool, arguments).wait())

    def refusal(self, tool: str, **arguments: Any) -> str:  # noqa: ANN401 - JSON
        """Call a tool that is to answer with an error, and return its words."""
        result = self.start_tool(tool, arguments).wait()["result"]
        assert result["isError"], result
        return "".join(block["text"] for block in result["content"])

    def finished(self, request_id: str) -> Json:
        """Ask for a result until the request has ended, and return the last answer."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            answer = self.tool("get_outpaint_result", request_id=request_id, wait_seconds=45, details=True)
            if answer["status"] not in {"in_queue", "in_progress"}:
                return answer
            assert time.monotonic() < deadline, answer

    def end(self) -> int:
        """End the server's input as a host does, and return its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        code = self.process.wait(PATIENCE_SECONDS)
        self._close()
        return code

    def kill(self) -> None:
        """Kill the server, if it still runs, with a signal that it cannot catch."""
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)
        self._close()

    def _close(self) -> None:
        self._reader.join(PATIENCE_SECONDS)
        if not self._stderr.closed:
            self._stderr.seek(0)
            self.said = self._stderr.read().decode("utf-8", "replace")
            self._stderr.close()
            check_words(self.said)
            assert not self._leaks, self._leaks
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except BrokenPipeError:  # what was not sent yet is of no interest any more
                    continue

    def _dressed(self, params: Json | None) -> Json:
        """Add what every request of the newest protocol carries."""
        params = params or {}
        if self._protocol != NEWEST:
            return params
        meta = {
            "io.modelcontextprotocol/protocolVersion": NEWEST,
            "io.modelcontextprotocol/clientInfo": {"name": "bare", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        return params | {"_meta": meta | params.get("_meta", {})}

    def _write(self, message: Json) -> None:
        self.write_line(json.dumps(message).encode())

    def write_line(self, line: bytes) -> None:
        """Send a line as it is; what comes of it is among the `strays`."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return  # the call learns from the reader that the server has gone

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._take_in(line.decode("utf-8", "replace"))
        with self._lock:
            self._is_gone = True
            left, self._calls = self._calls, {}
        for call in left.values():
            call.settle(None)

    def _take_in(self, line: str) -> None:
        if TOKEN in line:
            self._leaks.append(line)
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            self.noise.append(line)
        elif "method" in message:
            self.notifications.append(message)
        else:
            with self._lock:
                call = self._calls.pop(message["id"], None)
            if call is None:
                self.strays.put(message)
            else:
                call.settle(message)


def structure_of(answer: Json) -> Json:
    """Return the structured content of a tool's answer.

    Raises:
        AssertionError: the tool answered with an error.
    """
    assert "error" not in answer, answer
    result = answer["result"]
    assert not result.get("isError"), result
    structure: Json = result["structuredContent"]
    return structure

"""A real server process over Streamable HTTP."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from tests.e2e.processes import until
from tests.e2e.rpc import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

START = (sys.executable, "-m", "outpaint_mcp", "serve", "--http")

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "bare", "version": "1"},
    },
}


def key_entries(**keys: str) -> str:
    """Return `OUTPAINT_API_KEYS` for these callers, by name."""
    return ",".join(f"{name}={hashlib.sha256(key.encode()).hexdigest()}" for name, key in keys.items())


@dataclass(slots=True)
class HttpServer:
    """A server that listens.

    Attributes:
        process: the process.
        address: the URL of MCP without the key.
        key: what it asks for; empty for nothing.
        log: where its stderr goes.
        words_at_the_end: all that it wrote there, once it has ended.
    """

    process: subprocess.Popen[bytes]
    address: str
    key: str
    log: Path
    words_at_the_end: str = ""

    @property
    def url(self) -> str:
        """The URL that a client is given."""
        return f"{self.address}/{self.key}".rstrip("/")

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.address.split(":")[2].split("/")[0])

    @property
    def words(self) -> str:
        """What it wrote to stderr so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def http_server(
    environment: Mapping[str, str], *arguments: str, start: Sequence[str] = START
) -> Iterator[HttpServer]:
    """Run a server on a free port while the block lasts.

    Args:
        environment: more variables; `OUTPAINT_DATA_DIR` is one of them.
        arguments: more options.
        start: how to start it, if not in the usual way.
    """
    with NamedTemporaryFile(suffix=".log") as log:
        process = subprocess.Popen(
            [*start, "--port", "0", *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        try:
            path = Path(log.name)

            def find() -> re.Match[str] | None:
                assert process.poll() is None, path.read_text(encoding="utf-8")
                return re.search(r"at (http://\S+?:\d+/mcp)(/?)", path.read_text(encoding="utf-8"))

            found = until(find)
            key = Path(environment["OUTPAINT_DATA_DIR"], "http-key")
            server = HttpServer(process, found[1], key.read_text("ascii").strip() if found[2] else "", path)
            yield server
            process.terminate()
            process.wait(PATIENCE_SECONDS)
            server.words_at_the_end = server.words
        finally:
            process.kill()
            process.wait()

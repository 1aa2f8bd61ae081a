"""Lint, format, types and import contracts, counted among the tests; `pytest --house` checks them as well.

Each tool has a process of its own beside pytest's workers: as a test, mypy kept one of two workers busy for a minute.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

_COMMANDS = {
    "types": ["-m", "mypy"],
    "lint": ["-m", "ruff", "check"],
    "format": ["-m", "ruff", "format", "--check"],
    "imports": ["-c", "from importlinter.cli import lint_imports_command as run; run()"],
}


@dataclass(frozen=True, slots=True)
class _Tool:
    name: str
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    since: float

    def report(self) -> pytest.TestReport:
        """Wait for the tool's end."""
        outcome: Literal["passed", "failed"] = "failed" if self.process.wait() else "passed"
        self.output.seek(0)
        return pytest.TestReport(
            nodeid=f"tests/house.py::{self.name}",
            location=("tests/house.py", None, self.name),
            keywords={},
            outcome=outcome,
            longrepr=self.output.read().decode(errors="replace") if outcome == "failed" else None,
            when="call",
            duration=time.monotonic() - self.since,
        )

    def stop(self) -> None:
        """End the tool, where it still runs."""
        self.process.kill()
        self.process.wait()


class House:
    """The plugin: starts the tools before the first test, and reports them after the last."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def _start(self, name: str) -> _Tool:
        output = tempfile.TemporaryFile()  # noqa: SIM115 - read when the tool has ended
        process = subprocess.Popen(
            [sys.executable, *_COMMANDS[name]],
            cwd=self._config.rootpath,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        return _Tool(name, process, output, time.monotonic())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Run the tools beside the tests; one that fails is one test that failed."""
        with ExitStack() as stack:
            tools = [self._start(name) for name in _COMMANDS]
            for tool in tools:
                stack.callback(tool.output.close)
                stack.callback(tool.stop)
            result = yield
            for tool in tools:
                report = tool.report()
                self._config.hook.pytest_runtest_logreport(report=report)
            return result

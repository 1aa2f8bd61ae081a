"""One client against one server, with the runner as its model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import soundfile
from tests.e2e.over_http import http_server, key_entries
from tests.e2e.processes import until, workers_of
from tests.interop.clients import FOLDER
from tests.interop.track import SOURCE_SECONDS, Record, Shown, check_offer, converse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TRANSPORTS = ("stdio", "http")
_KEY = "interop-key-of-these-tests"
_MOST_SECONDS = 600.0
_SAMPLE_RATE = 16_000
_LAST_WORDS = 1_500


class DriverGoneError(Exception):
    """The driver ended before the conversation did."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Attributes:
        failed_at: the step that went wrong; empty for none.
        reason: what went wrong there, and the driver's last words.
        ways: what is worth knowing of the client's ways.
    """

    failed_at: str
    reason: str
    ways: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """Folders of one run, with a short recording."""

    folder: Path

    @classmethod
    def prepare(cls, folder: Path) -> _Place:
        place = cls(folder)
        place.source.parent.mkdir(parents=True)
        rng = np.random.default_rng(1)
        t = np.arange(round(SOURCE_SECONDS * _SAMPLE_RATE)) / _SAMPLE_RATE
        chord = sum(np.sin(2 * np.pi * hz * t) for hz in (220.0, 277.2, 329.6)) * 0.1
        soundfile.write(
            place.source, chord + rng.normal(0, 0.4, len(t)) * np.exp(-30 * (t % 0.5)), _SAMPLE_RATE
        )
        return place

    @property
    def source(self) -> Path:
        return self.folder / "Music" / "song.wav"

    @property
    def results(self) -> Path:
        return self.folder / "Longer"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "OUTPAINT_INPUT_DIRS": str(self.source.parent),
            "OUTPAINT_OUTPUT_DIR": str(self.results),
            "OUTPAINT_DATA_DIR": str(self.data),
            "OUTPAINT_PROVIDER": "local",
        }


def run(command: list[str], mode: str, transport: str, folder: Path) -> Outcome:
    """Have a client hold the conversation, over one transport, in a folder of its own."""
    place = _Place.prepare(folder)
    record = Record()
    log = folder / "driver.log"
    reason = ""
    try:
        with _server(transport, place) as server, _driver(command, {**server, "mode": mode}, log) as driver:
            _converse(driver, record, place, place.results if transport == "stdio" else None)
        record.step = "leave"
        until(lambda: not workers_of(place.data))
        _count_servers(record, place)
    except (AssertionError, DriverGoneError, subprocess.TimeoutExpired) as error:
        words = log.read_text("utf-8", "replace") if log.exists() else ""
        reason = f"{type(error).__name__}: {error}\n{words[-_LAST_WORDS:]}"
    return Outcome(record.step if reason else "", reason, tuple(record.ways))


@contextmanager
def _server(transport: str, place: _Place) -> Iterator[dict[str, Any]]:
    """Say how the client reaches the server; over HTTP it runs while the block lasts, for a caller with a key."""
    if transport == "stdio":
        # Each start leaves a line, since some clients start one for each call.
        program = place.folder / "outpaint-mcp"
        program.write_text(
            f'#!/bin/sh\necho >> "{place.folder}/starts"\nexec "{sys.executable}" -m outpaint_mcp\n'
        )
        program.chmod(0o700)
        yield {"command": str(program), "args": [], "env": place.environment}
        return
    with http_server({**place.environment, "OUTPAINT_API_KEYS": key_entries(interop=_KEY)}) as server:
        yield {"url": server.address, "headers": {"Authorization": f"Bearer {_KEY}"}}


@contextmanager
def _driver(command: list[str], server: dict[str, Any], log: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a driver while the block lasts; it and all that it started are gone afterwards."""
    environment = {
        **os.environ,
        "INTEROP_SERVER": json.dumps(server),
        "PYTHONPATH": str(FOLDER),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with log.open("w") as words:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=words,
            text=True,
            encoding="utf-8",
            env=environment,
            cwd=log.parent,
            start_new_session=True,
        )
        end = threading.Timer(_MOST_SECONDS, _kill, [process])
        end.start()
        try:
            yield process
            assert process.wait(_MOST_SECONDS) == 0, f"the driver ended with {process.returncode}"
        finally:
            end.cancel()
            _kill(process)
            process.wait()


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _converse(driver: subprocess.Popen[str], record: Record, place: _Place, results: Path | None) -> None:
    assert driver.stdin is not None
    assert driver.stdout is not None
    offered = _read(driver.stdout)
    record.step = "list"
    check_offer(offered["tools"])
    conversation = converse(record, place.source, results)
    call = next(conversation)
    while True:
        record.calls += 1
        since = time.monotonic()
        _write(driver.stdin, {"tool": call.tool, "arguments": call.arguments})
        answer = _read(driver.stdout)
        shown = Shown(answer["text"], answer["pictures"], time.monotonic() - since)
        try:
            call = conversation.send(shown)
        except StopIteration:
            break
    _write(driver.stdin, None)


def _read(stream: IO[str]) -> dict[str, Any]:
    line = stream.readline()
    if not line:
        raise DriverGoneError("the client ended")
    found: dict[str, Any] = json.loads(line)
    return found


def _write(stream: IO[str], message: Mapping[str, object] | None) -> None:
    stream.write(json.dumps(message) + "\n")
    stream.flush()


def _count_servers(record: Record, place: _Place) -> None:
    starts = place.folder / "starts"
    if starts.exists() and (count := len(starts.read_text().splitlines())) > 1:
        record.ways.append(
            "starts a server for each call" if count >= record.calls else f"starts {count} servers"
        )

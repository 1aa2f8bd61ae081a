"""Runs the fake for a person: `python -m tests.fakes.runcomfy`."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tests.fakes.runcomfy import TOKEN, FakeRunComfy
from tests.fakes.switches import Flaky, Switches


def main() -> None:
    """Serve until interrupted; say what to set first, and what was broken last."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.runcomfy")
    parser.add_argument("--port", type=int, default=8089)
    parser.add_argument("--token", default=TOKEN)
    parser.add_argument(
        "--switch",
        action="append",
        default=[],
        metavar="NAME=JSON",
        help="e.g. container=flac, queue_polls=3",
    )
    parser.add_argument(
        "--web",
        action="append",
        default=[],
        metavar="URL=FILE",
        help="what the service sees under an https URL",
    )
    asked = parser.parse_args()
    fake = FakeRunComfy(token=asked.token, port=asked.port, switches=_switches(asked.switch))
    for pair in asked.web:
        url, _, file = pair.rpartition("=")
        fake.web[url] = Path(file).read_bytes()
    with fake, suppress(KeyboardInterrupt):
        sys.stdout.write(
            f"export RUNCOMFY_MODEL_API_BASE={fake.base}\nexport RUNCOMFY_API_TOKEN={asked.token}\n"
        )
        sys.stdout.flush()
        threading.Event().wait()
    sys.stdout.write("".join(f"{call}\n" for call in fake.calls))
    fake.check()


def _switches(pairs: list[str]) -> Switches:
    said: dict[str, object] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            said[name] = json.loads(value)
        except ValueError:
            said[name] = value
    if isinstance(flaky := said.get("flaky"), dict):
        said["flaky"] = Flaky(**flaky)
    if isinstance(words := said.get("status_words"), list):
        said["status_words"] = tuple(words)
    return replace(Switches(), **said)  # type: ignore[arg-type]

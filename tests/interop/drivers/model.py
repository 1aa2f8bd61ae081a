"""The model of every Python client: it shows the runner what the framework shows it, and calls what the runner says.

Runs in the client's own environment, so it needs the standard library alone.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import Any

SERVER: dict[str, Any] = json.loads(os.environ["INTEROP_SERVER"])
"""How the server is reached: `command`, `args` and `env`, or `url` and `headers`; and the client's `mode`."""

# Frameworks print, too.
_answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)


@dataclass(frozen=True)
class Call:
    """A tool that the model calls."""

    tool: str
    arguments: dict[str, Any]


def begin(tools: list[tuple[str, str | None, dict[str, Any]]]) -> Call | None:
    """Say what the model is offered, each tool's name, description and parameters; return its first call."""
    return _ask(
        {"tools": [{"name": name, "description": text, "parameters": schema} for name, text, schema in tools]}
    )


def go_on(text: str, pictures: int = 0) -> Call | None:
    """Say what the model reads as the answer to its call, and how many pictures it sees; return the next one."""
    return _ask({"text": text, "pictures": pictures})


def _ask(message: dict[str, Any]) -> Call | None:
    _answers.write(json.dumps(message) + "\n")
    _answers.flush()
    answer = json.loads(sys.stdin.readline())
    return Call(**answer) if answer else None

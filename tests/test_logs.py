"""Logs as JSON: an object a line, with the call in which it was written."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from outpaint_mcp.config import Settings
from outpaint_mcp.errors import ConfigError
from outpaint_mcp.server.logs import Call, JsonFormatter, current_call


def written(message: str, *values: object, exc_info: bool = False) -> dict[str, str]:
    record = logging.LogRecord(
        "outpaint_mcp.x", logging.WARNING, __file__, 1, message, values, sys.exc_info() if exc_info else None
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    found: dict[str, str] = json.loads(line)
    return found


def test_a_line_says_when_how_bad_where_and_what() -> None:
    entry = written("%s is full: “%s”\nand more", "disk", "é")
    assert entry.pop("time").endswith("+00:00")
    assert entry == {"level": "WARNING", "logger": "outpaint_mcp.x", "message": "disk is full: “é”\nand more"}


def test_a_line_of_a_call_names_its_id_and_its_caller_by_a_digest() -> None:
    token = current_call.set(Call.of("x" * 1000, "0123456789abcdef"))
    try:
        entry = written("hello")
    finally:
        current_call.reset(token)
    assert (entry["jsonrpc_id"], entry["caller"]) == ("x" * 64, "0123456789abcdef")
    assert "caller" not in written("hello")


def test_a_traceback_stays_in_its_line() -> None:
    try:
        raise ValueError("odd")  # noqa: TRY301 - its traceback is the point
    except ValueError:
        entry = written("failed", exc_info=True)
    assert "ValueError: odd" in entry["exception"]


def test_the_form_is_that_of_the_environment() -> None:
    assert Settings.from_env({}).log_format == "text"
    assert Settings.from_env({"OUTPAINT_LOG_FORMAT": "JSON"}).log_format == "json"
    with pytest.raises(ConfigError, match="OUTPAINT_LOG_FORMAT"):
        Settings.from_env({"OUTPAINT_LOG_FORMAT": "xml"})

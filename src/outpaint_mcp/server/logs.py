"""Logs as JSON, for whoever collects them; each line names the call in which it was written."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import NamedTuple

_ID_CHARACTERS = 64

TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Call(NamedTuple):
    """Who calls.

    Attributes:
        jsonrpc_id: the caller's own id of the call.
        caller: their digest; empty for the person at this machine.
    """

    jsonrpc_id: str
    caller: str

    @classmethod
    def of(cls, jsonrpc_id: object, caller: str) -> Call:
        """Return a call; its id, which its caller chooses, is cut to what a line has room for."""
        return cls(str(jsonrpc_id)[:_ID_CHARACTERS], caller)


current_call: ContextVar[Call | None] = ContextVar("current_call", default=None)
"""The call that is being carried out."""


class JsonFormatter(logging.Formatter):
    """Writes each line of the log as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        call = current_call.get()
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if call is not None:
            entry |= call._asdict()
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)

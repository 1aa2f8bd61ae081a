"""The same words for a person at a terminal as for an agent, with other names in them."""

from __future__ import annotations

_NAMES = {
    "extend_before_duration": "--before",
    "extend_after_duration": "--after",
    "source_start_seconds": "--from",
    "source_end_seconds": "--to",
    "restore_source=false": "--no-restore",
    "analyze_audio": "outpaint-mcp analyze",
    "get_outpaint_status": "outpaint-mcp list",
}


def for_a_person(message: str) -> str:
    """Name the command line's options where the tools' arguments are named."""
    for name, option in _NAMES.items():
        message = message.replace(name, option)
    return message

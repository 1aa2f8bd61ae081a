"""Paths as a person types them at a terminal."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from outpaint_mcp.errors import InvalidRequest

_SHOWN_CHARACTERS = 80


def named_path(text: str) -> Path:
    """Return the absolute path that a name on the command line means.

    Raises:
        InvalidRequest: no file can have this name here, or its folder cannot be looked into.
    """
    shown = text.encode("utf-8", "replace").decode()
    shown = shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}…"
    try:
        text.encode("utf-8")
        path = Path(text).expanduser().absolute()
        with suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()
    except UnicodeError as exc:
        raise InvalidRequest(f"The name {shown} is not UTF-8. Rename the file or folder.") from exc
    except (OSError, RuntimeError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc).rstrip(".")
        raise InvalidRequest(f"The name {shown} cannot be used: {reason}.") from exc
    return path

"""API keys of callers over HTTP: added, listed and removed at a terminal."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from filelock import FileLock

from outpaint_mcp.config.environment import variable
from outpaint_mcp.disk.writing import replace_private
from outpaint_mcp.errors import ConfigError, InvalidRequest
from outpaint_mcp.server.http.api_keys import (
    NAME,
    PREFIX,
    VARIABLE,
    ApiKey,
    key_file,
    read_entries,
    read_entry,
    read_lines,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

_KEY_BYTES = 32
_LOCK_SECONDS = 10


def run_keys(parsed: argparse.Namespace) -> int:
    """Run one of the commands.

    Raises:
        InvalidRequest: what is asked for cannot be done.
        ConfigError: the variable or its file cannot be used.
    """
    match parsed.action:
        case "add":
            _add(parsed.name, parsed.expires)
        case "remove":
            _remove(parsed.name)
        case _:
            _list()
    return 0


def _add(name: str, expires: date | None) -> None:
    if NAME.fullmatch(name) is None:
        raise InvalidRequest(
            f"{name!r} cannot be the name of a key: use small letters, digits and ._- only, up to 64."
        )
    if expires is not None and expires < datetime.now(UTC).date():
        raise InvalidRequest(f"{expires} is over: the key would never work. Give a later day.")
    key = PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    entry = ApiKey(name, hashlib.sha256(key.encode()).digest(), expires)

    def append(lines: list[str]) -> list[str]:
        if any(each.name == name for each in read_entries(lines)[0]):
            raise InvalidRequest(
                f"{name} has a key already: remove it first, or add the new one under another name."
            )
        return [*lines, str(entry)]

    text = variable(os.environ, VARIABLE) or ""
    path = key_file(text)
    if path is None:
        append(text.split(","))
        _say(f"add this to {VARIABLE}, with a comma between entries, and restart the server: {entry}")
    else:
        _change(path, append)
        _say(f"its hash is in {path}: servers that use that file accept it from now on.")
    _say(f"this is the key of {name}. It is shown only once, and not stored.")
    print(key)


def _list() -> None:
    text = variable(os.environ, VARIABLE) or ""
    path = key_file(text)
    keys, wrong = read_entries(text.split(",") if path is None else read_lines(path))
    for each in keys:
        until = "for ever" if each.expires is None else f"until {each.expires}"
        print(f"{each.name:<24}  {until}{' (over)' if each.has_expired else ''}")
    if not keys:
        _say(f"{VARIABLE} has no key yet.")
    if wrong:
        _say(f"these lines are not entries and are ignored: {', '.join(map(str, wrong))}.")


def _remove(name: str) -> None:
    path = key_file(variable(os.environ, VARIABLE) or "")
    if path is None:
        raise InvalidRequest(
            f"{VARIABLE} names no file (@/path/to/it): remove the entry from the variable, and restart the server."
        )

    def without(lines: list[str]) -> list[str]:
        rest = [each for each in lines if (entry := read_entry(each)) is None or entry.name != name]
        if len(rest) == len(lines):
            raise InvalidRequest(f"There is no key of {name!r} in {path}.")
        return rest

    _change(path, without)
    _say(f"{name} was removed from {path}: servers that use that file no longer accept the key.")


def _change(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    """Change a file's lines; whole or not at all, and beside nobody else who does.

    Raises:
        ConfigError: it cannot be read or written.
    """
    path = path.resolve()  # a link stays one
    try:
        with FileLock(path.with_name(f"{path.name}.lock"), timeout=_LOCK_SECONDS, mode=0o600):
            lines = read_lines(path) if path.exists() else []
            replace_private(path, "".join(f"{line}\n" for line in change(lines)))
    except OSError as exc:
        raise ConfigError(f"{VARIABLE}: {path} cannot be written ({exc.strerror or exc}).") from exc


def _say(words: str) -> None:
    print(f"outpaint-mcp: {words}", file=sys.stderr)

"""API keys: who their holders are, and the hashes of what they show; the keys themselves are stored nowhere."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hmac import compare_digest
from pathlib import Path

from outpaint_mcp.errors import ConfigError

VARIABLE = "OUTPAINT_API_KEYS"
PREFIX = "outpaint_"
"""What keys that we make begin with, for whoever finds one where it should not be."""

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

_ENTRY = re.compile(
    rf"(?P<name>{NAME.pattern})=(?P<digest>[0-9a-fA-F]{{64}})(?:;expires=(?P<expires>\d{{4}}-\d\d-\d\d))?"
)
_FORM = "NAME=SHA256, or NAME=SHA256;expires=2027-01-31"
_MOST_BYTES = 1024 * 1024
_OTHERS_WRITE = 0o022

_log = logging.getLogger(__name__)

_Version = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An entry.

    Attributes:
        name: whose it is.
        digest: SHA-256 of the key.
        expires: the last day on which it is good, in UTC; None for ever.
    """

    name: str
    digest: bytes
    expires: date | None = None

    @property
    def has_expired(self) -> bool:
        """Whether that day is over."""
        return self.expires is not None and datetime.now(UTC).date() > self.expires

    def __str__(self) -> str:
        """Return the entry as it is written."""
        expires = "" if self.expires is None else f";expires={self.expires}"
        return f"{self.name}={self.digest.hex()}{expires}"


class ApiKeys:
    """The keys of `OUTPAINT_API_KEYS`: the entries themselves, or the file that has them, `@/path/to/it`.

    The file is read again when it has changed, so that a key can be added or taken away while the server runs.
    """

    def __init__(self, text: str) -> None:
        """Read them.

        Raises:
            ConfigError: an entry or the file cannot be used; the text leaves entries out, since people put the
                keys themselves there.
        """
        self.file = key_file(text)
        self._version: _Version = None
        if self.file is None:
            self._keys, wrong = read_entries(text.split(","))
        else:
            self._version = _version(self.file)
            self._keys, wrong = read_entries(read_lines(self.file))
        if wrong:
            where = "entry" if self.file is None else f"line in {self.file}"
            raise ConfigError(f"{VARIABLE}: {where} {wrong[0]} is not {_FORM}.")

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._current())

    def find(self, given: bytes) -> ApiKey | None:
        """Find the entry of a key in a time that says nothing about the others."""
        digest = hashlib.sha256(given).digest()
        found = [each for each in self._current() if compare_digest(each.digest, digest)]
        return found[0] if found else None

    def _current(self) -> tuple[ApiKey, ...]:
        if self.file is not None and (version := _version(self.file)) != self._version:
            self._version = version
            try:
                self._keys, wrong = read_entries(read_lines(self.file))
            except ConfigError as exc:
                self._keys = ()
                _log.error("No API key is accepted: %s", exc)
            else:
                if wrong:
                    _log.error("Lines of %s are ignored, which are not %s: %s", self.file, _FORM, wrong)
        return self._keys


def key_file(text: str) -> Path | None:
    """Return the file that a value of the variable names; None where it has the entries themselves.

    Raises:
        ConfigError: its path is relative.
    """
    if not text.startswith("@"):
        return None
    path = Path(text[1:]).expanduser()
    if not path.is_absolute():
        raise ConfigError(f"{VARIABLE} is {text!r}; give the file's full path.")
    return path


def read_lines(path: Path) -> list[str]:
    """Read a file of keys.

    Raises:
        ConfigError: it is not there, cannot be read, or can be written by others.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{VARIABLE}: {path} is not a file.")
        if os.name == "posix" and found.st_mode & _OTHERS_WRITE:
            raise ConfigError(
                f"{VARIABLE}: other users can write to {path}, and so let themselves in: chmod 600 it."
            )
        with path.open(encoding="utf-8") as file:
            return file.read(_MOST_BYTES).splitlines()
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise ConfigError(f"{VARIABLE}: {path} cannot be read ({reason}).") from exc


def read_entry(line: str) -> ApiKey | None:
    """Read an entry; None where it is none."""
    match = _ENTRY.fullmatch(line.strip())
    if match is None:
        return None
    try:
        expires = None if match["expires"] is None else date.fromisoformat(match["expires"])
    except ValueError:
        return None
    return ApiKey(match["name"], bytes.fromhex(match["digest"]), expires)


def read_entries(lines: list[str]) -> tuple[tuple[ApiKey, ...], list[int]]:
    """Read entries; returns them, and the numbers of those that are none."""
    keys: list[ApiKey] = []
    wrong: list[int] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key = read_entry(line)
        if key is None:
            wrong.append(number)
        else:
            keys.append(key)
    return tuple(keys), wrong


def _version(path: Path) -> _Version:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

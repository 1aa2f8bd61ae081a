"""Secrets in the data folder, which only its owner can read: what callers show, and what links are signed with."""

from __future__ import annotations

import os
import re
import secrets
from typing import TYPE_CHECKING

from filelock import FileLock

from outpaint_mcp.disk.opening import open_own
from outpaint_mcp.disk.writing import make_private, replace_private
from outpaint_mcp.storage.failures import storage_errors

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "http-key"
"""Has what the person at this machine shows."""
LINKS_FILE_NAME = "link-key"
"""Has what links are signed with."""

_KEY = re.compile(r"[A-Za-z0-9_-]{43}")
_KEY_BYTES = 32
_LOCK_SECONDS = 10
_OTHERS = 0o077


def load_key(folder: Path, name: str = FILE_NAME) -> tuple[str, bool]:
    """Return a key of a data folder, and whether it is new.

    Clients have it in their configuration, so it stays the same for as long as nobody else can have read it.

    Args:
        folder: the data folder; created if it is not there.
        name: of the key's file.

    Raises:
        StorageFailed: the folder cannot be used.
    """
    path = folder / name
    with storage_errors(folder):
        make_private(folder)
        with FileLock(folder / f"{name}.lock", timeout=_LOCK_SECONDS, mode=0o600):
            key = _read(path)
            if key is not None:
                return key, False
            key = secrets.token_urlsafe(_KEY_BYTES)
            replace_private(path, f"{key}\n")
            return key, True


def _read(path: Path) -> str | None:
    """Read the key; None where it is not there, not whole, or may have been read or put there by others."""
    try:
        file = open_own(path)
    except OSError:  # whatever it is, the new one takes its place, or else that fails and says why
        return None
    with file:
        status = os.fstat(file.fileno())
        if os.name == "posix" and (status.st_uid != os.geteuid() or status.st_mode & _OTHERS):
            return None
        text = file.read(100).decode("ascii", "replace").strip()
    return text if _KEY.fullmatch(text) else None

"""What is wrong with the data folder, and what to do about it, in words."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from filelock import Timeout

from outpaint_mcp.errors import StorageFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BESIDE = ("-wal", "-shm")
"""What SQLite keeps beside a file, after its name: the write-ahead log, which has the newest of it, and its index."""

_ANOTHER = "set OUTPAINT_DATA_DIR to another folder; then try again."
_BUSY = "Another process is using it, or its disk does not answer. Try again in a moment."
_FULL = "Its disk is full. Free some space, then try again."
_READ_ONLY = f"Its disk or its files are read-only. Make them writable, or {_ANOTHER}"
_CLOSED = f"Fix its permissions, or {_ANOTHER}"
_FAILING = f"Its disk fails, or was disconnected. Check the disk, or {_ANOTHER}"
_OTHERWISE = f"Free some space, fix its permissions, or {_ANOTHER}"

_BY_SQLITE = {
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _CLOSED,
    sqlite3.SQLITE_CANTOPEN: _CLOSED,
    sqlite3.SQLITE_IOERR: _FAILING,
}
_BY_SYSTEM = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _CLOSED,
    errno.EPERM: _CLOSED,
    errno.EIO: _FAILING,
}


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Report what is wrong with the data folder, and how to fix it.

    Raises:
        StorageFailed: the block could not use the folder.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as exc:
        reason = "another process holds its lock" if isinstance(exc, Timeout) else str(exc)
        raise StorageFailed(
            f"The data folder {folder} cannot be used: {reason}. {_advice(exc)}", path=str(folder)
        ) from exc


def _advice(exc: Exception) -> str:
    if isinstance(exc, Timeout):  # an OSError, too
        return _BUSY
    if isinstance(exc, OSError):
        return _BY_SYSTEM.get(exc.errno or 0, _OTHERWISE)
    return _BY_SQLITE.get(sqlite_code(exc), _OTHERWISE)


def sqlite_code(exc: Exception) -> int:
    """Return SQLite's primary code of an error; 0 for one that is not SQLite's own."""
    return int(getattr(exc, "sqlite_errorcode", 0)) & 0xFF


def is_busy(exc: Exception) -> bool:
    """Whether somebody else holds a lock."""
    return sqlite_code(exc) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def is_damage(exc: Exception) -> bool:
    """Whether the file itself is what is wrong."""
    return sqlite_code(exc) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def damaged(path: Path, reason: str) -> StorageFailed:
    """Copy a damaged database, before anybody writes to it, and say what to do.

    No connection of this process may use the file any more: closing the copied file drops the locks that the process
    has on it.
    """
    copy = _copy_once(path)
    where = f" What is left of it was copied to {copy}." if copy else ""
    return StorageFailed(
        f"The database {path} is damaged: {reason}. Nothing is started or sent.{where} Put a backup in its place, or"
        " move it away to begin with an empty one, then restart this server. It may have had requests that are paid for"
        " already.",
        path=str(path),
    )


def aside(path: Path, why: str) -> Path:
    """Return the name under which a file is set aside, which tells its content from others by its time."""
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return path.with_stem(f"{path.stem}-{why}-{changed:%Y%m%d-%H%M%S}")


def _copy_once(path: Path) -> Path | None:
    """Copy a file with its log, unless that was done; None where it cannot be."""
    with suppress(OSError):
        copy = aside(path, "damaged")
        if not copy.exists():
            part = copy.with_name(f"{copy.name}.part")
            for source, target in ((path, part), *_beside(path, copy)):
                target.touch(mode=0o600)
                shutil.copyfile(source, target)
            part.replace(copy)
        return copy
    return None


def _beside(path: Path, copy: Path) -> Iterator[tuple[Path, Path]]:
    log = BESIDE[0]
    if (source := path.with_name(path.name + log)).exists():
        yield source, copy.with_name(copy.name + log)


def displaced(path: Path) -> StorageFailed:
    """Say that a file is not the one any more that this process has open."""
    return StorageFailed(
        f"The database {path} was deleted, moved or replaced while this server was running. Nothing is started or sent."
        " Put it back, or restart this server to use what is there now.",
        path=str(path),
    )

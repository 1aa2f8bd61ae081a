"""The database as a file: created whole, set aside rather than overwritten, and never taken for another of its name."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from outpaint_mcp.errors import StorageFailed
from outpaint_mcp.storage.failures import BESIDE, aside, damaged
from outpaint_mcp.storage.schema import TABLES, VERSION

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)

_MAGIC = b"SQLite format 3\0"


def prepare(path: Path) -> None:
    """Have a database there that can be opened; nothing of what was there before is lost.

    No connection of this process may use the file yet: closing a file drops the locks that the process has on it.

    Raises:
        StorageFailed: what is there is damaged, or two files have a claim to one name.
    """
    if path.exists():
        with path.open("rb") as file:
            # It had its name only once it was whole, so that an empty one, or one full of zeros, has lost what it had.
            if file.read(len(_MAGIC)) != _MAGIC:
                raise damaged(path, "it does not begin as a database does, or was emptied")
        _set_aside_unreleased(path)
    if not path.exists():
        _set_aside_leftovers(path)
        _create(path)


def is_emptied(path: Path) -> bool:
    """Whether a database has lost all that it had."""
    return path.stat().st_size == 0


def identity_of(path: Path) -> tuple[tuple[int, int], ...]:
    """Return what tells a database that is open from any other that gets its name: the inodes of all its files.

    SQLite does not say which files it has opened. It opens them when a connection first reads, and holds them until
    that is closed; so long no other file can get their inodes. Where the names lead to the same files before a
    connection is opened and after it has read, these are the ones, and a name that leads there still is the file's.

    Raises:
        FileNotFoundError: one of them has no name any more.
    """
    found = [path.with_name(path.name + end).stat() for end in ("", *BESIDE)]
    return tuple((each.st_dev, each.st_ino) for each in found)


def _set_aside_unreleased(path: Path) -> None:
    """Rename a file of a version before 0.1.0, which this one cannot read; nothing in it is lost.

    Raises:
        StorageFailed: another such file has that name already.
    """
    with closing(
        sqlite3.connect(path)
    ) as connection:  # the last to close puts the write-ahead log into the file
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not 0 < version < VERSION:
        return
    other = path.with_stem(f"{path.stem}-unreleased-{version}")
    if other.exists():
        raise StorageFailed(
            f"{path} and {other} are both of a version before 0.1.0. To start anew, move one of them away, then try"
            " again.",
            path=str(path),
        )
    for end in (*BESIDE, ""):
        written = path.with_name(path.name + end)
        if written.exists():
            written.rename(other.with_name(other.name + end))
    _log.warning("a database of an unreleased version was set aside as %s", other)


def _set_aside_leftovers(path: Path) -> None:
    """Rename the log of a file that is gone: SQLite would read it into the new one."""
    for end in BESIDE:
        left = path.with_name(path.name + end)
        if left.exists():
            other = aside(left, "left")
            left.replace(other)
            _log.warning("%s is gone; what was left of it was set aside as %s", path, other)


def _create(path: Path) -> None:
    """Write a new database, which gets its name when it is whole."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)  # of a server that was killed
    new.touch(mode=0o600)
    with closing(sqlite3.connect(new, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        for statement in TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    new.replace(path)

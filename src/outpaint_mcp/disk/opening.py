"""Opening what may be read: once, beneath an allowed folder, following no link, and waiting for nobody."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Not on Windows, where a file is opened by its whole path.
_CAN_WALK = os.open in os.supports_dir_fd
_FOLDER_FLAGS = (
    getattr(os, "O_PATH", os.O_RDONLY)
    | getattr(os, "O_DIRECTORY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)
# A FIFO in its place must not hold anybody up, and a terminal must not become ours.
_FILE_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def open_regular(path: Path, folders: Sequence[Path]) -> int:
    """Open a regular file for reading.

    Whoever checks a path and opens it later may open another file: what is returned here is what was checked.

    Args:
        path: absolute and without a link in it, as `Path.resolve` returns it.
        folders: those that it may lie beneath, resolved likewise.

    Returns:
        A descriptor that no other program inherits.

    Raises:
        PermissionError: it lies beneath none of them, or the system does not let us at it.
        FileNotFoundError: it is not there.
        OSError: a link stands in its way by now, or it is no regular file.
    """
    if ".." in path.parts or not any(path.is_relative_to(folder) for folder in folders):
        raise PermissionError(errno.EPERM, "it is outside the allowed folders", str(path))
    descriptor = _walk(path) if _CAN_WALK else _open_whole(path)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return descriptor


def open_own(path: Path) -> BinaryIO:
    """Open a file that was written by us, at whose place a link or a pipe may have been put since; raises likewise."""
    real = path.parent.resolve() / path.name
    return os.fdopen(open_regular(real, (real.parent,)), "rb", buffering=0)


def _walk(path: Path) -> int:
    """Open a path part by part, none of which may be a link."""
    folder = os.open(path.anchor, _FOLDER_FLAGS)
    try:
        for part in path.parts[1:-1]:
            inner = os.open(part, _FOLDER_FLAGS, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(path.name, _FILE_FLAGS, dir_fd=folder)
    finally:
        os.close(folder)


def _open_whole(path: Path) -> int:
    if path.resolve() != path:
        raise OSError(errno.ELOOP, "a link stands in its way", str(path))
    return os.open(path, _FILE_FLAGS)

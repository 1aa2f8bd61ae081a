"""Copying a file to its final name in one step: never half written, never over another file."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from outpaint_mcp.disk.opening import open_own
from outpaint_mcp.disk.writing import create

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

_CHUNK_BYTES = 1 << 20
_KERNEL_CHUNK_BYTES = 1 << 26


class ContentChanged(Exception):
    """A file no longer has the content that was recorded for it."""


def place_copy(
    source: Path, target: Path, part: Path, *, sha256: str, check_stopping: Callable[[], None]
) -> None:
    """Copy a file to a place where there is none, and flush it to disk.

    The copy shares no inode with `source`: whoever edits the one leaves the other as it is.

    Args:
        source: the file.
        target: where the copy goes.
        part: holds the copy until it is complete; in the same folder as `target`.
        sha256: what the copy must contain.
        check_stopping: called between chunks; raises to give up.

    Raises:
        ContentChanged: `source` has other content.
        FileExistsError: something is at `target` already.
        OSError: a file cannot be read or written.
    """
    try:
        # What is hashed is what was written, whatever is called so now.
        with _opened(source) as reader, create(part) as writer:
            _copy_content(reader, writer, check_stopping)
            os.fsync(writer.fileno())
            writer.seek(0)
            if _digest(writer, check_stopping) != sha256:
                raise ContentChanged(str(source))
            if not os.path.samestat(part.lstat(), os.fstat(writer.fileno())):
                raise OSError(errno.ESTALE, "another file was put in its place", str(part))
        give_name(part, target)
    finally:
        with suppress(OSError):
            part.unlink()
    _sync_folder(target.parent)  # the next step may delete `source`


def give_name(part: Path, target: Path) -> None:
    """Give a file that is complete its final name in the same folder; it may keep the other one.

    Raises:
        FileExistsError: something is at `target` already.
        OSError: it cannot be named so.
    """
    if _link(part, target):
        return
    # A disk without hard links.
    create(target).close()  # fails where the name is somebody else's
    try:
        part.replace(target)
    except OSError:
        with suppress(OSError):
            target.unlink()
        raise


def digest(path: Path, check_stopping: Callable[[], None] = lambda: None) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    with open_own(path) as reader:
        return _digest(reader, check_stopping)


def _digest(reader: BinaryIO, check_stopping: Callable[[], None]) -> str:
    sha256 = hashlib.sha256()
    while chunk := reader.read(_CHUNK_BYTES):
        check_stopping()
        sha256.update(chunk)
    return sha256.hexdigest()


def has_content(
    path: Path, *, size_bytes: int, sha256: str, check_stopping: Callable[[], None] = lambda: None
) -> bool:
    """Whether there is a file at `path` with exactly this content."""
    try:
        return path.stat().st_size == size_bytes and digest(path, check_stopping) == sha256
    except OSError:
        return False


def _opened(source: Path) -> BinaryIO:
    try:
        return open_own(source)
    except OSError as exc:
        if exc.errno in {errno.EINVAL, errno.ELOOP}:  # no file any more, or a link
            raise ContentChanged(str(source)) from exc
        raise


def _copy_content(reader: BinaryIO, writer: BinaryIO, check_stopping: Callable[[], None]) -> None:
    """Copy to the end; a disk that can share blocks between files does not write them again."""
    if sys.platform == "linux":
        with suppress(OSError):  # not between these two disks; a real fault comes up again below
            while os.copy_file_range(reader.fileno(), writer.fileno(), _KERNEL_CHUNK_BYTES):
                check_stopping()
    while chunk := reader.read(_CHUNK_BYTES):
        check_stopping()
        writer.write(chunk)
    writer.flush()


def _link(source: Path, target: Path) -> bool:
    """Give a file a second name; False where the disk cannot."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # Windows cannot open a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

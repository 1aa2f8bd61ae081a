"""What is written: ours for nobody else, and the person's with the permissions that every program's files have."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from io import BufferedRandom
    from pathlib import Path

_OTHERS = 0o077
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def _umask() -> int:
    """Return the person's, which cannot be read without being set."""
    found = os.umask(_OTHERS)
    os.umask(found)
    return found


_PERSONS_UMASK = _umask()


def keep_private() -> None:
    """Have all that this process writes from now on be its owner's only; `share` makes the exceptions."""
    os.umask(_OTHERS)


def make_private(folder: Path) -> None:
    """Make a folder that is its owner's only, and one that is there already so.

    Raises:
        OSError: it cannot be created.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.name == "posix" and (found := folder.stat()).st_mode & _OTHERS and found.st_uid == os.geteuid():
        folder.chmod(0o700)


def make_persons(folder: Path) -> None:
    """Make a folder of the person's, where there is none.

    Raises:
        FileExistsError: something else is there.
        OSError: it cannot be created.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        each.chmod(0o777 & ~_PERSONS_UMASK)


def create(path: Path) -> BufferedRandom:
    """Make a file of the person's where there is none, through no link.

    Raises:
        FileExistsError: something is there.
        OSError: it cannot be created.
    """
    file = path.open("x+b")
    if hasattr(os, "fchmod"):
        os.fchmod(file.fileno(), 0o666 & ~_PERSONS_UMASK)
    return file


def replace_private(path: Path, text: str) -> None:
    """Put a file that is its owner's only in the place of what is there; whole, or not at all.

    Raises:
        OSError: it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def remove(folder: Path) -> None:
    """Delete a folder of ours with all in it, as far as that can be done."""
    with suppress(RecursionError):  # folders in folders by the thousand
        shutil.rmtree(folder, ignore_errors=True)

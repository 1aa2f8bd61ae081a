"""What is written: ours for nobody else, and the person's with the permissions that every program's files have."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from io import BufferedRandom
    from pathlib import Path

_OTHERS = 0o077


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


def remove(folder: Path) -> None:
    """Delete a folder of ours with all in it, as far as that can be done."""
    with suppress(RecursionError):  # folders in folders by the thousand
        shutil.rmtree(folder, ignore_errors=True)
